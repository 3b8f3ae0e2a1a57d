"""What a run wrote: listed, so that a loss is noticed, and removed by the names that we give, so that nothing else ever goes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from raytune_rec.storage.files import STORAGE

SMALL = 1 << 20
"""Bytes up to which a file is hashed whenever it is verified; of a larger one the size is compared, unless all is to be read."""

Files = dict[str, dict[str, Any]]
"""Path relative to the run -> its bytes and sha256; nothing of a file that is rewritten later, and has only to be there."""


def listing(root: Path, paths: Iterable[Path], rewritten: Iterable[str] = ()) -> Files:
    """The files of a run that are, or lie in, some paths.

    Args:
        rewritten: names of files whose content is not theirs to say.
    """
    paths = list(paths)
    for path in paths:
        STORAGE.publish(path)  # what a library has written
        STORAGE.fetch(path)  # what another process has put
    inside = {file for path in paths for file in (STORAGE.list(path, "**/*") if path.is_dir() else (path,))}
    files = [file for file in inside if file.is_file()]
    named = {file.relative_to(root).as_posix(): file for file in files if not (file.name[0] == "." and file.suffix == ".tmp")}
    return {name: {} if named[name].name in rewritten else _facts(named[name]) for name in sorted(named)}


def lost(root: Path, files: Mapping[str, Mapping[str, Any]], every: bool = False) -> list[str]:
    """Files that are missing, or not what they were.

    Args:
        every: read the large ones too.
    """
    return [name for name, facts in files.items() if not _whole(root / name, facts, every)]


def remove_files(folder: Path, *patterns: str) -> None:
    """Remove files of a folder by patterns of names that only we give, and the folders that are empty then."""
    if folder.is_symlink():
        return
    for path in STORAGE.list(folder, *patterns):
        if path.is_file() or path.is_symlink() or not os.path.lexists(path):  # not every file of a store has its copy here
            STORAGE.delete(path)
    STORAGE.prune(folder)  # what is not empty holds what is not ours


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _whole(path: Path, facts: Mapping[str, Any], every: bool) -> bool:
    try:
        if ".." in path.parts or not path.is_file() or (facts and path.stat().st_size != facts["bytes"]):
            return False
        return not facts or not (every or facts["bytes"] <= SMALL) or _facts(path) == facts
    except (OSError, ValueError, KeyError, TypeError):  # the list itself may be damaged
        return False
