"""Intervals and tests for small differences. Shapes: N test rows, R replicates, K quantities, S resamples.

Two things vary: the test rows, which all methods share, and the replicates of a training. The bootstrap here resamples both.
Rows: the AUC is replaced by its linear expansion in the weights of the rows (DeLong's placement values are its coefficients),
so that a resample costs one product with the counts of the rows instead of a new ranking, and all methods see the same
resamples. What that leaves out is of order 1/N. Replicates: drawn with replacement, their spread scaled by sqrt(R / (R - 1))
because few of them would show too little of it.
A p-value counted over S resamples could not fall below 1/S, too coarse for a correction of many tests: it comes from the
standard error of the resamples and the t law instead.

DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988); the midrank form is Sun and Xu's, IEEE SPL 21 (2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, and the two-sided p-value of the estimate being zero."""

    mean: float
    low: float
    high: float
    p: float = float("nan")


def placements(scores: NDArray[np.floating], labels: NDArray[np.floating]) -> tuple[Array, Array]:
    """AUC and its first-order sensitivity to the weight of each row.

    Args:
        scores: (K, N), ties count half. labels: (N,) in {0, 1}.

    Returns:
        (K,) areas and (K, N) influences: with row weights w (1 on average within each class) the area is `area + influence @
        w`. The influences of a class sum to zero. All NaN where a class is missing.
    """
    scores = np.atleast_2d(scores)
    positive = np.asarray(labels) > 0
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return np.full(len(scores), np.nan), np.full(scores.shape, np.nan)
    rank = stats.rankdata(scores, axis=1)
    influence = np.empty(scores.shape)
    below = (rank[:, positive] - stats.rankdata(scores[:, positive], axis=1)) / n  # share of negatives below each positive
    above = 1 - (rank[:, ~positive] - stats.rankdata(scores[:, ~positive], axis=1)) / m
    areas = below.mean(1)
    influence[:, positive] = (below - areas[:, None]) / m
    influence[:, ~positive] = (above - areas[:, None]) / n
    return areas, influence


def delong(scores: NDArray[np.floating], labels: NDArray[np.floating]) -> tuple[Array, Array]:
    """AUCs of K score vectors on the same rows with DeLong's covariance: (K, N), (N,) -> (K,), (K, K)."""
    areas, influence = placements(scores, labels)
    positive = np.asarray(labels) > 0
    covariance = np.zeros((len(areas), len(areas)))
    for part in (influence[:, positive], influence[:, ~positive]):
        size = part.shape[1]
        covariance += part @ part.T * (size / (size - 1) if size > 1 else np.nan)
    return areas, covariance


def delong_test(a: NDArray[np.floating], b: NDArray[np.floating], labels: NDArray[np.floating]) -> float:
    """Two-sided p-value of equal AUCs of two score vectors (N,) on the same rows."""
    areas, covariance = delong(np.stack([a, b]), labels)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return _p_value(areas[0] - areas[1], float(np.sqrt(max(variance, 0.0))))


def resample_rows(influence: Array, strata: NDArray[np.integer], resamples: int, seed: int | Sequence[int]) -> Array:
    """Change of K linear quantities under resampling of rows with replacement, within each stratum.

    Args:
        influence: (K, N), coefficients of the row weights; they sum to zero in each stratum.
        strata: (N,) ids; classes of the label for a stratified bootstrap of the AUC.
        resamples: S.
        seed: of the draws. The same seed gives the same rows whatever K is.

    Returns:
        (K, S).
    """
    g = np.random.default_rng(seed)
    parts = [np.flatnonzero(strata == s) for s in np.unique(strata)]
    coefficient = [np.ascontiguousarray(influence[:, part].T) for part in parts]
    changes = np.zeros((len(influence), resamples))
    step = max(1, 2_000_000 // max(1, influence.shape[1]))  # rows of counts in memory at a time
    for first in range(0, resamples, step):
        block = min(step, resamples - first)
        for part, weight in zip(parts, coefficient, strict=True):
            size = len(part)
            drawn = g.integers(0, size, (block, size)) + np.arange(block)[:, None] * size
            counts = np.bincount(drawn.ravel(), minlength=block * size).reshape(block, size)
            changes[:, first : first + block] += (counts.astype(np.float64) @ weight).T
    return changes


def resample_groups(influence: Array, groups: NDArray[np.integer], resamples: int, seed: int | Sequence[int]) -> Array:
    """As `resample_rows`, but all rows of a group (a user) are drawn together: for rows that are not independent. -> (K, S)."""
    _, dense = np.unique(groups, return_inverse=True)
    totals = np.stack([np.bincount(dense, weights=row).astype(np.float64) for row in influence])
    return resample_rows(totals, np.zeros(totals.shape[1], dtype=np.int64), resamples, seed)


def resample_replicates(values: Array, changes: Array, seed: int | Sequence[int]) -> Array:
    """Resampled means over replicates.

    Args:
        values: (R,), the quantity of each replicate. changes: (R, S) from `resample_rows`.
        seed: of the draws.

    Returns:
        (S,): the mean over R replicates drawn with replacement, on the rows of that resample.
    """
    count, resamples = changes.shape
    if count == 1:
        return values[0] + changes[0]
    pick = np.random.default_rng(seed).integers(0, count, (resamples, count))
    drawn = values[pick].mean(1) - values.mean()
    return values.mean() + drawn * np.sqrt(count / (count - 1)) + changes[pick, np.arange(resamples)[:, None]].mean(1)


def difference_draws(a: tuple[Array, Array], b: tuple[Array, Array], seed: int | Sequence[int]) -> Array:
    """Resampled difference of two means over replicates, each given as (values (R,), changes (R, S)). -> (S,).

    Replicate r of both shares its batch order and noise, so equal numbers are drawn in pairs; a single one stands against
    all; otherwise each side is drawn by itself.
    """
    if _paired(a[0], b[0]):
        return resample_replicates(a[0] - b[0], a[1] - b[1], seed)
    base = [seed] if isinstance(seed, int) else list(seed)
    return resample_replicates(*a, [*base, 0]) - resample_replicates(*b, [*base, 1])


def difference_replicates(a: Array, b: Array) -> list[Array]:
    """The independent sets of replicates behind a difference of means: one of paired differences (R,), or those of both
    sides."""
    return [a - b] if _paired(a, b) else [a, b]


def interval(mean: float, draws: Array, confidence: float = 0.95, replicates: Sequence[Array] = ()) -> Interval:
    """Percentile interval of resampled values around their estimate, with the p-value of zero from their standard error.

    Few replicates know their own spread badly. As in Student's interval, limits are drawn out from the estimate and the
    p-value is taken from the t law, with Satterthwaite's degrees of freedom: many where the test rows make most of the
    variance, R - 1 where replicates do.

    Args:
        mean: the estimate. draws: (S,). confidence: of the interval.
        replicates: independent sets (R,) of values whose means add up to the estimate (up to constants).
    """
    tail = (1 - confidence) / 2
    freedom = _freedom(float(draws.var(ddof=1)), replicates)
    stretch = stats.t.isf(tail, freedom) / stats.norm.isf(tail)
    low, high = mean + stretch * (np.quantile(draws, [tail, 1 - tail]) - mean)
    return Interval(float(mean), float(low), float(high), _p_value(mean, float(draws.std(ddof=1)), freedom))


def auc_difference(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    labels: NDArray[np.floating],
    groups: NDArray[np.integer] | None = None,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean AUC of `a` minus mean AUC of `b` over their replicates, with an interval for test rows and replicates together.

    Args:
        a: (Ra, N). b: (Rb, N). labels: (N,) in {0, 1}.
        groups: (N,) ids; given, whole groups are resampled. Otherwise rows are, within each class of the label.
        resamples: S. confidence: of the percentile interval. seed: of the draws.
    """
    areas, influence = placements(np.concatenate([np.atleast_2d(a), np.atleast_2d(b)]), labels)
    if groups is None:
        changes = resample_rows(influence, (np.asarray(labels) > 0).astype(np.int64), resamples, [seed, 0])
    else:
        changes = resample_groups(influence, groups, resamples, [seed, 0])
    cut = len(np.atleast_2d(a))
    one, other = (areas[:cut], changes[:cut]), (areas[cut:], changes[cut:])
    draws = difference_draws(one, other, [seed, 1])
    return interval(float(one[0].mean() - other[0].mean()), draws, confidence, difference_replicates(one[0], other[0]))


def paired_t(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Two-sided p-value of equal means over paired replicates (R,), (R,); NaN for fewer than two, 1 where all differences are
    0."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if len(difference) < 2:
        return float("nan")
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    if error == 0:
        return 1.0 if difference[0] == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference.mean()) / error, len(difference) - 1))


def wilcoxon(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test over paired values; 1 where all differences are 0.

    With 5 pairs it cannot fall below 0.0625: use it over units or seeds, of which there are more.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return float(stats.wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down rule, in the order given. NaN stays NaN and is not counted."""
    values = np.asarray(p, dtype=np.float64)
    corrected = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()


def mean_interval(values: Sequence[float] | Array, confidence: float = 0.95) -> Interval:
    """Mean of values (R,) with Student's interval; the interval of a single value is NaN."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return Interval(float(x.mean()), float("nan"), float("nan"))
    half = stats.t.ppf((1 + confidence) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half), paired_t(x, np.zeros(len(x))))


def _paired(a: Array, b: Array) -> bool:
    return len(a) == len(b) or 1 in (len(a), len(b))


def _freedom(variance: float, replicates: Sequence[Array]) -> float:
    """Degrees of freedom of a variance to which sets of replicates contribute; infinite where none does."""
    parts = [(r.var(ddof=1) / len(r), len(r) - 1) for r in replicates if len(r) > 1]
    rough = sum(v**2 / n for v, n in parts)
    return max(variance**2 / rough, min(n for _, n in parts)) if rough > 0 else float("inf")


def _p_value(mean: float, error: float, freedom: float = float("inf")) -> float:
    if np.isnan(mean) or np.isnan(error):
        return float("nan")
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, freedom))
