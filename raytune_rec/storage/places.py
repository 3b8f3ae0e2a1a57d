"""Where a path lies: on a disk, or in an object store, named by a URI.

What lies in an object store has a path too: that of a copy on this machine, below one folder whose name tells it. So a path says
where its file belongs, in every process and on every node, and whoever reads a file reads a plain one.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from raytune_rec.errors import UserError

SCHEMES = ("s3", "gs", "abfs", "memory")
"""Of object stores: `fsspec` knows them. `memory` is of one process, for tests."""

_URI = re.compile(rf"({'|'.join(SCHEMES)}):/{{1,2}}(?!/)(.+)", re.DOTALL)
_ANY_URI = re.compile(rf"(?!(?:{'|'.join(SCHEMES)}):)[A-Za-z][\w+.-]+:/")
"""Of no place that is known; a letter alone is a drive of Windows."""
_COPIES = re.compile(r"raytune_rec-\w+\.objects")
_begun = ""
_SHOWN = re.compile(rf"(?:file://)?(?:/[^\s:'\"/]+)*/raytune_rec-\w+\.objects/({'|'.join(SCHEMES)})/")


def located(path: str | os.PathLike[str]) -> Path:
    """The path of a file or folder that a user names: by a URI, or on a disk with `~` for the home folder.

    A `Path` that was made of a URI has lost a slash; it is known all the same.

    Raises:
        UserError: a URI of another scheme, which would else be a folder of that name here.
    """
    if _ANY_URI.match(os.fspath(path)):
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES if scheme != "memory")
        raise UserError(f"{path}: is a URI of no place that is known; name one of {known}, or a path on a disk.")
    if uri := _URI.fullmatch(os.fspath(path)):
        inside = [part for part in uri[2].split("/") if part not in ("", ".")]
        if ".." not in inside:
            return _root() / uri[1] / "/".join(inside)
    return Path(os.path.expanduser(path))


def address(path: Path) -> tuple[str, str] | None:
    """(Scheme, bucket and key) of what lies in an object store; None of what lies on a disk."""
    for place, part in enumerate(path.parts):
        if _COPIES.fullmatch(part) and len(path.parts) > place + 2:
            return path.parts[place + 1], "/".join(path.parts[place + 2 :])
    return None


def shown(text: object) -> str:
    """A path or a text for people: URIs in place of the paths of their copies; in a text, where these have no blanks."""
    if isinstance(text, Path) and (uri := address(text)):
        return "://".join(uri)
    return _SHOWN.sub(r"\1://", str(text))


def brought(folder: Path) -> bool:
    """Whether a folder lies in what Ray has unpacked for a job, and removes with it."""
    return "working_dir_files" in folder.parts


def begin_here() -> None:
    """Remember the folder that this process works in, for `here`.

    Raises:
        FileNotFoundError: it is gone.
    """
    global _begun
    _begun = os.getcwd()


def here() -> Path:
    """The folder that this process works in; entered again where it is another one of the same path by now.

    Where several nodes of a cluster share a machine, each unpacks what a job brought into the same folder, and removes what lies
    there: without this the job would work on in a folder that is gone.

    Raises:
        FileNotFoundError: it is gone.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        with suppress(OSError):
            os.chdir(_begun)
            return Path.cwd()
        raise


def _root() -> Path:
    """The folder of the copies. Its path is the same on all machines of a cluster where they have the same user and settings, and
    is taken from the driver where they have not."""
    place = os.environ.get("RAYTUNE_REC_CACHE") or tempfile.gettempdir()
    return Path(place).absolute() / f"raytune_rec-{os.getuid() if hasattr(os, 'getuid') else 'user'}.objects"
