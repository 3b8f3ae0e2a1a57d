"""Users as the unit of resampling: their rows are not independent, and one user may stand in several units of the table.

Shapes: N rows of a unit, U users of all units, S resamples, B resamples of a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raytune_rec.evaluation.uncertainty.intervals import Array

_CELLS = 2_000_000
"""Rows times resamples in memory at a time."""


class Users:
    """The users of the test rows of all units.

    Args:
        groups: unit -> (N,) who each row is of. Equal numbers are the same user in every unit.
    """

    def __init__(self, groups: Mapping[str, NDArray[np.integer]]) -> None:
        names = [np.asarray(g) for g in groups.values()]
        distinct, place = np.unique(np.concatenate(names) if names else np.zeros(0, np.int64), return_inverse=True)
        ends = np.cumsum([len(g) for g in names])[:-1]
        self.places: dict[str, NDArray[np.intp]] = dict(zip(groups, np.split(place.ravel(), ends), strict=True))
        """Unit -> (N,) each row's user, in 0 ... U - 1."""
        self.size = len(distinct)
        """U."""

    def count(self, units: Sequence[str]) -> int:
        """How many different users have rows in any of these units."""
        return len(np.unique(np.concatenate([self.places[u] for u in units]))) if units else 0

    def draws(self, resamples: int, seed: Sequence[int]) -> Iterator[tuple[slice, Array]]:
        """Resamples in blocks: which of the S they are, and how often each user is drawn in them (U, B).

        A resample draws U users with replacement, once for all units: a user brings his rows in every unit with him. The same
        seed gives the same users whatever the size of a block.
        """
        draw = np.random.default_rng(seed)
        step = max(1, _CELLS // max(1, self.size, *(len(p) for p in self.places.values())))
        for first in range(0, resamples, step):
            block = min(step, resamples - first)
            drawn = draw.integers(0, self.size, (block, self.size)) + np.arange(block)[:, None] * self.size
            times = np.bincount(drawn.ravel(), minlength=block * self.size).reshape(block, self.size)
            yield slice(first, first + block), np.ascontiguousarray(times.T, dtype=np.float64)
