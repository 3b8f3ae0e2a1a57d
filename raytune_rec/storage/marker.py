"""Markers: `_begun.json` stands in a folder while somebody works on it, `_complete.json` from the end on.

The second one is put last and says what there is: a folder without it does not exist for any reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raytune_rec.errors import ArtifactError
from raytune_rec.storage.files import JSON, STORAGE, read_json, write_json
from raytune_rec.storage.listing import Files

MARKER = "_complete.json"
BEGUN = "_begun.json"


def complete(folder: Path) -> bool:
    """Whether there is a result."""
    return (folder / MARKER).exists()


def begun(folder: Path) -> bool:
    """Whether somebody works on a result, or was interrupted."""
    return (folder / BEGUN).exists()


def begin(folder: Path, values: Mapping[str, JSON]) -> None:
    """From now on there is no result. An interruption between the two steps leaves a folder of ours."""
    write_json(folder / BEGUN, values)
    withdraw(folder)


def publish(folder: Path, values: Mapping[str, JSON]) -> None:
    """From now on there is a result."""
    write_json(folder / MARKER, values)
    STORAGE.delete(folder / BEGUN)


def withdraw(folder: Path) -> None:
    """There is no result any more; first of all where one is replaced, so that half of it never looks whole."""
    STORAGE.delete(folder / MARKER)


def read(folder: Path) -> dict[str, Any]:
    """What the marker of a result says.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    values = read_json(folder / MARKER)
    if not isinstance(values, dict):
        raise ArtifactError(f"{folder / MARKER}: damaged, it is no marker; delete the folder {folder} and run again.")
    return values


def files_of(folder: Path) -> Files:
    """The files of a result, as its marker lists them.

    Raises:
        ArtifactError: there is no marker, or it lists no files.
    """
    files = read(folder).get("files")
    if not isinstance(files, dict) or not all(isinstance(f, dict) for f in files.values()):
        raise ArtifactError(f"{folder / MARKER}: damaged, it lists no files; delete the folder {folder} and run again.")
    return files


def copy(source: Path, target: Path) -> None:
    """Copy a result, file by file and the marker last; what stands in `target` is replaced."""
    withdraw(target)
    files = [path for path in STORAGE.list(source, "**/*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == MARKER):
        STORAGE.copy(path, target / path.relative_to(source))
