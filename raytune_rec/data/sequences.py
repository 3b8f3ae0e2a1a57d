"""From interactions to histories: each user's items of a domain, in time order. Written once, when the data are prepared.

`sequences/users.parquet` has a row for each (domain, user): what the user did, and which part of it trains. `sequences/train/`
has what the backbone is pre-trained on: windows of training histories, in hash order, so that a block of them is a fair sample.

Items that the training split does not know can neither be shown nor ranked: they are left out, and `summary.json` counts these
interactions for each domain (`left_out_of_histories`). Equal times are ordered by raw item id, shorter ones first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.config import DataOptions, SequenceOptions
from raytune_rec.data.layout import domain_folder
from raytune_rec.data.splits import TRAIN, VALID, share, user_hash
from raytune_rec.data.tables import RowGroups
from raytune_rec.data.vocabulary import text_hash
from raytune_rec.errors import DataError, JobError
from raytune_rec.schema import SPLITS, DataSchema, Field, Split

FOLDER = "sequences"
USERS = "users.parquet"
CLASS = "class"
"""Column of what is predicted of a user: the id of an attribute."""
_WINDOW = pa.schema([("user", pa.int32()), ("domain", pa.int32()), ("items", pa.list_(pa.int32()))])
_PART_GROUPS = 16


def cohorts(options: SequenceOptions) -> tuple[str, ...]:
    """The units of cold users: each task (or the attribute that is predicted) with each fold, from 1."""
    return tuple(f"{task}.{fold}" for task in options.cold for fold in range(1, options.folds + 1))


def about(unit: str, options: SequenceOptions) -> str:
    """A sentence on a unit of cold users; empty for a domain."""
    if unit not in cohorts(options):
        return ""
    task, _, fold = unit.rpartition(".")
    known = {"few": "who have taken something", "zero": "who have taken nothing yet", "joint": "with or without a history"}
    who = known.get(task) or f"who have taken at most {task.removesuffix('-shot')} items"
    others = f"the other {options.folds - 1} folds" if options.folds > 2 else "the other fold"
    warm = "warm users and " if options.warm else ""
    what = f"It tells the {task} of new users by what they took." if options.predict else f"It serves new users {who}."
    return f"{what} It was tuned on {warm}the cold users of {others}, and tested on those of fold {fold}."


def first_of(unit: str) -> int:
    """Place of the first item of a cold user that a unit predicts."""
    return 0 if unit.partition(".")[0] in ("zero", "joint") else 1


def predicted(fields: Sequence[Field], name: str) -> None:
    """Refuse an attribute that cannot be predicted.

    Raises:
        JobError: it does not exist, is not categorical, or is not a user's.
    """
    found = {f.name: f for f in fields}
    fit = [f.name for f in fields if f.role == "user" and f.kind == "categorical" and f.name != "user"]
    if name in fit:
        return
    if name not in found:
        wrong = "does not exist"
    elif found[name].role != "user" or name == "user":
        wrong = "is no attribute of users"
    else:
        wrong = f"is {found[name].kind}"
    raise JobError(
        f"data.sequences.predict: {name!r} {wrong}; it must be a categorical attribute of users, and there are "
        f"{', '.join(fit) or 'none'}."
    )


def write_sequences(store: Path, schema: DataSchema, data: DataOptions) -> tuple[DataSchema, dict[str, int]]:
    """Write the histories of a store that holds its interactions.

    Returns:
        The schema, with the length of histories, the units of cold users, and rows counted as histories; and of each domain the
        interactions that were left out.

    Raises:
        DataError: the interactions have no time, or no history can train.
    """
    options = data.sequences
    assert options is not None
    if options.predict:
        predicted(schema.fields, options.predict)
    folder = store / FOLDER
    folder.mkdir()
    raws = {name: pq.read_table(store / f"{name}.parquet", columns=["raw"])["raw"].to_pylist() for name in ("users", "items")}
    by_name = sorted(range(len(raws["items"])), key=lambda i: (len(raws["items"][i]), raws["items"][i]))
    rank = np.empty(len(by_name), np.int64)
    rank[by_name] = np.arange(len(by_name))
    known, parts, left = schema.field("item").size, [], {}
    for place, domain in enumerate(schema.domains, 1):
        rows = pq.read_table(domain_folder(store, domain) / "part-00000.parquet", partitioning=None)
        parts.append(_users(rows, place, known, rank))
        left[domain] = int((rows["item"].to_numpy() >= known).sum())
    users = pa.concat_tables(parts)
    hashes = text_hash(raws["users"])[users["user"].to_numpy()]
    seed = data.split.seed
    cold = (users["train"].to_numpy() == 0) & (users["valid"].to_numpy() == 0) if options.cold else np.zeros(len(users), bool)
    folds = np.where(cold, np.floor(share(user_hash(seed, "fold", hashes)) * options.folds) + 1, 0).astype(np.int8)
    users = users.append_column("fold", pa.array(folds)).append_column("hash", pa.array(hashes))
    if options.predict:
        classes = pq.read_table(store / "users.parquet", columns=[options.predict])[options.predict]
        users = users.append_column(CLASS, classes.take(users["user"]))
    users = users.take(pa.array(np.lexsort((users["domain"].to_numpy(), user_hash(seed, "order", hashes)))))
    pq.write_table(users, folder / USERS, compression="zstd")
    windows = RowGroups(folder / "train", _WINDOW, data.block_rows, _PART_GROUPS)
    counts = np.zeros(len(schema.domains) + 1, np.int64)
    for block in users.to_batches(65536):
        table = _windows(block, options)
        counts += np.bincount(table["domain"].to_numpy(), minlength=len(counts))
        windows.add(table)
    windows.close()
    if not counts.sum():
        raise DataError("no history of two items or more can train; check data.split, and the time column of the source.")
    return _counted(schema, users, options, counts), left


def members(users: pa.Table, unit: str, split: Split, options: SequenceOptions) -> np.ndarray:
    """(rows,) bool: the cold users of a unit's split; where their attribute is predicted, those of whom it is known."""
    fold, own = users["fold"].to_numpy(), int(unit.rpartition(".")[2])
    if options.predict:
        fold = np.where(users[CLASS].to_numpy() > 0, fold, 0)
    if split == "test":
        return np.asarray(fold == own)
    valid = share(user_hash(own, "valid", users["hash"].to_numpy())) < options.valid
    tuning = (fold > 0) & (fold != own)
    return np.asarray(tuning & (valid if split == "valid" else ~valid))


def spans(users: pa.Table, unit: str, options: SequenceOptions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a unit of cold users trains on: (rows of the table of histories, first place, last place + 1), each (N,).

    Of a cold user these are the first items that the task knows. With `warm`, of a warm user the windows of the training history,
    as `windows` says, each of as many items; for the task `zero`, which knows none, the first item.
    """
    task, known = unit.partition(".")[0], options.events_of(unit.partition(".")[0])
    cold, train = members(users, unit, "train", options), users["train"].to_numpy() if options.warm else np.zeros(len(users))
    sizes = users["items"].combine_chunks().value_lengths().to_numpy()
    found: list[tuple[int, int, int]] = []
    for row in np.flatnonzero(cold | (train > 0)).tolist():
        if cold[row]:
            found.append((row, 0, min(int(sizes[row]), known)))
        elif task == "zero":
            found.append((row, 0, 1))
        else:
            found += [(row, a, b) for a, b in _spans(int(train[row]), max(1, known - 1), options.windows)]
    rows, first, last = np.array(found, np.int64).reshape(-1, 3).T
    return rows, first, last


def _users(rows: pa.Table, domain: int, known: int, rank: np.ndarray) -> pa.Table:
    """One row for each user of a domain: user, domain, items, and how many of them train, validate and test."""
    time = next((c for c in ("timestamp", "position") if c in rows.column_names), None)
    if time is None:
        raise DataError("data.sequences needs a timestamp or a position, and the source gives neither.")
    user, item, when, split = (rows[name].to_numpy() for name in ("user", "item", time, "split"))
    order = np.lexsort((rank[item], when, user))
    order = order[item[order] < known]
    user, item, split = user[order], item[order], split[order]
    owner, starts, sizes = np.unique(user, return_index=True, return_counts=True)
    place = np.searchsorted(owner, user)
    counts = [np.bincount(place[split == s], minlength=len(owner)).astype(np.int32) for s in (TRAIN, VALID)]
    items = pa.ListArray.from_arrays(pa.array(np.append(starts, len(item)).astype(np.int32)), pa.array(item.astype(np.int32)))
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


def _windows(users: pa.RecordBatch, options: SequenceOptions) -> pa.Table:
    """Windows of at most L + 1 training items; one of a single item has nothing to predict."""
    items = users["items"]
    flat, offsets = items.flatten().to_numpy(), items.offsets.to_numpy() - items.offsets[0].as_py()
    counts = users["train"].to_numpy().tolist()
    found = [(i, a, b) for i, n in enumerate(counts) for a, b in _spans(n, options.length, options.windows)]
    lists = pa.array([flat[offsets[i] + a : offsets[i] + b] for i, a, b in found], pa.list_(pa.int32()))
    of = np.array([i for i, _, _ in found], np.int64)
    owners = {name: users[name].take(pa.array(of)) for name in ("user", "domain")}
    return pa.table({**owners, "items": lists}, _WINDOW)


def _spans(count: int, length: int, windows: Literal["last", "all"]) -> Iterator[tuple[int, int]]:
    """First and last place + 1 of the windows of a history; each item but the first is predicted once."""
    end = count
    while end > 1:
        yield max(0, end - length - 1), end
        if windows == "last":
            return
        end -= length


def _counted(schema: DataSchema, users: pa.Table, options: SequenceOptions, windows: np.ndarray) -> DataSchema:
    domain, fold = users["domain"].to_numpy(), users["fold"].to_numpy()
    rows: dict[tuple[str, Split], int] = {}
    for place, name in enumerate(schema.domains, 1):
        here = (domain == place) & (fold == 0)
        rows[name, "train"] = int(windows[place])
        rows |= {(name, s): int((users[s].to_numpy()[here] > 0).sum()) for s in SPLITS[1:]}
    units, sizes = cohorts(options), users["test"].to_numpy()  # all rows of a cold user stand in the test split
    for unit in units:
        predicts = sizes > (0 if options.predict else first_of(unit))
        for split in SPLITS[1:]:
            rows[unit, split] = int((members(users, unit, split, options) & predicts).sum())
        rows[unit, "train"] = len(spans(users, unit, options)[0])
    return replace(schema, rows=rows, length=options.length, cohorts=units, predicts=options.predict)
