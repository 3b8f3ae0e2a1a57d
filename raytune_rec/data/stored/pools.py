"""Which items a row of histories may be ranked among. Shapes: N rows, V items, K candidates of a list."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raytune_rec.errors import DataError


class Pools:
    """The items of each domain.

    Args:
        domains: (V,) the id of the domain of each item (`Lookup.catalogue`). apart: whether they differ; else all rows share
            one pool.
    """

    def __init__(self, domains: np.ndarray, apart: bool) -> None:
        self.domains, self.apart, self._count = domains, apart, len(domains) - 1
        self._ids = np.argsort(domains[1:], kind="stable") + 1
        self._counts = np.bincount(domains[1:], minlength=1)
        self._first = np.cumsum(self._counts) - self._counts

    def __len__(self) -> int:
        """V."""
        return self._count + 1

    def size(self, domain: int) -> int:
        """How many items a row of a domain may be ranked among."""
        if not self.apart:
            return self._count
        return int(self._counts[domain]) if domain < len(self._counts) else 0

    def draw(self, random: np.random.Generator, domain: np.ndarray) -> np.ndarray:
        """An item of each domain, uniformly; shaped as `domain`."""
        if not self.apart:
            return random.integers(1, self._count + 1, domain.shape)
        place: np.ndarray = self._first[domain] + random.integers(0, self._counts[domain])
        return self._ids[place]


def enough(pools: Pools, domain: np.ndarray, taken: Mapping[int, np.ndarray], wanted: int, name: str) -> None:
    """Refuse to draw more candidates than are left to some user. Arguments as of `negatives`; `domain` of each that took.

    Raises:
        DataError: a pool has too few.
    """
    least = min((pools.size(d) - len(np.unique(t)) for d, t in zip(domain.tolist(), taken.values(), strict=True)), default=wanted)
    if least < wanted:
        whose = " of its domain" if pools.apart else ""
        raise DataError(
            f"data.sequences.negatives = {wanted}, but some user of {name!r} has only {least} items{whose} never taken; lower it."
        )


def negatives(
    pools: Pools, rows: np.ndarray, domain: np.ndarray, taken: Mapping[int, np.ndarray], wanted: int, name: str, seed: int
) -> np.ndarray:
    """(N, K - 1) different items of each row's pool, none of which its user took, uniformly.

    Args:
        rows: (N,) rows of the table of histories. domain: (N,) of each. taken: row of that table -> ids.
        wanted: K - 1. name: whose rows they are; it decides the draw, with the seed.

    Raises:
        DataError: a pool has too few.
    """
    _, once = np.unique(rows, return_index=True)
    enough(pools, domain[once], taken, wanted, name)
    base = len(pools)
    taken_keys = np.unique(
        np.concatenate([r * base + taken[r].astype(np.int64) for r in rows[once].tolist()] or [np.array([-1])])
    )
    random = np.random.default_rng([seed, *name.encode()])
    of_each = np.repeat(domain[:, None], wanted, axis=1)
    drawn = pools.draw(random, of_each)
    while True:
        key = rows[:, None] * base + drawn
        wrong = taken_keys[np.minimum(np.searchsorted(taken_keys, key), len(taken_keys) - 1)] == key
        order = np.argsort(drawn, axis=1, kind="stable")
        ranked = np.take_along_axis(drawn, order, 1)
        again = np.zeros_like(wrong)
        np.put_along_axis(again, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], 1)
        wrong |= again
        if not wrong.any():
            return drawn
        drawn[wrong] = pools.draw(random, of_each[wrong])
