"""Rows that are held out where items are made cold: which they are, and whose. Shapes: E rows of the table of them.

Of a cold item the first rows train (`data.split.cold_kept`); of those that come next (`cold_held`) the earlier half validates and
the later half tests. With `cold_from` these begin at a place of their own, so that jobs which keep 0, 5 or 20 rows test the same.
All others stand nowhere: an item that trained on them would not be cold. Each job pre-trains on what it keeps, as the paper does,
and where that is nothing, the pre-training does not know the item (`schema.prepared.Field.new`). Of the other items, the warm
ones, the last row of each user tests, and the one before validates. No row that is held out stands in a history, so that nothing
trains or is tuned on it by another way.

With `data.split.cold_most` cold items are those with few training rows, and all rows are split as those of warm items
(leave-one-out, the paper's protocol): of cold items few rows test, and an item that is popular among test rows is warm.

A model that scores all cold items higher ranks each of them above the others: rows of cold items alone would call that good. So a
unit is validated with as many rows of warm items as it has of cold ones, and tested on both, each told apart. Its warm rows are
those of a part of its domain's users, which a hash divides among the groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from raytune_rec.job.data import SequenceOptions
from raytune_rec.schema.prepared import SPLITS, Split
from raytune_rec.task import Unit

EVENTS = "held_out.parquet"
"""Beside the histories: `user` and `domain`, `item`, its `place` in the history, `time`, `split` (-1: none), `fresh` (new to its
user), `cold`, and its `group`, from 1. Rows of cold items that train are here too, and in histories besides.
Warm rows stand in the order of a hash, behind the others."""
COLD, WARM = "cold items", "warm items"
"""The parts of a unit's rows, and the tables of the results: what all units reach together on each kind of rows."""
ALL = "all items"
"""The table of both."""
JOINED = {ALL: (COLD, WARM)}
"""Tables whose rows are those of others, one after the other."""
AMONG = {"cold items among cold": COLD, "warm items among warm": WARM}
"""Tables, and parts of a unit's rows, that rank items of one kind alone, all of them."""


def units_of(domains: Sequence[str], options: SequenceOptions, before: int = 0) -> Iterator[Unit]:
    """The units before it is known which items are theirs. before: groups of a domain that there are already."""
    for domain in domains:
        for number in range(before + 1, before + options.item_groups + 1):
            name = f"cold.{number}" if len(domains) == 1 else f"{domain}.cold.{number}"
            yield Unit(name, "items", domain, COLD, number)


class HeldOut:
    """The table of rows that are held out.

    Args:
        domains: of the store.
        repeats: what repeats an item of its user is ranked too.
    """

    def __init__(self, table: pa.Table, domains: Sequence[str], repeats: bool) -> None:
        self._domains = domains
        self._column = {name: table[name].to_numpy() for name in table.column_names}
        self._ranked = self._column["fresh"] | repeats
        self.table = table

    def of(self, unit: Unit, split: Split, part: str = "") -> pa.Table:
        """A unit's rows of a split, cold ones first. A unit that is no group of cold items has warm rows alone.

        Args:
            part: `COLD` or `WARM`: these alone.
        """
        cold, group, domain = (self._column[name] for name in ("cold", "group", "domain"))
        mine = self._column["split"] == SPLITS.index(split)
        if split != "train":
            mine &= self._ranked
        if unit.domain:
            mine &= domain == self._domains.index(unit.domain) + 1
        if unit.kind != "items":
            return self.table.filter(pa.array(mine & ~cold))
        rows = np.flatnonzero(mine & (group == unit.number))
        of_cold, warm = rows[cold[rows]], rows[~cold[rows]]
        if split == "valid":
            warm = warm[: len(of_cold)]
        kinds = {COLD: of_cold, WARM: warm}
        chosen = [kinds[part]] if part else list(kinds.values())
        return self.table.take(pa.array(np.concatenate(chosen)))

    def warm(self, known: int) -> np.ndarray:
        """(V,) bool: which items are warm; known: V."""
        warm = np.ones(known, bool)
        warm[self._column["item"][self._column["cold"]]] = False
        return warm

    def repeats(self, domain: str) -> dict[str, int]:
        """As `Ranked.repeats`."""
        here, counts = self._column["domain"] == self._domains.index(domain) + 1, dict[str, int]()
        for place, split in enumerate(SPLITS[1:], 1):
            fresh = self._column["fresh"][here & (self._column["split"] == place)]
            counts |= {split: int((~fresh).sum()), f"{split}_of": len(fresh)}
        return counts
