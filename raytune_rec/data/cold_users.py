"""Units of cold users: who they are, what trains them, and which rows are theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from raytune_rec.data.hashing import share, user_hash
from raytune_rec.errors import JobError
from raytune_rec.job.data import SequenceOptions
from raytune_rec.schema.prepared import CLASS, Field, Split
from raytune_rec.task import Unit


def folds_of(options: SequenceOptions) -> tuple[Unit, ...]:
    """The units of cold users: each task (or the attribute that is predicted) with each fold, from 1."""
    return tuple(Unit.of_fold(task, number) for task in options.cold for number in range(1, options.folds + 1))


def about(unit: Unit, options: SequenceOptions) -> str:
    """A sentence on a unit of cold users."""
    task = unit.task
    known = {"few": "who have taken something", "zero": "who have taken nothing yet", "joint": "with or without a history"}
    who = known.get(task) or f"who have taken at most {task.removesuffix('-shot')} items"
    others = f"the other {options.folds - 1} folds" if options.folds > 2 else "the other fold"
    warm = "warm users and " if options.warm else ""
    what = f"It tells the {task} of new users by what they took." if options.predict else f"It serves new users {who}."
    return f"{what} It was tuned on {warm}the cold users of {others}, and tested on those of fold {unit.number}."


def first_of(task: str) -> int:
    """Place of the first item of a cold user that a task predicts."""
    return 0 if task in ("zero", "joint") else 1


def predicted(fields: Sequence[Field], name: str) -> None:
    """Refuse an attribute that cannot be predicted; an empty name is none.

    Raises:
        JobError: it does not exist, is not categorical, or is not a user's.
    """
    by_name = {f.name: f for f in fields}
    fit = [f.name for f in fields if f.role == "user" and f.kind == "categorical" and f.name != "user"]
    if not name or name in fit:
        return
    if name not in by_name:
        wrong = "does not exist"
    elif by_name[name].role != "user" or name == "user":
        wrong = "is no attribute of users"
    else:
        wrong = f"is {by_name[name].kind}"
    raise JobError(
        f"data.sequences.predict: {name!r} {wrong}; it must be a categorical attribute of users, and there are "
        f"{', '.join(fit) or 'none'}."
    )


def members(users: pa.Table, unit: Unit, split: Split, options: SequenceOptions) -> np.ndarray:
    """(rows,) bool: the cold users of a unit's split; where their attribute is predicted, those of whom it is known."""
    fold, number = users["fold"].to_numpy(), unit.number
    if options.predict:
        fold = np.where(users[CLASS].to_numpy() > 0, fold, 0)
    if split == "test":
        return np.asarray(fold == number)
    valid = share(user_hash(number, "valid", users["hash"].to_numpy())) < options.valid
    tuning = (fold > 0) & (fold != number)
    return np.asarray(tuning & (valid if split == "valid" else ~valid))


def unseen_classes(users: pa.Table, unit: Unit, options: SequenceOptions) -> dict[str, int]:
    """Of the classes that the test users of a unit have (`test`) how many no user has on whom it is tuned (`unseen`)."""
    classes = {s: np.unique(users[CLASS].to_numpy()[members(users, unit, s, options)]) for s in ("train", "test")}
    return {"test": len(classes["test"]), "unseen": len(np.setdiff1d(classes["test"], classes["train"]))}


def spans(users: pa.Table, unit: Unit, options: SequenceOptions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a unit of cold users trains on: (rows of the table of histories, first place, last place + 1), each (N,).

    Of a cold user these are the first items that the task knows. With `warm`, of a warm user the windows of the training history,
    as `windows` says, each of as many items; for the task `zero`, which knows none, the first item.
    """
    task, known = unit.task, options.events_of(unit.task)
    cold, train = members(users, unit, "train", options), users["train"].to_numpy() if options.warm else np.zeros(len(users))
    sizes = users["items"].combine_chunks().value_lengths().to_numpy()
    cut: list[tuple[int, int, int]] = []
    for row in np.flatnonzero(cold | (train > 0)).tolist():
        if cold[row]:
            cut.append((row, 0, min(int(sizes[row]), known)))
        elif task == "zero":
            cut.append((row, 0, 1))
        else:
            cut += [(row, a, b) for a, b in cuts(int(train[row]), max(1, known - 1), options.windows)]
    rows, first, last = np.array(cut, np.int64).reshape(-1, 3).T
    return rows, first, last


def cuts(count: int, length: int, windows: Literal["last", "all"]) -> Iterator[tuple[int, int]]:
    """First and last place + 1 of the windows of a history; each item but the first is predicted once."""
    end = count
    while end > 1:
        yield max(0, end - length - 1), end
        if windows == "last":
            return
        end -= length
