"""What is searched: dimensions over the flat option keys of a job, and the points to try first."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from raytune_rec.schema.work import Scalar

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

Sizes = tuple[float, ...]
Structure = Callable[[Mapping[str, Scalar]], tuple[Hashable, Sizes]]
"""Searched options -> a key that lanes of one pack share, and the sizes that a pack pads to those of its largest lane."""


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
        optional: left out of a method whose components have no such option.
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
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # no worker loads Optuna

        if self.kind == "choice":
            return CategoricalDistribution(self.choices)
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    @property
    def size(self) -> int | None:
        """How many values it has; None where they cannot be counted."""
        if self.kind == "choice":
            return len(self.choices)
        if self.low == self.high:
            return 1
        if self.kind == "float" and self.step is None:
            return None
        return int(self._steps(self.high)) + 1

    def at(self, place: int) -> Scalar:
        """The value at a place from 0, without the dust of adding floats: 0.3, not 0.1 + 0.1 + 0.1."""
        if self.kind == "choice":
            return self.choices[place]
        exact = _exact(self.low) + place * _exact(self.step or 1)
        return int(exact) if self.kind == "int" else float(exact)

    def place(self, value: Scalar) -> int:
        """Of the value that is nearest."""
        if self.kind == "choice":
            return next(i for i, choice in enumerate(self.choices) if same(choice, value))
        most = int(self._steps(self.high))
        return min(max(round(self._steps(float(value))), 0), most)

    def contains(self, value: Scalar) -> bool:
        """Whether it is a value of the range: between its ends, and on a step."""
        if self.kind == "choice":
            return self.fits(value)
        if not self.fits(value) or not self.low <= value <= self.high:  # type: ignore[operator]
            return False
        return self.size is None or bool(self.at(self.place(value)) == value)

    def nearest(self, value: Scalar) -> tuple[Scalar, ...]:
        """The values on both sides of one that lies between two steps."""
        below = math.floor(self._steps(float(value)))
        return self.at(below), self.at(below + 1)

    def fits(self, value: Scalar) -> bool:
        """Whether the value has the right type, in or out of the range."""
        if self.kind == "choice":
            return among(value, self.choices)
        if not finite(value):
            return False
        return (self.kind == "float" or value == int(value)) and (not self.log or value > 0)  # type: ignore[operator]

    def cast(self, value: Scalar) -> Scalar:
        """A value that fits, in the type that the search gives."""
        if self.kind == "choice":
            return value
        return int(value) if self.kind == "int" else float(value)

    def grid(self, points: int) -> tuple[Scalar, ...]:
        """All values where they are few, else `points` of them, evenly spaced on the dimension's scale."""
        if self.kind == "choice":
            return self.choices
        if self.size is not None and self.size <= points:
            return tuple(self.at(i) for i in range(self.size))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        inner = [low + i / (points - 1) * (high - low) for i in range(1, points - 1)]
        values = [self.low, *(math.exp(v) if self.log else v for v in inner), self.high]
        return tuple(dict.fromkeys(self.cast(v) if self.size is None else self.at(self.place(v)) for v in values))

    def _steps(self, value: float) -> Fraction:
        """How many steps a number lies above the range's lower end."""
        return (_exact(value) - _exact(self.low)) / _exact(self.step or 1)


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

    def different(self, most: int) -> int:
        """How many different configurations there are, first points outside the ranges too, counted up to `most`."""
        return min(most, self.left({}, 0, most, {}) + sum(point.outside for point in self.first))

    def left(self, chosen: Mapping[str, Scalar], start: int, most: int, fixed: Mapping[str, Scalar]) -> int:
        """How many configurations go on from the options chosen before the dimension at `start`, counted up to `most`.

        Args:
            fixed: options that have one value, in or out of their range.
        """
        i = self._next(start, chosen)
        if i == len(self.dimensions) or most < 1:
            return min(1, most)
        d, total = self.dimensions[i], 0
        if d.key in fixed:
            return self.left({**chosen, d.key: fixed[d.key]}, i + 1, most, fixed)
        if d.size is None:
            return most
        for place in range(d.size):
            total += self.left({**chosen, d.key: d.at(place)}, i + 1, most - total, fixed)
            if total >= most:
                break
        return total

    def grid(self, points: int = 5) -> Iterator[dict[str, Scalar]]:
        """Every combination of `Dimension.grid`; combinations that differ only where a condition does not hold come once."""
        return self._grid(0, {}, points)

    def _grid(self, start: int, chosen: dict[str, Scalar], points: int) -> Iterator[dict[str, Scalar]]:
        i = self._next(start, chosen)
        if i == len(self.dimensions):
            yield chosen
            return
        for value in self.dimensions[i].grid(points):
            yield from self._grid(i + 1, {**chosen, self.dimensions[i].key: value}, points)

    def _next(self, start: int, chosen: Mapping[str, Scalar]) -> int:
        """The place, from `start` on, of the first dimension that is searched beside these options; behind the last: none."""
        places = range(start, len(self.dimensions))
        return next((i for i in places if holds(self.dimensions[i], chosen)), len(self.dimensions))


def same(a: Scalar, b: Scalar) -> bool:
    """1 and 1.0 are one value; 1 and true are two."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def among(value: Scalar, values: Collection[Scalar]) -> bool:
    return any(same(value, other) for other in values)


def finite(value: object) -> bool:
    """Whether it is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _exact(value: float) -> Fraction:
    """The number as it is written in decimals."""
    return Fraction(value) if isinstance(value, int) else Fraction(repr(float(value)))


def holds(dimension: Dimension, chosen: Mapping[str, Scalar]) -> bool:
    return all(key in chosen and among(chosen[key], allowed) for key, allowed in dimension.when)


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
