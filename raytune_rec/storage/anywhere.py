"""Disks and object stores as one place: a path tells which (`places`)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from raytune_rec.storage.base import Storage
from raytune_rec.storage.local import Local
from raytune_rec.storage.places import address

if TYPE_CHECKING:
    from raytune_rec.storage.objects import Objects


class Anywhere:
    """The `Storage` of all paths."""

    def __init__(self) -> None:
        self._local = Local()

    @cached_property
    def _objects(self) -> Objects:
        from raytune_rec.storage.objects import Objects  # what is not needed is not loaded

        return Objects()

    def _of(self, path: Path) -> Storage:
        return self._objects if address(path) else self._local

    def get(self, path: Path) -> bytes:
        return self._of(path).get(path)

    def put(self, path: Path, fill: Callable[[Path], object], private: bool = False) -> None:
        self._of(path).put(path, fill, private)

    def put_if_absent(self, path: Path, content: bytes) -> bool:
        return self._of(path).put_if_absent(path, content)

    def copy(self, source: Path, path: Path) -> None:
        """`put` of what another file holds, wherever it lies."""
        self.fetch(source)
        self.put(path, partial(shutil.copyfile, source))

    def list(self, folder: Path, *patterns: str) -> list[Path]:
        return self._of(folder).list(folder, *patterns)

    def is_empty(self, folder: Path) -> bool:
        return self._of(folder).is_empty(folder)

    def delete(self, path: Path) -> None:
        self._of(path).delete(path)

    def make_folder(self, folder: Path) -> None:
        self._of(folder).make_folder(folder)

    def prune(self, folder: Path) -> None:
        self._of(folder).prune(folder)

    def clear(self, folder: Path) -> None:
        self._of(folder).clear(folder)

    def sweep(self, path: Path) -> None:
        self._of(path).sweep(path)

    def lease(self, path: Path) -> AbstractContextManager[bool]:
        return self._of(path).lease(path)

    def fetch(self, path: Path, only: bool = False) -> None:
        self._of(path).fetch(path, only)

    def publish(self, path: Path) -> None:
        self._of(path).publish(path)
