"""Nothing is asked twice.

A configuration that is asked again would be one more seed of it, and the winner the best of several seeds. Where the values of a
space can be counted, each option that is drawn keeps to those from which some configuration is left that nobody has asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from raytune_rec.schema.work import Scalar
from raytune_rec.tuning.search.space import Dimension, Space, same


class Left:
    """What one trial may still be.

    Args:
        space: that is searched.
        asked: the configurations of the study so far.
        fixed: options of this trial that are set already.
    """

    def __init__(self, space: Space, asked: Sequence[Mapping[str, Scalar]], fixed: Mapping[str, Scalar]) -> None:
        self.space, self.fixed = space, fixed
        self._endless = any(d.size is None and not d.when and d.key not in fixed for d in space.dimensions)
        self._asked = [] if self._endless else [point for point in asked if self._may_be(point)]

    def after(self, chosen: Mapping[str, Scalar], start: int = 0) -> bool:
        """Whether some configuration is left that goes on from the options chosen before the dimension at `start`."""
        if self._endless:
            return True
        gone = sum(all(key in point and same(point[key], value) for key, value in chosen.items()) for point in self._asked)
        return self.space.left(chosen, start, gone + 1, self.fixed) > gone

    def _may_be(self, point: Mapping[str, Scalar]) -> bool:
        """Whether the trial could be this point: it has what is set, and is otherwise inside the space."""
        searched = [d for d in self.space.dimensions if d.key in point]
        return all(same(point[d.key], self.fixed[d.key]) if d.key in self.fixed else d.contains(point[d.key]) for d in searched)


class Unasked(BaseSampler):
    """Another sampler's proposals; one that was asked before gives way to the nearest that was not.

    Args:
        inner: proposes.
        left: what the trial may be; it may be something.
    """

    def __init__(self, inner: BaseSampler, left: Left) -> None:
        self._inner, self._left = inner, left
        self._proposed: Mapping[str, Any] = {}
        self._places = {d.key: i for i, d in enumerate(left.space.dimensions)}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Nothing: each option is handed out by itself, once those before it are known."""
        self._proposed = self._inner.sample_relative(study, trial, search_space)
        return {}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        value = self._proposed.get(param_name)
        if value is None:
            value = self._inner.sample_independent(study, trial, param_name, param_distribution)
        place = self._places[param_name]
        d = self._left.space.dimensions[place]
        if d.size is None:
            return value
        return next(v for v in _outward(d, d.place(value)) if self._left.after({**trial.params, param_name: v}, place + 1))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)


def _outward(d: Dimension, place: int) -> Iterator[Scalar]:
    """All values of a dimension that can be counted, from a place to both sides."""
    assert d.size is not None
    yield d.at(place)
    for distance in range(1, d.size):
        yield from (d.at(i) for i in (place + distance, place - distance) if 0 <= i < d.size)
