"""Delimited text: how a line is cut into cells, the same whether a block of lines is parsed at once or line by line."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from raytune_rec.data.blocks import RawBlock, Reject
from raytune_rec.data.files.on_disk import opened
from raytune_rec.errors import DataError

_SHOWN = 200
_HEADER_BYTES = 1 << 20
_UNIT = b"\x1f"
"""Stands for a delimiter of several bytes where Arrow parses, which takes one."""
_UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Format:
    """How text is written.

    Args:
        delimiter: between cells; empty: a tab for `.tsv`, else a comma. With several bytes no cell is quoted.
        header: column names of a file without a header line; empty: its first line has them.
        encoding: any in which a line break is the byte 10.
        quote: encloses cells that hold a delimiter; empty: quotes are letters like others.
        options: the options of a job that set these, as an error names them; empty: a job cannot.
    """

    delimiter: str = ""
    header: tuple[str, ...] = ()
    encoding: str = "utf-8"
    quote: str = '"'
    options: str = ""

    def remedy(self, name: str, value: str) -> str:
        return f"; set {self.options}.{name} = {value}" if self.options else ""


class DelimitedText:
    """How the lines of one delimited file are cut into cells.

    Args:
        present: names of the columns.
    """

    def __init__(self, path: Path, form: Format, present: Sequence[str]) -> None:
        self.file, self.form, self.present = str(path), form, list(present)
        self.delimiter = _delimiter(path, form)
        self.quote = form.quote if len(self.delimiter.encode()) == 1 else ""
        self.plain_utf8 = codecs.lookup(form.encoding).name == "utf-8"
        if self.quote:
            d, q = re.escape(self.delimiter), re.escape(self.quote)
            self._cell = re.compile(rf"(?:{q}((?:[^{q}]|{q}{q})*){q}|((?!{q})[^{d}]*))({d}|$)")
            self._regular = re.compile(rf"(?:(?:{q}(?:[^{q}\r\n]|{q}{q})*+{q}|(?!{q})[^{d}\r\n]*+)(?:{d}|\r?\n))*+".encode())

    def cells(self, text: str) -> list[str] | None:
        """The cells of a line; None where a quote does not stand as it should."""
        if not self.quote or self.quote not in text:
            return text.split(self.delimiter)
        cells, at, more = [], 0, True
        while more:
            match = self._cell.match(text, at)
            if not match:
                return None
            quoted, bare, end = match.groups()
            cells.append(bare if quoted is None else quoted.replace(self.quote * 2, self.quote))
            at, more = match.end(), bool(end)
        return cells

    def fast(self, block: bytes, columns: Mapping[str, str]) -> pa.Table | None:
        """All rows of a block, or None where a line cannot be read or where rows are not lines."""
        delimiter, quote = self.delimiter, self.quote
        try:
            if not self.plain_utf8:
                block = block.decode(self.form.encoding).encode()
            if b"\0" in block or block.count(b"\r") != block.count(b"\r\n"):
                return None
            if quote and quote.encode() in block and not self._regular.fullmatch(block):
                return None
            if len(delimiter.encode()) > 1:
                if _UNIT in block:
                    return None
                block, delimiter = block.replace(delimiter.encode(), _UNIT), _UNIT.decode()
            table = _arrow(block, self.present, columns, delimiter, quote)
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        if len(table) != block.count(b"\n"):
            return None
        return pa.table({name: table.column(raw) for name, raw in columns.items()})

    def slow(self, block: bytes, line: int, columns: Mapping[str, str]) -> RawBlock:
        """Line by line, so that each line that cannot be read is named."""
        place = {name: self.present.index(raw) for name, raw in columns.items()}
        rows: list[list[str]] = []
        lines: list[int] = []
        rejects: list[Reject] = []
        for number, raw in enumerate(block.split(b"\n")[:-1], start=line):
            text = raw.decode(self.form.encoding, "surrogateescape").removesuffix("\r")
            if not text.strip(" "):
                continue
            cells = self.cells(text)
            reason, column = self._wrong(text, cells, place)
            if reason or cells is None:
                whole = raw.decode(self.form.encoding, "backslashreplace").strip()
                rejects.append(Reject(self.file, number, shown(whole), reason, column))
                continue
            rows.append([cells[at] for at in place.values()])
            lines.append(number)
        table = pa.table({name: pa.array([row[n] or None for row in rows], pa.string()) for n, name in enumerate(place)})
        return RawBlock(table, self.file, np.array(lines, dtype=np.int64), tuple(rejects))

    def _wrong(self, text: str, cells: list[str] | None, place: Mapping[str, int]) -> tuple[str, str]:
        """(Why a line cannot be read, the column at fault), empty where it can."""
        if "\0" in text:
            return "holds a NUL byte", ""
        if "\r" in text:
            return "a line break stands within the line", ""
        if cells is None:
            return "a quote is not closed on its line", ""
        if len(cells) != len(self.present):
            return f"a row has {len(self.present)} cells", ""
        column = next((name for name, at in place.items() if _UNDECODED.search(cells[at])), "")
        return (f"not {self.form.encoding}" if column else ""), column


def header_of(path: Path, form: Format) -> list[str]:
    with opened(path) as file:
        line = file.readline(_HEADER_BYTES).removeprefix(codecs.BOM_UTF8)
    try:
        text = line.decode(form.encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        remedy = form.remedy("encoding", "its encoding, such as 'latin-1'") or "; convert it"
        raise DataError(f"{path}, line 1: the header is not {form.encoding} ({error}){remedy}.") from None
    names = DelimitedText(path, form, []).cells(text)
    if names is None:
        raise DataError(f"{path}, line 1: the header cannot be read, a quote is not closed in it; close it.")
    if not any(name.strip() for name in names):
        names_of = f", or give its column names as {form.options}.header" if form.options else ""
        raise DataError(f"{path}: the file has no header line; write one{names_of}.")
    return [unicodedata.normalize("NFC", name.strip()) for name in names]


def shown(value: object) -> str:
    """A raw value as it goes into a report: never long, and without lone surrogates, which no file can hold."""
    text = value if isinstance(value, str) else str(value)
    return text[:_SHOWN].encode("utf-8", "replace").decode()


def _delimiter(path: Path, form: Format) -> str:
    return form.delimiter or ("\t" if ".tsv" in [s.lower() for s in path.suffixes[-2:]] else ",")


def _arrow(block: bytes, present: Sequence[str], columns: Mapping[str, str], delimiter: str, quote: str) -> pa.Table:
    return pa.csv.read_csv(
        pa.BufferReader(block),
        read_options=pa.csv.ReadOptions(column_names=present, use_threads=False, block_size=len(block) + 1),
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, quote_char=quote or False, newlines_in_values=False),
        convert_options=pa.csv.ConvertOptions(
            column_types={raw: pa.string() for raw in columns.values()},
            include_columns=sorted(set(columns.values())),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
