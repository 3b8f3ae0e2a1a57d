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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.cold_items import ALL, AMONG, COLD, EVENTS, WARM, HeldOut
from raytune_rec.data.cold_users import members, spans
from raytune_rec.data.layout import FOLDER, USERS
from raytune_rec.data.ranked import Ranked
from raytune_rec.data.stored.columns import Columns, lists
from raytune_rec.data.stored.lookup import Lookup
from raytune_rec.data.stored.pools import Pools, enough, negatives
from raytune_rec.job.data import SequenceOptions
from raytune_rec.schema.prepared import CANDIDATES, CLASS, DOMAIN, HISTORY, POSITIVE, SEEN, SPLITS, TARGET, USER, Split, Table
from raytune_rec.storage.files import STORAGE
from raytune_rec.task import Unit

NEXT = "next "
"""In front of the number of a part of a unit's rows, where several items of a user test."""


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
        self._tells = bool(self.schema.task.attribute)

    def train_files(self) -> list[Path]:
        return STORAGE.list(self.folder / "train", "part-*.parquet")

    def load(self, unit: Unit, split: Split) -> Table:
        return self._with_profile(self.columns(unit, split), self._pools(unit))

    def test(self, unit: Unit, part: str = "") -> Table:
        """`part` is `few` or `zero`: those rows of a unit that has both; `next 2`: the second item that tests of each user; or,
        of cold items, a key of `tables`.
        """
        columns = self.test_columns(unit, AMONG.get(part, part))
        if not self._held or part not in AMONG:
            cold = ~self._held.warm(len(self.lookup.pools)) if self._held and part == COLD else None
            return replace(self._with_profile(columns, self._pools(unit)), owner=columns[USER], cold=cold)
        columns.pop(CANDIDATES, None)
        whole, place = self._with_profile(columns, self._pools(unit)), self._place(unit)
        own = self.lookup.pools.domains == place if self.lookup.pools.apart else True
        of_kind = own & (self._held.warm(len(self.lookup.pools)) == (AMONG[part] == WARM))
        return replace(whole, owner=columns[USER], item_domains=np.where(of_kind, place, 0))

    def join(self, columns: Mapping[str, Any]) -> Table:
        """Columns user, domain and items, windows as they stand in the training files."""
        user, domain = (np.asarray(columns[name], np.int64) for name in (USER, DOMAIN))
        return self._with_profile(self._trained(user, domain, lists(columns["items"])), self.lookup.known_pools)

    def columns(self, unit: Unit, split: Split) -> Columns:
        """Columns of a unit's rows: `user` (rows of the table of users), `domain`, `history`, and `target` or `candidates`; where
        all items are ranked `positive` (N,) and `seen` (N, S), what is not ranked beside it, in place of `candidates`: what the
        user had taken before (and whatever he took in other domains that share their items, and all that is held out), nothing
        where repeats count.
        """
        if self._held and (split != "train" or unit.kind == "items"):
            return self._held_out(self._held, unit, split)
        if unit.kind == "fold":
            return self._classes(unit, split) if self._tells else self._cold(unit, split)
        return self._windows(unit) if split == "train" else self._last(unit, split)

    def test_columns(self, unit: Unit, part: str = "") -> Columns:
        """As `columns`, of the rows of `test`."""
        if self._held:
            return self._held_out(self._held, unit, "test", part, seen=True)
        if unit.kind != "fold":
            return self._last(unit, "test", seen=True, ahead=int(part.removeprefix(NEXT) or 0))
        return self._classes(unit, "test") if self._tells else self._cold(unit, "test", part, seen=True)

    def tables(self) -> dict[str, dict[str, str]]:
        tables: dict[str, dict[str, str]] = {}
        for unit in self.schema.units:
            if unit.kind == "items":
                parts = {COLD: COLD, WARM: WARM, ALL: "", **{name: name for name in AMONG}}
            elif unit.task == "joint" and not self._tells:
                parts = {f"{unit.task} {part}": part for part in ("few", "zero")}
            elif unit.kind == "domain" and self.options.ahead > 1:
                parts = {f"{unit.name} {NEXT}{k}": f"{NEXT}{k}" for k in range(1, self.options.ahead + 1)}
            else:
                parts = {unit.task or unit.name: ""}
            for name, part in parts.items():
                tables.setdefault(name, {})[unit.name] = part
        return tables

    def known_histories(self) -> Columns:
        users = self._users.filter(pa.array(self._users["fold"].to_numpy() == 0))
        owners = {name: users[name].to_numpy().astype(np.int64) for name in (USER, DOMAIN)}
        return {**owners, HISTORY: recent(list(users["items"].to_numpy()), self.options.length)}

    def check_candidates(self) -> None:
        users, wanted, pools = self._users, self.options.negatives, self.lookup.known_pools
        ranks = (users["fold"].to_numpy() == 0) | (not self.options.predict)
        out = np.unique(self._places(self._held.table)[0]) if self._held else None
        for split in SPLITS[1:] if wanted else ():
            listed = np.flatnonzero(ranks & (users[split].to_numpy() > 0)) if out is None else out
            for place, domain in enumerate(self.schema.domains, 1):
                rows = listed[users[DOMAIN].to_numpy()[listed] == place]
                enough(pools, np.full(len(rows), place), self._taken(rows, pools), wanted, f"{domain}/{split}")

    def _with_profile(self, columns: Columns, pools: Pools) -> Table:
        """Columns of histories, with the features of their users. pools: what they are ranked among."""
        user = columns[USER]
        profile = {name: values[user] for name, values in self.lookup.users.items()}
        task = self.schema.task if CLASS in columns else self.schema.task.pretrained
        ranks_items = POSITIVE in columns and CLASS not in columns
        item_domains = pools.domains if ranks_items and pools.apart else None
        all_columns = profile | columns | {USER: self.lookup.known(USER, user)}
        return Table(all_columns, np.ones(len(user), np.float32), item_domains, task=task)

    def _trained(self, user: np.ndarray, domain: np.ndarray, items: Sequence[np.ndarray]) -> Columns:
        """Windows -> rows to train on."""
        events = _padded(items, self.options.length + 1)
        target = events.copy()
        target[:, 0] = 0  # what comes before the first item of a window is not known
        return {USER: user, DOMAIN: domain, HISTORY: events[:, :-1], TARGET: target}

    def _windows(self, unit: Unit) -> Columns:
        rows = pa.concat_tables([pq.read_table(path) for path in self.train_files()])
        if unit.domain:
            rows = rows.filter(pa.array(rows[DOMAIN].to_numpy() == self._place(unit)))
        items = rows["items"].to_numpy()
        return self._trained(rows[USER].to_numpy().astype(np.int64), rows[DOMAIN].to_numpy().astype(np.int64), items)

    def _last(self, unit: Unit, split: Split, seen: bool = False, ahead: int = 0) -> Columns:
        """The row of each user who is no cold one, or the n-th of those that test."""
        rows, place = self._ranked.held_out(split, ahead)
        if unit.domain:
            here = self._users[DOMAIN].to_numpy()[rows] == self._place(unit)
            rows, place = rows[here], place[here]
        return self._lists(unit, split, rows, place, self.options.length, seen)

    def _cold(self, unit: Unit, split: Split, only: str = "", seen: bool = False) -> Columns:
        task, width = unit.task, max(1, self.options.events - 1)
        if split != "train":
            return self._lists(unit, split, *self._ranked.of_cold(unit, split, only), width, seen)
        rows, begin, end = spans(self._users, unit, self.options)
        events = _padded([self._items[r][a:b] for r, a, b in zip(rows, begin, end, strict=True)], width + 1)
        target, history = events.copy(), events[:, :width].copy()
        if task == "zero":
            target[:, 1:], history[:] = 0, 0
        else:  # what comes before the first item of a later window is known, and not shown
            target[(begin > 0) | (task != "joint"), 0] = 0
        return {**self._owners(rows), HISTORY: history, TARGET: target}

    def _held_out(self, held: HeldOut, unit: Unit, split: Split, part: str = "", seen: bool = False) -> Columns:
        """A row for each that is held out, or for each of a cold item that trains: it follows what its user had taken before."""
        rows, place, item = self._places(held.of(unit, split, part))
        if split != "train":
            return self._lists(unit, split, rows, place, self.options.length, seen, item)
        before = [self._items[r][:k][-self.options.length :] for r, k in zip(rows, place, strict=True)]
        target = np.zeros((len(rows), self.options.length + 1), np.int64)
        target[np.arange(len(rows)), [len(b) for b in before]] = item
        return {**self._owners(rows), HISTORY: _padded(before, self.options.length), TARGET: target}

    def _places(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of rows that are held out: row of the table of histories, place in it, item."""
        keys, known = ((t[DOMAIN].to_numpy().astype(np.int64) << 32) | t[USER].to_numpy() for t in (table, self._users))
        order = known.argsort()
        rows = order[np.searchsorted(known, keys, sorter=order)]
        return rows, table["place"].to_numpy().astype(np.int64), table["item"].to_numpy().astype(np.int64)

    def _classes(self, unit: Unit, split: Split) -> Columns:
        """One row of each user: the class is what follows the known items."""
        rows = np.flatnonzero(members(self._users, unit, split, self.options))
        known = self.options.events
        history = _padded([self._items[r][:known][-self.options.length :] for r in rows], min(known, self.options.length))
        classes = self._users[CLASS].to_numpy()[rows].astype(np.int64)
        columns = {
            **self._owners(rows),
            HISTORY: history,
            CLASS: classes,
            self.schema.task.attribute: np.zeros(len(rows), np.int64),
        }
        if split != "train":
            return {**columns, POSITIVE: classes, SEEN: np.zeros((len(rows), 1), np.int64)}
        target = np.zeros((len(rows), history.shape[1] + 1), np.int64)
        target[np.arange(len(rows)), (history > 0).sum(1)] = classes
        return {**columns, TARGET: target}

    def _lists(
        self,
        unit: Unit,
        split: Split,
        rows: np.ndarray,
        place: np.ndarray,
        width: int,
        seen: bool,
        item: np.ndarray | None = None,
    ) -> Columns:
        """Lists of candidates.

        Args:
            rows: (N,) rows of the table of histories. place: (N,) which of its items is the positive one.
            item: (N,) the positive ones where they stand in no history: they come before that place.
        """
        pools, before = self._pools(unit), [self._items[r][:k] for r, k in zip(rows, place, strict=True)]
        columns = {**self._owners(rows), HISTORY: _padded([b[-width:] for b in before], width)}
        listed = (self._items[r][k] for r, k in zip(rows, place, strict=True)) if item is None else item
        positive = np.fromiter(listed, np.int64, len(rows))
        if seen or not self.options.negatives:
            left_out = [self._and_elsewhere(r, b) for r, b in zip(rows.tolist(), before, strict=True)]
            if self.options.repeats == "count":
                left_out = [b[:0] for b in before]
            left_out = [out[(out != p) & (out < len(pools))] for out, p in zip(left_out, positive, strict=True)]
            columns |= {SEEN: _padded(left_out, max(map(len, left_out), default=1) or 1), POSITIVE: positive}
        if self.options.negatives:
            taken, wanted = self._taken(rows, pools), self.options.negatives
            others = negatives(pools, rows, columns[DOMAIN], taken, wanted, f"{unit.name}/{split}", self.seed)
            columns[CANDIDATES] = np.concatenate([positive[:, None], others], axis=1)
        return columns

    def _taken(self, rows: np.ndarray, pools: Pools) -> dict[int, np.ndarray]:
        """Row of the table of histories -> all that its user took and may not meet among candidates, in the order of rows."""
        every = {row: self._and_elsewhere(row, self._items[row]) for row in np.unique(rows).tolist()}
        return {row: items[items < len(pools)] for row, items in every.items()}

    def _owners(self, rows: np.ndarray) -> Columns:
        return {name: self._users[name].to_numpy()[rows].astype(np.int64) for name in (USER, DOMAIN)}

    def _pools(self, unit: Unit) -> Pools:
        return self.lookup.known_pools if unit.kind == "all" else self.lookup.pools

    def _place(self, unit: Unit) -> int:
        return self.schema.domains.index(unit.domain) + 1

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
        """Row of the table of histories -> what its user took besides: what is held out, and where domains share items, what he
        took in others.
        """
        held = self._held_items
        if not self.lookup.shared_items or len(self.schema.domains) == 1:
            return held
        user = self._users[USER].to_numpy()
        order = np.argsort(user, kind="stable")
        groups = [g.tolist() for g in np.split(order, np.flatnonzero(np.diff(user[order])) + 1) if len(g) > 1]
        taken = dict(held)
        for group in groups:
            out = [held[row] for row in group if row in held]
            taken |= {row: np.concatenate([*(self._items[other] for other in group if other != row), *out]) for row in group}
        return taken

    @cached_property
    def _held(self) -> HeldOut | None:
        """What stands in no history, where items are made cold."""
        if not any(unit.kind == "items" for unit in self.schema.groups):
            return None
        return HeldOut(pq.read_table(self.folder / EVENTS), self.schema.domains, self.options.repeats == "count")

    @cached_property
    def _held_items(self) -> dict[int, np.ndarray]:
        """Row of the table of histories -> the items that its user took and that stand in no history."""
        if not self._held:
            return {}
        table = self._held.table
        rows, _, item = self._places(table.filter(pa.array(table["split"].to_numpy() != SPLITS.index("train"))))
        order = rows.argsort(kind="stable")
        owners, starts = np.unique(rows[order], return_index=True)
        return dict(zip(owners.tolist(), np.split(item[order], starts[1:]), strict=True))

    @cached_property
    def _ranked(self) -> Ranked:
        return Ranked(self._users, self.options, self.lookup.shared_items, self.seed)


def recent(past: Sequence[np.ndarray], length: int) -> np.ndarray:
    """(N, L): the last L items of each."""
    return _padded([items[-length:] for items in past], length)


def _padded(lists: Sequence[np.ndarray], width: int) -> np.ndarray:
    """(N, width) int64, zeros behind."""
    out = np.zeros((len(lists), width), np.int64)
    for row, values in zip(out, lists, strict=True):
        row[: len(values)] = values[:width]
    return out
