"""Which events of histories are ranked, and what repeats. Shapes: N events that are ranked, E events of all histories in turn.

What is ranked are items that the user has not taken, in tests, in validation and in `Scorer.recommend` alike, and so a row whose
item stands in its history already is neither tested nor validated with: no recommendation could ever answer it. The split does
not know of this: the last row of a user is held out, and where it repeats an item he is not tested. (To hold out his last new
item instead would leave rows behind it, of a time that nothing may learn from.) With `data.sequences.repeats = "count"` every
row counts, and what was taken is ranked too.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from raytune_rec.data.cold_users import first_of, members
from raytune_rec.data.hashing import user_hash
from raytune_rec.job.data import SequenceOptions
from raytune_rec.schema.prepared import SPLITS, Split
from raytune_rec.task import Unit

Events = tuple[np.ndarray, np.ndarray]
"""(N,) rows of the table of histories, and (N,) a place in each."""


class Ranked:
    """The events that are ranked.

    Args:
        users: the table of histories.
        shared: domains share their items, and what a user took in another one (at any time) is taken.
        seed: of the split.
    """

    def __init__(self, users: pa.Table, options: SequenceOptions, shared: bool, seed: int) -> None:
        lists = users["items"].combine_chunks()
        self._users, self._options = users, options
        self._sizes = lists.value_lengths().to_numpy().astype(np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        most = {"valid": options.valid_users or options.users, "test": options.users}
        self._asked = {split: self._drawn(seed, count) for split, count in most.items()}
        self._fresh = self._first_times(lists.flatten().to_numpy().astype(np.int64), shared)

    def held_out(self, split: Split, ahead: int = 0) -> Events:
        """The events of a split of each user who is no cold one, one each unless `data.sequences.ahead` tests several.

        Args:
            ahead: the n-th of those that test alone, from 1; 0: all.
        """
        rows, place = self._kept(self._held_out(split))
        first = (self._users["train"].to_numpy() + self._users["valid"].to_numpy())[rows]
        nth = place == first + ahead - 1 if ahead else np.ones(len(rows), bool)
        return rows[nth], place[nth]

    def of_cold(self, unit: Unit, split: Split, only: str = "") -> Events:
        """What a unit of cold users ranks.

        Args:
            only: `few` or `zero`: the events of that kind alone, of a unit that has both.
        """
        task = only or unit.task
        known = 1 if task == "zero" else self._options.events_of(unit.task)
        rows = np.flatnonzero(members(self._users, unit, split, self._options))
        return self._kept(self._between(rows, first_of(task), known))

    def repeats(self, domain: int) -> dict[str, int]:
        """Of a domain's events that validate and test how many repeat an item.

        Returns:
            `valid` and `test`, and of how many, `valid_of` and `test_of`. Of cold users every item that a task predicts tests.
        """
        of_domain, counts = self._users["domain"].to_numpy() == domain, dict[str, int]()
        for split in SPLITS[1:]:
            parts = [self._held_out(split)]
            if self._options.tasks and split == "test":
                cold = np.flatnonzero(self._users["fold"].to_numpy() > 0)
                parts.append(self._between(cold, min(map(first_of, self._options.tasks)), self._options.events))
            fresh = np.concatenate([self._is_fresh(events)[of_domain[events[0]]] for events in parts])
            counts |= {split: int((~fresh).sum()), f"{split}_of": len(fresh)}
        return counts

    def _first_times(self, items: np.ndarray, shared: bool) -> np.ndarray:
        """(E,) bool: whether an event takes an item for the first time."""
        owner = np.repeat(np.arange(len(self._sizes)), self._sizes)
        _, first = np.unique(owner << 32 | items, return_index=True)
        if shared:
            taken = self._users["user"].to_numpy().astype(np.int64)[owner[first]] << 32 | items[first]
            _, place, times = np.unique(taken, return_inverse=True, return_counts=True)
            first = first[times[place] == 1]
        firsts = np.zeros(len(items), bool)
        firsts[first] = True
        return firsts

    def _drawn(self, seed: int, most: int) -> np.ndarray:
        """(rows of the table,) bool: who validates or tests, of those who are no cold ones; `most` of a domain, 0: all."""
        domain, valid, test, fold = (self._users[name].to_numpy() for name in ("domain", "valid", "test", "fold"))
        asked = (fold == 0) & (valid + test > 0)
        if not most:
            return asked
        hashes = user_hash(seed, "ranked", self._users["hash"].to_numpy())
        for place in np.unique(domain):
            here = np.flatnonzero(asked & (domain == place))
            asked[here[hashes[here].argsort(kind="stable")[most:]]] = False
        return asked

    def _held_out(self, split: Split) -> Events:
        train, valid, here = (self._users[name].to_numpy().astype(np.int64) for name in ("train", "valid", split))
        rows = np.flatnonzero(self._asked[split] & (here > 0))
        first = (train + valid if split == "test" else train)[rows]
        return self._between(rows, first, first + here[rows])

    def _between(self, rows: np.ndarray, first: int | np.ndarray, last: int | np.ndarray) -> Events:
        """All places of each row from `first` to before `last`, as far as its history goes."""
        each = np.maximum(np.minimum(self._sizes[rows], last) - first, 0)
        before = np.cumsum(each) - each - first
        return np.repeat(rows, each), np.arange(each.sum()) - np.repeat(before, each)

    def _kept(self, events: Events) -> Events:
        if self._options.repeats == "count":
            return events
        fresh = self._is_fresh(events)
        return events[0][fresh], events[1][fresh]

    def _is_fresh(self, events: Events) -> np.ndarray:
        rows, place = events
        return self._fresh[self._starts[rows] + place]
