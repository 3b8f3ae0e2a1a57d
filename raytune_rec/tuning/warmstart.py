"""Configurations that earlier runs found best, to be tried first.

They are trained anew: old values are never compared with new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raytune_rec.errors import JobError
from raytune_rec.schema import Scalar
from raytune_rec.tuning.records import trials
from raytune_rec.tuning.space import Point, Space


@dataclass(frozen=True)
class Past:
    """A finished trial of an earlier run."""

    row: str
    unit: str
    value: float
    options: Mapping[str, Scalar]


def read(folders: Sequence[str], higher: bool) -> list[Past]:
    """The complete trials of earlier runs, best first within a unit.

    Args:
        folders: run folders.
        higher: whether a higher metric is better.

    Raises:
        JobError: every folder that holds no journal.
    """
    problems, found = [], list[Past]()
    for folder in folders:
        journal = Path(folder).expanduser() / "journal"
        if not any(journal.glob("[0-9]*.json")):
            problems.append(f"tune.warm_start: {folder} holds no journal; name the folder of a run that has searched.")
            continue
        found += [_past(trial) for trial in trials(journal) if trial["state"] == "complete"]
    if problems:
        raise JobError(problems)
    return sorted(found, key=lambda p: -p.value if higher else p.value)


def warmed(space: Space, past: Sequence[Past], row: str, unit: str, count: int) -> Space:
    """The space with the best configurations of earlier runs in front of its first points.

    Those of the same row and unit come first; a unit that is new takes the best of each other unit of the row.
    """
    own = [p for p in past if p.row == row and p.unit == unit]
    others = {p.unit: p for p in reversed(past) if p.row == row}  # the best of each unit is the one that is met last
    points: list[Point] = []
    for p in own or list(others.values()):
        point = _point(space, p.options)
        if point.values and all(point.values != known.values for known in points):
            points.append(point)
    points = points[:count]
    return replace(space, first=(*points, *(p for p in space.first if all(p.values != known.values for known in points))))


def _point(space: Space, options: Mapping[str, Scalar]) -> Point:
    """What of a configuration is still searched, and of the right kind."""
    values = {d.key: d.cast(options[d.key]) for d in space.dimensions if d.key in options and d.fits(options[d.key])}
    return Point(values, any(not d.contains(values[d.key]) for d in space.dimensions if d.key in values))


def _past(trial: Mapping[str, Any]) -> Past:
    return Past(trial["row"], trial["unit"], float(trial["value"]), trial["options"])
