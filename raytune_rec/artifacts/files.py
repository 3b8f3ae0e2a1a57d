"""Text and JSON on disk: complete or absent, and readable sentences where a file is damaged."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raytune_rec.errors import ArtifactError

MARKER = "_complete.json"
"""Written last into a folder. A folder without it does not exist for any reader."""

_ROOM = 2**20
"""Bytes that a folder must have room for."""

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


def read_json(path: Path) -> JSON:
    """The value in a JSON file.

    Raises:
        ArtifactError: the file is missing, unreadable or no JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); check the path, or run its stage again.") from None
    except ValueError as error:
        raise ArtifactError(
            f"{path}: damaged, it is not JSON ({error}); delete this file and run again, or copy it anew."
        ) from None


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
