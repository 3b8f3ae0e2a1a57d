"""One driver for a run folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raytune_rec.errors import ArtifactError

if sys.platform != "win32":
    import fcntl

LOCK = "lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process: two drivers would take each other's packs and overwrite each other's files.

    The system frees it when the process ends, however it ends. Where a file system knows no locks, nothing is held.

    Raises:
        ArtifactError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        if not _locked(file.fileno()):
            raise ArtifactError(
                f"{folder}: another raytune-rec works in this folder; wait until it has ended, or use another --out folder."
            )
        yield


def _locked(file: int) -> bool:
    """Whether nobody else has the lock."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # no locks here
            pass
    return True
