"""Vectors of items, made of their texts by encoders that stay as they are; beside their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.blocks import SourceField
from raytune_rec.data.layout import TEXTS, VECTORS, table_file
from raytune_rec.data.preparing.coding.texts import NamedText, texts_of
from raytune_rec.data.text.encoders import encoder_file, encoder_of
from raytune_rec.errors import DataError
from raytune_rec.job.data import TextOptions
from raytune_rec.schema.prepared import Field
from raytune_rec.storage.files import STORAGE


def encoder_option(name: str) -> str:
    """Where a job says how a vector is made."""
    return f"data.text.vectors.{name}.encoder"


def vectors_of(declared: Sequence[SourceField], options: TextOptions) -> dict[str, NamedText]:
    """Name of a vector -> the text of items that it is made of.

    Raises:
        DataError: items have no such text, or something else has the vector's name.
    """
    texts = {text.name: text for text in texts_of(declared, options) if text.role == "item"}
    texts = {f.name: NamedText(f.name, "item", (f.name,)) for f in declared if f.kind == "text" and f.role == "item"} | texts
    taken = {field.name for field in declared} | texts.keys() | {"user", "item", "domain"}
    problems = [
        f"data.text.vectors.{name}.text = {vector.text!r}: is no text of items; there are {', '.join(texts) or 'none'}."
        for name, vector in options.vectors.items()
        if vector.text not in texts
    ]
    problems += [f"data.text.vectors.{name}: a text or a feature is called so; choose another name." for name in options.vectors
                 if name in taken]  # fmt: skip
    if problems:
        raise DataError(problems)
    return {name: texts[vector.text] for name, vector in options.vectors.items()}


def write_vectors(
    store: Path,
    declared: Sequence[SourceField],
    options: TextOptions,
    tell: Callable[[str], None],
    finished: Path | None = None,
) -> tuple[Field, ...]:
    """Write a vector of each item under each name, and the encoders that made them.

    Encoders are whitened on the texts of items that training met.

    Args:
        finished: the prepared data of a run whose log has grown: its encoders are taken, so that vectors mean the same.

    Returns:
        The fields.

    Raises:
        DataError: see `vectors_of` and `encoder_of`.
    """
    columns, fields = {}, []
    for name, text in vectors_of(declared, options).items():
        tell(f"encoding texts as {name}")
        table, chosen = pq.read_table(table_file(store, "item"), columns=["count", *text.columns]), options.vectors[name]
        texts, trained = text.of(table), table["count"].to_numpy() > 0
        met = [t for t, known in zip(texts, trained, strict=True) if known and t.strip()]
        named = str(encoder_file(finished, name)) if finished else chosen.encoder
        encoder = encoder_of(named, met, chosen.width, encoder_option(name))
        made = encoder.encode(texts)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(made.ravel()), made.shape[1]).cast(pa.list_(pa.float32()))
        rows = made[trained].astype(np.float64) if trained.any() else np.zeros((1, made.shape[1]))
        numbers = tuple(rows.mean(0).tolist()), tuple(rows.std(0).tolist())
        fields.append(Field(name, "vector", "item", 0, made.shape[1], means=numbers[0], stds=numbers[1]))
        STORAGE.put(encoder_file(store, name), encoder.write)
    if columns:
        pq.write_table(pa.table(columns), store / TEXTS / VECTORS, compression="zstd")
    return tuple(fields)
