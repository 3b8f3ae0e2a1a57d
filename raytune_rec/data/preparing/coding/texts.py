"""Tokens of the text columns of users and items, beside their tables. Shapes: N rows of a table, L tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data import tokens
from raytune_rec.data.blocks import SourceField
from raytune_rec.data.layout import TEXTS, table_file
from raytune_rec.errors import DataError
from raytune_rec.job.data import TextOptions
from raytune_rec.schema.prepared import Field
from raytune_rec.storage.files import STORAGE


def write_texts(store: Path, declared: Sequence[SourceField], options: TextOptions) -> tuple[tuple[Field, ...], str]:
    """Write `texts/` of a store that holds its users and items: a table of tokens for each of them, and the tokenizer.

    Our own words are those that the training split meets.

    Returns:
        The text fields, and the fingerprint of the tokenizer.

    Raises:
        DataError: the source declares no text, or the tokenizer cannot be read.
    """
    fields = [field for field in declared if field.kind == "text"]
    if not fields:
        raise DataError("data.text: the source declares no text column of users or items; map one, or leave data.text out.")
    STORAGE.make_folder(store / TEXTS)
    tables = {field.name: pq.read_table(table_file(store, field.role), columns=[field.name, "count"]) for field in fields}
    content = tokens.file_of(options.tokenizer)
    if content:
        tokenizer = tokens.tokenizer_of(content, options.tokenizer)
    else:
        trained = {name: table.filter(pa.array(table["count"].to_numpy() > 0))[name] for name, table in tables.items()}
        tokenizer = tokens.Words.of(text for column in trained.values() for text in column.to_pylist())
    for role in dict.fromkeys(field.role for field in fields):
        columns = {
            field.name: _lists(tokenizer.encode(tables[field.name][field.name].to_pylist(), options.length))
            for field in fields
            if field.role == role
        }
        pq.write_table(pa.table(columns), store / TEXTS / f"{role}s.parquet", compression="zstd")
    tokens.write(tokenizer, store / TEXTS)
    return tuple(Field(f.name, "text", f.role, tokenizer.size, options.length) for f in fields), tokenizer.fingerprint


def _lists(padded: np.ndarray) -> pa.ListArray:
    """(N, L) -> list<int32> without the padding."""
    real = padded > 0
    offsets = np.concatenate([[0], np.cumsum(real.sum(1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(padded[real].astype(np.int32)))
