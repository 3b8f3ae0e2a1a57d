"""Files -> blocks of raw cells with line numbers: delimited text, JSON lines and Parquet, each also gzipped.

A row is a line; a cell may be quoted but holds no line break. Text is parsed a block at a time by Arrow. Only where a block
holds something that Arrow refuses, or lines and rows do not tally, is it parsed again line by line, to find which lines are at
fault.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from raytune_rec.data.sources.base import RawBlock, Reject
from raytune_rec.errors import DataError

BLOCK_BYTES = 8 << 20
_JSON = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet", ".pq")
_SHOWN = 200
_UNIT = b"\x1f"
"""Stands for a delimiter of several characters where Arrow parses, which takes one."""


@dataclass(frozen=True)
class Format:
    """How text is written.

    Args:
        delimiter: between cells; empty: a tab for `.tsv`, else a comma. With several characters no cell is quoted, and `header`
            must be given.
        header: column names of a file without a header line; empty: its first line has them.
        encoding: any in which a line break is the byte 10.
    """

    delimiter: str = ""
    header: tuple[str, ...] = ()
    encoding: str = "utf-8"


def shown(value: object) -> str:
    """A raw value as it goes into a report: never long, never unprintable."""
    text = value if isinstance(value, str) else str(value)
    return text[:_SHOWN]


def column_names(path: Path, form: Format) -> list[str] | None:
    """The columns of a file; None for JSON lines, where each line has its own.

    Raises:
        DataError: the file is missing, empty or no Parquet.
    """
    if _suffix(path) in _PARQUET:
        return list(_parquet(path).schema_arrow.names)
    if _suffix(path) in _JSON:
        with _opened(path):
            return None
    return list(form.header) or _header(path, form)


def read_file(path: Path, columns: Mapping[str, str], form: Format) -> Iterator[RawBlock]:
    """Blocks of the wanted columns of one file.

    Args:
        columns: name in the block -> name in the file.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    present = column_names(path, form)
    if present is not None:
        require(path, columns, present)
    if _suffix(path) in _PARQUET:
        yield from _read_parquet(path, columns)
    elif present is None:
        yield from _read_json(path, columns, form)
    else:
        yield from _read_delimited(path, columns, form, present)


def require(path: Path, columns: Mapping[str, str], present: Sequence[str]) -> None:
    """Raises DataError for every mapped column that a file does not have."""
    there = ", ".join(present)
    missing = [
        f"{path}: there is no column {raw!r} (wanted as {name}); the file has {there}. Map {name} to one of these."
        for name, raw in columns.items()
        if raw not in present
    ]
    if missing:
        raise DataError(missing)


def _suffix(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes]
    return next((s for s in reversed(suffixes) if s != ".gz"), "")


def _opened(path: Path) -> IO[bytes]:
    try:
        return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")  # type: ignore[return-value]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a readable file.") from None


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({shown(error)}).") from None


def _header(path: Path, form: Format) -> list[str]:
    _check_encoding(form)
    with _opened(path) as file:
        try:
            line = file.readline(BLOCK_BYTES)
            text = line.removeprefix(codecs.BOM_UTF8).decode(form.encoding)
            names = next(csv.reader([text], delimiter=_delimiter(path, form)), [])
        except (UnicodeDecodeError, csv.Error, OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}, line 1: the header cannot be read ({error}).") from None
    if not any(name.strip() for name in names):
        raise DataError(f"{path}: the file has no header line; write one, or give its column names as `header`.")
    return [name.strip() for name in names]


def _delimiter(path: Path, form: Format) -> str:
    return form.delimiter or ("\t" if _suffix(path) == ".tsv" else ",")


def _check_encoding(form: Format) -> None:
    try:
        usable = "\n,".encode(form.encoding) == b"\n,"
    except LookupError:
        usable = False
    if not usable:
        raise DataError(
            f"encoding {form.encoding!r}: not one in which lines can be told apart by the byte 10; convert the file to utf-8."
        )


def _line_blocks(path: Path) -> Iterator[tuple[bytes, int]]:
    """(whole lines, number of the first of them) until the file ends."""
    line, rest = 1, b""
    with _opened(path) as file:
        while True:
            try:
                read = file.read(BLOCK_BYTES)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path}: cannot be read on after line {line} ({error}); the file is damaged.") from None
            if not read:
                break
            if line == 1 and not rest:
                read = read.removeprefix(codecs.BOM_UTF8)
            cut = read.rfind(b"\n") + 1
            if not cut and len(rest) > BLOCK_BYTES:
                raise DataError(
                    f"{path}, line {line}: longer than {BLOCK_BYTES >> 20} MiB; is this a text file with a row on each line?"
                )
            if not cut:
                rest += read
                continue
            block, rest = rest + read[:cut], read[cut:]
            yield block, line
            line += block.count(b"\n")
    if rest:
        yield rest + b"\n", line


def _read_delimited(path: Path, columns: Mapping[str, str], form: Format, present: list[str]) -> Iterator[RawBlock]:
    _check_encoding(form)
    delimiter = _delimiter(path, form)
    for block, line in _line_blocks(path):
        if line == 1 and not form.header:
            block, line = block[block.index(b"\n") + 1 :], 2
            if not block:
                continue
        table = _parse_fast(block, columns, form, present, delimiter)
        if table is not None:
            yield RawBlock(table, str(path), np.arange(line, line + len(table), dtype=np.int64))
        else:
            yield _parse_slow(block, line, str(path), columns, form, present, delimiter)


def _parse_fast(block: bytes, columns: Mapping[str, str], form: Format, present: list[str], delimiter: str) -> pa.Table | None:
    """All rows of a block, or None where a line cannot be read or where rows are not lines."""
    quote: str | Literal[False] = '"'
    try:
        if form.encoding.lower() not in ("utf-8", "utf8", "ascii"):
            block = block.decode(form.encoding).encode()
        if len(delimiter) > 1:
            if _UNIT in block:
                return None
            block, delimiter, quote = block.replace(delimiter.encode(), _UNIT), _UNIT.decode(), False
        table = pa.csv.read_csv(
            pa.BufferReader(block),
            read_options=pa.csv.ReadOptions(column_names=present, use_threads=False, block_size=len(block) + 1),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, quote_char=quote, newlines_in_values=False),
            convert_options=pa.csv.ConvertOptions(
                column_types={raw: pa.string() for raw in columns.values()},
                include_columns=sorted(set(columns.values())),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    if len(table) != block.count(b"\n"):
        return None
    return pa.table({name: table.column(raw) for name, raw in columns.items()})


def _parse_slow(
    block: bytes, line: int, file: str, columns: Mapping[str, str], form: Format, present: list[str], delimiter: str
) -> RawBlock:
    """Line by line, so that each line that cannot be read is named."""
    place = {name: present.index(raw) for name, raw in columns.items()}
    rows: list[list[str]] = []
    lines: list[int] = []
    texts, rejects = _texts(block, line, file, form.encoding)
    for number, text in texts:
        try:
            cells = text.split(delimiter) if len(delimiter) > 1 else next(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error:
            rejects.append(Reject(file, number, shown(text.strip()), "a quote is not closed on its line"))
            continue
        if len(cells) != len(present):
            rejects.append(Reject(file, number, shown(text.strip()), f"a row has {len(present)} cells"))
            continue
        rows.append(cells)
        lines.append(number)
    table = pa.table({name: pa.array([row[at] or None for row in rows], pa.string()) for name, at in place.items()})
    return RawBlock(table, file, np.array(lines, dtype=np.int64), tuple(rejects))


def read_lines(path: Path) -> Iterator[tuple[list[tuple[int, str]], list[Reject]]]:
    """Blocks of the lines of a UTF-8 file that is no table: (number, text) of those that are not blank, and the unreadable ones.

    Raises:
        DataError: the file cannot be read.
    """
    for block, line in _line_blocks(path):
        yield _texts(block, line, str(path), "utf-8")


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


def _read_json(path: Path, columns: Mapping[str, str], form: Format) -> Iterator[RawBlock]:
    _check_encoding(form)
    known: set[str] = set()
    for block, line in _line_blocks(path):
        rows: list[dict[str, Any]] = []
        lines: list[int] = []
        texts, rejects = _texts(block, line, str(path), form.encoding)
        for number, text in texts:
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                rejects.append(Reject(str(path), number, shown(text.strip()), "not a JSON object"))
                continue
            rows.append(value)
            lines.append(number)
            known.update(value)
        if rows:
            require(path, columns, sorted(known))
        table = pa.table({name: _json_cells([row.get(raw) for row in rows]) for name, raw in columns.items()})
        yield RawBlock(table, str(path), np.array(lines, dtype=np.int64), tuple(rejects))


def _json_cells(values: list[Any]) -> pa.Array:
    """Text, or lists of text where the column has lists."""
    if any(isinstance(v, list) for v in values):
        lists = [
            None if v is None else [_json_text(x) for x in (v if isinstance(v, list) else [v]) if x is not None] for v in values
        ]
        return pa.array(lists, pa.list_(pa.string()))
    return pa.array([None if v is None or v == "" else _json_text(v) for v in values], pa.string())


def _json_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()  # a lone surrogate is no text that Arrow can hold


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
