"""Clicks without labels as rows with labels: what is held out, and items that were not taken. Shapes: N clicks, I items.

What is drawn is a hash of (seed, user, item), so that it depends neither on the order of the files nor on other users.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from raytune_rec.data.hashing import scramble, share

_TRIES = 50
"""Draws of an item that its user has not taken; after so many there is none."""


def held_out(hashes: np.ndarray, valid: float, test: float) -> np.ndarray:
    """(N,) 0: trains, 1: validates, 2: tests.

    Args:
        hashes: (N,) uint64 of (seed, user, item). valid, test: shares.
    """
    return np.searchsorted([1 - valid - test, 1 - test], share(scramble(hashes ^ np.uint64(1))), side="right")


def not_taken(
    user: np.ndarray, item: np.ndarray, hashes: np.ndarray, pool: np.ndarray, weight: np.ndarray, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each click up to `count` times an item of the pool that its user has taken in no row: places of clicks, and items.

    Args:
        user, item: (N,) codes below 2^32, of all clicks of the pool. hashes: (N,) uint64 of (seed, user, item).
        pool: codes of items. weight: likewise, how likely each is drawn.
    """
    edges = np.cumsum(weight) / np.sum(weight)
    taken = np.unique((user.astype(np.uint64) << np.uint64(32)) | item.astype(np.uint64))
    for number in range(count):
        open_, drawn = np.arange(len(user)), np.full(len(user), -1, np.int64)
        for attempt in range(_TRIES):
            mixed = scramble(hashes[open_] ^ np.uint64(2 + number * _TRIES + attempt))
            drawn[open_] = pool[np.minimum(np.searchsorted(edges, share(mixed), side="right"), len(pool) - 1)]
            key = (user[open_].astype(np.uint64) << np.uint64(32)) | drawn[open_].astype(np.uint64)
            open_ = open_[taken[np.minimum(np.searchsorted(taken, key), len(taken) - 1)] == key]
            if not len(open_):
                break
        drawn[open_] = -1
        found = np.flatnonzero(drawn >= 0)
        yield found, drawn[found]
