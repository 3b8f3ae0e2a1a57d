"""Methods over many units: the mean by rows beside the plain one, and what is gained on small, middle and large units, and on
those near the others and far from them.

The plain mean over units lets each unit count the same, the row-weighted one each test row: of domains that differ in size a
thousandfold they are different questions. Thirds are of the units in the order of their test rows, or of their distances; of a
number that three does not divide the first thirds have one less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raytune_rec.evaluation import entries
from raytune_rec.evaluation.comparisons import Compared, covers
from raytune_rec.evaluation.uncertainty import intervals
from raytune_rec.evaluation.uncertainty.intervals import Estimate

LEAST = 6
"""Units of which thirds are told: two in each."""
NAMES = ("small", "middle", "large")
NEARNESS = ("near", "between", "far")


def thirds(sizes: Mapping[str, float], names: Sequence[str] = NAMES) -> dict[str, list[str]]:
    """Name of a third -> its units, by size and then as they come. sizes: unit -> test rows, or its distance."""
    order = sorted(sizes, key=lambda unit: sizes[unit])
    ends = [len(order) * part // 3 for part in range(4)]
    return {name: order[start:end] for name, start, end in zip(names, ends, ends[1:], strict=False)}


def by_size(
    compared: Compared,
    compare: Sequence[str],
    baselines: Sequence[str],
    confidence: float,
    distances: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The entry `sizes` of `results.json`; empty where units have no mean.

    Args:
        distances: of units from all others; of those that have one there are thirds too.
        compare: methods that claim. baselines: methods that they are compared with. confidence: of the intervals, which are not
            corrected for their number.
    """
    metric = compared.metrics[0]
    counted = list(compared.averaged.get(metric, ()))
    if len(counted) < 2:
        return {}
    whole = [m for m in compared.measured[counted[0]] if all(m in compared.measured[u] for u in counted)]
    groups = thirds({u: compared.sizes[u] for u in counted}) if len(counted) >= LEAST else {}
    told = {u: distances[u] for u in counted if distances and u in distances}
    near = thirds(told, NEARNESS) if len(told) >= LEAST else {}
    pairs = [(r, b) for r in compare for b in baselines if r != b and {r, b} <= set(whole)]
    parts: dict[str, tuple[list[str], bool]] = {
        "rows": (counted, True),
        **{name: (units, False) for name, units in (groups | near).items()},
    }
    return {
        "metric": metric,
        "thirds": groups,
        **({"distances": told, "nearness": near} if near else {}),
        "means": {m: {part: _level(compared, m, metric, *units, confidence) for part, units in parts.items()} for m in whole},
        "differences": [
            {"method": r, "baseline": b, "of": part, **_gap(compared, r, b, metric, *units, confidence)}
            for r, b in pairs
            for part, units in parts.items()
        ],
    }


def _estimate(compared: Compared, method: str, metric: str, units: Sequence[str], by_rows: bool) -> Estimate:
    parts = [compared.measured[u][method].estimate(metric) for u in units]
    return intervals.average(parts, compared.users.count(units), [compared.sizes[u] for u in units] if by_rows else ())


def _level(
    compared: Compared, method: str, metric: str, units: Sequence[str], by_rows: bool, confidence: float
) -> dict[str, Any]:
    return entries.with_interval(metric, None, _estimate(compared, method, metric, units, by_rows), confidence)


def _gap(
    compared: Compared, method: str, baseline: str, metric: str, units: Sequence[str], by_rows: bool, confidence: float
) -> dict[str, Any]:
    a, b = (_estimate(compared, name, metric, units, by_rows) for name in (method, baseline))
    gap = intervals.difference(a, b)
    limits = intervals.interval(gap, confidence)
    return {"difference": limits.mean, "low": limits.low, "high": limits.high, "covers": covers(gap, len(units))}
