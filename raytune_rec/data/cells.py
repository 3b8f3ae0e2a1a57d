"""What a cell holds, in whatever type a file or a caller gives it: identifiers as text, and numbers.

One rule for identifiers, in logs, tables of features and serving: a whole number is its digits (34, 34.0 and "34" are the same),
blanks round text are no part of it, and letters are composed (Unicode NFC). Case and leading zeros tell apart. Blank text is an
empty cell.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.data.formats import PARSERS
from raytune_rec.errors import DataError

LARGEST = 1e38
"""Of numbers: float32 holds it, and the difference of two of them."""
_UNSEEN = "\u200b\u2060\ufeff"
_TEXT = (pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)


def id_text(value: Any) -> str | None:
    """The text of an identifier; None for None, NaN, infinities and blanks."""
    if isinstance(value, str):
        if value.isascii():
            return value.strip() or None
        return unicodedata.normalize("NFC", value).strip().strip(_UNSEEN).strip() or None
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return None if value is None else str(int(value))
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        return str(int(value)) if value % 1 == 0 else format(value.normalize(), "f")
    return id_text(value.decode(errors="replace")) if isinstance(value, bytes) else id_text(str(value))


def plain(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column without dictionaries, extensions and the longer kinds of text.

    Raises:
        DataError: bytes that are no text.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if any(fits(column.type) for fits in _BYTES):
        return cast(column.cast(pa.binary()), pa.string())
    if column.type == pa.float16():
        return column.cast(pa.float32())
    return column.cast(pa.string()) if any(fits(column.type) for fits in _TEXT) else column


def cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Raises DataError where a type cannot be read as another."""
    try:
        return column.cast(kind)
    except pa.ArrowException:
        raise DataError(
            f"a column of type {column.type} cannot be read as {kind}; map another column, or change its kind."
        ) from None


def encoded(column: pa.ChunkedArray | pa.Array, clean: bool = True) -> pa.DictionaryArray:
    """A column as dictionary-encoded text: what is asked of each value is asked once per distinct value.

    Args:
        clean: text is an identifier; otherwise it is kept to the letter.

    Raises:
        DataError: a column of a type that holds no single values.
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind):
        column = cast(column, pa.string())
    try:
        codes = pc.dictionary_encode(column)
    except pa.ArrowNotImplementedError:
        return pc.dictionary_encode(pa.array([id_text(v) for v in column.to_pylist()], pa.string()))
    if pa.types.is_string(column.type) and not clean:
        return codes
    values = codes.dictionary.to_pylist()
    texts = [id_text(v) for v in values]
    if texts == values:
        return codes
    return pc.dictionary_encode(pa.array(texts, pa.string()).take(codes.indices))


def numbers(column: pa.ChunkedArray | pa.Array, form: str = "") -> tuple[np.ndarray, np.ndarray]:
    """((N,) float64, NaN where there is no number; (N,) bool, the cell is empty). Dates are seconds since 1970.

    Args:
        form: how text writes them, one of `formats.PARSERS`.

    Raises:
        DataError: a column of a type that holds no numbers.
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        scale = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}["s" if pa.types.is_date(kind) else kind.unit]
        stamps = column.cast(pa.timestamp("s")) if pa.types.is_date(kind) else column
        column = pc.divide(stamps.cast(pa.int64()).cast(pa.float64()), float(scale))
    elif pa.types.is_time(kind) or pa.types.is_duration(kind) or pa.types.is_nested(kind):
        raise DataError(f"a column of type {kind} holds no numbers; map another column, or change its kind.")
    if pa.types.is_string(column.type):
        return _parsed(column, form)
    empty = column.is_null().to_numpy(zero_copy_only=False)
    values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan), empty


def flat_lists(column: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """(the values of all lists, row after row; (N,) lengths; (N,) bool, the cell is empty).

    Raises:
        DataError: the column holds no lists, or lists of what is no single value.
    """
    column = plain(column)
    kind = column.type
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    if pa.types.is_null(kind):
        column = column.cast(pa.list_(pa.string()))
    elif not any(fits(kind) for fits in lists) or pa.types.is_nested(kind.value_type):
        raise DataError(f"a column of type {kind} holds no lists of single values; map another column.")
    empty = column.is_null().to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return column.flatten(), lengths, empty


def _parsed(column: pa.Array, form: str) -> tuple[np.ndarray, np.ndarray]:
    codes = pc.dictionary_encode(column)
    texts: Sequence[str] = codes.dictionary.to_pylist()
    parse = PARSERS[form]
    read = [parse(text) for text in texts]
    values = np.array([np.nan if v is None or not np.isfinite(v) else v for v in read] + [np.nan])
    blank = np.array([not text.strip() for text in texts] + [True], bool)
    place = pc.fill_null(codes.indices, len(texts)).to_numpy(zero_copy_only=False)
    return values[place], blank[place]
