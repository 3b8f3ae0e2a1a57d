"""Configurations that earlier runs found best, to be tried first.

They are trained anew: old values are never compared with new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raytune_rec.errors import JobError
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.schema.work import Scalar
from raytune_rec.storage.files import STORAGE
from raytune_rec.storage.places import located
from raytune_rec.tuning.search.records import SEARCH, studies, trials
from raytune_rec.tuning.search.space import Point, Space


@dataclass(frozen=True)
class Past:
    """A finished trial of an earlier run."""

    method: str
    unit: str
    value: float
    options: Mapping[str, Scalar]


def read(folders: Sequence[str], metric: str) -> list[Past]:
    """The complete trials of earlier runs that were chosen by a metric, best first.

    Args:
        folders: run folders.
        metric: of this job's validation.

    Raises:
        JobError: every folder that holds no journal, or whose searches went by another metric.
    """
    problems, earlier = [], list[Past]()
    for folder in folders:
        journal = located(folder) / "journal"
        if not STORAGE.list(journal, "[0-9]*.json"):
            problems.append(f"tune.warm_start: {folder} holds no journal; name the folder of a run that has searched.")
            continue
        metrics = {study.study_name: study.user_attrs[SEARCH]["metric"] for _, _, study in studies(journal)}
        if metrics and metric not in metrics.values():
            other = ", ".join(map(repr, sorted(set(metrics.values()))))
            rule = f"its searches went by {other}, and this job goes by {metric!r}"
            problems.append(f"tune.warm_start: {folder}: {rule}; name a run of the same training.metric, or leave it out.")
        earlier += [_past(t) for t in trials(journal) if t["state"] == "complete" and metrics[t["study"]] == metric]
    if problems:
        raise JobError(problems)
    return sorted(earlier, key=lambda p: -p.value if METRICS[metric].higher else p.value)


def warmed(space: Space, past: Sequence[Past], method: str, unit: str, count: int) -> Space:
    """The space with the best configurations of earlier runs in front of its first points.

    They are those of the same method and unit; a unit that is new takes the best of each other unit of the method, the unit of
    the best value first.
    """
    of_study = [p for p in past if p.method == method and p.unit == unit]
    others: dict[str, Past] = {}
    for p in past:
        if p.method == method:
            others.setdefault(p.unit, p)
    points: list[Point] = []
    for p in of_study or list(others.values()):
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
    return Past(trial["method"], trial["unit"], float(trial["value"]), trial["options"])
