"""Columns as arrays: what Parquet holds, and raw identifiers as a caller gives them. Shapes: N rows, L items of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.data.cells import LARGEST, id_text
from raytune_rec.data.formats import plain_number
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import Field

Columns = dict[str, np.ndarray]
_LISTS = (list, tuple, np.ndarray, pd.Series)


def lists(values: Any) -> Sequence[np.ndarray]:
    return values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values


def arrays(table: pa.Table) -> dict[str, Any]:
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    return {name: c if pa.types.is_list(c.type) else c.to_numpy(zero_copy_only=False) for name, c in columns.items()}


def cast(values: Any, field: Field) -> np.ndarray:
    """int64 ids, float32 numbers, (N, L) int64 ids or tokens, or (N, W) float32 vectors of a stored column."""
    if field.kind == "vector":
        return vectors(values, field)
    if field.kind not in ("multi", "text"):
        return np.asarray(values, np.float32 if field.kind == "numerical" else np.int64)
    if isinstance(values, pa.Array):
        return padded(values.flatten().to_numpy(), np.diff(values.offsets.to_numpy()), field.length)
    flat = np.concatenate([np.zeros(0, np.int64), *values]).astype(np.int64)
    return padded(flat, np.array([len(v) for v in values], np.int64), field.length)


def vectors(values: Any, field: Field) -> np.ndarray:
    """(N, W) float32, NaN where one is missing.

    Args:
        values: lists of numbers, None or NaN where there is none; or a stored column.

    Raises:
        DataError: one is no list of W finite numbers.
    """
    made = np.full((len(values), field.length), np.nan, np.float32)
    if isinstance(values, pa.Array):  # as it is stored
        made[values.is_valid().to_numpy(zero_copy_only=False)] = values.flatten().to_numpy().reshape(-1, field.length)
        return made
    for place, row in enumerate(values):
        if row is None or (isinstance(row, float) and np.isnan(row)):
            continue
        try:
            numbers_of_row = np.asarray(row, np.float32)
        except (TypeError, ValueError, OverflowError):
            numbers_of_row = np.zeros(0, np.float32)
        if numbers_of_row.shape != (field.length,) or not (np.abs(numbers_of_row) <= LARGEST).all():
            raise DataError(
                f"column {field.name}: each row must be a list of {field.length} finite numbers, or None (row {place} is "
                f"{str(row)[:60]!r})."
            )
        made[place] = numbers_of_row
    return made


def padded(flat: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
    """(N, L) int64, zeros behind; what goes past L is left out.

    Args:
        flat: ids, row after row.
        lengths: (N,) ids of each row.
    """
    out = np.zeros((len(lengths), width), np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    column = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    keep = column < width
    out[row[keep], column[keep]] = flat[keep]
    return out


def text(values: Sequence[Any]) -> pa.Array:
    """Any sequence of identifiers as an Arrow array; None and NaN become null.

    Raises:
        DataError: it mixes text and numbers, or holds text that is no Unicode.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    try:
        return _array(values)
    except (pa.ArrowException, OverflowError) as error:
        if all(isinstance(value, int | float | np.number) for value in values):  # whole numbers of more than 64 bits
            return pa.array([id_text(value) for value in values], pa.string())
        raise DataError(f"identifiers of a column must be of one kind ({error}); give all of them as text.") from None


def _array(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Array:
    try:
        return pa.array(values, kind, from_pandas=True)
    except UnicodeEncodeError as error:
        raise DataError(f"{error.object[:60]!r} is no Unicode text ({error.reason}); decode it anew from its bytes.") from None


def item_lists(values: Sequence[Any]) -> tuple[pa.Array, np.ndarray]:
    """Lists of identifiers -> (all of them, row after row; (N,) how many each row has). None and NaN stand for no history.

    Raises:
        DataError: a row is no list.
    """
    one, none = "for one user who took this item", "for one who took none"
    rows = row_lists(values, "history", "raw item ids, oldest first", one, none)
    flat = text([item for row in rows for item in row])
    return flat, np.array([len(row) for row in rows], np.int64)


def value_lists(values: Sequence[Any], field: Field) -> pa.ListArray:
    """Raw values of a multi-valued column as lists of text, empty for None and NaN.

    Raises:
        DataError: a row is no list.
    """
    rows = row_lists(values, field.name, "raw values, or None", "for one row that has this value", "for one that has none")
    return _array([[id_text(x) for x in row] for row in rows], pa.list_(pa.string()))


def row_lists(values: Sequence[Any], name: str, holds: str, one: str, none: str) -> list[list[Any]]:
    """Each row of a column as a list; None and NaN are empty ones.

    Args:
        holds, one, none: what the lists hold, and whom a list of one and of none is written for: the words of the error.

    Raises:
        DataError: a row is no list.
    """
    rows = values.to_pylist() if isinstance(values, pa.Array | pa.ChunkedArray) else list(values)
    missing = [row is None or (isinstance(row, float) and np.isnan(row)) for row in rows]
    listed = [[] if m else list(r) if isinstance(r, _LISTS) else r for r, m in zip(rows, missing, strict=True)]
    wrong = next((i for i, row in enumerate(listed) if not isinstance(row, list)), None)
    if wrong is not None:
        row = listed[wrong]
        raise DataError(
            f"column {name}: each row must be a list of {holds} (row {wrong} is {row!r}, of type {type(row).__name__}); write "
            f"[[{row!r}]] {one}, [[]] {none}."
        )
    return listed


def numbers(values: Sequence[Any], field: Field) -> np.ndarray:
    """(N,) float32 of a numerical column as a caller gives it, NaN for None and NaN. Text that reads as a number will do.

    Raises:
        DataError: one is no finite number.
    """
    plain = isinstance(values, pa.Array) and (pa.types.is_integer(values.type) or pa.types.is_floating(values.type))
    if plain:
        given = values
        read = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        missing = np.isnan(read)
    else:
        given = values.to_pylist() if isinstance(values, pa.Array | pa.ChunkedArray) else list(values)
        read = np.array([_number(value) for value in given], np.float64)
        missing = np.array([value is None or value is pd.NA or value != value for value in given], bool)
    wrong = np.flatnonzero(~(np.abs(read) <= LARGEST) & ~missing)
    if len(wrong):
        row = given[int(wrong[0])].as_py() if plain else given[wrong[0]]
        raise DataError(
            f"column {field.name}: each row must be a finite number, or None (row {wrong[0]} is {str(row)[:60]!r}, of type "
            f"{type(row).__name__}); give None where it is not known."
        )
    return read.astype(np.float32)


def _number(value: Any) -> float:
    """NaN for what is none."""
    try:
        number = plain_number(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan
    return np.nan if number is None else number


def find(index: pd.Index, keys: pa.Array) -> np.ndarray:
    """(N,) int64: place in the index from 1, 0 where it is not there. Looked up once per distinct key.

    Args:
        keys: text, dictionary-encoded or not.
    """
    codes = keys.dictionary_encode()  # itself, where it is
    distinct = index.get_indexer(pd.Index(codes.dictionary.to_pylist(), dtype=object)) + 1
    places = pc.fill_null(codes.indices, -1).to_numpy(zero_copy_only=False)
    return np.append(distinct, 0).astype(np.int64)[places]
