"""Sections and keys of a job that have another name now. A job with an old one is refused, with the name that it has now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_RENAMED = (
    (("rows",), ("methods",)),
    (("pretrain", "variants"), ("pretrainings",)),
    (("methods", "", "variant"), ("methods", "", "pretraining")),
)
"""Old path -> path now, in the order in which they are looked for; an empty part is any name, the same in both."""


def renamed_path(path: Sequence[str]) -> list[str]:
    """The path as it is now."""
    for old, new in _RENAMED:
        if len(path) >= len(old) and all(part in ("", given) for part, given in zip(old, path, strict=False)):
            path = [*_filled(new, path), *path[len(old) :]]
    return list(path)


def rename(values: dict[str, Any]) -> list[str]:
    """Give everything in a job the name that it has now, in place.

    Returns:
        A sentence for each old name.
    """
    problems = []
    for old, new in _RENAMED:
        for path in list(_paths(values, old)):
            *above, name = path
            *target, renamed = _filled(new, path)
            held, section = _section(values, above).pop(name), _section(values, target)
            both = isinstance(held, dict) and isinstance(section.get(renamed), dict)
            section[renamed] = {**held, **section[renamed]} if both else section.get(renamed, held)
            problems.append(old_name(path))
    return problems


def old_name(path: Sequence[str]) -> str:
    """A sentence on a path that has another name now."""
    return f"{'.'.join(path)}: it is called {'.'.join(renamed_path(path))} now; rename it."


def _filled(new: Sequence[str], path: Sequence[str]) -> list[str]:
    return [part or path[place] for place, part in enumerate(new)]


def _paths(values: Mapping[str, Any], pattern: Sequence[str]) -> Iterator[list[str]]:
    """Where in a nested dictionary something has a path of this pattern."""
    first, *others = pattern
    for name in [first] if first else values:
        if name in values and not others:
            yield [name]
        elif isinstance(values.get(name), dict):
            yield from ([name, *path] for path in _paths(values[name], others))


def _section(values: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    for part in path:
        values = values.setdefault(part, {})
    return values
