"""A backbone and its prompts as stacked tensors, and what they compute. Shapes: U: 1 or T lanes, B rows, V ids, K candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from raytune_rec.backbones.base import Outputs
from raytune_rec.schema.contract import Batch, Site
from raytune_rec.tensors import Params, Step, Sums
from raytune_rec.training.beside import Beside
from raytune_rec.training.parts import Parts


@dataclass
class Model:
    """A backbone and its prompts as stacked tensors. Full names are `backbone.<name>` and `prompt.<name>`.

    Args:
        parts: who computes.
        trained: full name -> (T, *padded shape), the leaves of the gradient.
        fixed: full name -> (U, *shape): frozen parameters.
        buffers: full name -> (U, *shape): running statistics; (T, *padded shape) where their group is trained.
        groups: full name -> parameter group, of the trained ones.
        shapes: per lane, full name -> true shape, of what training changes.
        rows: full name -> vocabulary, of the trained ones that a vocabulary indexes.
        options: `backbone` and `prompt` options by name, (U,), in the type of the parameters.
        one_start: whether all lanes stand on the same backbone.
        beside: items and users by id, where the backbone reads them.
        held: what the backbone makes of these, where it stays as it is: name -> (U, V, ...).
    """

    parts: Parts
    trained: dict[str, Tensor]
    fixed: dict[str, Tensor]
    buffers: dict[str, Tensor]
    groups: dict[str, str]
    shapes: list[dict[str, tuple[int, ...]]]
    rows: dict[str, str]
    options: dict[str, dict[str, Tensor]]
    one_start: bool = True
    beside: Beside = field(default_factory=Beside)
    held: Mapping[str, Tensor] | None = None

    @property
    def lanes(self) -> int:
        return len(self.shapes)

    @property
    def trained_groups(self) -> frozenset[str]:
        return self.parts.trained_groups

    @property
    def moving(self) -> dict[str, Tensor]:
        """What training changes: the trained tensors, and the statistics of trained groups. (T, ...)"""
        declared = self.parts.of_backbone
        return {**self.trained, **{n: b for n, b in self.buffers.items() if declared[n].group in self.trained_groups}}

    @property
    def encoding_is_frozen(self) -> bool:
        """Whether what `encode` gives is the same for all lanes of a unit and all epochs."""
        return self.one_start and not self.parts.backbone.encoded_groups & self.parts.moving_groups

    def part(self, places: slice | Sequence[int]) -> Model:
        """Some of the lanes; those of a slice are views, not copies."""

        def of_lanes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: _lanes(t, places) if t.shape[0] > 1 else t for n, t in tensors.items()}

        return replace(
            self, trained={n: _lanes(t, places) for n, t in self.trained.items()},
            fixed=of_lanes(self.fixed), buffers=of_lanes(self.buffers),
            shapes=self.shapes[places] if isinstance(places, slice) else [self.shapes[i] for i in places],
            options={owner: of_lanes(values) for owner, values in self.options.items()},
            beside=self.beside.each(lambda t: _lanes(t, places) if t.shape[0] > 1 else t), held=self.held and of_lanes(self.held),
        )  # fmt: skip

    def place(self, device: str, dtype: torch.dtype) -> None:
        """Bring the tensors to the device, in a type."""
        self.trained = {n: t.to(device, dtype).requires_grad_() for n, t in self.trained.items()}
        self.fixed = {n: t.to(device, dtype) for n, t in self.fixed.items()}
        self.buffers = {n: t.to(device, dtype) for n, t in self.buffers.items()}
        self.options = {owner: {n: t.to(device, dtype) for n, t in values.items()} for owner, values in self.options.items()}
        self.beside = self.beside.each(lambda t: t.to(device, dtype if t.is_floating_point() else t.dtype))

    def encode(self, batch: Batch) -> Mapping[str, Tensor]:
        return self.parts.backbone.encode(self._of_backbone(), batch)

    @torch.no_grad()
    def holding(self) -> Model:
        """The same, with items and users encoded once for as long as no tensor changes."""
        return self if self.held is not None else replace(self, held=self._encoded_beside())

    @property
    def holds(self) -> bool:
        """Whether training leaves the encoding of items and users as it is."""
        backbone = self.parts.backbone
        return not (backbone.item_groups | backbone.user_groups) & self.parts.moving_groups

    def forward(self, batch: Batch, encoded: Mapping[str, Tensor], step: Step) -> Outputs:
        """The backbone's outputs, with what the prompt writes for these rows."""
        batch, encoded = self._here(batch), self._with_beside(encoded)
        return self._run(self._sites(batch, encoded, step), batch, encoded, step)

    def scores(self, batch: Batch, encoded: Mapping[str, Tensor], step: Step) -> Tensor:
        """(U, B) logits, (U, B, K) of candidates, or (U, B, V) of all items; in pieces where the backbone wants it."""
        most, items, candidates = self.parts.backbone.most_candidates, self.beside.items, batch.columns.get("candidates")
        if most and candidates is None and items is not None and "lists" in self.parts.backbone.tasks:
            candidates = items.ids.unsqueeze(1).expand(-1, batch.label.shape[1], -1)
        if not most or candidates is None:
            return self.forward(batch, encoded, step)["logit"]
        pieces = (replace(batch, columns={**batch.columns, "candidates": piece}) for piece in candidates.split(most, dim=2))
        return torch.cat([self.forward(piece, encoded, step)["logit"] for piece in pieces], dim=2)

    def losses(
        self, batch: Batch, encoded: Mapping[str, Tensor], step: Step, outputs: Callable[[], Outputs]
    ) -> Mapping[str, Tensor]:
        """The prompt's own losses.

        Args:
            outputs: those of `forward` on these rows, made when they are asked for.
        """
        if self.parts.strategy.prompt != "on":
            return {}
        batch, encoded = self._here(batch), self._with_beside(encoded)

        def run(sites: Mapping[Site, Tensor] | None, rows: Batch, view: str = "", last: bool = False) -> Outputs:
            if sites is None and rows is batch and not view:
                return outputs()
            known = encoded if rows is batch else self._with_beside(self.encode(rows))
            viewed = step.view(view, last)
            return self._run(self._sites(rows, known, viewed) if sites is None else sites, rows, known, viewed)

        return self.parts.prompts[0].losses(
            self._part("prompt"), self._readings(encoded), batch, self.options["prompt"], step, run
        )

    def lenders(self) -> list[int]:
        """Items that are none of the units' own, and of which the prompt reads who took them when it scores."""
        lenders = getattr(self.parts.prompts[0], "lenders", None) if self.parts.strategy.prompt == "on" else None
        if lenders is None or self.beside.members is None:
            return []
        nothing = torch.zeros(1, 0)
        batch = self._here(Batch({}, nothing, nothing, nothing.long()))
        ids = lenders(self._readings(self._with_beside({})), batch, self.options["prompt"])
        return sorted({*ids.unique().tolist()} - {0})

    def _run(self, sites: Mapping[Site, Tensor], batch: Batch, encoded: Mapping[str, Tensor], step: Step) -> Outputs:
        return self.parts.backbone.forward(self._of_backbone(), encoded, batch, sites, self.options["backbone"], step)

    def _sites(self, batch: Batch, encoded: Mapping[str, Tensor], step: Step) -> Mapping[Site, Tensor]:
        if self.parts.strategy.prompt != "on":
            return self._neutral(batch)
        return self.parts.prompts[0].write(self._part("prompt"), self._readings(encoded), batch, self.options["prompt"], step)

    def _neutral(self, batch: Batch) -> dict[Site, Tensor]:
        if not self.parts.sites:
            return {}
        shape = (*batch.label.shape[:2],)
        like = next(iter([*self.trained.values(), *self.fixed.values()]))
        return {site: like.new_zeros(*shape, s.count, s.width) for site, s in self.parts.sites.items()}

    def _of_backbone(self) -> Params:
        """Its tensors, with what the prompt adds to some."""
        own, changed = self._part("backbone"), self.parts.changed
        if not changed or self.parts.strategy.prompt != "on":
            return own
        prompt, params = self.parts.prompts[0], self._part("prompt")
        rows = getattr(prompt, "change_rows", None)
        return Sums(own, changed, partial(prompt.change, params), rows and partial(rows, params))  # type: ignore[attr-defined]

    def _part(self, owner: str) -> dict[str, Tensor]:
        start = owner + "."
        every = {**self.fixed, **self.buffers, **self.trained}
        return {name.removeprefix(start): tensor for name, tensor in every.items() if name.startswith(start)}

    def _here(self, batch: Batch) -> Batch:
        """The rows, beside all items and those that are their units' own."""
        if self.beside.items is None or batch.items is not None:
            return batch
        made = replace(batch, items=self.beside.items, members=self.beside.members)
        return made.knowing(batch.distinct) if batch.distinct else made

    def _encoded_beside(self) -> dict[str, Tensor]:
        backbone, beside, params = self.parts.backbone, self.beside, self._of_backbone()
        items = backbone.encode_items(params, beside.items) if beside.items else {}
        return {**items, **(backbone.encode_users(params, beside.users) if beside.users else {})}

    def _with_beside(self, encoded: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self.beside.items is None and self.beside.users is None:
            return encoded
        return {**encoded, **(self._encoded_beside() if self.held is None else self.held)}

    def _readings(self, encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a prompt may read."""
        return {name: tensor.detach() for name, tensor in encoded.items()}


def _lanes(tensor: Tensor, places: slice | Sequence[int]) -> Tensor:
    """Some lanes of (T, ...); those of a slice are a view."""
    if isinstance(places, slice):
        return tensor[places]
    return tensor.index_select(0, torch.tensor(places, dtype=torch.long, device=tensor.device))
