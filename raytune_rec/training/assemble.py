"""Where a backbone, a prompt and a strategy meet:

the only place that knows both sides, and the only one that can refuse a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import Options, kinds
from raytune_rec.errors import AssemblyError
from raytune_rec.prompts.base import Prompt
from raytune_rec.schema import Batch, DataSchema, Lane, Parameter, Site, SiteShape, Strategy
from raytune_rec.tensors import Step, crop, generator, pad

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Parts:
    """The components of one model. One prompt per lane: they differ in shapes only, and the first one computes for all. `sites`
    are those for which the backbone makes room.
    """

    backbone: Backbone
    prompts: Sequence[Prompt]
    strategy: Strategy
    sites: Mapping[Site, SiteShape]


@dataclass
class Model:
    """A backbone and its prompts as stacked tensors. Full names are `backbone.<name>` and `prompt.<name>`.

    Args:
        parts: who computes.
        trained: full name -> (T, *padded shape), the leaves of the gradient.
        fixed: full name -> (U, *shape): frozen parameters.
        buffers: full name -> (U, *shape): running statistics.
        groups: full name -> parameter group, of the trained ones.
        shapes: per lane, full name -> true shape, of the trained ones.
        rows: full name -> vocabulary, of the trained ones that a vocabulary indexes.
        options: `backbone` and `prompt` options by name, (U,), in the type of the parameters.
    """

    parts: Parts
    trained: dict[str, Tensor]
    fixed: dict[str, Tensor]
    buffers: dict[str, Tensor]
    groups: dict[str, str]
    shapes: list[dict[str, tuple[int, ...]]]
    rows: dict[str, str]
    options: dict[str, dict[str, Tensor]]
    trained_groups: frozenset[str] = field(default_factory=frozenset)

    @property
    def lanes(self) -> int:
        return len(self.shapes)

    @property
    def encoding_is_frozen(self) -> bool:
        return not self.parts.backbone.encoded_groups & self.trained_groups

    def part(self, start: int, stop: int) -> Model:
        """Some of the lanes: views, not copies."""
        if stop - start == self.lanes:
            return self

        def of(held: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: t[start:stop] if t.shape[0] > 1 else t for n, t in held.items()}

        return replace(
            self, trained=of(self.trained), fixed=of(self.fixed), buffers=of(self.buffers), shapes=self.shapes[start:stop],
            options={owner: of(values) for owner, values in self.options.items()},
        )  # fmt: skip

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


def meet(
    backbone: type[Backbone],
    prompt: type[Prompt],
    strategy: Strategy,
    backbone_options: Options,
    prompt_options: Sequence[Options],
    schema: DataSchema,
    sites: Mapping[Site, SiteShape] | None = None,
    where: str = "",
) -> Parts:
    """Construct both sides, or refuse the pair.

    Args:
        where: in front of a refusal of the pair: the row.
        sites: those that a pre-trained backbone was built with; None for a scratch start.

    Raises:
        AssemblyError: the prompt writes where the backbone takes nothing, reads what it does not give, or the pre-trained
            backbone was built for other sites.
    """
    takes, gives = backbone.takes(backbone_options, schema), backbone.gives(backbone_options, schema)
    on = strategy.prompt != "off"
    writes = prompt.writes(prompt_options[0]) if on else {}
    names = f"{where}prompt {prompt.__name__} and backbone {backbone.__name__}"
    problems = [
        f"{names} do not fit: the prompt writes {s.value!r}, the backbone takes {_list(takes)}; choose another prompt, or a "
        f"backbone that takes {s.value!r}."
        for s in writes
        if s not in takes
    ]
    missing = [r for r in prompt.reads(prompt_options[0]) if r not in gives] if on else []
    if backbone.histories != bool(schema.length):
        rows = "histories; set data.sequences" if backbone.histories else "single interactions; leave data.sequences out"
        problems.append(f"{where}backbone {backbone.__name__} does not fit the data: its rows are {rows}.")
    if schema.predicts and not getattr(backbone, "classes", False):
        problems.append(f"backbone {backbone.__name__} cannot predict {schema.predicts!r}; leave data.sequences.predict out.")
    problems += [
        f"{names} do not fit: the prompt reads {r!r}, the backbone gives {_list(gives)}; choose another prompt, or a backbone "
        f"that gives {r!r}."
        for r in missing
    ]
    if problems:
        raise AssemblyError(problems)
    room = {site: SiteShape(count, takes[site]) for site, count in writes.items() if count and site in backbone.shaped_by}
    if sites is not None and dict(sites) != room:
        raise AssemblyError(
            f"{where}strategy {strategy.name!r}: the pre-trained backbone was built for prompt sites {_sites(sites)}, "
            f"this row writes {_sites(room)}. "
            "Start the row from a pre-training variant with the same prompt."
        )
    prompts = [prompt(o, schema, gives, takes) for o in prompt_options] if on else []
    return Parts(backbone(backbone_options, schema, room), prompts, strategy, room)


def stack(
    parts: Parts,
    lanes: Sequence[Lane],
    options: Mapping[str, Sequence[Options]],
    start: Weights,
    rows: Sequence[Mapping[str, Any]],
    seed: int,
) -> Model:
    """The lanes' tensors: start values from a pre-trained backbone where it has them, else drawn.

    Args:
        options: `backbone` and `prompt` -> options of each lane.
        start: full name -> tensor of a pre-trained backbone; empty for a scratch start.
        rows: per lane, vocabulary -> (v,) global ids of its unit, as in `UnitData`.
        seed: of the job: with unit, trial, replicate and name it decides start values.

    Raises:
        AssemblyError: a parameter's group is claimed by nobody, or a lane needs a larger tensor than the backbone was pre-trained
            with.
    """
    declared = _declared(parts, len(lanes))
    trained_groups = groups_of(parts)
    fixed: dict[str, Tensor] = {}
    trained: dict[str, Tensor] = {}
    one_unit = len({lane.unit for lane in lanes}) == 1
    for name, of_lanes in declared.items():
        learns = of_lanes[0].group in trained_groups
        shared = not learns and name.startswith("backbone.") and (one_unit or of_lanes[0].rows is None)
        owners = list(zip(of_lanes, lanes, rows, strict=True))[: 1 if shared else None]
        drawn = [_start_value(name, *own, start, seed) for own in owners]
        (trained if learns else fixed)[name] = pad(drawn).contiguous()
    buffers = {}
    for b in parts.backbone.buffers():
        value = _start_value(f"backbone.{b.name}", b, lanes[0], {}, start, seed).unsqueeze(0)
        buffers[f"backbone.{b.name}"] = value.repeat(len(lanes), *[1] * (value.dim() - 1)) if b.group in trained_groups else value
    return Model(
        parts,
        trained,
        fixed,
        buffers,
        groups={name: declared[name][0].group for name in trained},
        shapes=[{name: _shape(declared[name][i], rows[i]) for name in trained} for i in range(len(lanes))],
        rows={name: v for name in trained if (v := declared[name][0].rows) is not None},
        options={owner: option_tensors(values) for owner, values in options.items()},
        trained_groups=trained_groups,
    )


def option_tensors(lanes: Sequence[Options]) -> dict[str, Tensor]:
    """Numeric and padded options as (T,), or (1,) where all lanes agree; in the type in which parameters are drawn."""
    found = {}
    for name, kind in kinds(type(lanes[0])).items():
        if kind != "structural":
            values = [getattr(o, name) for o in lanes]
            found[name] = torch.tensor(values[:1] if len(set(values)) == 1 else values, dtype=torch.float32)
    return found


def _declared(parts: Parts, lanes: int) -> dict[str, list[Parameter]]:
    """Full name -> the parameter of each lane."""
    found = {f"backbone.{p.name}": [p] * lanes for p in parts.backbone.parameters()}
    if parts.strategy.prompt == "on":
        of_lanes = [{p.name: p for p in prompt.parameters()} for prompt in parts.prompts]
        found |= {f"prompt.{name}": [own[name] for own in of_lanes] for name in of_lanes[0]}
    return found


def groups_of(parts: Parts) -> frozenset[str]:
    """The groups that learn; every name in the strategy must be one."""
    own = {p.group for p in parts.backbone.parameters()}
    of_prompt = {p.group for prompt in parts.prompts[:1] for p in prompt.parameters()}
    wanted: set[str] = set()
    for name in parts.strategy.train:
        if name not in own | of_prompt | {"all", "prompt"}:
            raise AssemblyError(
                f"strategy {parts.strategy.name!r} trains {name!r}; this backbone and prompt have {_list(own | of_prompt)}; "
                "choose a strategy that trains some of these, or another backbone."
            )
        wanted |= own if name == "all" else of_prompt if name == "prompt" else {name}
    return frozenset(wanted)


def _shape(p: Parameter, rows: Mapping[str, Any]) -> tuple[int, ...]:
    return (len(rows[p.rows]), *p.shape[1:]) if p.rows and p.rows in rows else p.shape


def _start_value(name: str, p: Parameter, lane: Lane, rows: Mapping[str, Any], start: Weights, seed: int) -> Tensor:
    if name not in start:
        return p.init(_shape(p, rows), generator(seed, lane.unit, lane.trial, lane.replicate, name))
    value = start[name]
    if value.dim() != len(p.shape) or any(have < want for have, want in zip(value.shape, p.shape, strict=True)):
        raise AssemblyError(
            f"{name}: this row needs shape {p.shape}, the backbone was pre-trained with {tuple(value.shape)}. "
            "Keep the pre-training's structure, or raise it there (prompt.meta_prompts of an elastic pre-training)."
        )
    value = crop(value, p.shape)
    return value[torch.as_tensor(rows[p.rows])] if p.rows and p.rows in rows else value


def _readings(encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in encoded.items()}


def _list(names: Any) -> str:
    return ", ".join(sorted(str(getattr(n, "value", n)) for n in names)) or "nothing"


def _sites(sites: Mapping[Site, SiteShape]) -> str:
    return ", ".join(f"{s.value} x{shape.count}" for s, shape in sites.items()) or "none"
