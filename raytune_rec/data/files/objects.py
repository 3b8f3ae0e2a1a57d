"""A line that is an object: in JSON, or printed by Python, as the files of Amazon of 2014 are."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Sequence
from typing import Any

from raytune_rec.data.blocks import Reject
from raytune_rec.data.cells import id_text
from raytune_rec.data.files.delimited import shown

NO_OBJECT = "neither a JSON object nor a Python dictionary"
"""The rule that a line breaks which has none."""


def objects_of(texts: Sequence[tuple[int, str]], file: str) -> tuple[list[tuple[int, dict[str, Any]]], list[Reject]]:
    """(number, object) of each line of `reading.read_lines` that has one, and the lines that have none."""
    rows: list[tuple[int, dict[str, Any]]] = []
    refused: list[Reject] = []
    for number, text in texts:
        row = object_of(text)
        if row is None:
            refused.append(Reject(file, number, shown(text), NO_OBJECT))
        else:
            rows.append((number, row))
    return rows, refused


def cell(value: object) -> str | None:
    """Text of an object's value, for `validate` to judge; a lone surrogate, which Arrow cannot hold, is a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else id_text(value)


def object_of(text: str) -> dict[str, Any] | None:
    """A line's object, None where it has none. Its text may hold lone surrogates: see `cell`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = literal(text)
    return value if isinstance(value, dict) else None


def literal(text: str) -> Any:
    """What Python has printed, None where it has not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape that Python does not know is no fault of the reader
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
