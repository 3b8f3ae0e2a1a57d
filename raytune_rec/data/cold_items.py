"""Units of cold items: which they are, and which events are theirs. Shapes: N rows, E events of cold items.

Of a cold item the first rows train (`data.split.cold_kept`); of those that come next (`cold_held`) the earlier half validates and
the later half tests. What comes later still stands nowhere: an item that trained on it would not be cold. An event that validates
or tests stands in no history, so that nothing is tuned on it by another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from raytune_rec.job.data import SequenceOptions
from raytune_rec.schema.prepared import SPLITS, Split
from raytune_rec.task import Unit

EVENTS = "cold_items.parquet"
"""Beside the histories: `user` and `domain`, `item`, its `place` in the history, `time`, `split` (-1: none), and whether it is
`fresh`: the user has not taken the item before."""
TABLE = "cold items"
"""Of the results: what all units reach together."""


def units_of(domains: Sequence[str], options: SequenceOptions) -> Iterator[Unit]:
    """The units before it is known which items are theirs."""
    for domain in domains:
        for number in range(1, options.item_groups + 1):
            name = f"cold.{number}" if len(domains) == 1 else f"{domain}.cold.{number}"
            yield Unit(name, "items", domain, TABLE, number)


def of_unit(table: pa.Table, unit: Unit, place: int, split: Split, repeats: bool) -> pa.Table:
    """The events of a unit's split; of what is ranked those alone that are no repeats, unless these count.

    Args:
        place: of its domain, from 1: others may share its items.
    """
    item, domain, part = (table[name].to_numpy() for name in ("item", "domain", "split"))
    mine = np.isin(item, unit.members) & (domain == place) & (part == SPLITS.index(split))
    return table.filter(pa.array(mine & (repeats | (split == "train") | table["fresh"].to_numpy())))
