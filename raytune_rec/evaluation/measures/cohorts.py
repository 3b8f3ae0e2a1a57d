"""Cohorts of test rows: cold and warm by what training knew of their user and item. Shapes: N rows, V ids."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def counts(ids: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """How often each id occurs in training: (N,) ids below `size` -> (size,). Id 0, the unknown, counts as never seen."""
    count = np.bincount(ids, minlength=size).astype(np.int64)
    count[0] = 0
    return count


def taken(counts_of: NDArray[np.integer]) -> dict[str, Mask]:
    """Masks of test rows by how often their item was taken in training, in classes that begin at 1, 2 and 5 times powers of ten;
    those alone that hold a row, in order.

    Args:
        counts_of: (N,) of each row's item.
    """
    digits = len(str(int(counts_of.max(initial=0))))
    starts = [0, *(first * 10**zeros for zeros in range(digits + 1) for first in (1, 2, 5))]
    masks = {
        str(least) if end == least + 1 else f"{least} to {end - 1}": (counts_of >= least) & (counts_of < end)
        for least, end in pairwise(starts)
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def cold_warm(
    users: NDArray[np.integer],
    items: NDArray[np.integer],
    user_counts: NDArray[np.integer],
    item_counts: NDArray[np.integer],
    threshold: int = 10,
) -> Mapping[str, Mask]:
    """Masks of the test rows by the number of training rows of their user and of their item.

    Args:
        users, items: (N,) ids of the test rows.
        user_counts, item_counts: (V,) training rows of each id (`counts`).
        threshold: fewer training rows than this is cold.

    Returns:
        `cold_user`, `warm_user`, `cold_item`, `warm_item`, and `warm` (both warm), each (N,) bool.
    """
    cold_user = user_counts[users] < threshold
    cold_item = item_counts[items] < threshold
    return {
        "cold_user": cold_user,
        "warm_user": ~cold_user,
        "cold_item": cold_item,
        "warm_item": ~cold_item,
        "warm": ~cold_user & ~cold_item,
    }
