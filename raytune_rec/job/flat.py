"""Flat options: `prompt.temperature` as one key, in tables of a job and in `--set part.option=value`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raytune_rec.components import shown
from raytune_rec.errors import JobError
from raytune_rec.job import toml

_FLAT = (("methods", "", "options"), ("pretrainings", "", "options"), ("pretrain", "training"))
"""Where flat options stand; an empty part is any name."""


def flat(values: Any) -> Any:
    """Tables in flat options are keys with dots: `prompt.tokens = 3` is `"prompt.tokens" = 3`."""
    if not isinstance(values, Mapping):
        return values
    flat_values: dict[str, Any] = {}
    for key, value in _leaves(values):
        if not isinstance(value, bool | int | float | str):
            raise ValueError(f"{key} = {value!r}: an option here is one value: true or false, a number, or text")
        if key in flat_values:
            raise ValueError(f"{key} is given twice, as {flat_values[key]!r} and as {value!r}; write it once")
        flat_values[key] = value
    return flat_values


def _leaves(values: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def assign(values: dict[str, Any], key: str | Sequence[str], value: Any) -> None:
    """Set a key, dotted or as its parts, in a nested dictionary, in place."""
    *parents, last = key.split(".") if isinstance(key, str) else key
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            path = key if isinstance(key, str) else ".".join(key)
            raise JobError(f"{path}: {parent!r} is a value, not a section; set {parent!r} itself.")
    values[last] = value


def key_of(setting: str, key: str) -> list[str]:
    """The parts of a TOML key: `methods.plate.options."prompt.temperature"` has four."""
    try:
        tree: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError as error:
        raise JobError(f"--set {shown(setting)}: {shown(key)} is no TOML key ({error}); write part.option=value.") from None
    parts = []
    while isinstance(tree, dict):
        ((part, tree),) = tree.items()
        parts.append(part)
    if len(parts) > toml.DEPTH:
        raise JobError(f"--set {shown(setting)}: no option lies so deep; write part.option=value.")
    return parts


def place_of(values: dict[str, Any], path: list[str]) -> list[str]:
    """The path with the parts below a table of flat options as one key; what the table holds is made flat too."""
    for place in _FLAT:
        if len(path) > (depth := len(place)) and all(part in ("", named) for part, named in zip(place, path, strict=False)):
            table: Any = values
            for part in path[:depth]:
                table = table.get(part, {}) if isinstance(table, dict) else {}
            try:
                table = flat(table)
            except ValueError as error:
                raise JobError(f"{'.'.join(path[:depth])}: {error}.") from None
            assign(values, path[:depth], table)
            return [*path[:depth], ".".join(path[depth:])]
    return path


def value_of(setting: str, text: str) -> Any:
    """TOML, or the text itself where it is none."""
    try:
        return toml.parse(f"x = {text}", f"--set {shown(setting)}")["x"]
    except toml.NotToml:
        return text
