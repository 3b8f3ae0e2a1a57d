"""TOML from users, within bounds: a file of nonsense ends in one line, not in a traceback or in gigabytes."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raytune_rec.errors import JobError

BYTES = 2**20
DEPTH = 20
TEXT = 4000
INTEGER = 2**63
"""Bound of an integer: TOML's own."""

_INTEGERS = "integers lie between -2^63 and 2^63"
_DEEP = f"nests more than {DEPTH} deep; write it flatter."


class NotToml(JobError):
    """A text is no TOML at all."""


def read(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        JobError: it cannot be read, is too large, or is no TOML.
    """
    try:
        if path.exists() and not path.is_file():
            raise JobError(f"{path}: is a folder, a pipe or a device, and no file; name a file.")
        with path.open("rb") as file:
            data = file.read(BYTES + 1)
        if len(data) > BYTES:
            raise JobError(f"{path}: is larger than {BYTES // 2**20} MiB; a file of options is not: name another one.")
        return parse(data.decode("utf-8-sig"), str(path))
    except OSError as error:
        raise JobError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise JobError(f"{path}: not TOML: {error}; save it as UTF-8.") from None


def parse(text: str, where: str) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        JobError: it is no TOML, or nests too deeply for anybody who reads it next.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotToml(f"{where}: not TOML: {error}.") from None
    except RecursionError:
        raise JobError(f"{where}: {_DEEP}") from None
    except ValueError:  # an integer of more digits than Python converts
        raise JobError(f"{where}: holds a number of thousands of digits; {_INTEGERS}.") from None
    if any(len(key) > DEPTH for key, _ in _leaves(values)):
        raise JobError(f"{where}: {_DEEP}")
    return values


def problems(values: Any) -> dict[str, str]:
    """Dotted key -> what is wrong with its value, whatever it is for: a number without bounds, an endless text."""
    wrong = ((".".join(key), _wrong(value)) for key, value in _leaves(values))
    return {key: text for key, text in wrong if text}


def _leaves(values: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(key, value) of all that is no table or list, without recursion; what lies too deep stands for what it holds."""
    left: list[tuple[tuple[str, ...], Any]] = [((), values)]
    while left:
        key, value = left.pop()
        if isinstance(value, Mapping | list) and len(key) <= DEPTH:
            named = value.items() if isinstance(value, Mapping) else enumerate(value)
            left += [((*key, str(name)), part) for name, part in reversed(list(named))]
        else:
            yield key, value


def _wrong(value: Any) -> str:
    if isinstance(value, int) and not -INTEGER <= value < INTEGER:
        return f"{_INTEGERS} (given: one of about {int(value.bit_length() * math.log10(2))} digits)."
    if isinstance(value, float) and not math.isfinite(value):
        return f"numbers are finite (given: {value})."
    if isinstance(value, str) and len(value) > TEXT:
        return f"a text has at most {TEXT} characters (given: {len(value)})."
    return ""
