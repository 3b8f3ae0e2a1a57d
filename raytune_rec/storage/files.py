"""Text and JSON on disk: complete or absent, and readable sentences where a file is damaged."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raytune_rec.errors import ArtifactError

MARKER = "_complete.json"
"""Written last into a folder. A folder without it does not exist for any reader."""

_ROOM = 2**20
"""Bytes that a folder must have room for."""
_DEEPEST = 64
"""Levels of lists and tables in a JSON file: the deepest of ours has ten."""

JSON = Any
"""What `json` reads: None, bool, int, float, str, list and dict of these."""


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then put it in place at once; after a crash there is the old file or the new one.

    Args:
        path: the file; its folder is made if it is missing.
        write: fills the file that it is given.

    Raises:
        OSError: with the name of `path`; there is the old file still.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            _sync(temporary)
            temporary.chmod(0o644)  # a temporary file is private to its owner, an artifact is not
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:  # a write that fails names no file, and the temporary one's name tells nobody anything
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def unwritable(folder: Path) -> OSError | None:
    """Why nothing can be written into a folder; it is tried, with as much as a small checkpoint takes."""
    try:
        replace(folder / "room", lambda temporary: temporary.write_bytes(bytes(_ROOM)))
        (folder / "room").unlink()
    except OSError as error:
        return OSError(error.errno, error.strerror, str(folder))
    return None


def write_text(path: Path, text: str) -> None:
    """UTF-8 text with line ends as given, atomically."""
    replace(Path(path), lambda temporary: temporary.write_bytes(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Sorted, indented JSON of plain values and dataclasses, atomically. NaN and infinity, unknown to JSON, become null."""
    write_text(path, json.dumps(_finite(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, finite: bool = True) -> JSON:
    """The value in a JSON file.

    Args:
        finite: refuse what only Python writes: NaN and infinity.

    Raises:
        ArtifactError: the file is missing, unreadable or no JSON, names a key twice, holds a number beyond 64 bits, or nests
            deeper than anything that we write.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would keep its reader waiting
            raise ArtifactError(f"{path}: is no file; check the path, or remove it and run its stage again.")
        return parse_json(path.read_text(encoding="utf-8"), finite)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); check the path, or run its stage again.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{path}: damaged, it is not JSON ({error}); delete this file and run again, or copy it anew."
        ) from None


def parse_json(text: str, finite: bool = True) -> JSON:
    """The value of JSON text.

    Raises:
        ValueError, RecursionError: see `read_json`.
    """
    number, constant = (_finite_number, _no_number) if finite else (float, float)
    value = json.loads(text, object_pairs_hook=_once, parse_int=_integer, parse_float=number, parse_constant=constant)
    level = [value]
    for _ in range(_DEEPEST):
        inner = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = [part for parts in inner for part in parts if isinstance(part, dict | list)]
    if level:
        raise ValueError(f"it nests deeper than {_DEEPEST}")
    return value


def _once(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it names {next(n for n in names if names.count(n) > 1)[:99]!r} twice")
    return values


def _no_number(text: str) -> JSON:
    raise ValueError(f"{text} is no number")


def _finite_number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:99]} is no finite number")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (value := int(text)) < 2**64:
        raise ValueError(f"{text[:99]} is beyond 64 bits")
    return value


def _finite(value: Any) -> JSON:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _finite(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sync(path: Path) -> None:
    """Force a file or a folder's entries to disk; some network file systems cannot open a folder for that."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)
