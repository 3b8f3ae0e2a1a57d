"""All that the results need of one unit of candidate lists, on shared resamples of its users.

The lists of a user are not independent, so whole users are resampled; without users, lists are. Shapes: R replicates, N lists,
S resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from raytune_rec.evaluation import statistics
from raytune_rec.evaluation.inputs import ListOutcomes, Outcome
from raytune_rec.evaluation.lists import LIST_METRICS
from raytune_rec.evaluation.measure import Measured
from raytune_rec.evaluation.statistics import Array

FULL = "full."
"""In front of the metrics of the full ranking."""
WITH_INTERVAL = ("auc", "hit@10", "ndcg@10", f"{FULL}hit@10", f"{FULL}ndcg@10")
COMPARED = ("auc", "ndcg@10")
OF_COHORTS = ("auc", "hit@10", "ndcg@10")


def measure_lists(
    outcomes: Mapping[str, ListOutcomes], groups: NDArray[np.integer] | None, resamples: int, seed: Sequence[int]
) -> dict[str, Measured]:
    """Measures all rows of the table on one unit.

    Args:
        outcomes: row -> where its positives stand; R may differ between rows, the lists are the same.
        groups: (N,) user ids, or None.
        resamples: S. seed: of the draws.
    """
    single = {row: values(o) for row, o in outcomes.items()}
    drawn = [(row, name) for row, of in single.items() for name in WITH_INTERVAL if name in of]
    if not drawn:
        return {}
    influence = np.concatenate([_influence(single[row][name]) for row, name in drawn])
    if groups is None:
        changes = statistics.resample_rows(influence, np.zeros(influence.shape[1], dtype=np.int64), resamples, [*seed, 0])
    else:
        changes = statistics.resample_groups(influence, groups, resamples, [*seed, 0])
    of_rows: dict[str, dict[str, Array]] = {row: {} for row in single}
    first = 0
    for row, name in drawn:
        of_rows[row][name] = changes[first : first + len(single[row][name])]
        first += len(single[row][name])
    return {row: Measured({name: v.mean(1) for name, v in of.items()}, of_rows[row]) for row, of in single.items()}


def values(outcomes: ListOutcomes) -> dict[str, Array]:
    """Metric -> (R, N), its value for each list; those of the full ranking with `FULL` in front."""
    found = _of(outcomes.sampled)
    if outcomes.full is not None:
        found |= {FULL + name: v for name, v in _of(outcomes.full).items()}
    return found


def cohort_lists(outcomes: ListOutcomes, mask: NDArray[np.bool_]) -> dict[str, Array]:
    """Some metrics of the lists in `mask`, metric -> (R,); NaN where there are none."""
    each = values(outcomes)
    if not mask.any():
        return {name: np.full(len(each[name]), np.nan) for name in OF_COHORTS}
    return {name: each[name][:, mask].mean(1) for name in OF_COHORTS}


def _of(outcome: Outcome) -> dict[str, Array]:
    better, ties, size = (
        torch.as_tensor(np.asarray(x, dtype=np.float64)) for x in (outcome.better, outcome.ties, outcome.candidates)
    )
    return {name: np.atleast_2d(metric(better, ties, size).numpy()) for name, metric in LIST_METRICS.items()}


def _influence(values: Array) -> Array:
    """(R, N): each list's value less the mean, over N; zero in sum, as the resampling needs."""
    return (values - values.mean(1, keepdims=True)) / values.shape[1]
