"""Whose a folder is, and who works in it. A folder of the user's stays as it is, and nothing goes that a run did not write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import raytune_rec
from raytune_rec.errors import ArtifactError
from raytune_rec.storage.files import STORAGE, passing, read_json, write_json
from raytune_rec.storage.marker import BEGUN, MARKER
from raytune_rec.storage.places import address, here, shown

RUN = "run.json"
"""Written first into a run folder: it says whose the folder is."""
LOCK = "lock"
COMPONENTS = "components"
"""Folders of the user's own components with which a run was made, by their fingerprints."""
SCRATCH = "_scratch.json"
"""Written first into a folder that is needed for a while only, and that Ray fills: what bears it may be removed."""


def check(folder: Path) -> None:
    """Refuse a folder that is neither a run, nor empty, nor yet to be made. Nothing is written.

    Raises:
        ArtifactError: it holds something else; what is named.
    """
    if address(folder) and STORAGE.is_empty(folder):  # copies of what the user has removed there are no files of anybody's
        return
    try:
        there = STORAGE.list(folder, "*") if address(folder) else folder.iterdir()
        held = sorted(path.name for path in there if not _of_a_beginning(path))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ArtifactError(f"--out {folder}: is a file, or lies in one; name a folder.") from None
    except OSError as error:
        raise ArtifactError(f"--out {folder}: cannot be read ({error.strerror}); name another folder.") from None
    if held and not claimed(folder):
        others = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise ArtifactError(
            f"--out {folder}: holds {held[0]!r}{others} and is no run of raytune-rec, so nothing is written there; "
            "name a new or an empty folder."
        )


def claimed(folder: Path) -> bool:
    """Whether a folder is a run: by its own word, or by the markers of its stages (0.1 wrote no other)."""
    if _says(folder / RUN, "raytune_rec"):
        return True
    return any(_says(path, "stage") for name in (MARKER, BEGUN) for path in STORAGE.list(folder, f"stages/*/{name}"))


def claim(folder: Path) -> None:
    """Make a checked folder a run, and note where it was started and as which folder: the results say nothing of places."""
    if not _says(folder / RUN, "raytune_rec"):
        started = {"started_in": str(here()), "folder": shown(folder)}
        write_json(folder / RUN, {"raytune_rec": raytune_rec.__version__, **started})


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process: two drivers would take each other's packs and overwrite each other's files. What is made
    for that goes again where the folder is no run in the end: the run was refused.

    Raises:
        ArtifactError: another process holds it.
    """
    with passing(folder), _without_lease_of_nothing(folder), STORAGE.lease(folder / LOCK) as granted:
        if not granted:
            raise ArtifactError(
                f"{folder}: another raytune-rec works in this folder; wait until it has ended, or use another --out folder."
            )
        STORAGE.fetch(folder, only=True)
        try:
            yield
        finally:
            if not address(folder) and STORAGE.list(folder, "*") == [folder / LOCK]:
                STORAGE.delete(folder / LOCK)


@contextmanager
def _without_lease_of_nothing(folder: Path) -> Iterator[None]:
    """Remove the ended lease of a folder in a store that holds nothing else afterwards. One that another has taken stays."""
    try:
        yield
    finally:
        with suppress(OSError, ArtifactError):  # the store is gone, or another was faster
            if address(folder) and STORAGE.list(folder, "*") == [folder / LOCK]:
                for path in STORAGE.list(folder / LOCK, "*"):
                    if read_json(path).get("released"):
                        STORAGE.delete(path)


def begin_scratch(folder: Path) -> None:
    """Make a folder that `remove_scratch` may remove."""
    write_json(folder / SCRATCH, {"raytune_rec": raytune_rec.__version__})


def remove_scratch(folder: Path) -> None:
    """Remove a folder that `begin_scratch` has made; any other stays, and what a link points to."""
    if not folder.is_symlink() and _says(folder / SCRATCH, "raytune_rec"):
        STORAGE.clear(folder)


def _of_a_beginning(path: Path) -> bool:
    """What an interruption before the claim leaves."""
    ours = address(path) is not None or (path.is_file() and not path.stat().st_size)
    return (path.name == LOCK and ours) or path.match(f".{RUN}.*.tmp")


def _says(path: Path, key: str) -> bool:
    try:
        return key in read_json(path)
    except (ArtifactError, TypeError):
        return False
