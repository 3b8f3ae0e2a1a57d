"""The jobs and search spaces that come with the package: inside a wheel, or beside the package in a checkout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from raytune_rec.errors import JobError
from raytune_rec.storage.files import STORAGE, at_hand

_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: Literal["jobs", "search_spaces"]) -> Path:
    """Where the shipped files of a kind lie."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def names(name: Literal["jobs", "search_spaces"]) -> list[str]:
    """What is shipped, without the ending `.toml`."""
    return [path.stem for path in STORAGE.list(folder(name), "*.toml")]


def job_path(job: str | os.PathLike[str]) -> Path:
    """The file of a job: the one at a path, or the shipped one of that name.

    Raises:
        JobError: there is neither.
    """
    path = at_hand(job)
    if os.path.isfile(path):  # of `path` itself a name too long is an error
        return path
    if str(job) not in names("jobs"):
        known = ", ".join(names("jobs")) or "none"
        raise JobError(f"{job}: no such job file, and no shipped job of that name; shipped are {known}.")
    return folder("jobs") / f"{job}.toml"
