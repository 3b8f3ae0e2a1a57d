"""All items of a store by their id: features, tokens of text, how often each was taken and by whom. Shapes: V ids, E events."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.layout import TEXTS, VECTORS, domain_file, table_file
from raytune_rec.data.stored.columns import Columns, cast
from raytune_rec.data.stored.lookup import Lookup
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import ITEM, SPLITS, USER, Feedback, Field, Items

_SECOND = 10**9
_TIME, _POSITION, _STAY, _VALUES = "timestamp", "position", "stay", ("rating", "label")


def items(lookup: Lookup, names: Collection[str], feedback: bool) -> Items:
    """Some columns of all items, in memory.

    Args:
        names: of features, text fields and vectors of items. feedback: also who took them.

    Raises:
        DataError: a column that items do not have, or feedback of the part of a store beside a backbone.
    """
    schema, size = lookup.schema, lookup.schema.field(ITEM).size
    texts = [f for f in schema.texts if f.role == "item"]
    known = {f.name: f for f in (*schema.with_role("item"), *texts, *schema.vectors) if f.name != ITEM}
    if wrong := [name for name in names if name not in known]:
        raise DataError(f"items: there is no column {', '.join(wrong)}; there are {', '.join(known) or 'none'}.")
    beside = {f.name for f in (*texts, *schema.vectors)}
    columns = {name: lookup.items[name][:size] for name in names if name not in beside}
    columns |= _beside(lookup, "items.parquet", [f for f in texts if f.name in names])
    columns |= _beside(lookup, VECTORS, [f for f in schema.vectors if f.name in names])
    count = pq.read_table(table_file(lookup.path, ITEM), columns=["count"])["count"].to_numpy()[:size].astype(np.int64)
    return Items(columns, count, _feedback(lookup, size) if feedback else None)


def _beside(lookup: Lookup, file: str, fields: list[Field]) -> Columns:
    """(V, L) tokens, or (V, W) numbers."""
    if not fields:
        return {}
    table = pq.read_table(lookup.path / TEXTS / file, columns=[f.name for f in fields])
    return {f.name: cast(table[f.name].combine_chunks(), f)[: lookup.schema.field(ITEM).size] for f in fields}


def _feedback(lookup: Lookup, size: int) -> Feedback:
    """Events of the training split, item after item, of an item in time order; at equal times as they stand in the files."""
    parts = [_events(lookup, place) for place in range(len(lookup.schema.domains))]
    user, item, clock, place, value, stay = (np.concatenate(each, axis=-1) for each in zip(*parts, strict=True))
    risen, time = _ranks((*place, clock)), clock // _SECOND
    stay /= max(float(stay.mean()), 1e-30) if len(stay) else 1.0
    order = np.lexsort((time, item))
    order = order[user[order] < lookup.schema.field(USER).size]  # users whom no training knows tell nothing
    start = np.concatenate([[0], np.cumsum(np.bincount(item[order], minlength=size))])
    return Feedback(start, user[order], time[order], value[order], stay[order], risen[order])


def _events(lookup: Lookup, domain: int) -> tuple[np.ndarray, ...]:
    """User, item, time in nanoseconds, value, and how long the user stayed: (E,) each, of the training rows of a domain. Before
    the value (2, E): positions, and of which domain they are where it has no clock, since those of two do not compare.
    """
    path = domain_file(lookup.path, lookup.schema.domains[domain])
    if not path.exists():
        raise DataError(f"{lookup.path}: has no interactions, and so nobody who took an item; read the store of the run (data/).")
    there = pq.read_schema(path).names
    value = next(name for name in _VALUES if name in there)
    names = [USER, ITEM, value, "split", *(name for name in (_TIME, _POSITION, _STAY) if name in there)]
    rows = pq.read_table(path, columns=names, partitioning=None)
    rows = rows.filter(pa.array(rows["split"].to_numpy() == SPLITS.index("train")))
    user, item = (rows[name].to_numpy().astype(np.int64) for name in (USER, ITEM))
    none = np.zeros(len(rows), np.int64)
    clock, position = (rows[n].to_numpy().astype(np.int64) if n in there else none for n in (_TIME, _POSITION))
    place = np.stack([position, none if _TIME in there else none + domain])
    stay = np.nan_to_num(rows[_STAY].to_numpy().astype(np.float32)) if _STAY in there else np.zeros(len(rows), np.float32)
    return user, item, clock, place, rows[value].to_numpy().astype(np.float32), stay


def _ranks(keys: Sequence[np.ndarray]) -> np.ndarray:
    """(E,) int64 from (E,) keys, the last of which decides first: equal where all are."""
    order = np.lexsort(keys)
    changes = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
    ranks = np.zeros(len(order), np.int64)
    ranks[order[1:]] = np.cumsum(changes)
    return ranks
