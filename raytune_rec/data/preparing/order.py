"""The order of a user's rows in time: one rule, which the split and the histories follow. Shapes: N rows.

By timestamp, then by position, as far as the source gives them. What is equal in these has no order that is known, and gets one
by a hash of (seed, domain, user, item): another one for each user, so that neither the id of an item nor its place in a file
leaves a pattern in it. Rows that repeat an item at one time keep the order in which they were read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from raytune_rec.data.hashing import scramble
from raytune_rec.schema.prepared import SPLITS

_TIMES = ("timestamp", "position")
_TIES = np.uint64(0xD6E8FEB86659FD93)
"""The splits are cut by the hash itself, and rows are stored by another of it."""


def times_of(columns: Collection[str]) -> tuple[str, ...]:
    """The columns that order rows, the one that decides first; empty where there are none."""
    return tuple(name for name in _TIMES if name in columns)


def clock_of(columns: Collection[str]) -> tuple[str, ...]:
    """The columns that order rows of different users; empty where none does: a position is one user's own."""
    return tuple(name for name in times_of(columns) if name == "timestamp")


def in_time(key: np.ndarray, times: Sequence[np.ndarray], hashes: np.ndarray) -> np.ndarray:
    """(N,) places of the rows, key after key, each key's oldest first.

    Args:
        key: (N,) of the user. times: (N,) each, the one that decides first.
        hashes: (N,) uint64, `splits.row_hash`. Rows equal in all of these stay as they come.
    """
    return np.lexsort((scramble(hashes ^ _TIES), *reversed(times), key))


def backwards(rows: pa.Table) -> dict[str, int]:
    """Of how many stored rows of a domain, and of how many users, the position is later and the timestamp earlier than that of
    the user's row before; none where the source has not both.
    """
    if not set(_TIMES) <= set(rows.column_names):
        return {"rows": 0, "users": 0}
    user, position, time = (rows[name].to_numpy() for name in ("user", "position", "timestamp"))
    order = np.lexsort((time, position, user))
    user, time = user[order], time[order]
    back = (user[1:] == user[:-1]) & (time[1:] < time[:-1])
    return {"rows": int(back.sum()), "users": len(np.unique(user[1:][back]))}


def ties(rows: pa.Table) -> dict[str, int]:
    """How many stored rows of a domain share their time with another row of their user, so that their order was drawn.

    Returns:
        `rows`, and how many of these validate and test.
    """
    times = [rows[name].to_numpy() for name in times_of(rows.column_names)]
    user, split = rows["user"].to_numpy(), rows["split"].to_numpy()
    order = np.lexsort((*times, user))
    same = np.ones(max(len(order) - 1, 0), bool)
    for values in (user, *times):
        same &= values[order][1:] == values[order][:-1]
    tied = np.zeros(len(order), bool)
    tied[order[1:][same]] = tied[order[:-1][same]] = True
    counts = {"rows": int(tied.sum())}
    counts |= {str(name): int((tied & (split == place)).sum()) for place, name in enumerate(SPLITS) if place}
    return counts
