"""Which rows train, which validate, which test.

`hash`: a row's share of the unit interval is a hash of (seed, domain, user, item): BLAKE2b-64 of each part, mixed in turn by
SplitMix64. It depends on nothing else, neither on other rows nor on their order, so a row keeps its place when data are added.
Repeated interactions of one (domain, user, item) fall together: a repeated row never stands on both sides.
`leave_one_out`: of each (domain, user) with three rows or more the last is tested and the one before validates (`order` says
which is the last); with `data.sequences.ahead` the last few, of those with two rows more than that. Users stop at times of their
own: who trains on all of them has seen what others did later than a test row.
`time`: by quantiles of time; rows of one instant stay together, on the earlier side. One cut for all domains, so that nothing
trains on what is later than any test row; or each domain at its own quantiles (`cut = "each"`).
`given`: the source says.
`cold_users`: all rows of a cold user are kept out (as test rows); the last row of each other user validates. Cold are a share of
the users, by a hash of (seed, user), or those with few rows. As with `leave_one_out`, warm users train on later times too.

`cold_items`: of some items, a share of those with rows enough, by a hash of (seed, item), all rows but the first are kept out (as
test rows; `cold_items` says which of them validate). Which are first the timestamp says, and where there is none, a hash. Rows of
all other items are split as with `leave_one_out`. With `cold_most` the rows of all items are, and those are cold that have few
training rows.

A splitter sees all rows once, block by block (`observe`), and then answers for any rows (`assign`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from raytune_rec.data.hashing import share, user_hash
from raytune_rec.data.preparing.order import clock_of, in_time, times_of
from raytune_rec.errors import DataError
from raytune_rec.job.data import SequenceOptions, SplitOptions
from raytune_rec.schema.prepared import SPLITS

TRAIN, VALID, TEST = range(len(SPLITS))
_MERGED_ROWS = 1_000_000
Rows = Mapping[str, np.ndarray]
"""Columns of rows: `hash` uint64, `row` int64 (number in reading order), codes of `domain`, `user`, `item`, and what the source
gives."""


class Splitter(Protocol):
    def observe(self, rows: Rows) -> None: ...

    def assign(self, rows: Rows) -> np.ndarray:
        """(N,) int8: place in `SPLITS`."""
        ...


def splitter(
    options: SplitOptions,
    columns: set[str],
    users: Callable[[], np.ndarray],
    items: Callable[[], np.ndarray],
    sequences: SequenceOptions | None = None,
    known: np.ndarray | None = None,
) -> Splitter:
    """The splitter that a job asks for.

    Args:
        columns: what the source gives.
        users, items: `text_hash` of each one met so far, by code.
        sequences: of the histories that rows become, which not every kind of split suits.
        known: (N,) bool of the first codes of items: which of them a finished run serves. All others are cold. None: there is no
            such run.

    Raises:
        DataError: the source gives too little for this kind of split, or has a split of its own that would be lost.
    """
    if "split" in columns and options.kind != "given":
        left = "histories cannot keep it; leave out columns.split, or name its train, valid and test files as files"
        remedy = left if sequences else "set data.split.kind = 'given'"
        raise DataError(f"data.split.kind = {options.kind!r}, but the source brings its own split; {remedy}.")
    if options.kind == "given":
        if "split" not in columns:
            raise DataError(
                "data.split.kind = 'given', but the source has no split; name its train, valid and test files, or choose hash."
            )
        return _Given()
    if options.kind == "hash":
        return _Hash(options.valid, options.test)
    times = times_of(columns)
    if not times:
        remedy = "map timestamp or position in data.options.columns" if sequences else "choose hash"
        raise DataError(
            f"data.split.kind = {options.kind!r} needs a timestamp or a position, and the source gives neither; {remedy}."
        )
    if options.kind == "cold_users":
        return _ColdUsers(times, options, users)
    if options.kind == "cold_items" and not options.cold_most:
        return _ColdItems(times, clock_of(columns), options, items, known)
    return _Time(times[0], options) if options.kind == "time" else _LeaveOneOut(times, sequences.ahead if sequences else 1)


class _Hash:
    def __init__(self, valid: float, test: float) -> None:
        self._edges = np.array([1 - valid - test, 1 - test])

    def observe(self, rows: Rows) -> None:
        pass

    def assign(self, rows: Rows) -> np.ndarray:
        return np.searchsorted(self._edges, share(rows["hash"]), side="right").astype(np.int8)


class _Given:
    def observe(self, rows: Rows) -> None:
        pass

    def assign(self, rows: Rows) -> np.ndarray:
        return rows["split"]


class _Time:
    """Keeps the times of all rows, 8 bytes each, to cut at exact quantiles."""

    def __init__(self, column: str, options: SplitOptions) -> None:
        self._column, self._shares = column, (1 - options.valid - options.test, 1 - options.test)
        self._apart = options.cut == "each"
        self._times: dict[int, list[np.ndarray]] = {}
        self._edges: dict[int, np.ndarray] = {}

    def observe(self, rows: Rows) -> None:
        for group, here in self._groups(rows):
            self._times.setdefault(group, []).append(rows[self._column][here])

    def assign(self, rows: Rows) -> np.ndarray:
        split = np.zeros(len(rows["domain"]), np.int8)
        for group, here in self._groups(rows):
            split[here] = np.searchsorted(self._cut(group), rows[self._column][here], side="left")
        return split

    def _groups(self, rows: Rows) -> list[tuple[int, np.ndarray]]:
        """Rows that are cut at the same times: of a domain, or all of them."""
        domain = rows["domain"] if self._apart else np.zeros_like(rows["domain"])
        return [(int(group), domain == group) for group in np.unique(domain)]

    def _cut(self, group: int) -> np.ndarray:
        """The last times that train and that validate."""
        if group not in self._edges:
            times = np.concatenate(self._times.pop(group))
            at = [max(int(np.ceil(len(times) * share - 1e-9)) - 1, 0) for share in self._shares]
            times.partition(at)
            self._edges[group] = times[at]
        return self._edges[group]


class _LeaveOneOut:
    """Keeps the latest rows of every (domain, user): those that test, one that validates and one that trains.

    Args:
        ahead: how many test.
    """

    def __init__(self, times: Sequence[str], ahead: int = 1) -> None:
        self._times, self._ahead = times, ahead
        self._latest: Rows = {}
        self._pending: list[Rows] = []
        self._waiting = 0
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def observe(self, rows: Rows) -> None:
        key = rows["domain"].astype(np.int64) << 32 | rows["user"].astype(np.int64)
        self._pending.append({"key": key, **{name: rows[name] for name in ("hash", "row", *self._times)}})
        self._waiting += len(key)
        if self._waiting > max(_MERGED_ROWS, len(self._latest.get("key", ()))):
            self._merge()

    def assign(self, rows: Rows) -> np.ndarray:
        if self._last is None:
            self._last = self._find_last()
        test, valid = self._last
        return np.where(_within(rows["row"], test), TEST, np.where(_within(rows["row"], valid), VALID, TRAIN)).astype(np.int8)

    def _merge(self) -> None:
        parts = [*([self._latest] if self._latest else []), *self._pending]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = in_time(joined["key"], [joined[name] for name in self._times], joined["hash"])
        order = order[_from_end(joined["key"][order]) < self._ahead + 2]
        self._latest = {name: values[order] for name, values in joined.items()}
        self._pending, self._waiting = [], 0

    def _find_last(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted row numbers of the last rows and of those before them, where a user has rows enough."""
        if self._pending:
            self._merge()
        key, row = self._latest["key"], self._latest["row"]
        _, inverse, sizes = np.unique(key, return_inverse=True, return_counts=True)
        place = np.where(sizes[inverse] == self._ahead + 2, _from_end(key), self._ahead + 1)
        self._latest = {}
        return np.sort(row[place < self._ahead]), np.sort(row[place == self._ahead])


class _ColdUsers:
    """Counts the rows of every user where that decides."""

    def __init__(self, times: Sequence[str], options: SplitOptions, users: Callable[[], np.ndarray]) -> None:
        self._options, self._users = options, users
        self._last = _LeaveOneOut(times)
        self._counts = np.zeros(0, np.int64)
        self._cold: np.ndarray | None = None

    def observe(self, rows: Rows) -> None:
        self._last.observe(rows)
        counts = np.bincount(rows["user"], minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def assign(self, rows: Rows) -> np.ndarray:
        if self._cold is None:
            below, hashes = self._options.cold_below, user_hash(self._options.seed, "cold", self._users())
            self._cold = self._counts < below if below else share(hashes) < self._options.cold
            self._check(self._cold)
        warm = np.where(self._last.assign(rows) == TEST, VALID, TRAIN)
        return np.where(self._cold[rows["user"]], TEST, warm).astype(np.int8)

    def _check(self, cold: np.ndarray) -> None:
        if cold.any() and not cold.all():
            return
        below, share = self._options.cold_below, self._options.cold
        given = f"data.split.cold_below = {below}" if below else f"data.split.cold = {share:g}"
        option = "data.split.cold_below" if below else "data.split.cold"
        if cold.any():
            why = f"all {len(cold):,} users are cold ({given}), and none is left to train the backbone on"
            raise DataError(f"{why}; lower {option}.")
        raise DataError(f"none of {len(cold):,} users is cold ({given}), and a task of cold users needs some; raise {option}.")


def may_be_cold(items: np.ndarray, options: SplitOptions) -> np.ndarray:
    """(N,) bool: whether an item's hash makes it cold, if it has rows enough. items: `text_hash` of each."""
    return share(user_hash(options.seed, "cold", items)) < options.cold


def are_cold(items: np.ndarray, counts: np.ndarray, options: SplitOptions) -> np.ndarray:
    """(N,) bool: which items are made cold by a share, if any are. items: `text_hash` of each. counts: (N,) its rows."""
    if options.kind != "cold_items" or options.cold_most:
        return np.zeros(len(items), bool)
    return may_be_cold(items, options) & (counts >= options.cold_least)


class _ColdItems:
    """Keeps all rows of the items that may be made cold."""

    def __init__(
        self,
        times: Sequence[str],
        clock: Sequence[str],
        options: SplitOptions,
        items: Callable[[], np.ndarray],
        known: np.ndarray | None,
    ) -> None:
        self._clock, self._options, self._items, self._known = clock, options, items, known
        self._last = _LeaveOneOut(times)
        self._kept: list[Rows] = []
        self._names = ("domain", "user", "item", "hash", "row", *times)
        self._held: np.ndarray | None = None

    def observe(self, rows: Rows) -> None:
        known, item = self._known, rows["item"]
        if known is None:
            maybe = may_be_cold(self._items()[item], self._options)
        else:
            maybe = (item >= len(known)) | ~np.append(known, True)[np.minimum(item, len(known))]
        self._last.observe({name: rows[name][~maybe] for name in self._names})
        self._kept.append({name: rows[name][maybe] for name in self._names})

    def assign(self, rows: Rows) -> np.ndarray:
        if self._held is None:
            self._held = self._find_held()
        return np.where(_within(rows["row"], self._held), TEST, self._last.assign(rows)).astype(np.int8)

    def _find_held(self) -> np.ndarray:
        """Sorted row numbers of cold items, but for the first of each. What has too few rows to be cold is warm."""
        kept = {name: np.concatenate([rows[name] for rows in self._kept]) for name in self._names}
        self._kept = []
        order = in_time(kept["item"], [kept[name] for name in self._clock], kept["hash"])
        _, starts, inverse, sizes = np.unique(kept["item"][order], return_index=True, return_inverse=True, return_counts=True)
        least = self._options.cold_least if self._known is None else 1
        rank, cold = np.arange(len(order)) - starts[inverse], sizes[inverse] >= least
        if not cold.any() and self._known is not None:
            raise DataError(
                f"no item of the log is new: all have ids in data.known ({len(self._known):,} items); nothing is to be added."
            )
        if not cold.any():
            raise DataError(
                f"no item is cold: of the share data.split.cold = {self._options.cold:g} none has data.split.cold_least = "
                f"{self._options.cold_least} rows; lower cold_least, or raise cold."
            )
        self._last.observe({name: values[order[~cold]] for name, values in kept.items()})
        return np.sort(kept["row"][order[cold & (rank >= self._options.cold_kept)]])


def _within(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N,) bool, for sorted known values."""
    if not len(known):
        return np.zeros(len(values), bool)
    return known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values


def _from_end(key: np.ndarray) -> np.ndarray:
    """Distance of each entry from the last of its run, for sorted keys."""
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(starts, len(key)))
    return np.repeat(starts + sizes - 1, sizes) - np.arange(len(key))
