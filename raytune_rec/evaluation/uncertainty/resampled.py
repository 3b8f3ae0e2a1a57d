"""Metrics on resampled users, exactly as on the users themselves. Shapes: K score vectors, N rows, U users, B resamples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raytune_rec.evaluation.uncertainty.intervals import Array


class Areas:
    """AUC of K score vectors with the rows counted as often as their users are drawn. Each vector is sorted once.

    Args:
        scores: (K, N), ties count half. labels: (N,) in {0, 1}. users: (N,) each row's user.
    """

    def __init__(self, scores: Array, labels: NDArray[np.floating], users: NDArray[np.intp]) -> None:
        positive = np.asarray(labels) > 0
        self._positive, self._negative = users[positive], users[~positive]
        self._ranked = [_Ranked(s[positive], s[~positive], self._negative) for s in scores]
        self._broken = np.isnan(scores).any(1)

    def drawn(self, times: Array) -> Array:
        """(U, B) -> (K, B); NaN where a resample lacks a class."""
        above = times[self._positive]  # (P, B)
        pairs = above.sum(0) * times[self._negative].sum(0)
        with np.errstate(invalid="ignore"):
            areas = np.stack([r.pairs_won(times, above) for r in self._ranked]) / np.where(pairs > 0, pairs, np.nan)
        areas[self._broken] = np.nan
        return areas


class _Ranked:
    """One score vector: the users of its negatives in ascending order, and how many negatives stand below each positive."""

    def __init__(self, positive: Array, negative: Array, users: NDArray[np.intp]) -> None:
        order = np.argsort(negative, kind="stable")
        ascending = negative[order]
        self._users = users[order]
        self._below = np.searchsorted(ascending, positive, side="left")
        self._up_to = np.searchsorted(ascending, positive, side="right")
        self._level = bool((self._below != self._up_to).any())

    def pairs_won(self, times: Array, above: Array) -> Array:
        """Pairs of a positive above a negative, (B,); a tie is half a pair."""
        total = np.zeros((len(self._users) + 1, times.shape[1]))
        np.cumsum(times[self._users], axis=0, out=total[1:])
        won = np.einsum("pb,pb->b", above, total[self._below])
        if self._level:
            won = (won + np.einsum("pb,pb->b", above, total[self._up_to])) / 2
        return np.asarray(won)


class Means:
    """Means over rows of K quantities, with the rows counted as often as their users are drawn.

    Args:
        values: (K, N). users: (N,) each row's user. size: U.
    """

    def __init__(self, values: Array, users: NDArray[np.intp], size: int) -> None:
        self._sums = np.stack([np.bincount(users, v, size) for v in values])
        self._rows = np.bincount(users, minlength=size).astype(np.float64)

    def drawn(self, times: Array) -> Array:
        """(U, B) -> (K, B); NaN where none of the rows' users is drawn."""
        rows = self._rows @ times
        return np.asarray(self._sums @ times / np.where(rows > 0, rows, np.nan))
