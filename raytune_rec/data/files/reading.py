"""Files -> blocks of raw cells with line numbers: delimited text, JSON lines and Parquet, each also gzipped.

A row is a line; a cell may be quoted but holds no line break. What a line gives depends on nothing but the line: text is parsed
a block at a time by Arrow only where every quote of the block stands as it should and rows and lines tally, and otherwise line by
line, by the same rules, to find which lines are at fault.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_rec.data.blocks import RawBlock, Reject
from raytune_rec.data.cells import encoded, plain
from raytune_rec.data.files.delimited import DelimitedText, Format, header_of, shown
from raytune_rec.data.files.json_lines import json_block
from raytune_rec.data.files.on_disk import check_content, line_blocks
from raytune_rec.errors import DataError

_JSON = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet", ".pq")
_NONE: Mapping[str, str] = {}
Reader = Callable[[pa.ChunkedArray], object]
_NAMED = 50
"""Most columns of a file that an error lists."""


def column_names(path: Path, form: Format) -> list[str] | None:
    """The columns of a file; None for JSON lines, where each line has its own.

    Raises:
        DataError: the file is missing, empty, or not what its name says.
    """
    kind = kind_of_file(path)
    check_content(path, kind)
    if kind == "parquet":
        return list(_parquet(path).schema_arrow.names)
    _check_encoding(form)
    if kind == "json":
        return None
    return [name.strip() for name in form.header] or header_of(path, form)


def read_file(path: Path, columns: Mapping[str, str], form: Format, separators: Mapping[str, str] = _NONE) -> Iterator[RawBlock]:
    """Blocks of the wanted columns of one file.

    Args:
        columns: name in the block -> name in the file.
        separators: of columns that come out as lists: what parts the values where a cell is text.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    present = column_names(path, form)
    if present is not None:
        require(path, columns, present, form)
    if kind_of_file(path) == "json":
        yield from _read_json(path, columns, form, separators)
        return
    wanted = _named(columns, present or [])
    blocks = (
        _read_parquet(path, wanted) if kind_of_file(path) == "parquet" else _read_delimited(path, wanted, form, present or [])
    )
    for block in blocks:
        table = block.table
        for name, separator in separators.items():
            try:
                cells = _listed(table.column(name), separator)
            except DataError as error:
                raise DataError(f"{path}, column {columns[name]}: {problem}" for problem in error.problems) from None
            table = table.set_column(table.column_names.index(name), name, cells)
        yield RawBlock(table, block.file, block.lines, block.rejects)


def require_types(path: Path, columns: Mapping[str, str], readers: Mapping[str, Reader]) -> None:
    """Raises DataError for every column of a Parquet file whose type cannot be read; other files have no types before their rows.

    Args:
        columns: name in the block -> name in the file, which has it once.
        readers: name in the block -> what reads a column, and raises DataError where its type is none that it reads.
    """
    if kind_of_file(path) != "parquet":
        return
    schema, problems = _parquet(path).schema_arrow, []
    for name, raw in _named(columns, schema.names).items():
        try:
            readers[name](pa.chunked_array([], schema.field(raw).type))
        except DataError as error:
            problems += [f"{path}, column {name}: {problem}" for problem in error.problems]
    if problems:
        raise DataError(problems)


def _named(columns: Mapping[str, str], present: Sequence[str]) -> dict[str, str]:
    """Name in the block -> name as the file spells it."""
    by_name = {unicodedata.normalize("NFC", raw): raw for raw in present}
    return {name: by_name[unicodedata.normalize("NFC", raw)] for name, raw in columns.items()}


def require(path: Path, columns: Mapping[str, str], present: Sequence[str], form: Format | None = None) -> None:
    """Raises DataError for every mapped column that a file does not have, or has twice."""
    there = ", ".join(present[:_NAMED]) + (f" and {len(present) - _NAMED:,} more" if len(present) > _NAMED else "")
    present = [unicodedata.normalize("NFC", raw) for raw in present]
    wanted = {name: unicodedata.normalize("NFC", raw) for name, raw in columns.items()}
    problems = [
        f"{path}: there are {present.count(raw)} columns {raw!r} (wanted as {name}); let each have a name of its own."
        for name, raw in wanted.items()
        if present.count(raw) > 1
    ]
    missing = {name: raw for name, raw in wanted.items() if raw not in present}
    delimiter = _other_delimiter(wanted, present, form) if missing else ""
    if delimiter and form:
        problems.append(f"{path}: its first line is parted by {delimiter}; set {form.options}.delimiter = {delimiter}.")
    elif missing:
        names = "; ".join(f"{raw!r} (wanted as {name})" for name, raw in missing.items())
        what = "is no column" if len(missing) == 1 else "are no columns"
        headless = form is not None and form.options and not form.header
        header = f", or give the names of its columns as {form.options}.header" if form and headless else ""
        problems.append(f"{path}: there {what} {names}; the file has {there}. Map {', '.join(missing)} to these{header}.")
    if problems:
        raise DataError(problems)


def _other_delimiter(columns: Mapping[str, str], present: Sequence[str], form: Format | None) -> str:
    """As TOML, the delimiter by which a header has columns that are wanted, empty where it reads no better by another."""
    for delimiter in (",", ";", "\t", "|", " ") if form and form.options and not form.header else ():
        parts = {part.strip().strip('"') for name in present for part in name.split(delimiter)}
        if len(parts) > len(present) and len(parts & set(columns.values())) > 1:
            return json.dumps(delimiter)
    return ""


def read_lines(path: Path) -> Iterator[tuple[list[tuple[int, str]], list[Reject]]]:
    """Blocks of the lines of a UTF-8 file that is no table: (number, text) of those that are not blank, and the unreadable ones.

    Raises:
        DataError: the file cannot be read.
    """
    check_content(path, "lines")
    for block, line in line_blocks(path):
        yield _texts(block, line, str(path), "utf-8")


def kind_of_file(path: Path) -> Literal["table", "json", "parquet"]:
    suffix = next((s for s in reversed([s.lower() for s in path.suffixes]) if s != ".gz"), "")
    return "parquet" if suffix in _PARQUET else "json" if suffix in _JSON else "table"


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({shown(error)}); the file is damaged, fetch or write it again."
        ) from None


def _check_encoding(form: Format) -> None:
    try:
        usable = "\n,".encode(form.encoding) == b"\n,"
    except (LookupError, ValueError):
        usable = False
    if not usable:
        raise DataError(
            f"encoding {form.encoding!r}: not one in which lines can be told apart by the byte 10; convert the file to utf-8, "
            "and leave the encoding out."
        )


def _read_delimited(path: Path, columns: Mapping[str, str], form: Format, present: list[str]) -> Iterator[RawBlock]:
    text = DelimitedText(path, form, present)
    for block, line in line_blocks(path):
        if line == 1 and not form.header:
            block, line = block[block.index(b"\n") + 1 :], 2
        table = text.fast(block, columns)
        if table is not None:
            yield RawBlock(table, str(path), np.arange(line, line + len(table), dtype=np.int64))
        else:
            yield text.slow(block, line, columns)


def _texts(block: bytes, line: int, file: str, encoding: str) -> tuple[list[tuple[int, str]], list[Reject]]:
    texts: list[tuple[int, str]] = []
    rejects: list[Reject] = []
    for number, raw in enumerate(block.split(b"\n")[:-1], start=line):
        if not raw.strip():
            continue
        try:
            texts.append((number, raw.decode(encoding).rstrip("\r")))
        except UnicodeDecodeError:
            rejects.append(Reject(file, number, shown(raw.decode(encoding, "backslashreplace").strip()), f"not {encoding}"))
    return texts, rejects


def _read_json(path: Path, columns: Mapping[str, str], form: Format, separators: Mapping[str, str]) -> Iterator[RawBlock]:
    known: set[str] = set()
    for raw, line in line_blocks(path):
        texts, rejects = _texts(raw, line, str(path), form.encoding)
        block = json_block(texts, str(path), columns, separators, known)
        if len(block.lines):
            require(path, columns, sorted(known))
        yield RawBlock(block.table, block.file, block.lines, (*rejects, *block.rejects))


def _read_parquet(path: Path, columns: Mapping[str, str]) -> Iterator[RawBlock]:
    line = 1
    file = _parquet(path)
    try:
        for batch in file.iter_batches(batch_size=131_072, columns=sorted(set(columns.values()))):
            table = pa.table({name: batch.column(raw) for name, raw in columns.items()})
            yield RawBlock(table, str(path), np.arange(line, line + len(table), dtype=np.int64))
            line += len(table)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read on after row {line - 1} ({shown(error)}); the file is damaged.") from None


def _listed(column: pa.ChunkedArray, separator: str) -> pa.Array:
    """Lists as they are, and other cells cut into lists of text."""
    cells = plain(column)
    if pa.types.is_nested(cells.type):
        return cells
    return pc.split_pattern(encoded(cells, clean=False).dictionary_decode(), separator)
