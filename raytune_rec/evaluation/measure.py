"""All that the results need of one unit of rows with labels, on shared resamples of them.

Shapes: R replicates, N rows, S resamples, K all score vectors of the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from raytune_rec.evaluation import metrics, statistics
from raytune_rec.evaluation.statistics import Array


@dataclass(frozen=True)
class Measured:
    """One row of the table on one unit.

    Args:
        values: metric name -> (R,).
        changes: metrics that get an interval -> (R, S), their change on each resample of the rows (of the users, of lists).
        by_group: (R, S), the change of the AUC when whole groups are resampled instead; None without groups, and of lists.
        scores: (N,), mean logit over replicates; None of lists.
    """

    values: Mapping[str, Array]
    changes: Mapping[str, Array]
    by_group: Array | None = None
    scores: Array | None = None

    def draws(self, metric: str, seed: Sequence[int]) -> Array:
        """Resampled mean over replicates, (S,)."""
        return statistics.resample_replicates(self.values[metric], self.changes[metric], seed)


def measure(
    predictions: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.floating],
    groups: NDArray[np.integer] | None,
    resamples: int,
    seed: Sequence[int],
) -> dict[str, Measured]:
    """Measures all rows of the table on one unit.

    Args:
        predictions: row -> (R, N) logits; R may differ between rows.
        labels: (N,) in {0, 1}.
        groups: (N,) user ids, or None.
        resamples: S. seed: of the draws.
    """
    stacked = np.concatenate([np.atleast_2d(p) for p in predictions.values()]).astype(np.float64)
    count = len(stacked)
    positive = (np.asarray(labels) > 0).astype(np.int64)
    areas, influence = statistics.placements(stacked, labels)
    changes = statistics.resample_rows(
        np.concatenate([influence, _loss_influence(stacked, positive)]), positive, resamples, [*seed, 0]
    )
    grouped = None if groups is None else statistics.resample_groups(influence, groups, resamples, [*seed, 1])
    values = {"auc": areas, **_values(stacked, labels, groups)}
    measured, first = {}, 0
    for row, scores in predictions.items():
        part = slice(first, first := first + len(np.atleast_2d(scores)))
        measured[row] = Measured(
            values={name: v[part] for name, v in values.items()},
            changes={"auc": changes[:count][part], "logloss": changes[count:][part]},
            by_group=None if grouped is None else grouped[part],
            scores=stacked[part].mean(0),
        )
    return measured


def cohort(predictions: NDArray[np.floating], labels: NDArray[np.floating], mask: NDArray[np.bool_]) -> dict[str, Array]:
    """AUC and log loss of the rows in `mask`, metric -> (R,)."""
    scores = torch.as_tensor(np.atleast_2d(predictions)[:, mask])
    label = torch.as_tensor(np.asarray(labels)[mask])
    return {name: metrics.METRICS[name].function(scores, label).numpy() for name in ("auc", "logloss")}


def _values(scores: Array, labels: NDArray[np.floating], groups: NDArray[np.integer] | None) -> dict[str, Array]:
    s, y = torch.as_tensor(scores), torch.as_tensor(np.asarray(labels, dtype=np.float64))
    found = {name: metrics.METRICS[name].function(s, y).numpy() for name in ("logloss", "calibration_error")}
    if groups is not None:
        found["group_auc"] = metrics.group_auc(s, y, torch.as_tensor(np.asarray(groups, dtype=np.int64))).numpy()
    return found


def _loss_influence(scores: Array, positive: NDArray[np.int64]) -> Array:
    """(K, N): each row's log loss less the mean of its class, over N; zero in sum within each class, as the resampling
    needs."""
    loss = -np.log(np.clip(expit(np.where(positive > 0, scores, -scores)), 1e-300, None))
    for label in np.unique(positive):
        part = positive == label
        loss[:, part] -= loss[:, part].mean(1, keepdims=True)
    return loss / max(scores.shape[1], 1)
