"""A backbone and its prompts as stacked tensors, and what they compute. Shapes: see `schema`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from raytune_rec.backbones.base import Outputs
from raytune_rec.schema import Batch, Site
from raytune_rec.tensors import Step
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
        return self.one_start and not self.parts.backbone.encoded_groups & self.trained_groups

    def part(self, places: slice | Sequence[int]) -> Model:
        """Some of the lanes; those of a slice are views, not copies."""
        chosen = places if isinstance(places, slice) else list(places)

        def of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: t[chosen] if t.shape[0] > 1 else t for n, t in tensors.items()}

        return replace(
            self, trained={n: t[chosen] for n, t in self.trained.items()}, fixed=of(self.fixed), buffers=of(self.buffers),
            shapes=[self.shapes[i] for i in (range(self.lanes)[chosen] if isinstance(chosen, slice) else chosen)],
            options={owner: of(values) for owner, values in self.options.items()},
        )  # fmt: skip

    def place(self, device: str, dtype: torch.dtype) -> None:
        """Bring the tensors to the device, in a type."""
        self.trained = {n: t.to(device, dtype).requires_grad_() for n, t in self.trained.items()}
        self.fixed = {n: t.to(device, dtype) for n, t in self.fixed.items()}
        self.buffers = {n: t.to(device, dtype) for n, t in self.buffers.items()}
        self.options = {owner: {n: t.to(device, dtype) for n, t in values.items()} for owner, values in self.options.items()}

    def encode(self, batch: Batch) -> Mapping[str, Tensor]:
        return self.parts.backbone.encode(self._part("backbone"), batch)

    def forward(self, batch: Batch, encoded: Mapping[str, Tensor], step: Step) -> Outputs:
        """The backbone's outputs, with what the prompt writes for these rows."""
        return self._run(self._sites(batch, encoded, step), batch, encoded, step)

    def losses(
        self, batch: Batch, encoded: Mapping[str, Tensor], step: Step, outputs: Callable[[], Outputs]
    ) -> Mapping[str, Tensor]:
        """The prompt's own losses.

        Args:
            outputs: those of `forward` on these rows, made when they are asked for.
        """
        if self.parts.strategy.prompt != "on":
            return {}

        def run(sites: Mapping[Site, Tensor] | None, rows: Batch, view: str = "", last: bool = False) -> Outputs:
            if sites is None and rows is batch and not view:
                return outputs()
            known, own = encoded if rows is batch else self.encode(rows), step.view(view, last)
            return self._run(self._sites(rows, known, own) if sites is None else sites, rows, known, own)

        return self.parts.prompts[0].losses(self._part("prompt"), _readings(encoded), batch, self.options["prompt"], step, run)

    def _run(self, sites: Mapping[Site, Tensor], batch: Batch, encoded: Mapping[str, Tensor], step: Step) -> Outputs:
        return self.parts.backbone.forward(self._part("backbone"), encoded, batch, sites, self.options["backbone"], step)

    def _sites(self, batch: Batch, encoded: Mapping[str, Tensor], step: Step) -> Mapping[Site, Tensor]:
        if self.parts.strategy.prompt != "on":
            return self._neutral(batch)
        return self.parts.prompts[0].write(self._part("prompt"), _readings(encoded), batch, self.options["prompt"], step)

    def _neutral(self, batch: Batch) -> dict[Site, Tensor]:
        if not self.parts.sites:
            return {}
        shape = (*batch.label.shape[:2],)
        like = next(iter([*self.trained.values(), *self.fixed.values()]))
        return {site: like.new_zeros(*shape, s.count, s.width) for site, s in self.parts.sites.items()}

    def _part(self, owner: str) -> dict[str, Tensor]:
        start = owner + "."
        every = {**self.fixed, **self.buffers, **self.trained}
        return {name.removeprefix(start): tensor for name, tensor in every.items() if name.startswith(start)}


def _readings(encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in encoded.items()}
