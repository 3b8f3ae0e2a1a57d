"""JSON lines -> blocks of raw cells. What a line gives depends on nothing but the line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from raytune_rec.data.blocks import RawBlock, Reject
from raytune_rec.data.files.objects import cell


class _Doubled(dict[str, Any]):
    """An object in which a key stands twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    return row if len(row) == len(pairs) else _Doubled(row)


def json_block(
    texts: list[tuple[int, str]], file: str, columns: Mapping[str, str], separators: Mapping[str, str], known: set[str]
) -> RawBlock:
    """The wanted cells of lines, (number, text) of each, as text and lists of text.

    Args:
        columns: name in the block -> key. separators: of those that are lists, what parts values in text.
        known: is given the keys that are met.
    """
    cells: dict[str, list[Any]] = {name: [] for name in columns}
    lines: list[int] = []
    rejects: list[Reject] = []
    for number, text in texts:
        row = _row(text)
        if isinstance(row, str):
            rejects.append(Reject(file, number, text.strip()[:200], row))
            continue
        known.update(row)
        wrong = next(((n, key) for n, key in columns.items() if not _fits(row.get(key), n in separators)), None)
        if wrong:
            name, value = wrong[0], row[wrong[1]]
            listed = isinstance(value, list | dict)
            reason = f"{name} is a list or an object" if listed else f"{name} is not a finite number"
            if listed and name in separators:
                reason = f"{name} holds what is no single value"
            value = text.strip()[:200] if listed else str(value).replace("nan", "NaN")
            rejects.append(Reject(file, number, value, reason, name))
            continue
        lines.append(number)
        for name, key in columns.items():
            cells[name].append(_cells(row.get(key), separators.get(name)))
    kinds = {name: pa.list_(pa.string()) if name in separators else pa.string() for name in columns}
    table = pa.table({name: pa.array(values, kinds[name]) for name, values in cells.items()})
    return RawBlock(table, file, np.array(lines, np.int64), tuple(rejects))


def _row(text: str) -> dict[str, Any] | str:
    """A line's object, or why it is none."""
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return "not a JSON object"
    if isinstance(value, _Doubled):
        return "a key stands twice in the object"
    return value if isinstance(value, dict) else "not a JSON object"


def _fits(value: Any, lists: bool) -> bool:
    if isinstance(value, float):
        return bool(np.isfinite(value))
    if isinstance(value, list):
        return lists and all(not isinstance(v, list) and _fits(v, False) for v in value)
    return not isinstance(value, dict)


def _cells(value: Any, separator: str | None) -> Any:
    if value is None or value == "":
        return None
    if separator is None:
        return cell(value)
    if isinstance(value, str):
        return [cell(part) for part in value.split(separator)]
    return [cell(v) for v in value] if isinstance(value, list) else [cell(value)]
