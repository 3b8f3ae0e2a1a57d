"""What the place must do where a run's files lie."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

TEMPORARY = ".raytune.tmp"
"""Ends the hidden names of files that are no result yet, and no others: what an interruption leaves is known by it."""


class Storage(Protocol):
    """Files by path; all that the rest of the package does to them besides reading. An object store can do each of these.

    Nothing is renamed, and no folder counts because it is there: what belongs together is published by its marker, put last,
    which lists it (`marker`). A reader believes nothing else.
    """

    def get(self, path: Path) -> bytes:
        """What a file holds.

        Raises:
            OSError: it cannot be read, or is a pipe or folder, whose reader would wait.
        """
        ...

    def put(self, path: Path, fill: Callable[[Path], object], private: bool = False) -> None:
        """Let `fill` write a file, then publish it as `path`; after a crash there is the old one or the new one.

        Args:
            fill: is given a local file to fill.
            private: nobody else may read it.

        Raises:
            OSError: with the name of `path`; there is the old file still.
        """
        ...

    def put_if_absent(self, path: Path, content: bytes) -> bool:
        """Publish a file unless there is one; whether it was published. Of two callers at once one succeeds."""
        ...

    def list(self, folder: Path, *patterns: str) -> list[Path]:
        """What lies in a folder by patterns of relative names (`*`, `**`), in order; nothing of a folder that is not there."""
        ...

    def is_empty(self, folder: Path) -> bool:
        """Whether nothing lies in a folder of the store, or it is not there; copies on this machine do not count."""
        ...

    def delete(self, path: Path) -> None:
        """Remove a file, or a link and not what it points to. One that is not there is no error."""
        ...

    def make_folder(self, folder: Path) -> None:
        """Before a library writes files into it by itself."""
        ...

    def prune(self, folder: Path) -> None:
        """Remove the empty folders in a folder, and itself where it is empty."""
        ...

    def clear(self, folder: Path) -> None:
        """Remove a folder with all that is in it, as far as that goes; links are not followed."""
        ...

    def sweep(self, path: Path) -> None:
        """Remove what interrupted `put`s of a file, or of any file within a folder, have left; what is being put stays, and all
        that is not ours."""
        ...

    def lease(self, path: Path) -> AbstractContextManager[bool]:
        """While the block runs nobody else has `path`; whether this caller has it. It ends with the process."""
        ...

    def fetch(self, path: Path, only: bool = False) -> None:
        """Before a library reads a file, or the files of a folder, by itself: they lie here as they are in the store.

        Args:
            only: of the folder, nothing else lies here afterwards.
        """
        ...

    def publish(self, path: Path) -> None:
        """After a library has written a file, or files into a folder, by itself: they are in the store."""
        ...
