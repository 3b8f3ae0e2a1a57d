"""What is searched: dimensions over the flat option keys of a job, and the points to try first."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from raytune_rec.errors import JobError
from raytune_rec.schema import Scalar

GROUPS = frozenset({"embedding", "linear", "interaction", "output", "encoder", "prompt", "profile"})
"""Parameter groups of the components that are shipped."""

RATES = ("training.lr.", "training.weight_decay.")
"""Options that exist once per parameter group; `default` serves the groups that are not named."""


@dataclass(frozen=True)
class Dimension:
    """One searched option.

    Args:
        key: flat option key.
        kind: `float`, `int` or `choice`.
        low, high: range, both ends included.
        log: searched on a logarithmic scale.
        step: distance of two values; None: any value (float), 1 (int).
        choices: the values of a `choice`.
        when: (key, allowed values): the option is searched only where all of these hold.
        optional: left out of a row whose components have no such option.
    """

    key: str
    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Scalar, ...] = ()
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    optional: bool = False

    def distribution(self) -> BaseDistribution:
        if self.kind == "choice":
            return CategoricalDistribution(self.choices)
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def contains(self, value: Scalar) -> bool:
        if self.kind == "choice":
            return value in self.choices
        return self.fits(value) and self.low <= float(value) <= self.high

    def fits(self, value: Scalar) -> bool:
        """Whether the value has the right type, in or out of the range."""
        if self.kind == "choice":
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return (self.kind == "float" or value == int(value)) and (not self.log or value > 0)

    def cast(self, value: Scalar) -> Scalar:
        """A value that fits, in the type that the search gives."""
        if self.kind == "choice":
            return value
        return int(value) if self.kind == "int" else float(value)

    def grid(self, points: int) -> tuple[Scalar, ...]:
        """All values where they are few, else `points` of them, evenly spaced on the dimension's scale."""
        if self.kind == "choice":
            return self.choices
        step = self.step or (1 if self.kind == "int" else None)
        if step and (count := math.floor((self.high - self.low) / step + 1e-9) + 1) <= points:
            return tuple(self.cast(self.low + i * step) for i in range(count))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        inner = [low + i / (points - 1) * (high - low) for i in range(1, points - 1)]
        values = [self.low, *(math.exp(v) if self.log else v for v in inner), self.high]
        if step:
            values = [self.low + round((v - self.low) / step) * step for v in values]
            values = [v if v <= self.high else v - step for v in values]
        return tuple(dict.fromkeys(self.cast(v) for v in values))


@dataclass(frozen=True)
class Point:
    """A configuration to try first; what it does not name is sampled.

    Args:
        values: flat key -> value.
        outside: some value lies outside its range. It is tried all the same, and the sampler does not learn from it.
    """

    values: Mapping[str, Scalar]
    outside: bool = False


@dataclass(frozen=True)
class Space:
    """Dimensions in the order in which they are asked (what a `when` names comes first), and the points to try first."""

    dimensions: tuple[Dimension, ...] = ()
    first: tuple[Point, ...] = ()

    @property
    def conditional(self) -> bool:
        return any(d.when for d in self.dimensions)

    def keys(self) -> set[str]:
        return {d.key for d in self.dimensions}

    def distributions(self) -> dict[str, BaseDistribution]:
        return {d.key: d.distribution() for d in self.dimensions}

    def ask(self, trial: optuna.Trial) -> dict[str, Scalar]:
        """One configuration: flat key -> value, without the options whose condition does not hold."""
        chosen: dict[str, Scalar] = {}
        for d in self.dimensions:
            if not holds(d, chosen):
                continue
            if d.kind == "choice":
                chosen[d.key] = trial.suggest_categorical(d.key, d.choices)  # type: ignore[assignment]  # never None: see `choices`
            elif d.kind == "int":
                chosen[d.key] = trial.suggest_int(d.key, int(d.low), int(d.high), log=d.log, step=int(d.step or 1))
            else:
                chosen[d.key] = trial.suggest_float(d.key, d.low, d.high, log=d.log, step=d.step)
        return chosen

    def grid(self, points: int = 5) -> Iterator[dict[str, Scalar]]:
        """Every combination of `Dimension.grid`; combinations that differ only where a condition does not hold come once."""
        seen = set()
        for values in product(*(d.grid(points) for d in self.dimensions)):
            chosen: dict[str, Scalar] = {}
            for d, value in zip(self.dimensions, values, strict=True):
                if holds(d, chosen):
                    chosen[d.key] = value
            if (found := tuple(chosen.items())) not in seen:
                seen.add(found)
                yield chosen


def holds(dimension: Dimension, chosen: Mapping[str, Scalar]) -> bool:
    return all(key in chosen and chosen[key] in allowed for key, allowed in dimension.when)


def ordered(dimensions: Collection[Dimension]) -> tuple[Dimension, ...]:
    """Conditions first, else as given. A circle is left out: the caller reports what is missing."""
    left, done = list(dimensions), list[Dimension]()
    searched = {d.key for d in dimensions}
    while left:
        ready = {d.key for d in done}
        free = next((d for d in left if all(key in ready or key not in searched for key, _ in d.when)), None)
        if free is None:
            break
        left.remove(free)
        done.append(free)
    return tuple(done)


def restrict(
    space: Space,
    *,
    groups: Collection[str],
    prompt: bool,
    fixed: Mapping[str, Scalar] | None = None,
    base: Mapping[str, Scalar] | None = None,
    known: Callable[[str], bool] = lambda key: True,
    declared: Collection[str] = GROUPS,
    where: str = "space",
) -> Space:
    """What of a space one row searches.

    Args:
        space: as composed.
        groups: parameter groups that the row trains, `all` resolved; `prompt` among them if it trains its prompt.
        prompt: the row trains its prompt; otherwise `prompt.*` is left out.
        fixed: options that the row sets itself: they are not searched.
        base: the row's other effective options, which only conditions look at.
        known: whether the row's components have the option of that key.
        declared: every parameter group that exists; a rate for another one is a typing error.
        where: the row, for messages.

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
            if any(key not in searched and key in options and options[key] not in allowed for key, allowed in d.when):
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
    found: list[Point] = []
    for point in points:
        values = {key: value for key, value in point.values.items() if key in by_key}
        if values and all(values != p.values for p in found):
            found.append(Point(values, any(not by_key[key].contains(value) for key, value in values.items())))
    return tuple(found)
