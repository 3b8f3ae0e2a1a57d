"""Samplers by name, and what they see of a study.

A sampler is made anew for each trial and seeded by it, so a proposal depends on the told results alone: not on the order in which
units finish, nor on where a run was interrupted.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from raytune_rec.schema.work import Scalar
from raytune_rec.tensors import mix
from raytune_rec.tuning.search.journal import Journal
from raytune_rec.tuning.search.pace import Pace
from raytune_rec.tuning.search.space import Space

WINDOW = 1000
"""Most finished trials that a sampler sees: its cost grows with them. Half are the best, half the latest."""

SPENT = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

OUTSIDE = "outside"
"""User attribute of a trial with values outside their ranges: no model of the space can learn from it."""


class KnownSpaceTPE(TPESampler):
    """TPE that is told the space. Otherwise it looks at every question for what all trials have in common: a third of its time.

    Args:
        space: option -> distribution; searched in every trial.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=1)
        self._known = {name: d for name, d in sorted(space.items()) if not d.single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._known) if len(study.directions) == 1 else {}  # several: each option by itself, as TPE does


def sampler(name: str, seed: int, study: str, number: int, space: Space, pace: Pace, told: int) -> BaseSampler:
    """The sampler of one trial.

    Args:
        name: `tpe`, `random`, `gp`, `qmc` or `nsga2`. (`grid` draws nothing: see `grid_order`.)
        seed: of the job.
        study: its name.
        number: of the trial.
        space: what is searched.
        pace: its round is a generation of `nsga2`.
        told: trials that have ended, those too that teach nothing; below the start-up `tpe` and `gp` draw at random.
    """
    drawn = mix(seed, study, number) % 2**32
    if name in ("tpe", "gp") and told < pace.startup:
        name = "random"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if name == "tpe":
            if space.conditional:
                return TPESampler(seed=drawn, group=True, n_startup_trials=1)
            return KnownSpaceTPE(space.distributions(), drawn)
        if name == "gp":
            return GPSampler(seed=drawn, n_startup_trials=1, warn_independent_sampling=False)
        if name == "qmc":  # one sequence for the whole study; the journal knows how far it is
            return QMCSampler(seed=mix(seed, study) % 2**32, scramble=True, warn_independent_sampling=False)
        if name == "nsga2":
            return NSGAIISampler(seed=drawn, population_size=max(2, pace.round))
        assert name in ("random", "grid"), name
        return RandomSampler(seed=drawn)


def grid_order(space: Space, seed: int, study: str, count: int) -> list[dict[str, Scalar]]:
    """At most `count` points of the space's grid, in an order that a seed decides: a few are spread over the whole grid."""
    points = list(islice(space.grid(), 100_000))
    places = sorted(range(len(points)), key=lambda i: mix(seed, study, "grid", i))
    return [points[i] for i in places[:count]]


class Window(JournalStorage):
    """A journal storage that shows a sampler only what it should learn from: see WINDOW and OUTSIDE."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self._active = self._all = False
        self._learned: dict[int, list[FrozenTrial]] = {}

    @contextmanager
    def window(self, sampler: str) -> Iterator[None]:
        """While a sampler draws. A genetic one needs every trial: its parents may be anywhere."""
        if self._all != (every := sampler == "nsga2"):
            self._learned.clear()
        self._active, self._all = True, every
        try:
            yield
        finally:
            self._active = False

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if not self._active:
            return super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        running = super().get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        trials = sorted([*self._finished(study_id), *(t for t in running if _teaches(t))], key=lambda t: t.number)
        return trials if states is None else [t for t in trials if t.state in states]

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if state.is_finished():
            self._learned.clear()
        return super().set_trial_state_values(trial_id, state, values)

    def _finished(self, study_id: int) -> list[FrozenTrial]:
        """The finished trials that are shown: looked up anew only after one was told."""
        if study_id not in self._learned:
            finished = [t for t in super().get_all_trials(study_id, deepcopy=False, states=SPENT) if _teaches(t)]
            narrow = len(finished) > WINDOW and not self._all
            self._learned[study_id] = self._best_and_latest(study_id, finished) if narrow else finished
        return self._learned[study_id]

    def _best_and_latest(self, study_id: int, finished: list[FrozenTrial]) -> list[FrozenTrial]:
        """Best by the first objective: half of the window each."""
        sign = -1 if self.get_study_directions(study_id)[0] == StudyDirection.MAXIMIZE else 1
        told = [t for t in finished if t.values is not None]
        best = sorted(told, key=lambda t: (sign * t.values[0], t.number))[: WINDOW // 2]
        shown = {t.number for t in best} | {t.number for t in finished[-(WINDOW // 2) :]}
        return [t for t in finished if t.number in shown]


def _teaches(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.WAITING or not trial.user_attrs.get(OUTSIDE)
