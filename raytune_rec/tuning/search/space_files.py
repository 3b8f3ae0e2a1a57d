"""Search spaces by name: the job's own, those of its component folders, and those that are shipped."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_rec.config import Job
from raytune_rec.errors import JobError
from raytune_rec.job import shipped, toml
from raytune_rec.schema.work import Scalar
from raytune_rec.storage.files import STORAGE, at_hand
from raytune_rec.tuning.search.space import Dimension, Point, Space, finite, ordered

_SETTINGS = {"type", "low", "high", "log", "step", "choices", "when", "optional"}


def folders(job: Job | None = None) -> list[Path]:
    """Where search-space files lie, the user's own first."""
    folders_of_job = [Path(folder) / "search_spaces" for folder in (job.components if job else ())]
    return [*folders_of_job, shipped.folder("search_spaces")]


def available(job: Job | None = None) -> list[str]:
    """Names of all search spaces."""
    in_files = {path.stem for folder in folders(job) for path in STORAGE.list(folder, "*.toml")}
    return sorted(in_files | set(job.spaces if job else ()))


def compose(names: Sequence[str], job: Job | None = None) -> Space:
    """One space of several: a later one replaces the dimensions of the same key; the i-th first points of all are one point.

    Raises:
        JobError: everything that is wrong in them.
    """
    problems: list[str] = []
    dimensions: dict[str, Dimension] = {}
    described: set[str] = set()
    points: list[list[tuple[str, Mapping[str, Any]]]] = []
    for name in names:
        tables = _read(name, job, problems)
        described |= {key for key, _ in flatten(tables["space"])} if isinstance(tables.get("space"), dict) else set()
        dimensions |= {d.key: d for d in _dimensions(name, tables.get("space", {}), problems)}
        points.append([(name, point) for point in _list(name, tables.get("first", []), problems)])
        unknown = sorted(set(tables) - {"space", "first"})
        problems += [f"search space {name}: unknown part {key!r}; it has [space] and [[first]]." for key in unknown]
    order = ordered(dimensions.values())
    circles = sorted(set(dimensions) - {d.key for d in order})
    problems += [f"search space: the condition of {key} leads back to itself; condition it on something else." for key in circles]
    checked = [[_point(name, point, dimensions, described, problems) for name, point in listed] for listed in points]
    if problems:
        raise JobError(problems)
    return Space(order, tuple(_joined([listed for listed in checked if listed])))


def _joined(lists: Sequence[Sequence[Point]]) -> Iterator[Point]:
    """The i-th points of all spaces as one point; a shorter list goes on with its last."""
    for i in range(max(map(len, lists), default=0)):
        parts = [listed[min(i, len(listed) - 1)] for listed in lists]
        yield Point({k: v for part in parts for k, v in part.values.items()}, any(part.outside for part in parts))


def _read(name: str, job: Job | None, problems: list[str]) -> Mapping[str, Any]:
    if job is not None and name in job.spaces:
        return job.spaces[name]
    path = next((p for folder in folders(job) for p in STORAGE.list(folder, "*.toml") if p.stem == name), None)
    if path is None:
        problems.append(f"search space: there is no {name!r}; there are {', '.join(available(job)) or 'none'}.")
        return {}
    try:
        tables = toml.read(at_hand(path))
    except JobError as error:
        problems += error.problems
        return {}
    wrong = toml.problems(tables)
    problems += [f"{path}: {key}: {text}" for key, text in wrong.items()]
    return {} if wrong else tables


def _list(name: str, value: Any, problems: list[str]) -> list[Mapping[str, Any]]:
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return value
    problems.append(f"search space {name}: first: write each point as a [[first]] table.")
    return []


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, leaf). A table with a text `type` is a dimension and so a leaf; `a.b = 1` and `"a.b" = 1` mean the same."""
    for key, value in tree.items():
        if isinstance(value, dict) and not isinstance(value.get("type"), str):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _dimensions(name: str, table: Any, problems: list[str]) -> list[Dimension]:
    if not isinstance(table, dict):
        problems.append(f"search space {name}: write the options as a [space] table.")
        return []
    read = []
    for key, value in flatten(table):
        where = f"search space {name}: {key}"
        if not isinstance(value, dict):
            problems.append(f"{where}: describe it as {{ type = 'float', low = ..., high = ... }} (given: {value!r}).")
        elif mistakes := list(_mistakes(value)):
            problems += [f"{where}: {mistake}" for mistake in mistakes]
        else:
            read.append(d := _dimension(key, value))
            if d.kind != "choice" and not d.contains(d.high):
                below, above = d.nearest(d.high)
                rule = f"steps of {d.step} from low = {d.low} do not reach high = {d.high}; the nearest are {below} and {above}"
                problems.append(f"{where}: {rule}.")
    return read


def _mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the description of one dimension."""
    kind = table.get("type")
    if kind not in ("float", "int", "choice"):
        yield f"type must be 'float', 'int' or 'choice' (given: {kind!r})."
        return
    allowed = _SETTINGS - ({"low", "high", "log", "step"} if kind == "choice" else {"choices"})
    for key in sorted(set(table) - allowed):
        yield f"a {kind} has no setting {key!r}; it has {', '.join(sorted(allowed))}."
    for key in ("log", "optional"):
        if not isinstance(table.get(key, False), bool):
            yield f"{key} must be true or false (given: {table[key]!r})."
    if not isinstance(table.get("when", {}), dict):
        yield f"when must be a table of option = value (given: {table['when']!r})."
    yield from _choice_mistakes(table) if kind == "choice" else _range_mistakes(table, kind)


def _choice_mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    choices = table.get("choices")
    if not isinstance(choices, list) or not choices:
        yield f"choices must list at least one value (given: {choices!r})."
    elif any(not isinstance(c, bool | str) and not finite(c) for c in choices) or len(set(choices)) < len(choices):
        yield f"choices must be plain values, each once; 1, 1.0 and true are equal (given: {choices!r})."


def _range_mistakes(table: Mapping[str, Any], kind: str) -> Iterator[str]:
    low, high, step, log = table.get("low"), table.get("high"), table.get("step"), table.get("log", False)
    if not _number(low, kind) or not _number(high, kind):
        whole = "whole " if kind == "int" else ""
        yield f"low and high must be {whole}numbers (given: low = {low!r}, high = {high!r})."
        return
    if low > high:  # type: ignore[operator]
        yield f"low must not be above high (given: low = {low}, high = {high})."
    if log and low <= 0:  # type: ignore[operator]
        yield f"a logarithmic range starts above 0 (given: low = {low})."
    if step is not None and (not _number(step, kind) or step <= 0):
        yield f"step must be a {'whole ' if kind == 'int' else ''}number above 0 (given: {step!r})."
    if step is not None and log:
        yield "a logarithmic range has no step; leave out one of the two."


def _number(value: Any, kind: str) -> bool:
    return finite(value) and (kind == "float" or value == int(value))


def _dimension(key: str, table: Mapping[str, Any]) -> Dimension:
    kind = table["type"]
    number = int if kind == "int" else float
    when = tuple((k, tuple(v) if isinstance(v, list) else (v,)) for k, v in flatten(table.get("when", {})))
    step = table.get("step")
    return Dimension(
        key=key,
        kind=kind,
        low=number(table.get("low", 0)),
        high=number(table.get("high", 0)),
        log=table.get("log", False),
        step=None if step is None else number(step),
        choices=tuple(table.get("choices", ())),
        when=when,
        optional=table.get("optional", False),
    )


def _point(
    name: str, table: Mapping[str, Any], dimensions: Mapping[str, Dimension], described: Collection[str], problems: list[str]
) -> Point:
    """A checked first point. Values outside their range need `outside = true`, so that a slip of the pen is found."""
    allowed = table.get("outside", False) is True
    values: dict[str, Scalar] = {}
    outside = False
    for key, value in flatten({k: v for k, v in table.items() if k != "outside"}):
        where = f"search space {name}: first point: {key}"
        if key in described and key not in dimensions:
            continue  # what is wrong with its range is told already
        if (d := dimensions.get(key)) is None:
            problems.append(f"{where}: it is not searched; searched are {', '.join(sorted(dimensions)) or 'none'}.")
        elif not d.fits(value):
            number = f"a positive {d.kind}" if d.log else f"a {d.kind}"
            expected = f"one of {list(d.choices)}" if d.kind == "choice" else number
            problems.append(f"{where}: must be {expected} (given: {value!r}).")
        else:
            values[key] = d.cast(value)
            if not d.contains(value):
                outside = True
                if not allowed:
                    rule = _beside(d, value)
                    problems.append(f"{where}: {rule}; mend it, or set outside = true to try it all the same.")
    return Point(values, outside)


def _beside(d: Dimension, value: Any) -> str:
    """Why a value that fits is none of a range."""
    if not d.low <= value <= d.high:
        return f"{value!r} lies outside {d.low!r}..{d.high!r}"
    below, above = d.nearest(value)
    return f"{value!r} lies between the steps {below!r} and {above!r}"
