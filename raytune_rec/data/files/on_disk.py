"""Raw files as they lie on the disk: which path names which file, what a file is, and its lines.

A file is opened only once it is known to be a plain one: a pipe would wait for ever. What a file holds is told by its first
bytes, so that a file unlike its name is refused with what it is.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from raytune_rec.errors import DataError
from raytune_rec.storage.files import STORAGE, at_hand, matching

BLOCK_BYTES = 8 << 20
_LINE_BYTES = 8 << 20
_HEAD = 4096
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_UNPACK = "unpack it, or pack it with gzip and let its name end in .gz"
_EXPORT = "export it as CSV, JSON lines or Parquet"
_MAGIC = (
    (b"\x1f\x8b", "gzip-compressed", "let its name end in .gz"),
    (b"BZh", "bzip2-compressed", _UNPACK),
    (b"\xfd7zXZ\x00", "xz-compressed", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", _UNPACK),
    (b"\x04\x22\x4d\x18", "lz4-compressed", _UNPACK),
    (b"PK\x03\x04", "a zip archive (an Excel workbook is one too)", f"{_UNPACK}; {_EXPORT}"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"PAR1", "Parquet", "let its name end in .parquet"),
    (b"ARROW1", "an Arrow (Feather) file", _EXPORT),
    (b"ORC", "an ORC file", _EXPORT),
    (b"Obj\x01", "an Avro file", _EXPORT),
    (b"SQLite format 3", "an SQLite database", _EXPORT),
    (b"\x89HDF", "an HDF5 file", _EXPORT),
    (b"\x93NUMPY", "a NumPy array", _EXPORT),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", _EXPORT),
    (b"%PDF", "a PDF", _EXPORT),
    (codecs.BOM_UTF32_LE, "UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8"),
    (codecs.BOM_UTF32_BE, "UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8"),
    (codecs.BOM_UTF16_BE, "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8"),
)
_PAGE = re.compile(rb"\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)
_ARRAY = re.compile(rb"\s*\[\s*[\[{]")
_OBJECT = re.compile(rb'\s*\{\s*"')


def no_plain_file(path: Path) -> str | None:
    """What is wrong with a path, None where a plain file lies there; one in an object store is fetched."""
    try:
        STORAGE.fetch(path)
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return f"{path}: no such file; mend the path under data.options."
    except (OSError, ValueError) as error:
        return f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); name a readable file."
    kind = next((word for fits, word in _KINDS if fits(mode)), None)
    if kind == "a folder":
        return f"{path}: is a folder, and no file; name its files, such as {path}/*.csv."
    return kind and f"{path}: is {kind}, and no file; name a file under data.options."


def named_files(patterns: str | Sequence[str]) -> tuple[list[Path], list[str]]:
    """(The files that paths and patterns name, each once; what is wrong with others.)

    A path at which something lies is that file, whatever letters it has; only otherwise is it a pattern. A file that is named
    twice, by a link too, is read once.
    """
    files: dict[tuple[int, int], Path] = {}
    problems: list[str] = []
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        literal = at_hand(pattern)
        try:
            paths = [literal] if os.path.lexists(literal) else matching(str(literal))
        except ValueError:  # a NUL byte
            paths = []
        if not paths:
            problems.append(f"{pattern}: no such file; mend the path under data.options.")
        for path in paths:
            if problem := no_plain_file(path):
                problems.append(problem)
            else:
                files.setdefault(identity(path), path)
    return list(files.values()), problems


def identity(path: Path) -> tuple[int, int]:
    """The same for all names and links of one file."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def opened(path: Path) -> IO[bytes]:
    """Raises DataError where a file cannot be opened, or is no plain file."""
    if problem := no_plain_file(path):
        raise DataError(problem)
    try:
        return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")  # type: ignore[return-value]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a readable file.") from None


def check_content(path: Path, what: str) -> None:
    """Refuses a file that by its first bytes is not what its name says.

    Args:
        what: `table`, `json` or `parquet`.

    Raises:
        DataError: what it is, and what to do.
    """
    packed = path.suffix.lower() == ".gz"
    if packed and what == "parquet":
        raise DataError(f"{path}: Parquet is packed in itself; unpack the file, and let its name end in .parquet.")
    with opened(path) as file:
        try:
            head = file.read(_HEAD)
        except (OSError, EOFError, zlib.error) as error:
            with open(path, "rb") as raw:
                start = raw.read(len(b"\x1f\x8b"))
            if packed and start != b"\x1f\x8b":
                raise DataError(f"{path}: its name ends in .gz, and it is not gzip-compressed; rename it.") from None
            raise DataError(f"{path}: cannot be read ({error}); the file is damaged, fetch or write it again.") from None
    if not head:
        raise DataError(f"{path}: the file is empty and has no header line; leave it out, or write it again.")
    if problem := _unlike(head, what, packed):
        raise DataError(f"{path}: {problem}.")


def _unlike(head: bytes, what: str, packed: bool) -> str:
    if what == "parquet" and head.startswith(b"PAR1"):
        return ""
    for magic, kind, remedy in _MAGIC:
        if not head.startswith(magic):
            continue
        if packed and magic == b"\x1f\x8b":
            return "is gzip-compressed twice; unpack it once"
        return f"is {kind}, which its name does not say; {remedy}"
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it"
    if _PAGE.match(head):
        return "is an HTML or XML page, perhaps an error page in place of a download; fetch the file again"
    if what == "parquet":
        return "cannot be read as Parquet, it does not begin like it; name it for what it is, such as .csv or .jsonl"
    if b"\0" in head:
        return "holds NUL bytes: it is binary, or UTF-16 text; convert it to UTF-8"
    if b"\r" in head and b"\n" not in head:
        return "its lines end in CR alone; convert them: tr '\\r' '\\n'"
    if what == "json" and _ARRAY.match(head):
        return "is one JSON array; write JSON lines, an object on each line: jq -c '.[]'"
    if what == "json" and not head.lstrip(codecs.BOM_UTF8).lstrip().startswith((b"{", b"[")):
        return "is not JSON lines, its first line is no object; name it for what it is, such as .csv"
    if what == "table" and _OBJECT.match(head.removeprefix(codecs.BOM_UTF8)):
        return "holds JSON, an object on each line; let its name end in .jsonl"
    return ""


def line_blocks(path: Path) -> Iterator[tuple[bytes, int]]:
    """(Whole lines, number of the first of them) until the file ends.

    Raises:
        DataError: the file cannot be read, or a line is too long.
    """
    line, rest = 1, b""
    with opened(path) as file:
        while True:
            try:
                read = file.read(BLOCK_BYTES)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path}: cannot be read on after line {line} ({error}); the file is damaged.") from None
            if not read:
                break
            if line == 1 and not rest:
                read = read.removeprefix(codecs.BOM_UTF8)
            end = read.find(b"\n")
            if len(rest) + (len(read) if end < 0 else end) > _LINE_BYTES:
                raise DataError(
                    f"{path}, line {line}: longer than {_LINE_BYTES >> 20} MiB; is this a text file with a row on each line?"
                )
            cut = read.rfind(b"\n") + 1
            if not cut:
                rest += read
                continue
            block, rest = rest + read[:cut], read[cut:]
            yield block, line
            line += block.count(b"\n")
    if rest:
        yield rest + b"\n", line
