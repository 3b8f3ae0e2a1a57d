"""Files on a disk, or on a network file system that all nodes share."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raytune_rec.storage.base import TEMPORARY

if sys.platform != "win32":
    import fcntl


class Local:
    """The `Storage` of paths."""

    def get(self, path: Path) -> bytes:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, "is no file", str(path))
        return path.read_bytes()

    def put(self, path: Path, fill: Callable[[Path], object], private: bool = False) -> None:
        with _filled(path, fill, 0o600 if private else 0o644) as temporary:
            os.replace(temporary, path)

    def put_if_absent(self, path: Path, content: bytes) -> bool:
        with _filled(path, lambda temporary: temporary.write_bytes(content), 0o644) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                if os.path.lexists(path):
                    return False
                os.replace(temporary, path)
        return True

    def list(self, folder: Path, *patterns: str) -> list[Path]:
        return sorted({path for pattern in patterns for path in folder.glob(pattern)})

    def is_empty(self, folder: Path) -> bool:
        return not self.list(folder, "*")

    def delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def prune(self, folder: Path) -> None:
        within = [path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()]
        for path in (*sorted(within, reverse=True), folder):
            with suppress(OSError):  # not empty
                path.rmdir()

    def clear(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, path: Path) -> None:
        if path.is_dir():
            found = [Path(folder, name) for folder, _, names in os.walk(path) for name in names if name.endswith(TEMPORARY)]
        else:
            found = [file for file in self.list(path.parent, f".*{TEMPORARY}") if file.name.startswith(f".{path.name}.")]
        for temporary in found:
            with suppress(OSError):
                _sweep(temporary)

    def fetch(self, path: Path, only: bool = False) -> None:
        """What is on a disk is here."""

    def publish(self, path: Path) -> None:
        """Likewise."""

    @contextmanager
    def lease(self, path: Path) -> Iterator[bool]:
        """A lock of the system's, which frees it when the process ends. A network file system that knows locks holds it against
        other machines too, and frees it when theirs is gone for as long as its server says. Where there are none nothing is held.
        """
        self.make_folder(path.parent)
        with path.open("a") as file:
            yield _locked(file.fileno()) and _is(path, file.fileno())


@contextmanager
def _filled(path: Path, fill: Callable[[Path], object], mode: int) -> Iterator[Path]:
    """A whole file beside `path`, to be published; it is gone when the block ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            with _at_work(temporary):
                fill(temporary)
                _sync(temporary)
                temporary.chmod(mode)  # whatever the umask
                yield temporary
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:  # a write that fails names no file, and the temporary one's name tells nobody anything
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _sweep(temporary: Path) -> None:
    """Remove a file that nobody writes any more."""
    if temporary.name.startswith(".") and stat.S_ISREG(temporary.lstat().st_mode):
        with temporary.open("ab") as file:
            if _locked(file.fileno()):
                temporary.unlink()


@contextmanager
def _at_work(temporary: Path) -> Iterator[None]:
    """While the block runs no sweep takes the file; a process that is killed frees it."""
    if sys.platform == "win32":  # what is open cannot be renamed there
        yield
        return
    with temporary.open("ab") as file:
        _locked(file.fileno())
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


def _is(path: Path, file: int) -> bool:
    """Whether an open file is the one of this name still: who held it before may have removed it."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    """Force a file or a folder's entries to disk; some network file systems cannot open a folder for that."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)
