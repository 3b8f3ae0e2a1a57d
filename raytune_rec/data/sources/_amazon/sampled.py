"""Clicks without labels as rows with labels: what is held out, and items that were not taken. Shapes: N clicks, I items.

What is drawn is a hash of (seed, user, item), so that it depends neither on the order of the files nor on other users.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from raytune_rec.data.hashing import scramble, share

_TRIES = 50
"""Draws of an item that its user neither took nor was given; after so many there is none."""


def held_out(hashes: np.ndarray, valid: float, test: float) -> np.ndarray:
    """(N,) 0: trains, 1: validates, 2: tests.

    Args:
        hashes: (N,) uint64 of (seed, user, item). valid, test: shares.
    """
    return np.searchsorted([1 - valid - test, 1 - test], share(scramble(hashes ^ np.uint64(1))), side="right")


def not_taken(
    user: np.ndarray, item: np.ndarray, hashes: np.ndarray, pool: np.ndarray, weight: np.ndarray, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each click up to `count` items of the pool that its user has taken in no row: places of clicks, and items.

    An item is drawn at most once for a user, so that no split knows another's rows. Where two clicks of a user draw the same, the
    one of the lower hash has it, and the other draws again.

    Args:
        user, item: (N,) codes below 2^32, of all clicks of the pool. hashes: (N,) uint64 of (seed, user, item).
        pool: codes of items. weight: likewise, how likely each is drawn.
    """
    edges = np.cumsum(weight) / np.sum(weight)
    used = np.unique(_pairs(user, item))
    for number in range(count):
        waiting, drawn = np.arange(len(user)), np.full(len(user), -1, np.int64)
        for attempt in range(_TRIES):
            mixed = scramble(hashes[waiting] ^ np.uint64(2 + number * _TRIES + attempt))
            items = pool[np.minimum(np.searchsorted(edges, share(mixed), side="right"), len(pool) - 1)]
            pairs = _pairs(user[waiting], items)
            order = np.lexsort((hashes[waiting], pairs))
            _, first = np.unique(pairs[order], return_index=True)
            granted = order[first]  # their pairs ascend, as do those that are used
            place = np.searchsorted(used, pairs[granted])
            free = used[np.minimum(place, len(used) - 1)] != pairs[granted]
            granted, place = granted[free], place[free]
            drawn[waiting[granted]] = items[granted]
            used = np.insert(used, place, pairs[granted])
            waiting = np.delete(waiting, granted)
            if not len(waiting):
                break
        places = np.flatnonzero(drawn >= 0)
        yield places, drawn[places]


def _pairs(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """(N,) uint64: a number for each pair of codes."""
    return (user.astype(np.uint64) << np.uint64(32)) | item.astype(np.uint64)
