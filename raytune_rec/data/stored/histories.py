"""Reading histories: what units train on, and lists of candidates to rank. Shapes: N rows, L items of a history, K candidates.

A row to train on is a user's history with the item that follows each place. A row to rank is one item that a user took, after
what the user had taken before, among items that the user never took: none of them, not in training, validation or test. These
are items of the row's domain; where domains share their items, none that the user took in any domain. What follows the row in
time is in neither its history nor its features. `ranked` says which rows these are.

Cold users (PPR, section 4.1) belong to folds. A unit is a task and a fold: it is tuned on the cold users of the other folds, a
share of whom choose the best epoch, and tested on those of its own. With `data.sequences.warm` it is tuned on warm users too.
Where an attribute of theirs is predicted (section 4.9.2), its classes are ranked in place of items, and the attribute itself is 0
in all of these rows, so that nothing can read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.config import SequenceOptions
from raytune_rec.data.cold_users import CLASS, members, spans
from raytune_rec.data.layout import FOLDER, USERS
from raytune_rec.data.ranked import Ranked
from raytune_rec.data.stored.lookup import Lookup
from raytune_rec.data.stored.pools import enough, negatives
from raytune_rec.errors import DataError
from raytune_rec.schema import ALL_DOMAINS, SPLITS, Split
from raytune_rec.storage.files import STORAGE

Columns = dict[str, np.ndarray]


class Histories:
    """The histories of a store.

    Args:
        lookup: of the store.
        options: as they were prepared.
        seed: of the split: decides the candidates too.
    """

    def __init__(self, lookup: Lookup, options: SequenceOptions, seed: int) -> None:
        self.folder, self.lookup, self.schema = lookup.path / FOLDER, lookup, lookup.schema
        self.options, self.seed = options, seed

    def train_files(self) -> list[Path]:
        return STORAGE.list(self.folder / "train", "part-*.parquet")

    def load(self, unit: str, split: Split) -> Columns:
        """Columns of a unit's rows: `user` (rows of the table of users), `domain`, `history`, and `target` or `candidates`; where
        all items are ranked `positive` (N,) and `seen` (N, S), what is not ranked beside it, in place of `candidates`: what the
        user had taken before (and whatever he took in other domains that share their items), nothing where repeats count.
        """
        if unit in self.schema.cohorts:
            return self._classes(unit, split) if self.schema.predicts else self._cold(unit, split)
        return self._windows(unit) if split == "train" else self._last(unit, split)

    def test(self, unit: str, only: str = "") -> Columns:
        """As `load`, of the test rows, always with `seen` and `positive`, and with `owner` (N,), which tells users apart whom the
        vocabulary does not know.

        Args:
            only: `few` or `zero`: those rows of a unit that has both.
        """
        if self.schema.predicts and unit in self.schema.cohorts:
            found = self._classes(unit, "test")
            return {**found, "owner": found["user"]}
        return self._cold(unit, "test", only, seen=True) if unit in self.schema.cohorts else self._last(unit, "test", seen=True)

    def tables(self) -> dict[str, dict[str, str]]:
        """Name of a table of the results -> unit -> `few` or `zero` where the unit's rows of that kind alone belong to it."""
        if not self.schema.cohorts:
            return {domain: {domain: ""} for domain in self.schema.domains}
        found: dict[str, dict[str, str]] = {}
        for unit in self.schema.cohorts:
            task = unit.rpartition(".")[0]
            for kind in ("few", "zero") if task == "joint" and not self.schema.predicts else ("",):
                found.setdefault(f"{task} {kind}".strip(), {})[unit] = kind
        return found

    def windows(self, user: np.ndarray, domain: np.ndarray, items: Sequence[np.ndarray]) -> Columns:
        """Windows as they stand in the training files -> rows to train on."""
        events = _padded(items, self.options.length + 1)
        target = events.copy()
        target[:, 0] = 0  # what comes before the first item of a window is not known
        return {"user": user, "domain": domain, "history": events[:, :-1], "target": target}

    def recent(self, past: Sequence[np.ndarray]) -> np.ndarray:
        """(N, L): the last L items of each."""
        return _padded([items[-self.options.length :] for items in past], self.options.length)

    def check_candidates(self) -> None:
        """Refuse to draw more candidates than are left to some user of a domain's split.

        Raises:
            DataError: how many are left.
        """
        users, wanted = self._users, self.options.negatives
        ranks = (users["fold"].to_numpy() == 0) | (not self.options.predict)
        for split in SPLITS[1:] if wanted else ():
            for place, domain in enumerate(self.schema.domains, 1):
                here = ranks & (users[split].to_numpy() > 0) & (users["domain"].to_numpy() == place)
                rows = np.flatnonzero(here)
                enough(self.lookup.pools, np.full(len(rows), place), self._taken(rows), wanted, f"{domain}/{split}")

    def _windows(self, unit: str) -> Columns:
        rows = pa.concat_tables([pq.read_table(path) for path in self.train_files()])
        if unit != ALL_DOMAINS:
            rows = rows.filter(pa.array(rows["domain"].to_numpy() == self._place(unit)))
        items = rows["items"].to_numpy()
        return self.windows(rows["user"].to_numpy().astype(np.int64), rows["domain"].to_numpy().astype(np.int64), items)

    def _last(self, unit: str, split: Split, seen: bool = False) -> Columns:
        """The one row of each user who is no cold one."""
        rows, place = self._ranked.held_out(split)
        if unit != ALL_DOMAINS:
            here = self._users["domain"].to_numpy()[rows] == self._place(unit)
            rows, place = rows[here], place[here]
        return self._lists(rows, place, f"{unit}/{split}", self.options.length, seen)

    def _cold(self, unit: str, split: Split, only: str = "", seen: bool = False) -> Columns:
        task, width = unit.partition(".")[0], max(1, self.options.events - 1)
        if split != "train":
            return self._lists(*self._ranked.of_cold(unit, split, only), f"{unit}/{split}", width, seen)
        rows, begin, end = spans(self._users, unit, self.options)
        events = _padded([self._items[r][a:b] for r, a, b in zip(rows, begin, end, strict=True)], width + 1)
        target, history = events.copy(), events[:, :width].copy()
        if task == "zero":
            target[:, 1:], history[:] = 0, 0
        else:  # what comes before the first item of a later window is known, and not shown
            target[(begin > 0) | (task != "joint"), 0] = 0
        return {**self._owners(rows), "history": history, "target": target}

    def _classes(self, unit: str, split: Split) -> Columns:
        """One row of each user: the class is what follows the known items."""
        rows = np.flatnonzero(members(self._users, unit, split, self.options))
        known = self.options.events
        history = _padded([self._items[r][:known][-self.options.length :] for r in rows], min(known, self.options.length))
        own = self._users[CLASS].to_numpy()[rows].astype(np.int64)
        found = {**self._owners(rows), "history": history, CLASS: own, self.schema.predicts: np.zeros(len(rows), np.int64)}
        if split != "train":
            return {**found, "positive": own, "seen": np.zeros((len(rows), 1), np.int64)}
        target = np.zeros((len(rows), history.shape[1] + 1), np.int64)
        target[np.arange(len(rows)), (history > 0).sum(1)] = own
        return {**found, "target": target}

    def _lists(self, rows: np.ndarray, place: np.ndarray, name: str, width: int, seen: bool) -> Columns:
        """Lists of candidates.

        Args:
            rows: (N,) rows of the table of histories. place: (N,) which of its items is the positive one.
        """
        before = [self._items[r][:k] for r, k in zip(rows, place, strict=True)]
        found = {**self._owners(rows), "history": _padded([b[-width:] for b in before], width)}
        positive = np.array([self._items[r][k] for r, k in zip(rows, place, strict=True)], np.int64)
        if seen or not self.options.negatives:
            left_out = [self._and_elsewhere(r, b) for r, b in zip(rows.tolist(), before, strict=True)]
            if self.options.repeats == "count":
                left_out = [b[:0] for b in before]
            found |= {"seen": _padded(left_out, max(map(len, left_out), default=1) or 1), "positive": positive}
        if seen:
            found["owner"] = found["user"]
        if self.options.negatives:
            taken, wanted = self._taken(rows), self.options.negatives
            others = negatives(self.lookup.pools, rows, found["domain"], taken, wanted, name, self.seed)
            found["candidates"] = np.concatenate([positive[:, None], others], axis=1)
        return found

    def _taken(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """Row of the table of histories -> all that its user took and may not meet among candidates, in the order of rows."""
        return {r: self._and_elsewhere(r, self._items[r]) for r in np.unique(rows).tolist()}

    def _owners(self, rows: np.ndarray) -> Columns:
        return {name: self._users[name].to_numpy()[rows].astype(np.int64) for name in ("user", "domain")}

    def _place(self, domain: str) -> int:
        if domain not in self.schema.domains:
            raise DataError(f"there is no unit {domain!r}; the data have {', '.join(self.schema.units)}.")
        return self.schema.domains.index(domain) + 1

    @cached_property
    def _users(self) -> pa.Table:
        return pq.read_table(self.folder / USERS)

    @cached_property
    def _items(self) -> list[np.ndarray]:
        return list(self._users["items"].to_numpy())

    def _and_elsewhere(self, row: int, items: np.ndarray) -> np.ndarray:
        return np.concatenate([items, self._elsewhere[row]]) if row in self._elsewhere else items

    @cached_property
    def _elsewhere(self) -> dict[int, np.ndarray]:
        """Row of the table of histories -> what its user took in other domains; none where domains do not share their items."""
        if not self.lookup.shared_items or len(self.schema.domains) == 1:
            return {}
        user = self._users["user"].to_numpy()
        order = np.argsort(user, kind="stable")
        rows = [g.tolist() for g in np.split(order, np.flatnonzero(np.diff(user[order])) + 1) if len(g) > 1]
        return {r: np.concatenate([self._items[o] for o in group if o != r]) for group in rows for r in group}

    @cached_property
    def _ranked(self) -> Ranked:
        return Ranked(self._users, self.options, self.lookup.shared_items)


def _padded(lists: Sequence[np.ndarray], width: int) -> np.ndarray:
    """(N, width) int64, zeros behind."""
    out = np.zeros((len(lists), width), np.int64)
    for row, values in zip(out, lists, strict=True):
        row[: len(values)] = values[:width]
    return out
