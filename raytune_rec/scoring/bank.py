"""Tuned models of several units over one backbone: a lane each, and a lane for each row of a table.

Rows of different units go through the model together, as lanes that read rows of their own (`python -m benchmarks.scoring`).

Of a table that interactions look up, a lane holds the rows that it tuned, beside the backbone's table, which all lanes share. A
pass looks up what its rows need, so that neither memory nor time grows with lanes x vocabulary.

Shapes: T lanes, G of them in a pass, B rows of each, N rows of a table, V ids of a vocabulary, v of them that a lane tuned.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from raytune_rec.components import Options, kinds
from raytune_rec.schema.contract import MEMBER, Batch
from raytune_rec.schema.work import Lane
from raytune_rec.task import Unit
from raytune_rec.tensors import Step, lookup
from raytune_rec.training.beside import Beside
from raytune_rec.training.model import Model
from raytune_rec.training.stack import stack

LANE = "\x00lane"
"""Column of a table: (N,) which of a bank's lanes a row asks; without it all ask the first."""
_IDLE = 1024
"""Most rows of a pass that may be empty, of lanes with fewer rows than others: as many as another pass costs."""


@dataclass(frozen=True)
class TunedRows:
    """The rows of a table that lanes tuned.

    Args:
        index: (all v,) int64 ascending, lane x V + id.
        values: (all v, ...).
        size: V.
    """

    index: Tensor
    values: Tensor
    size: int

    def of_lane(self, lane: int) -> slice:
        """Where those of a lane are."""
        ends = torch.searchsorted(self.index, torch.tensor([lane * self.size, (lane + 1) * self.size])).tolist()
        return slice(*ends)

    def over(self, table: Tensor, found: tuple[Tensor, Tensor], ids: Tensor) -> Tensor:
        """(G, M, ...) rows of the lanes' tables.

        Args:
            table: (1, V, ...), the backbone's. ids: (G, M).
            found: from `places` of these ids.
        """
        place, tuned = found
        shape = (*ids.shape, *[1] * (table.dim() - 2))
        return torch.where(tuned.view(shape), lookup(self.values.unsqueeze(0), place), lookup(table, ids))


def places(index: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """(G, M) where keys stand in an index, and whether they do."""
    place = torch.searchsorted(index, keys).clamp_(max=len(index) - 1)
    return place, lookup(index.unsqueeze(0), place) == keys


@dataclass(frozen=True)
class Group:
    """Lanes that are built alike.

    Args:
        model: of all lanes; of tables that some tuned it holds the backbone's.
        tuned: full name of a table -> the rows that lanes tuned.
        lanes: (G,) the lanes of `tuned` that these are.
    """

    model: Model
    tuned: Mapping[str, TunedRows] = field(default_factory=dict)
    lanes: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.long))

    def part(self, chosen: np.ndarray) -> Group:
        """Some of the lanes, ascending."""
        if len(chosen) == self.model.lanes:
            return self
        places = slice(chosen[0], chosen[0] + 1) if len(chosen) == 1 else chosen.tolist()
        return Group(self.model.part(places), self.tuned, self.lanes[places])

    def scores(self, batch: Batch) -> Tensor:
        """(G, B) logits, (G, B, K) of candidates, or (G, B, V) of all items."""
        model, asked = self._asked(batch) if self.tuned else (self.model, batch)
        return model.scores(asked, model.encode(asked), Step(False, last=True))

    def _asked(self, batch: Batch) -> tuple[Model, Batch]:
        """The model with tables of what a batch asks, and the batch with ids in these; id 0 stays what it is."""
        tables = {name: p.rows for name, p in self.model.parts.declared().items() if p.rows not in (None, MEMBER)}
        columns, held = dict(batch.columns), {**self.model.fixed, **self.model.buffers}
        for vocabulary in dict.fromkeys(tables[name] for name in self.tuned):
            ids = batch.columns[vocabulary]  # (G, B) or (G, B, L)
            asked = torch.cat([ids.new_zeros(len(ids), 1), ids.flatten(1)], 1)
            found: dict[int, tuple[Tensor, Tensor]] = {}
            for name in (name for name, of in tables.items() if of == vocabulary):
                rows = self.tuned.get(name)
                if rows is None:
                    held[name] = lookup(held[name], asked)
                    continue
                if id(rows.index) not in found:
                    keys = asked + self.lanes.unsqueeze(1) * rows.size
                    found[id(rows.index)] = places(rows.index, keys)
                held[name] = rows.over(held[name], found[id(rows.index)], asked)
            own = torch.arange(1, asked.shape[1]).view(1, *ids.shape[1:])
            columns[vocabulary] = torch.where(ids == 0, 0, own)
        fixed, buffers = ({name: held[name] for name in of} for of in (self.model.fixed, self.model.buffers))
        return replace(self.model, fixed=fixed, buffers=buffers), replace(batch, columns=columns)


@dataclass(frozen=True)
class Bank:
    """Lanes of one model, or of several where prompts are built unlike.

    Args:
        groups: lane after lane.
        units: whom each lane serves, in the order of the groups' lanes. names: what rows call it.
        plain: the last lane is the backbone alone, which answers rows of nobody else.
    """

    groups: tuple[Group, ...]
    units: tuple[Unit, ...]
    names: tuple[str, ...] = ()
    plain: bool = False

    @classmethod
    def of(cls, lanes: Sequence[Group | Model], units: Sequence[Unit], names: Sequence[str] = ()) -> Bank:
        """Models of one lane each over one backbone; those that are built alike are stacked.

        Args:
            names: of the lanes; without them they are called as their units.
        """
        made = [lane if isinstance(lane, Group) else Group(lane) for lane in lanes]
        called = names or [unit.name for unit in units]
        alike: dict[Hashable, list[int]] = {}
        for place, lane in enumerate(made):
            alike.setdefault(_built(lane.model), []).append(place)
        groups = [group for of in alike.values() for group in _cut(of, made[of[0]].model.parts.backbone.most_lanes)]
        order = [i for group in groups for i in group]
        stacked = tuple(_stacked([made[i] for i in group]) for group in groups)
        return cls(stacked, tuple(units[i] for i in order), tuple(called[i] for i in order))

    @property
    def models(self) -> tuple[Model, ...]:
        return tuple(group.model for group in self.groups)

    def lane(self, place: int) -> Group:
        """One lane alone. Its tensors are the bank's."""
        for group in self.groups:
            if place < group.model.lanes:
                return _alone(group, place)
            place -= group.model.lanes
        raise IndexError(place)

    def passes(self, lane: np.ndarray, most: int) -> Iterator[tuple[Group, Tensor]]:
        """Some lanes and their rows (G, B), -1 behind those of a lane with fewer; about `most` rows together, each row once.

        Args:
            lane: (N,) of each row.
        """
        order = np.argsort(lane.astype(np.uint16) if len(self.units) <= 2**16 else lane, kind="stable")  # short: a radix sort
        counts = np.bincount(lane, minlength=len(self.units))
        starts, first = counts.cumsum() - counts, 0
        for group in self.groups:
            for lanes in _alike(counts[first : first + group.model.lanes]):
                part, count, start = group.part(lanes), counts[first + lanes, None], starts[first + lanes, None]
                place = np.arange(count.max())
                grid = torch.from_numpy(np.where(place < count, order.take(start + place, mode="clip"), -1))
                yield from ((part, piece) for piece in grid.split(max(1, most // len(lanes)), dim=1))
            first += group.model.lanes


def _cut(places: list[int], most: int) -> list[list[int]]:
    """In groups of at most so many; 0: together."""
    return [places[i : i + most] for i in range(0, len(places), most)] if most else [places]


def _alike(counts: np.ndarray) -> Iterator[np.ndarray]:
    """Lanes in groups of so like numbers of rows (T,) that little of a pass is empty; those without rows in none."""
    lanes = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    while len(lanes):
        idle = np.cumsum(counts[lanes[0]] - counts[lanes])
        many = np.searchsorted(idle, _IDLE, side="right")
        yield np.sort(lanes[:many])
        lanes = lanes[many:]


def _built(model: Model) -> Hashable:
    """Equal for models whose lanes can stand side by side."""
    parts = model.parts
    structure = [_structure(parts.options[owner][0]) for owner in ("backbone", "prompt")]
    classes = [repr(type(part)) for part in (parts.backbone, *parts.prompts[:1])]
    members = model.beside.members
    beside = (members is None, members is None or members.feedback is None)
    apart = id(model) if parts.backbone.reads_feedback else 0  # of all items, which each artifact knows for its own alone
    return (*classes, parts.strategy.prompt, *parts.sites.items(), *structure, *beside, apart)


def _structure(options: Options) -> Hashable:
    return tuple((name, getattr(options, name)) for name, kind in kinds(type(options)).items() if kind == "structural")


def _stacked(lanes: Sequence[Group]) -> Group:
    """One model of all lanes: what of their tensors is equal is shared."""
    if len(lanes) == 1:
        return lanes[0]
    models = [lane.model for lane in lanes]
    made = [model.parts for model in models]
    options = {owner: [lane.options[owner][0] for lane in made] for owner in ("backbone", "prompt")}
    parts = replace(made[0], prompts=[prompt for lane in made for prompt in lane.prompts], options=options)
    starts = [{name: tensor[0] for name, tensor in (model.fixed | model.buffers).items()} for model in models]
    stacked = stack(parts, [Lane(i) for i in range(len(models))], starts)
    beside = Beside.together([model.beside for model in models])
    held = models[0].held if all(model.held is models[0].held for model in models) else None
    return Group(replace(stacked, beside=beside, held=held).holding(), _together(lanes), torch.arange(len(lanes)))


def _together(lanes: Sequence[Group]) -> dict[str, TunedRows]:
    """What single lanes tuned of tables. Tables that the same lanes tuned in the same rows have one index."""
    tuned: dict[str, TunedRows] = {}
    indexes: dict[Hashable, Tensor] = {}
    for name in dict.fromkeys(name for lane in lanes for name in lane.tuned):
        own = [(i, lane.tuned[name]) for i, lane in enumerate(lanes) if name in lane.tuned]
        size = own[0][1].size
        key = tuple((i, id(rows.index)) for i, rows in own)
        if key not in indexes:
            indexes[key] = torch.cat([rows.index + i * size for i, rows in own])
        tuned[name] = TunedRows(indexes[key], torch.cat([rows.values for _, rows in own]), size)
    return tuned


def _alone(group: Group, place: int) -> Group:
    """One lane of a group."""
    tuned: dict[str, TunedRows] = {}
    indexes: dict[int, Tensor] = {}
    lane = int(group.lanes[place])
    for name, rows in group.tuned.items():
        own = rows.of_lane(lane)
        if own.start == own.stop:
            continue
        if id(rows.index) not in indexes:
            indexes[id(rows.index)] = rows.index[own] - lane * rows.size
        tuned[name] = TunedRows(indexes[id(rows.index)], rows.values[own], rows.size)
    parts = group.model.parts
    alone = replace(
        parts,
        prompts=parts.prompts[place : place + 1],
        options={owner: values[place : place + 1] for owner, values in parts.options.items()},
    )
    return Group(replace(group.model.part(slice(place, place + 1)), parts=alone), tuned)
