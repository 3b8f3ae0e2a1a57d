"""Files of rows for scoring: Parquet and CSV, one or a folder of them, read some rows at a time.

A file's rows come in their order, whatever is read of them, so that a part of a result is known by its file and first row.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.files.delimited import Format
from raytune_rec.data.files.reading import column_names, read_file
from raytune_rec.errors import DataError
from raytune_rec.storage.files import STORAGE
from raytune_rec.storage.fingerprint import file_sha256

KINDS = (".parquet", ".csv")
_PART = 1 << 22
"""Bytes that are decoded at a time."""


@dataclass(frozen=True)
class Block:
    """Some rows of a file.

    Args:
        table: with the columns of the file, which is `file`.
        places: (N,) the line of each row of a CSV, of Parquet its number; both from 1.
    """

    table: pa.Table
    file: Path
    places: np.ndarray

    def where(self, row: int) -> str:
        """A row of this block as a person finds it."""
        return f"{self.file}, {'line' if self.file.suffix.lower() == '.csv' else 'row'} {self.places[row]}"


def inputs(path: Path) -> list[Path]:
    """The files of rows that a path names: itself, or those in the folder, in order.

    Raises:
        DataError: there are none, or of both kinds.
    """
    if not path.is_dir():
        if path.suffix.lower() not in KINDS:
            raise DataError(f"--input {path}: rows are read from .parquet and .csv files; name one, or a folder of them.")
        if not path.is_file():
            raise DataError(f"--input {path}: there is no such file; mend the path.")
        return [path]
    files = [file for file in STORAGE.list(path, "*") if file.suffix.lower() in KINDS and file.is_file()]
    if not files:
        raise DataError(f"--input {path}: the folder holds no .parquet or .csv files; name another one.")
    if len({file.suffix.lower() for file in files}) > 1:
        raise DataError(f"--input {path}: the folder holds .parquet and .csv files; name a folder of one kind.")
    return files


def identity(file: Path) -> dict[str, str | int]:
    """What a part of a result stands on: another file of this name is another input."""
    return {"file": str(file.absolute()), "bytes": file.stat().st_size, "sha256": file_sha256(file)}


def blocks(file: Path, rows: int, done: int = 0, form: Format | None = None) -> Iterator[Block]:
    """All rows of a file, so many at a time.

    Args:
        form: of a CSV.
        done: blocks that nobody needs any more. Of Parquet they are passed over unread, row group by row group.

    Raises:
        DataError: the file is damaged, or a line of it cannot be read; where, and why.
    """
    source = _parquet(file, done * rows) if file.suffix.lower() == ".parquet" else _csv(file, done * rows, form or Format())
    tables: list[pa.Table] = []
    places: list[np.ndarray] = []
    count = 0
    for table, numbers in source:
        tables.append(table)
        places.append(numbers)
        count += len(table)
        while count >= rows:
            whole, numbers = pa.concat_tables(tables), np.concatenate(places)
            yield Block(whole.slice(0, rows), file, numbers[:rows])
            tables, places, count = [whole.slice(rows)], [numbers[rows:]], count - rows
    if count:
        yield Block(pa.concat_tables(tables), file, np.concatenate(places))


def _parquet(file: Path, skip: int) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """Rows and their numbers."""
    try:
        with pq.ParquetFile(file, memory_map=True) as source:
            groups, at = range(source.num_row_groups), 0
            while groups and skip - at >= (size := source.metadata.row_group(groups[0]).num_rows):
                groups, at = groups[1:], at + size
            for batch in source.iter_batches(65_536, row_groups=list(groups)) if groups else ():
                rest = min(max(skip - at, 0), len(batch))
                if rest < len(batch):
                    yield pa.Table.from_batches([batch.slice(rest)]), np.arange(at + rest, at + len(batch)) + 1
                at += len(batch)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: cannot be read as Parquet ({str(error)[:200]}); write the file again.") from None


def _csv(file: Path, skip: int, given: Format) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """Rows and their lines. Cells are text: what a column holds, its use says."""
    form = form_of(file, given)
    columns = {name: name for name in column_names(file, form) or []}
    for block in read_file(file, columns, form):
        if block.rejects:
            bad = block.rejects[0]
            column = f", column {bad.column}" if bad.column else ""
            raise DataError(f"{file}, line {bad.line}{column}: {bad.reason} ({bad.value[:60]!r}); mend the line.")
        rest = min(skip, len(block.table))
        skip -= rest
        if rest < len(block.table):
            yield block.table.slice(rest), block.lines[rest:]


def form_of(file: Path, form: Format) -> Format:
    """The same, but for what the file itself tells: that it is UTF-8, or that another delimiter parts its header, which would
    be a single cell by this one.
    """
    form = replace(form, encoding="utf-8") if _is_utf8(file) else form
    present = column_names(file, replace(form, quote="")) or []
    other = next((d for d in (",", ";", "\t", "|") if len(present) == 1 and d in present[0]), "")
    return replace(form, delimiter=other) if other else form


def _is_utf8(file: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as source:
        try:
            while part := source.read(_PART):
                decoder.decode(part)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True
