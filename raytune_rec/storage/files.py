"""Text and JSON: complete or absent, and readable sentences where a file is damaged."""

from __future__ import annotations

import dataclasses
import glob
import json
import math
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from raytune_rec.errors import ArtifactError
from raytune_rec.storage.anywhere import Anywhere
from raytune_rec.storage.base import TEMPORARY
from raytune_rec.storage.places import address, located

STORAGE = Anywhere()
"""Where all files of a run lie: nothing else in the package renames, lists, locks or removes any."""

_ROOM = 2**20
"""Bytes that a folder must have room for."""
_DEEPEST = 64
"""Levels of lists and tables in a JSON file: the deepest of ours has ten."""

JSON = Any
"""What `json` reads: None, bool, int, float, str, list and dict of these."""


@contextmanager
def scratch(place: Path | None = None) -> Iterator[Path]:
    """A folder of this process alone, while the block runs.

    Args:
        place: a folder that it lies in; None: where temporary files belong.
    """
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def at_hand(path: str | os.PathLike[str]) -> Path:
    """A file or folder of the user's, by its path or URI, to be read here."""
    STORAGE.fetch(place := located(path))
    return place


def lies_there(path: Path) -> bool:
    """Whether a file lies at a path, here or in its store, from which it is not fetched."""
    return not STORAGE.is_empty(path) if address(path) else path.exists()


def matching(pattern: str) -> list[Path]:
    """Files of the user's that a pattern names, in order."""
    if address(path := Path(pattern)):
        plain = next((at for at, part in enumerate(path.parts) if glob.has_magic(part)), len(path.parts) - 1)
        found = STORAGE.list(Path(*path.parts[:plain]), "/".join(path.parts[plain:]))
        for file in found:
            STORAGE.fetch(file)
        return found
    return sorted(map(Path, glob.glob(pattern, recursive=True)))


def unwritable(folder: Path) -> OSError | None:
    """Why nothing can be written into a folder; it is tried, with as much as a small checkpoint takes."""
    place = folder / f".room-{secrets.token_hex(8)}{TEMPORARY}"  # nobody's name
    try:
        STORAGE.put(place, lambda temporary: temporary.write_bytes(bytes(_ROOM)))
        STORAGE.delete(place)
    except OSError as error:
        return OSError(error.errno, error.strerror, str(folder))
    return None


@contextmanager
def passing(folder: Path) -> Iterator[None]:
    """A folder that the block makes stays, with those above it that it makes, only where something lies in it afterwards."""
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    finally:
        for place in absent:
            with suppress(OSError):  # not empty, or never made
                place.rmdir()


def write_text(path: Path, text: str) -> None:
    """UTF-8 text with line ends as given, atomically."""
    STORAGE.put(Path(path), lambda temporary: temporary.write_bytes(text.encode()))


def write_json(path: Path, value: Any, sort: bool = True) -> None:
    """Indented JSON of plain values and dataclasses, atomically. NaN and infinity, unknown to JSON, become null.

    Args:
        sort: keys by name; otherwise they keep their order.
    """
    write_text(path, json_text(value, sort))


def json_text(value: Any, sort: bool = True) -> str:
    """What `write_json` writes."""
    return json.dumps(_finite(value), indent=2, sort_keys=sort, ensure_ascii=False, allow_nan=False) + "\n"


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
        return parse_json(STORAGE.get(path).decode(), finite)
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
