"""Samplers by name, and what they see of a study.

A sampler is made anew for each trial and seeded by it, so a proposal depends on the told results alone: not on the order in which
units finish, nor on where a run was interrupted.
"""

from __future__ import annotations

import warnings
from collections.abc import Container
from itertools import islice

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from raytune_rec.schema import Scalar
from raytune_rec.tensors import mix
from raytune_rec.tuning.space import Space

WINDOW = 1000
"""Most finished trials that a sampler sees: its cost grows with them. Half are the best, half the latest."""

OUTSIDE = "outside"
"""User attribute of a trial with values outside their ranges: no model of the space can learn from it."""


def sampler(name: str, seed: int, study: str, number: int, conditional: bool) -> BaseSampler:
    """The sampler of one trial.

    Args:
        name: `tpe`, `random`, `gp` or `qmc`. (`grid` draws nothing: see `grid_order`.)
        seed: of the job.
        study: its name.
        number: of the trial.
        conditional: some options are searched only beside others.
    """
    own = mix(seed, study, number) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if name == "tpe":
            return TPESampler(seed=own, group=conditional)
        if name == "gp":
            return GPSampler(seed=own, warn_independent_sampling=False)
        if name == "qmc":  # one sequence for the whole study; the journal knows how far it is
            return QMCSampler(seed=mix(seed, study) % 2**32, scramble=True, warn_independent_sampling=False)
        assert name in ("random", "grid"), name
        return RandomSampler(seed=own)


def grid_order(space: Space, seed: int, study: str, count: int) -> list[dict[str, Scalar]]:
    """At most `count` points of the space's grid, in an order that a seed decides: a few are spread over the whole grid."""
    points = list(islice(space.grid(), 100_000))
    places = sorted(range(len(points)), key=lambda i: mix(seed, study, "grid", i))
    return [points[i] for i in places[:count]]


class Window(JournalStorage):
    """A journal storage that, while `active`, shows only what a sampler should learn from: see WINDOW and OUTSIDE."""

    active: bool = False

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = super().get_all_trials(study_id, deepcopy=deepcopy and not self.active, states=states)
        if not self.active:
            return found
        found = [t for t in found if not t.user_attrs.get(OUTSIDE) or t.state == TrialState.WAITING]
        finished = [t for t in found if t.state.is_finished()]
        if len(finished) <= WINDOW:
            return found
        shown = self._shown(study_id, finished)
        return [t for t in found if not t.state.is_finished() or t.number in shown]

    def _shown(self, study_id: int, finished: list[FrozenTrial]) -> set[int]:
        sign = -1 if self.get_study_directions(study_id)[0] == StudyDirection.MAXIMIZE else 1
        told = [t for t in finished if t.value is not None]
        best = sorted(told, key=lambda t: (sign * float(t.value or 0.0), t.number))[: WINDOW // 2]
        return {t.number for t in best} | {t.number for t in finished[-(WINDOW // 2) :]}
