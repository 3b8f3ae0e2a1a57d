"""The contract of a source: one reader per public format, one file each.

A source streams raw rows as they stand in its files and says where each row comes from; it judges nothing but whether a line can
be read at all. `validate` judges values, `preparation` does everything else. So a source never holds more than one block of its
files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from raytune_rec.components import Options
from raytune_rec.data.blocks import ROW_COLUMNS, RawBlock, Reject, SourceField
from raytune_rec.data.files.on_disk import no_plain_file
from raytune_rec.errors import DataError

__all__ = ["ROW_COLUMNS", "RawBlock", "Reject", "Source", "SourceField", "constant", "digest_files"]


class Source(Protocol):
    """One way to read raw data. Construction does no reading, and fetches nothing from an object store.

    Attributes:
        shared_items: an item id means the same item in every domain; otherwise the vocabulary's key is `<domain>/<item>`.
        rating_range: least and greatest allowed rating; None allows every finite one.
        formats: column -> how text writes its numbers (`data/formats.py`); None: a job cannot say.
        columns: name of a column -> its name in the log, where that has another one; a source whose files no caller knows has
            none.
        written: how the log writes its cells, for rows to be scored; a source that says `columns` says this too.
        time_unit: of times that are plain numbers (`s`, `ms`, `us` or `ns`); empty: told by their size.
        cohort: of which users of its files it reads rows, in words; empty: of all. A source that always reads all has none.
        example: options with which it has all the fields that it can have, for `show sources`.
    """

    Options: type[Options]
    shared_items: bool
    rating_range: tuple[float, float] | None
    formats: Mapping[str, str] | None
    time_unit: str
    example: Mapping[str, Any]

    def __init__(self, options: Any) -> None: ...

    def fields(self) -> tuple[SourceField, ...]:
        """The feature columns, in the order in which they stand in the store."""
        ...

    def domains(self) -> tuple[str, ...] | None:
        """Names in the order of their ids, or None where only the rows tell; then they are sorted by name."""
        ...

    def read(self) -> Iterator[RawBlock]:
        """All interactions. Every block has the same columns.

        Raises:
            DataError: a file is missing or lacks a column, found before the first row is read; or files cannot be read on, told
                together when the others are read.
        """
        ...

    def users(self) -> Iterator[RawBlock]:
        """User features. Where a user comes more than once, the first row counts."""
        ...

    def items(self) -> Iterator[RawBlock]:
        """Item features. Where an item comes more than once, the first row counts."""
        ...

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        """What decides the rows: options (without paths) and size and sha256 of every file."""
        ...


def constant(text: str, rows: int) -> pa.DictionaryArray:
    """A column that holds one text in every row."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def digest_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Name, size and sha256 of files. The folder is left out, so that a data set may be moved.

    Raises:
        DataError: every file that cannot be read.
    """
    digests, problems = [], []
    for path in paths:
        if problem := no_plain_file(path):
            problems.append(problem)
            continue
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests.append({"file": path.name, "bytes": path.stat().st_size, "sha256": digest})
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror}); name a readable file under data.options.")
    if problems:
        raise DataError(problems)
    return digests
