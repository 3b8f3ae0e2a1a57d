"""The jobs and search spaces that come with the package: inside a wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from raytune_rec.storage.files import STORAGE

_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: Literal["jobs", "search_spaces"]) -> Path:
    """Where the shipped files of a kind lie."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def names(name: Literal["jobs", "search_spaces"]) -> list[str]:
    """What is shipped, without the ending `.toml`."""
    return [path.stem for path in STORAGE.list(folder(name), "*.toml")]
