"""Which rows are held out where items are made cold, and which items and rows are whose. Shapes: N rows of a domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_rec.data.cold_items import units_of
from raytune_rec.data.hashing import scramble, share, user_hash
from raytune_rec.data.layout import domain_file
from raytune_rec.data.preparing.order import clock_of, in_time, times_of
from raytune_rec.data.preparing.splits import TEST, TRAIN, VALID, are_cold
from raytune_rec.errors import DataError
from raytune_rec.job.data import SequenceOptions, SplitOptions
from raytune_rec.schema.prepared import Field
from raytune_rec.task import Unit


def cold_of(store: Path, domains: Sequence[str], hashes: np.ndarray, split: SplitOptions) -> np.ndarray:
    """Rows of the table of items: those that are cold. hashes: `text_hash` of each item, by its row."""
    rows = pa.concat_tables(
        [pq.read_table(domain_file(store, domain), columns=["item", "split"], partitioning=None) for domain in domains]
    )
    if split.cold_most:
        trained = rows["item"].to_numpy()[rows["split"].to_numpy() == TRAIN]
        times = np.bincount(trained, minlength=len(hashes))
        if not (few := (times > 0) & (times <= split.cold_most)).any():
            least = times[times > 0].min() if len(trained) else 0
            why = f"the item with fewest has {least}; set it to {least} or more" if least else "no row trains; check the source"
            raise DataError(f"no item is cold: none has data.split.cold_most = {split.cold_most} training rows or fewer; {why}.")
        return np.flatnonzero(few)
    counts = np.bincount(rows["item"].to_numpy(), minlength=len(hashes))
    return np.flatnonzero(are_cold(hashes, counts, split))


def held_out(rows: pa.Table, domain: int, field: Field, hashes: np.ndarray, cold: np.ndarray, options: SplitOptions) -> pa.Table:
    """The rows of a domain that are held out, and those of cold items that train: `cold_items.EVENTS`, but for the groups.

    Args:
        rows: of the domain, as they are stored. field: of items.
        hashes: (N,) `row_hash` of each row. cold: from `cold_of`. options: how many rows of a cold item are held out for use.
    """
    user, item, split = (rows[name].to_numpy() for name in ("user", "item", "split"))
    times = [rows[name].to_numpy() for name in times_of(rows.column_names)]
    clock = [rows[name].to_numpy() for name in clock_of(rows.column_names)]
    is_cold = np.isin(item, cold)
    parts = split
    if not options.cold_most:
        parts = np.where(is_cold, _halves(item, clock, hashes, is_cold, split == TRAIN, options), split)
        parts[~is_cold & (item >= field.known)] = -1  # no pre-training knows them, and others have tuned them
    order = in_time(user, times, hashes)
    order = order[item[order] < field.size]
    listed = (split[order] == TRAIN) & (item[order] < field.known)
    before = np.cumsum(listed) - listed  # listed rows in front, of all users
    starts = np.flatnonzero(np.append(True, np.diff(user[order]) != 0))
    sizes = np.diff(np.append(starts, len(order)))
    place = before - np.repeat(before[starts], sizes)
    _, first = np.unique(user[order].astype(np.int64) << 32 | item[order], return_index=True)
    fresh = np.zeros(len(order), bool)
    fresh[first] = True
    wanted = is_cold[order] | ~listed
    chosen = order[wanted]
    table = pa.table(
        {
            "user": pa.array(user[chosen].astype(np.int32)),
            "domain": pa.array(np.full(len(chosen), domain, np.int32)),
            "item": pa.array(item[chosen].astype(np.int32)),
            "place": pa.array(place[wanted].astype(np.int32)),
            "time": pa.array(clock[0][chosen] if clock else np.zeros(len(chosen), np.int64)),
            "split": pa.array(parts[chosen].astype(np.int8)),
            "fresh": pa.array(fresh[wanted]),
            "cold": pa.array(is_cold[chosen]),
        }
    )
    drawn = scramble(hashes[chosen])
    return table.take(pa.array(np.lexsort((np.where(is_cold[chosen], 0, drawn), ~is_cold[chosen]))))


def _halves(
    item: np.ndarray, times: Sequence[np.ndarray], hashes: np.ndarray, cold: np.ndarray, kept: np.ndarray, options: SplitOptions
) -> np.ndarray:
    """(N,) the split of each row: train where it is kept, then validation and test by halves, -1 what is used nowhere.

    Args:
        cold, kept: (N,) bool, rows of cold items, and those that train.
    """
    parts = np.where(cold & ~kept, -1, TRAIN)
    rows = np.flatnonzero(cold)
    order = rows[in_time(item[rows], [time[rows] for time in times], hashes[rows])]
    _, starts, sizes = np.unique(item[order], return_index=True, return_counts=True)
    first = np.maximum(np.add.reduceat(kept[order].astype(np.int64), starts), options.cold_from) if len(order) else starts
    rank = np.arange(len(order)) - np.repeat(starts + first, sizes)  # from the first that is held out for use
    used = np.repeat(np.minimum(np.maximum(sizes - first, 0), options.cold_held), sizes)
    inside = (rank >= 0) & (rank < used)
    parts[order[inside]] = np.where(rank[inside] < used[inside] // 2, VALID, TEST)
    return parts


def pairs(rows: pa.Table) -> np.ndarray:
    """Users with items that they took, each pair once."""
    return np.unique(rows["user"].to_numpy().astype(np.int64) << 32 | rows["item"].to_numpy())


def joined(parts: Sequence[pa.Table], taken: Sequence[np.ndarray]) -> pa.Table:
    """The tables of all domains.

    Args:
        taken: `pairs` of each domain, where these share their items: what a user took in several is fresh in none.
    """
    table = pa.concat_tables(parts)
    if len(taken) < 2:
        return table
    pair, times = np.unique(np.concatenate(taken), return_counts=True)
    several = np.isin(table["user"].to_numpy().astype(np.int64) << 32 | table["item"].to_numpy(), pair[times > 1])
    fresh = pa.array(table["fresh"].to_numpy() & ~several)
    return table.set_column(table.schema.get_field_index("fresh"), "fresh", fresh)


def told_of(held: pa.Table, items: pa.Table, fields: Sequence[Field]) -> dict[str, Any]:
    """What people are told of a domain's cold items: how many they are, how many lack a feature, how many have one user alone in
    training, whose rows then tell nothing of them, and how many have neither a row there nor a feature.

    Args:
        held: from `held_out`. items: the features of all items. fields: of these features.
    """
    item, user = (held[name].to_numpy() for name in ("item", "user"))
    of_cold = held["cold"].to_numpy()
    members = np.unique(item[of_cold])
    trained = of_cold & (held["split"].to_numpy() == TRAIN)
    takers = np.unique(np.stack([item[trained], user[trained]]), axis=1)[0]
    missing = {f.name: _missing(items[f.name].take(members), f) for f in fields}
    lacking = {name: int(those.sum()) for name, those in missing.items() if those.any()}
    users = np.bincount(np.searchsorted(members, takers), minlength=len(members))
    untold = np.logical_and.reduce([users == 0, *missing.values()])
    told = {"items": len(members), "lacking": lacking, "of_one_user": int((users == 1).sum())}
    return {**told, "untold": int(untold.sum())}


def _missing(values: pa.ChunkedArray, field: Field) -> np.ndarray:
    """(N,) bool."""
    if field.kind == "multi":
        return pc.list_value_length(values).to_numpy() == 0
    return np.isnan(values.to_numpy()) if field.kind == "numerical" else values.to_numpy() == 0


def grouped(
    table: pa.Table,
    users: np.ndarray,
    items: np.ndarray,
    domains: Sequence[str],
    options: SequenceOptions,
    seed: int,
    before: int = 0,
) -> tuple[pa.Table, tuple[Unit, ...]]:
    """The rows with their groups, and the units with their items.

    Args:
        table: of all domains. users, items: `text_hash` of each, by its row in its table. before: groups of a domain that there
            are already; numbers begin behind theirs.

    Raises:
        DataError: there are no times to group by.
    """
    item, domain, time, cold = (table[name].to_numpy() for name in ("item", "domain", "time", "cold"))
    count = options.item_groups
    if options.grouped_by == "arrival" and not time.any():
        raise DataError("data.sequences.grouped_by = 'arrival' needs timestamps, and the source has none; set it to 'hash'.")
    of_user = np.floor(share(user_hash(seed, "warm", users)) * count).astype(np.int64) + 1
    group, units = of_user[table["user"].to_numpy()], []
    for number in range(1, len(domains) + 1):
        rows = np.flatnonzero((domain == number) & cold)
        here, place = np.unique(item[rows], return_inverse=True)
        if options.grouped_by == "hash":
            of_item = np.floor(share(user_hash(seed, "group", items[here])) * count).astype(np.int64) + 1
        else:  # arrival: by the time of its first row
            first = np.full(len(here), np.iinfo(np.int64).max)
            np.minimum.at(first, place, time[rows])
            of_item = first.argsort(kind="stable").argsort(kind="stable") * count // max(1, len(here)) + 1
        group[rows] = of_item[place]
        units.append([here[of_item == g] for g in range(1, count + 1)])
    made = units_of(domains, options, before)
    return table.append_column("group", pa.array((group + before).astype(np.int32))), tuple(
        replace(unit, members=tuple(map(int, members))) for groups in units for members, unit in zip(groups, made, strict=False)
    )


def check_filled(groups: Sequence[Unit], options: SequenceOptions, timed: bool) -> None:
    """Refuse groups that got no cold item.

    Args:
        timed: whether rows have times, by which items can be grouped.

    Raises:
        DataError: of each domain, its cold items and groups.
    """
    problems, divides = [], timed
    for domain in dict.fromkeys(unit.domain for unit in groups):
        sizes = [len(unit.members) for unit in groups if unit.domain == domain]
        if empty := sizes.count(0):
            told = f"{sum(sizes):,} cold items, and {empty:,} of {len(sizes):,} groups get none of them"
            problems.append(f"domain {domain!r}: {told}.")
            divides &= sum(sizes) >= len(sizes)
    if problems:
        evenly = ", set data.sequences.grouped_by = 'arrival', which divides them evenly," if divides else ""
        raise DataError([*problems, f"Lower data.sequences.item_groups{evenly} or make more items cold (data.split)."])
