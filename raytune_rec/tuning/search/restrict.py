"""What of a search space one method searches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from raytune_rec.errors import JobError
from raytune_rec.schema.work import Scalar
from raytune_rec.tuning.search.space import Dimension, Point, Space, among, ordered

RATES = ("training.lr.", "training.weight_decay.")
"""Options that exist once per parameter group; `default` serves the groups that are not named."""


def restrict(
    space: Space,
    *,
    groups: Collection[str],
    prompt: bool,
    fixed: Mapping[str, Scalar] | None = None,
    base: Mapping[str, Scalar] | None = None,
    known: Callable[[str], bool] = lambda key: True,
    declared: Collection[str] = (),
    where: str = "space",
) -> Space:
    """What of a space one method searches.

    Args:
        space: as composed.
        groups: parameter groups that the method trains, `all` resolved; `prompt` among them if it trains its prompt.
        prompt: the method trains its prompt; otherwise `prompt.*` is left out.
        fixed: options that the method sets itself: they are not searched.
        base: the method's other effective options, which only conditions look at.
        known: whether the method's components have the option of that key.
        declared: every parameter group that exists; a rate for another one is a typing error.
        where: the method, for messages.

    Raises:
        JobError: all options that do not exist, and all conditions on something that is neither searched nor set.
    """
    fixed, base = fixed or {}, base or {}
    known_groups = {*declared, *groups, "default"}
    missing = "there is no parameter group {!r}; there are " + ", ".join(sorted(known_groups - {"default"}))
    problems = [
        f"{where}: {key}: {missing.format(group)}."
        for key in fixed
        if (group := _group(key)) is not None and group not in known_groups
    ]
    kept: list[Dimension] = []
    for d in space.dimensions:
        if d.key in fixed or (d.key.startswith("prompt.") and not prompt):
            continue
        if (group := _group(d.key)) is not None:
            if group not in known_groups:
                problems.append(f"{where}: {d.key}: {missing.format(group)}.")
            elif group in groups or group == "default":
                kept.append(d)
        elif known(d.key):
            kept.append(d)
        elif not d.optional:
            problems.append(f"{where}: {d.key}: its components have no such option; leave it out, or mark it optional = true.")
    kept = [d for d in kept if _serves(d.key, kept, groups, fixed)]
    settled = _settle(kept, {**base, **fixed}, where, problems)
    if problems:
        raise JobError(problems)
    return Space(settled, _points(space.first, settled))


def _group(key: str) -> str | None:
    return next((key.removeprefix(rate) for rate in RATES if key.startswith(rate)), None)


def _serves(key: str, kept: list[Dimension], groups: Collection[str], fixed: Mapping[str, Scalar]) -> bool:
    """A default rate is searched only if some trained group has no rate of its own."""
    if _group(key) != "default":
        return True
    named = {d.key for d in kept} | set(fixed)
    return any(key.removesuffix("default") + group not in named for group in groups)


def _settle(kept: list[Dimension], options: Mapping[str, Scalar], where: str, problems: list[str]) -> tuple[Dimension, ...]:
    """Decide the conditions on options that are set, until nothing changes."""
    while True:
        searched = {d.key for d in kept}
        now: list[Dimension] = []
        for d in kept:
            if any(key not in searched and key in options and not among(options[key], allowed) for key, allowed in d.when):
                continue
            now.append(replace(d, when=tuple((key, allowed) for key, allowed in d.when if key in searched or key not in options)))
        if [d.key for d in now] == [d.key for d in kept]:
            break
        kept = now
    for d in now:
        missing = [key for key, _ in d.when if key not in searched]
        problems += [
            f"{where}: {d.key}: its condition names {key!r}, which is neither searched nor set; set it." for key in missing
        ]
    return ordered(now)


def _points(points: tuple[Point, ...], dimensions: tuple[Dimension, ...]) -> tuple[Point, ...]:
    """The parts of the points that are still searched, each once."""
    by_key = {d.key: d for d in dimensions}
    distinct: list[Point] = []
    for point in points:
        values = {key: value for key, value in point.values.items() if key in by_key}
        if values and all(values != p.values for p in distinct):
            distinct.append(Point(values, any(not by_key[key].contains(value) for key, value in values.items())))
    return tuple(distinct)
