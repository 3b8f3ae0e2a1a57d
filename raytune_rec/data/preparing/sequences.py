"""From interactions to histories: each user's items of a domain, in time order. Written once, when the data are prepared.

`sequences/users.parquet` has a row for each (domain, user): what the user did, and which part of it trains. `sequences/train/`
has what the backbone is pre-trained on: windows of training histories, in hash order, so that a block of them is a fair sample.

Rows of label 0 never come here: histories hold what users took. Items without an id can neither be shown nor ranked: they are
left out, and `summary.json` counts these interactions for each domain (`left_out_of_histories`), and the users who lose all their
rows of a split with them (`users_without_valid`, `users_without_test`). `order` says what comes first, `ranked` which rows are
tested; of these, and of those that validate, it is counted how many repeat an item (`repeats`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.cold_items import EVENTS, HeldOut
from raytune_rec.data.cold_users import cuts, first_of, folds_of, members, predicted, spans, unseen_classes
from raytune_rec.data.hashing import row_hash, share, text_hash, user_hash
from raytune_rec.data.layout import FOLDER, USERS, domain_file
from raytune_rec.data.preparing.coding.known import Known
from raytune_rec.data.preparing.cold_items import check_filled, cold_of, grouped, held_out, joined, pairs, told_of
from raytune_rec.data.preparing.disk.tables import RowGroupWriter
from raytune_rec.data.preparing.order import in_time, times_of
from raytune_rec.data.preparing.splits import TRAIN, VALID
from raytune_rec.data.ranked import Ranked
from raytune_rec.errors import DataError
from raytune_rec.job.data import DataOptions, SequenceOptions
from raytune_rec.schema.prepared import CLASS, ITEM, SPLITS, DataSchema, Split
from raytune_rec.storage.files import STORAGE
from raytune_rec.task import Unit

_WINDOW = pa.schema([("user", pa.int32()), ("domain", pa.int32()), ("items", pa.list_(pa.int32()))])
_PART_GROUPS = 16


def write_sequences(
    store: Path, schema: DataSchema, data: DataOptions, shared_items: bool, known: Known | None = None
) -> tuple[DataSchema, dict[str, dict[str, Any]]]:
    """Write the histories of a store that holds its interactions.

    Args:
        shared_items: whether domains share their items.
        known: what a finished run knows, where its log has grown.

    Returns:
        The schema, with the units of cold users, and rows counted as histories; and for `summary.json`
        of each domain what was left out and what is taken again, of each unit that predicts an attribute its classes.

    Raises:
        DataError: the interactions have no time, or no history can train.
    """
    options = data.sequences
    assert options is not None
    if options.predict:
        predicted(schema.fields, options.predict)
    folder = store / FOLDER
    STORAGE.make_folder(folder)
    hashed = {
        name: text_hash(pq.read_table(store / f"{name}.parquet", columns=["raw"])["raw"].to_pylist())
        for name in ("users", "items")
    }
    seed = data.split.seed
    with_id, parts, told = schema.field(ITEM).size, [], dict[str, dict[str, Any]]()
    of_items = data.split.kind == "cold_items"
    cold_items = np.zeros(0, np.int64)
    if of_items:
        cold_items = cold_of(store, schema.domains, hashed["items"], data.split) if known is None else _new(known, schema)
    lacked = [field for field in schema.with_role("item") if field.name != ITEM] if of_items else []
    items = pq.read_table(store / "items.parquet", columns=[field.name for field in lacked])
    held, taken = [], []
    for place, domain in enumerate(schema.domains, 1):
        rows = pq.read_table(domain_file(store, domain), partitioning=None)
        user, item = (hashed[f"{name}s"][rows[name].to_numpy()] for name in ("user", "item"))
        hashes = row_hash(seed, text_hash([domain]), user, item)
        told[domain] = _left_out(rows, with_id)
        if of_items:
            held.append(held_out(rows, place, schema.field(ITEM), hashes, cold_items, data.split))
            taken += [pairs(rows)] if shared_items else []
            told[domain]["left_out_of_cold_items"] = int((held[-1]["split"].to_numpy() < 0).sum())
            told[domain]["cold_items"] = told_of(held[-1], items, lacked)
        listed = (rows["split"].to_numpy() == TRAIN) | (not of_items)
        listed &= rows["item"].to_numpy() < schema.field(ITEM).known
        parts.append(_users(rows, place, with_id, hashes, listed))
    users = pa.concat_tables(parts)
    hashes = hashed["users"][users["user"].to_numpy()]
    cold = (users["train"].to_numpy() == 0) & (users["valid"].to_numpy() == 0) if options.cold else np.zeros(len(users), bool)
    folds = np.where(cold, np.floor(share(user_hash(seed, "fold", hashes)) * options.folds) + 1, 0).astype(np.int8)
    users = users.append_column("fold", pa.array(folds)).append_column("hash", pa.array(hashes))
    if options.predict:
        classes = pq.read_table(store / "users.parquet", columns=[options.predict])[options.predict]
        users = users.append_column(CLASS, classes.take(users["user"]))
    users = users.take(pa.array(np.lexsort((users["domain"].to_numpy(), user_hash(seed, "order", hashes)))))
    pq.write_table(users, folder / USERS, compression="zstd")
    windows = RowGroupWriter(folder / "train", _WINDOW, data.block_rows, _PART_GROUPS)
    counts = np.zeros(len(schema.domains) + 1, np.int64)
    for block in users.to_batches(65536):
        table = _windows(block, options)
        counts += np.bincount(table["domain"].to_numpy(), minlength=len(counts))
        windows.add(table)
    windows.close()
    if not counts.sum():
        raise DataError("no history of two items or more can train; check data.split, and the time column of the source.")
    ranked = Ranked(users, options, shared_items, seed)
    for place, domain in enumerate(schema.domains, 1):
        told[domain]["repeats"] = ranked.repeats(place)
    if options.predict:
        told |= {unit.name: {"classes": unseen_classes(users, unit, options)} for unit in folds_of(options)}
    schema = _counted(schema, users, options, counts, ranked)
    if not held:
        return schema, told
    before = known.groups if known else 0
    table, groups = grouped(joined(held, taken), hashed["users"], hashed["items"], schema.domains, options, seed, before)
    if known:  # what came later may be of some domains alone
        groups = tuple(unit for unit in groups if unit.members)
    check_filled(groups, options, timed=bool(table["time"].to_numpy().any()))
    pq.write_table(table, folder / EVENTS, compression="zstd")
    out = HeldOut(table, schema.domains, options.repeats == "count")
    told = {domain: {**counts_of, "repeats": out.repeats(domain)} for domain, counts_of in told.items()}
    schema = _with_groups(schema, out, groups)
    waiting = _waiting(schema) if known else []
    for unit in waiting:
        told[unit.domain].setdefault("waiting", {})[unit.name] = len(unit.members)
    kept = tuple(unit for unit in groups if unit not in waiting)
    return replace(schema, groups=kept, waiting=tuple(item for unit in waiting for item in unit.members)), told


def _waiting(schema: DataSchema) -> list[Unit]:
    """Groups with too few rows, where others have enough: they are left to another time, and hold nobody up."""
    waiting = [unit for unit in schema.groups if schema.lacking(unit)]
    return waiting if len(waiting) < len(schema.groups) else []


def _new(known: Known, schema: DataSchema) -> np.ndarray:
    """Ids of the items that a finished run does not serve."""
    return np.append(1 + np.flatnonzero(~known.served), np.arange(known.items + 1, schema.field(ITEM).size))


def _with_groups(schema: DataSchema, out: HeldOut, groups: tuple[Unit, ...]) -> DataSchema:
    """The schema with groups of cold items as units, and with the rows that are held out counted."""
    of_domains = [(Unit(domain, domain=domain), split) for domain in schema.domains for split in SPLITS[1:]]
    counted = [*of_domains, *((unit, split) for unit in groups for split in SPLITS)]
    rows = {(unit.name, split): len(out.of(unit, split)) for unit, split in counted}
    return replace(schema, rows={**schema.rows, **rows}, groups=groups)


def _users(rows: pa.Table, domain: int, known: int, hashes: np.ndarray, listed: np.ndarray) -> pa.Table:
    """One row for each user of a domain: user, domain, items, and how many of them train, validate and test.

    Args:
        listed: (N,) bool, rows that stand in histories.
    """
    user, item, split = (rows[name].to_numpy() for name in ("user", "item", "split"))
    order = in_time(user, [rows[name].to_numpy() for name in times_of(rows.column_names)], hashes)
    owner = np.unique(user[item < known])
    order = order[(item[order] < known) & listed[order]]
    user, item, split = user[order], item[order], split[order]
    place = np.searchsorted(owner, user)
    sizes = np.bincount(place, minlength=len(owner))
    counts = [np.bincount(place[split == s], minlength=len(owner)).astype(np.int32) for s in (TRAIN, VALID)]
    offsets = np.append(0, np.cumsum(sizes)).astype(np.int32)
    items = pa.ListArray.from_arrays(pa.array(offsets), pa.array(item.astype(np.int32)))
    return pa.table(
        {
            "user": pa.array(owner.astype(np.int32)),
            "domain": pa.array(np.full(len(owner), domain, np.int32)),
            "items": items,
            "train": pa.array(counts[0]),
            "valid": pa.array(counts[1]),
            "test": pa.array((sizes - counts[0] - counts[1]).astype(np.int32)),
        }
    )


def _left_out(rows: pa.Table, known: int) -> dict[str, Any]:
    """How many interactions of a domain have no known item, and how many users lose all that validates or tests with them."""
    user, split, fit = rows["user"].to_numpy(), rows["split"].to_numpy(), rows["item"].to_numpy() < known
    counts: dict[str, Any] = {"left_out_of_histories": int((~fit).sum())}
    for place, name in enumerate(SPLITS[1:], 1):
        here = split == place
        counts[f"users_without_{name}"] = len(np.setdiff1d(user[here], user[here & fit]))
    return counts


def _windows(users: pa.RecordBatch, options: SequenceOptions) -> pa.Table:
    """Windows of at most L + 1 training items; one of a single item has nothing to predict."""
    items = users["items"]
    flat, offsets = items.flatten().to_numpy(), items.offsets.to_numpy() - items.offsets[0].as_py()
    counts = users["train"].to_numpy().tolist()
    cut = [(i, a, b) for i, n in enumerate(counts) for a, b in cuts(n, options.length, options.windows)]
    lists = pa.array([flat[offsets[i] + a : offsets[i] + b] for i, a, b in cut], pa.list_(pa.int32()))
    users_of = np.array([i for i, _, _ in cut], np.int64)
    owners = {name: users[name].take(pa.array(users_of)) for name in ("user", "domain")}
    return pa.table({**owners, "items": lists}, _WINDOW)


def _counted(schema: DataSchema, users: pa.Table, options: SequenceOptions, windows: np.ndarray, ranked: Ranked) -> DataSchema:
    """The schema with its windows, and with the users who have something to rank."""
    domain, rows = users["domain"].to_numpy(), dict[tuple[str, Split], int]()
    for split in SPLITS[1:]:
        counts = np.bincount(domain[ranked.held_out(split)[0]], minlength=len(windows))
        rows |= {(name, split): int(counts[place]) for place, name in enumerate(schema.domains, 1)}
    rows |= {(name, "train"): int(windows[place]) for place, name in enumerate(schema.domains, 1)}
    folds = folds_of(options)
    for unit in folds:
        for split in SPLITS[1:]:
            of_classes = np.flatnonzero(members(users, unit, split, options))
            rows[unit.name, split] = len(of_classes if options.predict else np.unique(ranked.of_cold(unit, split)[0]))
        _, begin, end = spans(users, unit, options)
        first = 0 if options.predict else first_of(unit.task)  # a history that ends before has nothing to predict
        rows[unit.name, "train"] = int((end - begin > first).sum())
    return replace(schema, rows=rows, groups=folds)
