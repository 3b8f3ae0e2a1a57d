"""What users of Amazon took, in the forms in which it is published; each file may be gzipped.

    .txt                      a line for each user, `reviewerID asin asin ...`, oldest first
    .json, .jsonl, .ndjson    reviews of 2014 and 2018: `reviewerID`, `asin`, `overall`, `unixReviewTime`
    .csv                      MiniOneRec: `user_id`, `history_item_id` (a printed list), `item_id`
    .inter                    RecBole: `user_id:token`, `item_id_list:token_seq`, `item_id:token`

Rows of the last two are pieces of a history with the item that follows; those of a user are merged. Their users are numbers of
the file alone: the domain stands in front of them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raytune_rec.data.blocks import RawBlock, Reject
from raytune_rec.data.cells import id_text
from raytune_rec.data.files.delimited import Format, shown
from raytune_rec.data.files.objects import cell, literal, objects_of
from raytune_rec.data.files.problems import FileProblems, each_file
from raytune_rec.data.files.reading import read_file, read_lines
from raytune_rec.data.sources.base import constant
from raytune_rec.errors import DataError

OBJECTS = (".json", ".jsonl", ".ndjson")
LOGS = (".txt", *OBJECTS, ".csv", ".inter")
_REVIEW = {"user": "reviewerID", "item": "asin", "rating": "overall", "timestamp": "unixReviewTime"}
_PIECES = {
    ".csv": ({"user": "user_id", "history": "history_item_id", "item": "item_id"}, Format()),
    ".inter": (
        {"user": "user_id:token", "history": "item_id_list:token_seq", "item": "item_id:token"},
        Format(delimiter="\t", quote=""),
    ),
}


def form_of(path: str | Path) -> str:
    """How a file's name ends, `.gz` apart."""
    name = Path(path).name.lower().removesuffix(".gz")
    return name[name.rindex(".") :] if "." in name else ""


def read_logs(paths: Sequence[Path], domain: str, columns: Sequence[str]) -> Iterator[RawBlock]:
    """The interactions of a domain.

    Args:
        paths: of one form, in the order of time. columns: of reviews, besides domain, user and item: `label`, which is 1,
            `rating`, and their time as `timestamp` or `position`. Other logs have `label` and `position`.

    Raises:
        DataError: a file cannot be read, or lacks a column.
    """
    form = form_of(paths[0])
    if form in _PIECES:
        return _pieces(paths, domain, form)
    return each_file((path, _sequences(path, domain) if form == ".txt" else _reviews(path, domain, columns)) for path in paths)


def merged(history: Sequence[str], piece: Sequence[str]) -> list[str]:
    """A history and a piece of it that goes on later: what the end of the one and the start of the other have in common, as much
    of it as there is, stands once.
    """
    longest = min(len(history), len(piece))
    common = next(n for n in range(longest, -1, -1) if list(history[len(history) - n :]) == list(piece[:n]))
    return [*history, *piece[common:]]


def sequence_block(
    texts: Sequence[tuple[int, str]], rejects: Sequence[Reject], file: str, domain: str, only: Container[str] | None = None
) -> RawBlock:
    """The interactions of lines, (number, text) of each; those of other users than `only` are passed over."""
    rows: list[tuple[int, str, list[str]]] = []
    refused = list(rejects)
    for number, text in texts:
        user, *sequence = text.split() or [""]
        if sequence and only is not None and id_text(user) not in only:
            continue
        if sequence:
            rows.append((number, user, sequence))
        else:
            refused.append(Reject(file, number, shown(user), "a line has a reviewer and one item or more"))
    return _block(rows, file, domain, refused)


def _block(rows: Sequence[tuple[int, str, Sequence[str]]], file: str, domain: str, rejects: Sequence[Reject]) -> RawBlock:
    """The interactions of histories, (line, user, items) of each, oldest first."""
    lengths = np.array([len(items) for _, _, items in rows], np.int64)
    whose = np.repeat(np.arange(len(rows)), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    items = [item for _, _, items in rows for item in items]
    table = pa.table(
        {
            "domain": constant(domain, len(items)),
            "user": pa.array([user for _, user, _ in rows], pa.string()).take(pa.array(whose)),
            "item": pa.array(items, pa.string()),
            "label": np.ones(len(items)),
            "position": np.arange(len(items)) - starts,
        }
    )
    return RawBlock(table, file, np.array([line for line, _, _ in rows], np.int64)[whose], tuple(rejects))


def _sequences(path: Path, domain: str) -> Iterator[RawBlock]:
    for texts, rejects in read_lines(path):
        yield sequence_block(texts, rejects, str(path), domain)


def _reviews(path: Path, domain: str, columns: Sequence[str]) -> Iterator[RawBlock]:
    for texts, rejects in read_lines(path):
        rows, refused = objects_of(texts, str(path))
        cells: dict[str, Any] = {
            name: pa.array([cell(row.get(key)) for _, row in rows], pa.string()) for name, key in _REVIEW.items()
        }
        cells |= {"domain": constant(domain, len(rows)), "label": np.ones(len(rows)), "position": cells["timestamp"]}
        table = pa.table({name: cells[name] for name in ("domain", "user", "item", *columns)})
        lines = np.array([number for number, _ in rows], np.int64)
        yield RawBlock(table, str(path), lines, (*rejects, *refused))


def _pieces(paths: Sequence[Path], domain: str, form: str) -> Iterator[RawBlock]:
    """The rows of all files that cannot be used, and then one block of what the others make."""
    columns, how = _PIECES[form]
    histories: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    problems = FileProblems()
    for path in paths:
        for block in problems.beside(read_file(path, columns, how), path):
            refused = list(block.rejects)
            for line, row in zip(block.lines.tolist(), block.table.to_pylist(), strict=True):
                user, item, piece = id_text(row["user"]), id_text(row["item"]), _listed(row["history"], form)
                if user is None or item is None or piece is None:
                    value = shown(" ".join(str(value or "") for value in row.values()))
                    refused.append(Reject(str(path), line, value, "a row has a user, a list of items, and the item after them"))
                    continue
                first.setdefault(user, line)
                histories[user] = merged(histories.get(user, []), [*piece, item])
            yield _block([], str(path), domain, refused)
    if told := problems.told():
        raise DataError(told)
    rows = [(first[user], f"{domain}/{user}", items) for user, items in histories.items()]
    yield _block(rows, str(paths[0]), domain, ())


def _listed(text: str | None, form: str) -> list[str] | None:
    """The items of a list: numbers or ids."""
    parts = (text or "").split() if form == ".inter" else literal(text or "[]")
    items = [id_text(part) for part in parts] if isinstance(parts, list | tuple) else [None]
    return [item for item in items if item is not None] if None not in items else None
