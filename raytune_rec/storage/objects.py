"""Files in an object store, each with a copy on this machine that is read in its place (`places`).

A file is put into the store first and then beside, so that what is only here counts for nobody. What is fetched is known by the
tag that the store gives to each version of a file, kept in a folder of its own. What is sent to S3, in one piece or in parts,
carries a checksum of botocore's (CRC32), by which the store refuses what was damaged on its way.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from raytune_rec.storage.lease import Lease
from raytune_rec.storage.local import Local
from raytune_rec.storage.places import address

_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 5, "mode": "standard"}}}
}
"""Of the connection. Endpoint, region and credentials are those of the environment (AWS_ENDPOINT_URL ...), on each machine."""
_PART = 50 * 2**20
"""Bytes of the parts in which s3fs puts files of two parts and more."""
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
"""That reach a store, by scheme."""


class Objects:
    """The `Storage` of paths that stand for objects."""

    def __init__(self) -> None:
        self._here = Local()

    def get(self, path: Path) -> bytes:
        with _connected(path) as (store, key):
            content: bytes = store.cat_file(key)
            return content

    def put(self, path: Path, fill: Callable[[Path], object], private: bool = False) -> None:
        def filled(temporary: Path) -> None:
            fill(temporary)
            with _connected(path) as (store, key):
                store.put_file(str(temporary), key)

        self._prepare(path)
        self._here.put(path, filled, private)

    def put_if_absent(self, path: Path, content: bytes) -> bool:
        with _connected(path) as (store, key):
            try:
                store.pipe_file(key, content, mode="create")
            except FileExistsError:
                if store.cat_file(key) != content:  # else an answer was lost, and the question asked again
                    return False
        self._prepare(path)
        self._here.put(path, lambda temporary: temporary.write_bytes(content))
        return True

    def list(self, folder: Path, *patterns: str) -> list[Path]:
        """Of the store, and what a library has written here and is not published yet."""
        wanted = [_pattern(pattern) for pattern in patterns]
        found = {path for name in self._versions(folder) for path in (Path(name), *Path(name).parents)} - {Path()}
        there = {folder / path for path in found if any(p.fullmatch(path.as_posix()) for p in wanted)}
        return sorted(there | set(self._here.list(folder, *patterns)))

    def is_empty(self, folder: Path) -> bool:
        return not self._versions(folder)

    def delete(self, path: Path) -> None:
        with _connected(path) as (store, key), suppress(FileNotFoundError):
            store.rm_file(key)
        self._here.delete(_tag(path))
        self._here.delete(path)

    def make_folder(self, folder: Path) -> None:
        self._own(folder)
        self._here.make_folder(folder)

    def prune(self, folder: Path) -> None:
        self._here.prune(folder)

    def clear(self, folder: Path) -> None:
        with suppress(OSError):
            for name in self._versions(folder):
                self.delete(folder / name)
        self._here.clear(folder)

    def sweep(self, path: Path) -> None:
        self._here.sweep(path)

    def lease(self, path: Path) -> AbstractContextManager[bool]:
        return Lease(self, path).held()

    def fetch(self, path: Path, only: bool = False) -> None:
        versions = self._versions(path)
        if only:
            for file in (path / name for name in self._names(path) if name not in versions):
                self._here.delete(file)
        for name, version in versions.items():
            file = path / name if name else path
            if self._known(file) != version and not self._same(file, version):
                self._prepare(file)
                try:
                    self._here.put(file, partial(_get, file))
                    self._note(file, version)
                except FileNotFoundError:  # removed by another machine since it was listed
                    self._here.delete(file)

    def publish(self, path: Path) -> None:
        versions = self._versions(path)
        for name in self._names(path):
            file = path / name if name else path
            if name not in versions or not (self._known(file) or self._same(file, versions[name])):
                with _connected(file) as (store, key):
                    store.put_file(str(file), key)

    def _names(self, path: Path) -> Sequence[str]:
        """The files of a folder that lie here, or "" of a file itself."""
        if path.is_file():
            return [""]
        return [file.relative_to(path).as_posix() for file in self._here.list(path, "**/*") if file.is_file()]

    def _versions(self, path: Path) -> dict[str, str]:
        """Name in a folder, or "" of a file itself -> the tag of what the store has."""
        with _connected(path) as (store, key):
            try:
                found = store.find(key, detail=True)
            except FileNotFoundError:
                found = {}
        facts_of = {name.lstrip("/"): facts for name, facts in found.items()}
        inside = {name[len(key) :].lstrip("/"): _version(facts) for name, facts in facts_of.items() if _names_file(name, key)}
        return {name: version for name, version in inside.items() if ".." not in name.split("/")}

    def _known(self, path: Path) -> str:
        try:
            return _tag(path).read_text(encoding="utf-8") if path.is_file() else ""
        except OSError:
            return ""

    def _same(self, path: Path, version: str) -> bool:
        """Whether a file that was put from here is what the store has."""
        if not path.is_file() or self._known(path):
            return False
        if same := _tag_of(path, "-" in version) == version:
            self._note(path, version)
        return same

    def _note(self, path: Path, version: str) -> None:
        self._here.put(_tag(path), lambda temporary: temporary.write_text(version, encoding="utf-8"))

    def _prepare(self, path: Path) -> None:
        """Before a file is replaced its tag goes."""
        self._own(path)
        self._here.delete(_tag(path))

    def _own(self, path: Path) -> None:
        """The folder of the copies is there, and of this user alone."""
        root = _root_of(path)
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and root.stat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "belongs to another user; set RAYTUNE_REC_CACHE to a folder of yours", str(root))


def _root_of(path: Path) -> Path:
    place = address(path)
    assert place is not None, path
    return path.parents[len(Path(place[1]).parts)]


def _tag(path: Path) -> Path:
    return _root_of(path) / "tags" / path.relative_to(_root_of(path))


def _tag_of(path: Path, parts: bool) -> str:
    """The tag that S3 gives to what is here: its MD5, or, put in parts, the MD5 of their MD5s and how many they are."""
    with path.open("rb") as file:
        if not parts:
            return hashlib.file_digest(file, _md5).hexdigest()
        digests = [_md5(part).digest() for part in iter(partial(file.read, _PART), b"")]
    return f"{_md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def _md5(content: bytes = b"") -> Any:
    return hashlib.md5(content, usedforsecurity=False)


def _get(path: Path, to: Path) -> None:
    with _connected(path) as (store, key):
        store.get_file(key, str(to))


def _names_file(name: str, key: str) -> bool:
    """Whether it is, or lies within, a key; consoles keep an empty object `folder/` for each folder that is made there."""
    return name == key or (name.startswith(f"{key}/") and not name.endswith("/"))


def _version(facts: dict[str, Any]) -> str:
    tag = next((facts[name] for name in ("ETag", "etag", "md5Hash", "mtime", "created") if facts.get(name)), facts.get("size"))
    return str(tag).strip('"')


def _pattern(pattern: str) -> re.Pattern[str]:
    """As `Path.glob` takes it: `**` stands for any folders, `*` for a part of a name."""
    parts = ["(?:[^/]+/)*" if part == "**" else f"{_part(part)}/" for part in pattern.split("/")]
    return re.compile("".join(parts).removesuffix("/"), re.DOTALL)


def _part(part: str) -> str:
    inside = re.fullmatch(r"\(\?s:(.*)\)\\Z", fnmatch.translate(part))
    return (inside[1] if inside else re.escape(part)).replace(".*", "[^/]*")


@contextmanager
def _connected(path: Path) -> Iterator[tuple[Any, str]]:
    """(The store of a path, its key.) Whatever goes wrong is an OSError with the URI."""
    place = address(path)
    assert place is not None, path
    scheme, key = place
    where = f"{scheme}://{key}"
    try:
        yield store(scheme), key
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such object, or no such bucket", where) from error
    except FileExistsError:
        raise
    except PermissionError as error:
        raise PermissionError(errno.EACCES, f"not allowed ({error})", where) from error
    except ImportError as error:
        package = _PACKAGES.get(scheme, scheme)
        remedy = f"{package} is not installed on this machine: pip install {package}"
        raise OSError(errno.ENOSYS, remedy, where) from error
    except OSError as error:
        if error.filename == where:
            raise
        raise OSError(error.errno or errno.EIO, str(error.strerror or error), where) from error
    except Exception as error:  # each library has its own
        raise OSError(
            errno.EIO, f"the object store does not answer as it should ({type(error).__name__}: {error})", where
        ) from error


@lru_cache(maxsize=len(_PACKAGES) + 1)
def store(scheme: str) -> Any:
    """The store of a scheme, as this machine's environment describes it. It keeps no listing: others write there too."""
    import fsspec

    listed = {"use_listings_cache": False} if scheme in _PACKAGES else {}
    return fsspec.filesystem(scheme, **listed, **_OPTIONS.get(scheme, {}))
