"""Short names for values: the same value has the same fingerprint on every machine, in every run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel

from raytune_rec.errors import ArtifactError
from raytune_rec.storage.files import STORAGE


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of the value's canonical JSON.

    Args:
        value: pydantic models, dataclasses, mappings, sequences, sets, paths, enums and plain values, nested at will.

    Raises:
        ArtifactError: a number is not finite (it equals nothing, not even itself), or a value has no canonical form.
    """
    return digest(plain(value))[:16]


def digest(value: Any) -> str:
    """64 hexadecimal digits of plain values."""
    return hashlib.sha256(_dump(value).encode()).hexdigest()


def plain(value: Any, where: str = "value") -> Any:
    """The value as JSON types: what a fingerprint is taken of, and what a marker stores."""
    if isinstance(value, Enum):
        return plain(value.value, where)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ArtifactError(f"{where}: {value} has no fingerprint; give a finite number.")
        return value
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, BaseModel):
        return plain({name: getattr(value, name) for name in type(value).model_fields}, where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, where)
    if isinstance(value, Mapping):
        return {_key(key): plain(part, f"{where}.{_key(key)}") for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, f"{where}[{i}]") for i, part in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(part, where) for part in value), key=_dump)
    raise ArtifactError(f"{where}: a {type(value).__name__} has no fingerprint; give plain values, models or dataclasses.")


def file_sha256(path: Path) -> str:
    """64 hexadecimal digits of a file's bytes.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        STORAGE.fetch(Path(path))
        if Path(path).exists() and not Path(path).is_file():  # a pipe would keep its reader waiting
            raise ArtifactError(f"{path}: is no file; check the path, or run its stage again.")
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); check the path, or run its stage again.") from None


def _key(key: Any) -> str:
    return key if isinstance(key, str) else _dump(plain(key))


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
