"""Tuned models of several units over one backbone: a lane each, and a lane for each row of a table.

Rows of different units go through the model together, as lanes that read rows of their own: 50 prompts and 1,000 mixed rows take
5 ms where a pass for each prompt takes 87 (DeepFM with PLATE; SASRec with PPR 55 and 198; one thread of a CPU).

Shapes: T lanes, G of them in a pass, B rows of each, N rows of a table.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from raytune_rec.components import Options, kinds
from raytune_rec.schema.work import Lane
from raytune_rec.task import Unit
from raytune_rec.training.beside import Beside
from raytune_rec.training.model import Model
from raytune_rec.training.stack import stack

LANE = "\x00lane"
"""Column of a table: (N,) which of a bank's lanes a row asks; without it all ask the first."""


@dataclass(frozen=True)
class Bank:
    """Lanes of one model, or of several where prompts are built unlike.

    Args:
        models: lane after lane.
        units: whom each lane serves, in the order of the models' lanes.
    """

    models: tuple[Model, ...]
    units: tuple[Unit, ...]

    @classmethod
    def of(cls, models: Sequence[Model], units: Sequence[Unit]) -> Bank:
        """Models of one lane each over one backbone; those that are built alike are stacked."""
        alike: dict[Hashable, list[int]] = {}
        for place, model in enumerate(models):
            alike.setdefault(_built(model), []).append(place)
        groups = [group for places in alike.values() for group in _cut(places, models[places[0]].parts.backbone.most_lanes)]
        return cls(tuple(_stacked([models[i] for i in group]) for group in groups), tuple(units[i] for g in groups for i in g))

    def passes(self, lane: np.ndarray, most: int) -> Iterator[tuple[Model, Tensor]]:
        """Some lanes and their rows (G, B), -1 behind those of a lane with fewer; about `most` rows together, each row once.

        Args:
            lane: (N,) of each row.
        """
        first = 0
        for model in self.models:
            rows = {i: torch.from_numpy(np.flatnonzero(lane == first + i)) for i in range(model.lanes)}
            for lanes in _alike({i: len(places) for i, places in rows.items() if len(places)}):
                part = model.part(slice(lanes[0], lanes[0] + 1) if len(lanes) == 1 else lanes) if model.lanes > 1 else model
                grid = torch.nn.utils.rnn.pad_sequence([rows[i] for i in lanes], batch_first=True, padding_value=-1)
                yield from ((part, piece) for piece in grid.split(max(1, most // len(lanes)), dim=1))
            first += model.lanes


def _cut(places: list[int], most: int) -> list[list[int]]:
    """In groups of at most so many; 0: together."""
    return [places[i : i + most] for i in range(0, len(places), most)] if most else [places]


def _alike(counts: Mapping[int, int]) -> list[list[int]]:
    """Lanes in groups of numbers of rows within a factor of two, so that not much of a pass is empty."""
    groups: dict[int, list[int]] = {}
    for lane, count in counts.items():
        groups.setdefault(count.bit_length(), []).append(lane)
    return list(groups.values())


def _built(model: Model) -> Hashable:
    """Equal for models whose lanes can stand side by side."""
    parts = model.parts
    structure = [_structure(parts.options[owner][0]) for owner in ("backbone", "prompt")]
    classes = [repr(type(part)) for part in (parts.backbone, *parts.prompts)]
    members = model.beside.members
    beside = (members is None, members is None or members.feedback is None)
    return (*classes, parts.strategy.prompt, *parts.sites.items(), *structure, *beside)


def _structure(options: Options) -> Hashable:
    return tuple((name, getattr(options, name)) for name, kind in kinds(type(options)).items() if kind == "structural")


def _stacked(models: Sequence[Model]) -> Model:
    """One model of all lanes: what of their tensors is equal is shared."""
    made = [model.parts for model in models]
    options = {owner: [lane.options[owner][0] for lane in made] for owner in ("backbone", "prompt")}
    parts = replace(made[0], prompts=[prompt for lane in made for prompt in lane.prompts], options=options)
    starts = [{name: tensor[0] for name, tensor in (model.fixed | model.buffers).items()} for model in models]
    stacked = stack(parts, [Lane(i) for i in range(len(models))], starts)
    return replace(stacked, beside=Beside.together([model.beside for model in models])).holding()
