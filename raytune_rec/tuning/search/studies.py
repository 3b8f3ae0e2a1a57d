"""One Optuna study per method and unit. All of them share one journal; whoever calls decides what is one write."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from raytune_rec.config import Job
from raytune_rec.errors import ArtifactError
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.schema.work import Lane, LaneResult, Scalar
from raytune_rec.storage.fingerprint import fingerprint
from raytune_rec.storage.stage import differences
from raytune_rec.tuning.search.journal import Journal, replayed
from raytune_rec.tuning.search.no_repeats import Left, Unasked
from raytune_rec.tuning.search.pace import Pace
from raytune_rec.tuning.search.records import RESULT, SEARCH, attributes, winner_of
from raytune_rec.tuning.search.sampling import OUTSIDE, SPENT, Window, grid_order, sampler
from raytune_rec.tuning.search.space import Point, Space, Structure

optuna.logging.set_verbosity(optuna.logging.ERROR)

PACE = "pace"
"""User attribute of a study."""


@dataclass(frozen=True)
class Search:
    """What is to be searched for one method on one unit.

    Args:
        method, unit: names.
        space: restricted to the method.
        structure: decides which lanes may share a pack.
        rows: training rows of the unit.
        epochs: that a trial may train; 0 where nothing is trained.
        most_lanes: that its backbone stacks; 0: any number.
    """

    method: str
    unit: str
    space: Space
    structure: Structure
    rows: int = 0
    epochs: int = 0
    most_lanes: int = 0

    @property
    def name(self) -> str:
        return f"{self.method}/{self.unit}"


class Studies:
    """The journal of a run, open for writing.

    Args:
        folder: of the journal.
        job: names metric, sampler, round, pack and seed.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self.journal = Journal(folder)
        with replayed(folder):
            self.storage = Window(self.journal)
        self.job = job
        self.names = {study.study_name for study in self.storage.get_all_studies()}

    def directions(self) -> list[StudyDirection]:
        """Of the metric, then of the further objectives."""
        names = [self.job.training.metric, *self.job.tune.objectives]
        higher = [name in METRICS and METRICS[name].higher for name in names]
        return [StudyDirection.MAXIMIZE if h else StudyDirection.MINIMIZE for h in higher]

    def open(self, search: Search) -> Study:
        """The study of a search, made if it is new.

        Raises:
            ArtifactError: the journal holds this study for another search.
        """
        facts = self._facts(search)
        if search.name not in self.names:
            with self.journal.batch():
                study = optuna.create_study(storage=self.storage, study_name=search.name, directions=self.directions())
                study.set_user_attr(SEARCH, facts)
                study.set_user_attr(PACE, asdict(Pace.of(self.job.tune)))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ExperimentalWarning)
                    study.set_metric_names([self.job.training.metric, *self.job.tune.objectives])  # of axes in dashboards
            self.names.add(search.name)
        study = optuna.load_study(storage=self.storage, study_name=search.name)
        old = study.user_attrs.get(SEARCH, {})
        if changed := "; ".join(f"{key} was {a!r} and is {b!r} now" for key, a, b in differences(old, facts)):
            where = f"{self.journal.folder}: study {search.name!r}"
            raise ArtifactError(f"{where}: {changed}. Go back to it, or use another --out folder.")
        return Study(self, search, study)

    def _facts(self, search: Search) -> dict[str, Any]:
        tune = self.job.tune
        parts = {"data", "backbone", "backbones", "prompts", "training"}
        decides = self.job.model_dump(mode="json", by_alias=True, include=parts)
        decides |= {"objectives": self.job.objectives} if self.job.objectives else {}
        trained = self.job.model_dump(mode="json", by_alias=True, include={"pretrainings": True, "pretrain": {"training"}})
        method = self.job.methods.get(search.method)
        decides |= {**trained, "method": method.model_dump(mode="json", exclude={"baseline"}) if method else None}
        facts = {"method": search.method, "unit": search.unit, "metric": self.job.training.metric, "seed": self.job.seed}
        facts |= {"job": fingerprint(decides), "objectives": list(tune.objectives), "stop": fingerprint(tune.stop)}
        return {**facts, "sampler": tune.sampler, "round": tune.round, "space": fingerprint(search.space)}


class Study:
    """One method on one unit. Everything it knows stands in the journal. `ask` and `tell` belong in a batch of the journal."""

    def __init__(self, studies: Studies, search: Search, study: optuna.Study) -> None:
        self.search = search
        self.name = search.name
        self._job, self._storage = studies.job, studies.storage
        self._study = study
        self._known = self._storage.get_study_id_from_name(self.name)
        """What the storage calls this study."""
        self._grid: list[dict[str, Scalar]] | None = None
        self.attributes: dict[str, Any] = dict(study.user_attrs)
        self.pace = Pace.recorded(self.attributes[PACE])

    @property
    def budget(self) -> int:
        """Trials of this study: those of the job, or fewer where there are no more different ones."""
        space = self.search.space
        wanted = space.different(self._job.tune.trials)
        if self._job.tune.sampler != "grid":
            return wanted
        points = self._grid_points()
        return min(wanted, len(points) + sum(dict(point.values) not in points for point in space.first))

    @property
    def higher(self) -> bool:
        return self._study.directions[0] == StudyDirection.MAXIMIZE

    def asked(self) -> int:
        return len(self._trials())

    def finished(self) -> int:
        return sum(t.state in SPENT for t in self._trials())

    def best(self) -> float | None:
        winner = winner_of(self._study)
        return winner.value if winner else None

    def lanes(self, numbers: Sequence[int]) -> dict[int, Lane]:
        """Trial -> its lane."""
        trials = self._trials()
        return {n: Lane(n, 0, dict(trials[n].params), self.search.unit) for n in numbers}

    def settled(self) -> set[int]:
        """Trials that have ended for good."""
        return {t.number for t in self._trials() if t.state in SPENT}

    def curves(self, before: int) -> list[list[float]]:
        """Validation curves of the trials with a lower number."""
        stored = [t.user_attrs.get(RESULT, {}).get("curve", []) for t in self._trials()[:before]]
        return [[math.nan if v is None else v for v in curve] for curve in stored if curve]

    def set_attribute(self, key: str, value: Any) -> None:
        self._study.set_user_attr(key, value)
        self.attributes[key] = value

    def ask(self, count: int) -> list[Lane]:
        """The next configurations; fewer where no other is left."""
        start, told = self.asked(), self.finished()
        asked = [dict(trial.params) for trial in self._trials()]
        for number in range(start, start + count):
            if (point := self._point(number, asked)) is None:
                break
            asked.append(self._draw(number, told, point, Left(self.search.space, asked, point.values)))
        return list(self.lanes(range(start, len(asked))).values())

    def tell(self, results: Sequence[LaneResult]) -> None:
        """Record results, once: a trial that is finished stays as it is."""
        trials = self._trials()
        for result in results:
            if not trials[result.trial].state.is_finished():
                self._tell(result)

    def _point(self, number: int, asked: Sequence[Mapping[str, Scalar]]) -> Point | None:
        """What is set of the next configuration: a first point, one of the grid, or nothing. None: no other is left."""
        space = self.search.space
        points = list(space.first[number : number + 1])
        if self._job.tune.sampler == "grid":
            points += [Point(point) for point in self._grid_points() if point not in asked][:1]
        return next((point for point in [*points, Point({})] if Left(space, asked, point.values).after({})), None)

    def _draw(self, number: int, told: int, point: Point, left: Left) -> dict[str, Scalar]:
        """Write one configuration: what is set of it, and what the sampler proposes for the rest."""
        space, tune = self.search.space, self._job.tune
        if point.values:
            self._study.enqueue_trial(dict(point.values), user_attrs={OUTSIDE: True} if point.outside else None)
        proposes = sampler(tune.sampler, self._job.seed, self.name, number, space, self.pace, told)
        self._study.sampler = Unasked(proposes, left)
        with warnings.catch_warnings(), self._storage.window(tune.sampler):
            warnings.simplefilter("ignore", UserWarning)  # a first point outside its range is meant
            trial = self._study.ask()
            assert trial.number == number, "someone else asked this study"
            return space.ask(trial)

    def _tell(self, result: LaneResult) -> None:
        number, status = result.trial, result.status
        values = [result.best, *(_objective(result, name) for name in self._job.tune.objectives)]
        if status == "complete" and not all(map(math.isfinite, values)):
            status = "failed"
        known = self._storage.get_trial_id_from_study_id_trial_number(self._known, number)
        self._storage.set_trial_user_attr(known, RESULT, attributes(result))
        if status == "complete":
            self._study.tell(number, values)
        elif status == "failed":
            self._study.tell(number, state=TrialState.FAIL)
        else:
            assert status == "pruned", f"trial {number} of {self.name} is {status}: it has not ended"
            for epoch, value in enumerate(result.curve):
                if math.isfinite(value):
                    self._storage.set_trial_intermediate_value(known, epoch, value)
            self._study.tell(number, state=TrialState.PRUNED)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _grid_points(self) -> list[dict[str, Scalar]]:
        if self._grid is None:
            self._grid = grid_order(self.search.space, self._job.seed, self.name, self._job.tune.trials)
        return self._grid


def _objective(result: LaneResult, name: str) -> float:
    return float(result.parameters) if name == "parameters" else dict(result.measures).get(name, math.nan)
