"""Methods that claim something against baseline methods, paired on the same test rows or lists, judged by user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raytune_rec.evaluation.measures.measure import Measured
from raytune_rec.evaluation.uncertainty import intervals
from raytune_rec.evaluation.uncertainty.intervals import Estimate
from raytune_rec.evaluation.uncertainty.users import Users

MEAN = "mean"
"""Stands where a unit's name stands, for the mean over units."""


@dataclass(frozen=True)
class Compared:
    """What is compared.

    Args:
        measured: unit -> method -> what was measured. sizes: unit -> how many rows or lists. users: of all units.
        metrics: what methods are judged by. averaged: metric -> the units of the mean over units; empty: there is no mean.
    """

    measured: Mapping[str, Mapping[str, Measured]]
    sizes: Mapping[str, int]
    users: Users
    metrics: Sequence[str]
    averaged: Mapping[str, Sequence[str]]


def comparisons(
    compared: Compared, compare: Sequence[str], baselines: Sequence[str], confidence: float
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Differences of mean metrics, one entry per method, baseline, metric and unit, then their mean over units (see `results`).

    Args:
        compare: methods that claim. baselines: methods that they are compared with; two methods that are both are compared once.
        confidence: of the intervals.

    Returns:
        The entries, and the comparisons that could not be made: {method, baseline, unit, why}.
    """
    entries: list[dict[str, Any]] = []
    missing: list[dict[str, str]] = []
    pairs = [(r, b) for r in compare for b in baselines if r != b]
    pairs = [(r, b) for i, (r, b) in enumerate(pairs) if (b, r) not in pairs[:i]]
    for method, baseline in pairs:
        lacking = {u: [r for r in (method, baseline) if r not in methods] for u, methods in compared.measured.items()}
        missing += [
            {"method": method, "baseline": baseline, "unit": u, "why": f"{' and '.join(methods)} has no result there"}
            for u, methods in lacking.items()
            if methods
        ]
        for metric in compared.metrics:
            for unit, units in _places(compared, metric).items():
                if not any(lacking[u] for u in units):
                    names = {"method": method, "baseline": baseline, "metric": metric, "unit": unit}
                    entries.append({**names, **_entry(compared, method, baseline, metric, units, confidence)})
    for entry, corrected in zip(entries, intervals.holm([e["p"] for e in entries]), strict=True):
        entry["p_holm"] = corrected
    return entries, missing


def covers(estimate: Estimate, units: int) -> str:
    """What an interval holds, in words."""
    users = f"{estimate.users:,} users" + (f", drawn with all their rows in {units} units" if units > 1 else "")
    several = any(len(s) > 1 for s in estimate.trainings)
    if estimate.pretrainings > 1:
        return f"{users}; {estimate.pretrainings} pre-trainings with their replicates"
    trained = f"{users}; replicates" if several else users
    if estimate.pretrainings:
        return f"{trained}; one pre-training stands under it, whose variance is not in it"
    return trained if several else f"{trained}; a single run of each method, whose variance is not in it"


def _places(compared: Compared, metric: str) -> dict[str, Sequence[str]]:
    """Unit of a comparison -> the units that it is of."""
    places: dict[str, Sequence[str]] = {unit: [unit] for unit in compared.measured}
    return places | ({MEAN: compared.averaged[metric]} if len(places) > 1 and compared.averaged.get(metric) else {})


def _entry(
    compared: Compared, method: str, baseline: str, metric: str, units: Sequence[str], confidence: float
) -> dict[str, Any]:
    users = compared.users.count(units)
    a, b = (intervals.average([compared.measured[u][name].estimate(metric) for u in units], users) for name in (method, baseline))
    gap = intervals.difference(a, b)
    limits = intervals.interval(gap, confidence)
    return {
        "difference": limits.mean,
        "low": limits.low,
        "high": limits.high,
        "p": limits.p,
        "n": sum(compared.sizes[u] for u in units),
        "users": users,
        "pretrainings": gap.pretrainings or None,
        "trainings": gap.by_training,
        "covers": covers(gap, len(units)),
    }
