"""Which events of cold items train, validate and test, and which items are whose. Shapes: N rows of a domain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.cold_items import units_of
from raytune_rec.data.hashing import share, user_hash
from raytune_rec.data.layout import domain_file
from raytune_rec.data.preparing.order import clock_of, in_time, times_of
from raytune_rec.data.preparing.splits import TEST, TRAIN, VALID
from raytune_rec.errors import DataError
from raytune_rec.job.data import SequenceOptions, SplitOptions
from raytune_rec.task import Unit


def cold_of(store: Path, domains: Sequence[str]) -> np.ndarray:
    """Rows of the table of items: those that are cold, of which some interactions stand in the split `test`."""
    tables = [pq.read_table(domain_file(store, domain), columns=["item", "split"], partitioning=None) for domain in domains]
    return np.unique(np.concatenate([t["item"].to_numpy()[t["split"].to_numpy() == TEST] for t in tables]))


def events(rows: pa.Table, domain: int, hashes: np.ndarray, cold: np.ndarray, split: SplitOptions) -> pa.Table:
    """The events of a domain's cold items, in time.

    Args:
        rows: of the domain, as they are stored. hashes: (N,) `row_hash` of each.
        cold: from `cold_of`.
    """
    user, item, cut = (rows[name].to_numpy() for name in ("user", "item", "split"))
    times = [rows[name].to_numpy() for name in times_of(rows.column_names)]
    held = cut == TEST
    clock = [rows[name].to_numpy() for name in clock_of(rows.column_names)]
    parts = _halves(item, clock, hashes, held, split.cold_held)
    order = in_time(user, times, hashes)
    listed = cut[order] != TEST
    before = np.cumsum(listed) - listed  # listed rows in front, of all users
    starts = np.flatnonzero(np.append(True, np.diff(user[order]) != 0))
    sizes = np.diff(np.append(starts, len(order)))
    place = before - np.repeat(before[starts], sizes)
    _, first = np.unique(user[order].astype(np.int64) << 32 | item[order], return_index=True)
    fresh = np.zeros(len(order), bool)
    fresh[first] = True
    wanted = np.isin(item[order], cold)
    chosen = order[wanted]
    return pa.table(
        {
            "user": pa.array(user[chosen].astype(np.int32)),
            "domain": pa.array(np.full(len(chosen), domain, np.int32)),
            "item": pa.array(item[chosen].astype(np.int32)),
            "place": pa.array(place[wanted].astype(np.int32)),
            "time": pa.array(clock[0][chosen] if clock else np.zeros(len(chosen), np.int64)),
            "split": pa.array(parts[chosen].astype(np.int8)),
            "fresh": pa.array(fresh[wanted]),
        }
    )


def _halves(item: np.ndarray, times: Sequence[np.ndarray], hashes: np.ndarray, held: np.ndarray, most: int) -> np.ndarray:
    """(N,) the split of each row: train where it is not held out, then validation and test by halves, -1 what comes later."""
    parts = np.where(held, -1, TRAIN)
    rows = np.flatnonzero(held)
    order = rows[in_time(item[rows], [time[rows] for time in times], hashes[rows])]
    _, starts, sizes = np.unique(item[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    used = np.repeat(np.minimum(sizes, most), sizes)
    inside = rank < used
    parts[order[inside]] = np.where(rank[inside] < used[inside] // 2, VALID, TEST)
    return parts


def joined(parts: Sequence[pa.Table], shared: bool) -> pa.Table:
    """The events of all domains. Where these share their items, what a user took in several is fresh in none."""
    table = pa.concat_tables(parts)
    if not shared or len(parts) == 1:
        return table
    user, item, domain = (table[name].to_numpy().astype(np.int64) for name in ("user", "item", "domain"))
    pair = user << 32 | item
    pairs, place = np.unique(pair, return_inverse=True)
    met = np.unique(place * (len(parts) + 1) + domain) // (len(parts) + 1)  # each pair once for each of its domains
    once = np.bincount(met, minlength=len(pairs))[place] == 1
    fresh = pa.array(table["fresh"].to_numpy() & once)
    return table.set_column(table.schema.get_field_index("fresh"), "fresh", fresh)


def grouped(table: pa.Table, hashes: np.ndarray, domains: Sequence[str], options: SequenceOptions, seed: int) -> tuple[Unit, ...]:
    """The units with their items.

    Args:
        table: all events. hashes: `text_hash` of each item, by its row in the table of items.
    """
    item, domain, time = (table[name].to_numpy() for name in ("item", "domain", "time"))
    if options.grouped_by == "arrival" and not time.any():
        raise DataError("data.sequences.grouped_by = 'arrival' needs timestamps, and the source has none; set it to 'hash'.")
    units = []
    for number in range(1, len(domains) + 1):
        here = np.unique(item[domain == number])
        if options.grouped_by == "hash":
            group = np.floor(share(user_hash(seed, "group", hashes[here])) * options.item_groups).astype(np.int64)
        else:  # arrival: by the time of its first event
            rows = np.flatnonzero(domain == number)
            rows = rows[np.lexsort((time[rows], item[rows]))]
            first = time[rows[np.unique(item[rows], return_index=True)[1]]]
            group = first.argsort(kind="stable").argsort(kind="stable") * options.item_groups // max(1, len(here))
        units.append([here[group == g] for g in range(options.item_groups)])
    made = units_of(domains, options)
    return tuple(
        Unit(unit.name, unit.kind, unit.domain, unit.task, unit.number, tuple(map(int, members)))
        for groups in units
        for members, unit in zip(groups, made, strict=False)
    )
