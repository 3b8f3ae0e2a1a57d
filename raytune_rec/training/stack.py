"""The lanes' tensors: the one way from components and start values to a model, whether it trains, scores or is to be saved."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raytune_rec.components import Options, kinds
from raytune_rec.errors import AssemblyError
from raytune_rec.schema.contract import MEMBER, Parameter
from raytune_rec.schema.prepared import ITEM
from raytune_rec.schema.work import Lane
from raytune_rec.tensors import crop, generator, pad
from raytune_rec.training.model import Model
from raytune_rec.training.parts import Parts

Weights = Mapping[str, Tensor]
Rows = Mapping[str, Any]
"""Vocabulary -> (v,) global ids of a unit, as in `UnitData.rows`."""


def stack(
    parts: Parts, lanes: Sequence[Lane], starts: Sequence[Weights] = ({},), rows: Sequence[Rows] = ({},), seed: int = 0
) -> Model:
    """A model of some lanes. What trains has a value for each lane. What does not is shared where all lanes have the same, and
    stacked where they differ; if no start has it, the first lane (of a unit, where ids are local) draws it for all.

    Args:
        starts: full name -> tensor of a pre-trained backbone, and of what was tuned before; without a name it is drawn. One for
            each lane, or one that all share. What the backbone brings itself (`Backbone.start`) stands behind them.
        rows: global ids of each lane's unit; one for each lane, or one that all share.
        seed: of the job: with unit, trial, replicate and name it decides start values.

    Raises:
        AssemblyError: a parameter's group is claimed by nobody, or a lane needs a larger tensor than the backbone was pre-trained
            with.
    """
    most = parts.backbone.most_lanes
    assert not most or len(lanes) <= most, f"{len(lanes)} lanes of a backbone that stacks {most}"
    if any(name not in start for start in starts for name in parts.of_backbone):  # what has all asks for no file elsewhere
        outside = {f"backbone.{name}": tensor for name, tensor in parts.backbone.start().items()}
        starts = [{**outside, **start} for start in starts]
    starts = [with_new_items(parts, start) for start in starts]
    starts, rows = (list(each) * (len(lanes) if len(each) == 1 else 1) for each in (starts, rows))
    declared = [parts.declared(i) for i in range(len(lanes))]
    rows_alone = parts.strategy.rows
    groups = {
        name: p.group
        for name, p in declared[0].items()
        if p.group in parts.trained_groups and (not rows_alone or p.rows == rows_alone)
    }
    held: dict[str, Tensor] = {}
    for name in declared[0]:
        seats = [_Seat(name, *seat) for seat in zip((of_lane[name] for of_lane in declared), lanes, starts, rows, strict=True)]
        held[name] = _stacked(seats, seed) if name in groups else _shared(seats, seed)
    trained = {name: tensor for name, tensor in held.items() if name in groups and name not in parts.buffers}
    return Model(
        parts,
        trained,
        {name: tensor for name, tensor in held.items() if name not in groups and name not in parts.buffers},
        {name: tensor for name, tensor in held.items() if name in parts.buffers},
        groups={name: groups[name] for name in trained},
        shapes=[{name: _shape(of_lane[name], ids) for name in groups} for of_lane, ids in zip(declared, rows, strict=True)],
        rows={name: v for name in trained if (v := declared[0][name].rows) is not None},
        options={owner: option_tensors(values) for owner, values in parts.options.items()},
        one_start=all(start.get(name) is starts[0].get(name) for start in starts for name in parts.of_backbone),
    )


def with_new_items(parts: Parts, start: Weights) -> Weights:
    """Start values with rows for the items that no pre-training has: these begin as id 0, what stands for no item."""
    grown = {}
    for name, p in parts.declared().items() if parts.new else ():
        if p.rows == ITEM and name in start and len(start[name]) == p.shape[0] - parts.new:
            unknown = start[name][:1].expand(parts.new, *start[name].shape[1:])
            grown[name] = torch.cat([start[name], unknown])
    return {**start, **grown} if grown else start


def option_tensors(lanes: Sequence[Options]) -> dict[str, Tensor]:
    """Numeric and padded options as (T,), or (1,) where all lanes agree; in the type in which parameters are drawn."""
    tensors = {}
    for name, kind in kinds(type(lanes[0])).items():
        if kind != "structural":
            values = [getattr(o, name) for o in lanes]
            tensors[name] = torch.tensor(values[:1] if len(set(values)) == 1 else values, dtype=torch.float32)
    return tensors


@dataclass(frozen=True)
class _Seat:
    """One tensor of one lane: what it is, whose, and from where."""

    name: str
    parameter: Parameter
    lane: Lane
    start: Weights
    rows: Rows

    @property
    def local(self) -> bool:
        return self.parameter.rows is not None and self.parameter.rows in self.rows

    @property
    def origin(self) -> Hashable:
        """Frozen tensors of one origin have one value."""
        unit = self.lane.unit if self.local else ""
        if self.name in self.start:
            return self.start[self.name].data_ptr(), self.parameter.shape, unit
        return unit if self.name.startswith("backbone.") else id(self)

    def value(self, seed: int) -> Tensor:
        """The start value, in the lane's true shape."""
        p, lane = self.parameter, self.lane
        if self.name not in self.start:
            return p.init(_shape(p, self.rows), generator(seed, lane.unit, lane.trial, lane.replicate, self.name))
        value = self.start[self.name]
        if p.rows == MEMBER:
            return value
        if value.dim() != len(p.shape) or any(have < want for have, want in zip(value.shape, p.shape, strict=True)):
            raise AssemblyError(
                f"{self.name}: this method needs shape {p.shape}, the backbone was pre-trained with {tuple(value.shape)}. "
                "Keep the pre-training's structure, or raise it there (prompt.meta_prompts of an elastic pre-training)."
            )
        value = crop(value, p.shape)
        return value[torch.as_tensor(self.rows[p.rows])] if self.local and p.rows else value


def _stacked(seats: Sequence[_Seat], seed: int) -> Tensor:
    """(T, *padded shape)."""
    return pad([seat.value(seed) for seat in seats])


def _shared(seats: Sequence[_Seat], seed: int) -> Tensor:
    """(U, *padded shape), U = 1 where all lanes have equal values."""
    values: dict[Hashable, Tensor] = {}
    for seat in seats:
        if seat.origin not in values:
            values[seat.origin] = seat.value(seed)
    first = next(iter(values.values()))
    alike = all(torch.equal(value, first) for value in values.values() if value is not first)
    return first.unsqueeze(0).contiguous() if alike else pad([values[seat.origin] for seat in seats])


def _shape(p: Parameter, rows: Rows) -> tuple[int, ...]:
    return (len(rows[p.rows]), *p.shape[1:]) if p.rows and p.rows in rows else p.shape
