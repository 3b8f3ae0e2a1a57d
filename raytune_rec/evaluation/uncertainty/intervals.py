"""Intervals and tests of small differences: what is known of an estimate, and how sure it is.

Two things vary. **Users**: all methods are tested on the same ones, whose rows are not independent. Their part of the variance is
that of a bootstrap which draws whole users, once for all units and methods (`users`). **Trainings**: another pre-training, other
start values and another order of rows give other numbers. Their part is s^2 / G, from the G values that independent trainings
reached (`trainings`). Replicates on one pre-training share its luck, so where a method stands on several pre-trainings each of
those counts once, with the mean of its replicates; where it stands on one or none, each replicate counts.

The two parts add up (the law of total variance); limits and p-value are Student's on their sum, with Satterthwaite's degrees of
freedom: users - 1 for the first part, G - 1 for the second. Three pre-trainings know their own spread badly: where they make most
of the variance the limits are those of two degrees of freedom, 4.3 standard errors. A p-value that is counted over S resamples
cannot fall below 1 / (S + 1), too coarse for Holm's correction of many tests, and drawing three pre-trainings with replacement
would show two thirds of their variance: hence standard errors, of which 2,000 resamples know the users' part to 1.6 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_DEFINED = 0.9
"""Least share of resamples on which an estimate must have a value, to have an interval: AUC has none without both classes."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, and the two-sided p-value of the estimate being zero."""

    mean: float
    low: float
    high: float
    p: float = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A number, and what is known of its spread.

    Args:
        mean: the number. draws: (S,) on resampled users, NaN where it is not defined. users: how many are drawn.
        trainings: independent sets of values by the number of their training; the means of the sets add up to the number.
            Values of one number go together: equal numbers of two methods share their seeds.
        pretrainings: how many stand under it, of the method that has fewest; 0: none.
        nested: whether the numbers are those of pre-trainings, and not of replicates.
    """

    mean: float
    draws: Array
    users: int
    trainings: tuple[Mapping[int, float], ...] = ()
    pretrainings: int = 0
    nested: bool = False

    @property
    def by_training(self) -> Array | None:
        """(G,) the value of each training; None where they fall into several sets."""
        return np.array(list(self.trainings[0].values())) if len(self.trainings) == 1 else None


def difference(a: Estimate, b: Estimate) -> Estimate:
    """`a` less `b`, of two methods on the same users."""
    return _sum([a, b], [1.0, -1.0], a.users, a.draws - b.draws)


def average(parts: Sequence[Estimate], users: int, counts: Sequence[float] = ()) -> Estimate:
    """Of one method over units; on a resample the mean over those that have a value there.

    Args:
        users: how many different ones the units have.
        counts: what each unit counts; empty: all the same.
    """
    counts = counts or [1.0] * len(parts)
    draws, each = np.stack([p.draws for p in parts]), np.array(counts)[:, None]
    known = np.isfinite(draws)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, draws * each, 0.0).sum(0) / np.where(known.any(0), (known * each).sum(0), np.nan)
    return _sum(parts, [count / sum(counts) for count in counts], users, mean)


def interval(estimate: Estimate, confidence: float = 0.95) -> Interval:
    """Student's interval, and the p-value of zero. All but the mean are NaN where there is one user, where too few resamples
    have a value, or where nothing varies."""
    mean, nothing = estimate.mean, float("nan")
    draws = estimate.draws[np.isfinite(estimate.draws)]
    if np.isnan(mean) or estimate.users < 2 or len(draws) < max(2, _DEFINED * len(estimate.draws)):
        return Interval(mean, nothing, nothing)
    n = estimate.users
    parts = [(float(draws.var(ddof=1)) * n / (n - 1), n - 1)]
    for values in (np.array(list(s.values())) for s in estimate.trainings if len(s) > 1):
        parts.append((float(values.var(ddof=1)) / len(values), len(values) - 1))
    variance = sum(v for v, _ in parts)
    if variance <= 1e-24:  # of rounding alone
        return Interval(mean, nothing, nothing, 1.0 if abs(mean) < 1e-12 else nothing)
    freedom = variance**2 / sum(v**2 / k for v, k in parts)
    error = float(np.sqrt(variance))
    from scipy import stats  # seconds to load, and no worker measures an interval

    half = float(stats.t.isf((1 - confidence) / 2, freedom)) * error
    return Interval(mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, freedom)))


def _sum(parts: Sequence[Estimate], weights: Sequence[float], users: int, draws: Array) -> Estimate:
    pairs = list(zip(parts, weights, strict=True))
    under = [p.pretrainings for p in parts if p.pretrainings]
    numbers = _shared(parts)
    sets: tuple[Mapping[int, float], ...]
    if numbers:
        sets = ({n: sum(w * p.trainings[0][n] for p, w in pairs) for n in numbers},)
    else:
        sets = tuple({n: w * v for n, v in s.items()} for p, w in pairs for s in p.trainings)
    mean = float(sum(w * p.mean for p, w in pairs))
    return Estimate(mean, draws, users, sets, min(under, default=0), all(p.nested for p in parts))


def _shared(parts: Sequence[Estimate]) -> list[int]:
    """Numbers of the trainings that go together in all parts; none where the parts are independent.

    Methods on the same pre-trainings always go together, with those that all of them have. Replicates do where all have the same:
    a single run stands against all of another, and of unequal numbers each side counts by itself.
    """
    if any(len(p.trainings) != 1 for p in parts) or len({p.nested for p in parts}) > 1:
        return []
    sets = [p.trainings[0] for p in parts]
    if parts[0].nested:
        return [n for n in sets[0] if all(n in s for s in sets)]
    return list(sets[0]) if all(set(s) == set(sets[0]) for s in sets) else []


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down rule, in the order given. NaN stays NaN and is not counted."""
    values = np.asarray(p, dtype=np.float64)
    corrected = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()
