"""Rows that claim something against baseline rows, paired on the same test rows or lists.

Shapes: R replicates, N rows or lists, S resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raytune_rec.evaluation import statistics
from raytune_rec.evaluation.measure import Measured
from raytune_rec.evaluation.statistics import Array

MEAN = "mean"
"""Stands where a unit's name stands, for the mean over units."""


def comparisons(
    measured: Mapping[str, Mapping[str, Measured]],
    labels: Mapping[str, NDArray[np.floating]],
    compare: Sequence[str],
    baselines: Sequence[str],
    confidence: float,
    seed: int,
    metrics: Sequence[str] = ("auc",),
    mean: bool = True,
) -> list[dict[str, Any]]:
    """Differences of mean metrics, one entry per row, baseline, metric and unit, then their mean over units (see `results`).

    Args:
        measured: unit -> row -> what was measured. labels: unit -> (N,); of lists, empty.
        compare: rows that claim. baselines: rows that they are compared with; two rows that are both are compared once.
        confidence: of the intervals. seed: of the resampling of replicates.
        metrics: what is compared. mean: whether the mean over units is an entry too.
    """
    found: list[dict[str, Any]] = []
    pairs = [(r, b) for r in compare for b in baselines if r != b]
    pairs = [(r, b) for i, (r, b) in enumerate(pairs) if (b, r) not in pairs[:i]]
    for row, baseline, metric in [(*pair, m) for pair in pairs for m in metrics]:
        gaps: dict[str, _Gap] = {}
        for i, (unit, rows) in enumerate(measured.items()):
            if row in rows and baseline in rows:
                gaps[unit] = _gap(rows[row], rows[baseline], metric, labels.get(unit), [seed, i])
        if mean and len(gaps) == len(measured) > 1:
            gaps[MEAN] = _mean(list(gaps.values()))
        names = {"row": row, "baseline": baseline, "metric": metric}
        found += [{**names, "unit": unit, **_entry(gap, confidence)} for unit, gap in gaps.items()]
    for entry, corrected in zip(found, statistics.holm([e["p"] for e in found]), strict=True):
        entry["p_holm"] = corrected
    return found


@dataclass(frozen=True)
class _Gap:
    """A difference of two rows.

    Args:
        mean: the difference. parts: independent sets (R,) of replicates whose means add up to it.
        draws: (S,), on resampled rows (users, of lists) and replicates.
        user_draws: on resampled users instead of rows.
        delong: p-value on mean scores.
    """

    mean: float
    parts: Sequence[Array]
    draws: Array
    user_draws: Array | None
    delong: float | None


def _gap(a: Measured, b: Measured, metric: str, labels: NDArray[np.floating] | None, seed: Sequence[int]) -> _Gap:
    """Of one unit; every metric sees the same resamples."""
    x, y = a.values[metric], b.values[metric]
    by_user = None
    if metric == "auc" and a.by_group is not None and b.by_group is not None:
        by_user = statistics.difference_draws((x, a.by_group), (y, b.by_group), [*seed, 4])
    delong = None
    if labels is not None and a.scores is not None and b.scores is not None:
        delong = statistics.delong_test(a.scores, b.scores, labels)
    return _Gap(
        mean=float(x.mean() - y.mean()),
        parts=statistics.difference_replicates(x, y),
        draws=statistics.difference_draws((x, a.changes[metric]), (y, b.changes[metric]), [*seed, 3]),
        user_draws=by_user,
        delong=delong,
    )


def _mean(gaps: Sequence[_Gap]) -> _Gap:
    """Of several units. Their test rows and trainings are different ones, so their resamples are independent."""
    by_user = [g.user_draws for g in gaps if g.user_draws is not None]
    return _Gap(
        mean=float(np.mean([g.mean for g in gaps])),
        parts=[part / len(gaps) for g in gaps for part in g.parts],
        draws=np.mean([g.draws for g in gaps], axis=0),
        user_draws=np.mean(by_user, axis=0) if len(by_user) == len(gaps) else None,
        delong=None,
    )


def _entry(gap: _Gap, confidence: float) -> dict[str, Any]:
    limits = statistics.interval(gap.mean, gap.draws, confidence, gap.parts)
    by_user = None if gap.user_draws is None else statistics.interval(gap.mean, gap.user_draws, confidence, gap.parts)
    differences = gap.parts[0] if len(gap.parts) == 1 else None
    return {
        "difference": limits.mean,
        "low": limits.low,
        "high": limits.high,
        "p": limits.p,
        "p_delong": gap.delong,
        "p_replicates": None if differences is None else statistics.paired_t(differences, np.zeros(len(differences))),
        "by_user": None if by_user is None else {"low": by_user.low, "high": by_user.high},
        "replicates": differences,
    }
