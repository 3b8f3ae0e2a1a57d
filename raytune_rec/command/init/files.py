"""How the files of a log are written: encoding, delimiter, quotes, header. What is taken for what is told with its reason."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from raytune_rec.data.blocks import RawBlock
from raytune_rec.data.files.delimited import DelimitedText, Format
from raytune_rec.data.files.on_disk import check_content, opened
from raytune_rec.data.files.reading import column_names, kind_of_file, read_file
from raytune_rec.data.formats import plain_number, suggested
from raytune_rec.errors import DataError

ROWS = 50_000
"""Of each file, looked at."""
_LINES = 2000
_BROKEN = 20
"""Lines that a row with line breaks within quotes may take."""
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}


@dataclass
class Layout:
    """How text files are written; Parquet and JSON lines say it themselves.

    Args:
        why: what was taken for what, and why.
    """

    delimiter: str = ""
    encoding: str = "utf-8"
    quote: str = '"'
    header: tuple[str, ...] = ()
    why: list[str] = field(default_factory=list)

    @property
    def form(self) -> Format:
        return Format(self.delimiter, self.header, self.encoding, self.quote, "data.options")


@dataclass(frozen=True)
class Group:
    """Files of the same columns.

    Args:
        table: the first rows of all of them. file: (N,) the place of each row's file.
    """

    paths: list[Path]
    names: list[str]
    table: pa.Table
    file: list[int]


def layout_of(paths: Sequence[Path]) -> Layout:
    """One layout for all files, which is what a job can say.

    Raises:
        DataError: files that are no tables, or that are written in different ways.
    """
    found = Layout()
    texts = [path for path in paths if kind_of_file(path) != "parquet"]
    for path in paths:
        check_content(path, kind_of_file(path))
    encodings = {path: _encoding(path) for path in texts}
    _agree("encoding", encodings, "convert them to UTF-8: iconv -f ENCODING -t UTF-8", ("ascii",))
    found.encoding = next((name for name in encodings.values() if name != "ascii"), "utf-8")
    if found.encoding != "utf-8":
        found.why.append(f"encoding {found.encoding}: the files are not UTF-8, and hold letters of it")
    tables = {path: _head(path, found.encoding) for path in texts if kind_of_file(path) == "table"}
    if not tables:
        return found
    delimiters = {path: _delimiter(path, lines, found.encoding) for path, lines in tables.items()}
    _agree("delimiter", delimiters, "give files of one kind")
    found.delimiter = next(iter(delimiters.values()))
    named = _DELIMITERS[found.delimiter]
    found.why.append(f"cells are parted by {named}: by these every line has as many cells as the first")
    stray, broken = (
        sum(counts) for counts in zip(*(_unclosed(path, lines, found) for path, lines in tables.items()), strict=True)
    )
    if stray > max(broken, sum(map(len, tables.values())) / 200):
        found.quote = ""
        found.why.append("quotes are letters: some are not closed on their line")
    elif broken:
        found.why.append(
            f"{broken:,} rows at the head of the files have a line break within quotes, and are lost, since a row is one line; "
            "Parquet keeps them: pandas.read_csv(FILE).to_parquet(OTHER)"
        )
    headless = {path: _headless(lines, path, found) for path, lines in tables.items()}
    _agree("header line", headless, "give all of them one, or none")
    if width := next(iter(headless.values())):
        found.header = tuple(f"column_{place + 1}" for place in range(width))
        found.why.append("no header line: the first line holds numbers; columns are called column_1 and so on")
    return found


def groups_of(paths: Sequence[Path], layout: Layout) -> list[Group]:
    """The files by their columns, those of most bytes first."""
    by_names: dict[tuple[str, ...], list[Path]] = {}
    for path in paths:
        by_names.setdefault(tuple(_names(path, layout)), []).append(path)
    named = sorted(by_names.items(), key=lambda entry: -sum(path.stat().st_size for path in entry[1]))
    return [_group(list(names), files, layout) for names, files in named]


def _group(names: list[str], paths: list[Path], layout: Layout) -> Group:
    once = [name for name in names if names.count(name) == 1 and name]
    tables, file = [], []
    for place, path in enumerate(paths):
        lists = _keys(path, layout.encoding)[1] if kind_of_file(path) == "json" else ()
        block = next(read_file(path, {name: name for name in once}, layout.form, dict.fromkeys(lists, "|")), None)
        if block is not None:
            tables.append(_plain(block))
            file += [place] * len(tables[-1])
    if not file:
        raise DataError(f"{paths[0]}: holds no rows that can be read; name files with rows.")
    return Group(paths, once, pa.concat_tables(tables, promote_options="permissive"), file)


def _plain(block: RawBlock) -> pa.Table:
    table = block.table.slice(0, ROWS)
    for place, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(place, table.column_names[place], column.cast(column.type.value_type))
    return table


def _names(path: Path, layout: Layout) -> list[str]:
    names = column_names(path, layout.form)
    return _keys(path, layout.encoding)[0] if names is None else names


def _keys(path: Path, encoding: str) -> tuple[list[str], list[str]]:
    """(Keys of the objects on the first lines of a file, those of them that hold lists); keys of objects are left out."""
    kinds: dict[str, set[type]] = {}
    for line in _head(path, encoding):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        for key, value in row.items() if isinstance(row, dict) else ():
            kinds.setdefault(key, set()).add(type(value))
    keys = [key for key, held in kinds.items() if dict not in held]
    if not keys:
        raise DataError(f"{path}: no line is a JSON object of values; write JSON lines, an object on each line.")
    return keys, [key for key in keys if list in kinds[key]]


def _head(path: Path, encoding: str) -> list[str]:
    with opened(path) as file:
        lines = file.read(1 << 20).removeprefix(codecs.BOM_UTF8).decode(encoding, "replace").split("\n")
    filled = [line.rstrip("\r") for line in lines[: min(_LINES, max(1, len(lines) - 1))] if line.strip()]
    if not filled:
        raise DataError(f"{path}: its first lines are blank; name files with rows.")
    return filled


def _encoding(path: Path) -> str:
    """ascii, utf-8, or one of a byte for each letter. The whole file is read: the first odd letter may come late."""
    decoder, plain = codecs.getincrementaldecoder("utf-8")(), True
    with opened(path) as file:
        while data := file.read(1 << 20):
            plain = plain and data.isascii()
            try:
                decoder.decode(data)
            except UnicodeDecodeError:
                windows = any(0x80 <= byte <= 0x9F for byte in data)
                return "cp1252" if windows and _decodes(data, "cp1252") else "latin-1"
    return "ascii" if plain else "utf-8"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _agree(what: str, found: Mapping[Path, object], remedy: str, neutral: Sequence[object] = ()) -> None:
    kinds: dict[object, Path] = {}
    for path, value in found.items():
        if value not in neutral:
            kinds.setdefault(value, path)
    if len(kinds) > 1:
        told = ", ".join(f"{value!r} in {path}" for value, path in kinds.items())
        raise DataError(f"the files are of different {what}, and a job reads all in one way: {told}; {remedy}.")


def _delimiter(path: Path, lines: list[str], encoding: str) -> str:
    """The one by which most lines have as many cells as the first, and that is more than one."""
    best, score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        text = DelimitedText(path, Format(delimiter, encoding=encoding), [])
        cells = [text.cells(line) or line.split(delimiter) for line in lines]
        width = len(cells[0])
        alike = sum(len(c) == width for c in cells) / len(cells)
        if width > 1 and (round(alike, 2), width) > score:
            best, score = delimiter, (round(alike, 2), width)
    if not score[1]:
        raise DataError(f"{path}: its first line has one cell by {', '.join(_DELIMITERS.values())}; write a table of columns.")
    return best


def _unclosed(path: Path, lines: list[str], layout: Layout) -> tuple[int, int]:
    """(Lines with a quote that is not closed, rows whose quote is closed some lines on, so that all cells are there)."""
    text = DelimitedText(path, layout.form, [])
    width, counts, at = len(text.cells(lines[0]) or ()), [0, 0], 0
    while at < len(lines):
        end = at + 1
        if text.cells(lines[at]) is None:
            rows = {last: text.cells("\n".join(lines[at:last])) for last in range(at + 2, min(at + _BROKEN, len(lines)) + 1)}
            end = next((last for last, cells in rows.items() if cells and len(cells) == width), end)
            counts[end > at + 1] += 1
        at = end
    return counts[0], counts[1]


def _headless(lines: list[str], path: Path, layout: Layout) -> int:
    """How many columns a file without a header line has; 0 where it has one."""
    cells = DelimitedText(path, layout.form, []).cells(lines[0]) or []
    counts = Counter(cell for cell in cells if cell.strip())
    data = any(plain_number(cell) is not None or suggested(cell) in ("iso", "decimal") for cell in cells if cell.strip())
    return len(cells) if data or max(counts.values(), default=0) > 1 else 0
