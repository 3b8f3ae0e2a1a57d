"""One Optuna study per row and unit, asked and told in rounds. All of them share one journal."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from raytune_rec.artifacts.fingerprint import fingerprint
from raytune_rec.artifacts.stage import differences
from raytune_rec.config import Job
from raytune_rec.errors import ArtifactError
from raytune_rec.evaluation.metrics import METRICS
from raytune_rec.schema import Lane, LaneResult, Pack, Scalar
from raytune_rec.tuning.journal import Journal
from raytune_rec.tuning.packing import Structure, packs
from raytune_rec.tuning.sampling import OUTSIDE, Window, grid_order, sampler
from raytune_rec.tuning.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)

_RESULT, _PLAN, _SEARCH = "result", "plan", "search"
_SPENT = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Search:
    """What is to be searched for one row on one unit.

    Args:
        row, unit: names.
        space: restricted to the row.
        structure: decides which lanes may share a pack.
    """

    row: str
    unit: str
    space: Space
    structure: Structure

    @property
    def name(self) -> str:
        return f"{self.row}/{self.unit}"


@dataclass(frozen=True)
class Winner:
    """The best trial of a study; of equals the first.

    Args:
        trial: its number.
        options: its searched options.
        value: its best validation metric.
        trials: finished trials of the study, failed and pruned ones too.
    """

    trial: int
    options: Mapping[str, Scalar]
    value: float
    trials: int


class Studies:
    """The journal of a run, open for writing.

    Args:
        folder: of the journal.
        job: names metric, sampler, round, pack and seed.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self.journal = Journal(folder)
        self.storage = Window(self.journal)
        self.job = job
        self.direction = StudyDirection.MAXIMIZE if METRICS[job.training.metric].higher else StudyDirection.MINIMIZE
        self.names = {study.study_name for study in self.storage.get_all_studies()}

    def open(self, search: Search) -> Study:
        """The study of a search, made if it is new.

        Raises:
            ArtifactError: the journal holds this study for another search.
        """
        facts = self._facts(search)
        if search.name not in self.names:
            with self.journal.batch():
                study = optuna.create_study(storage=self.storage, study_name=search.name, direction=self.direction)
                study.set_user_attr(_SEARCH, facts)
            self.names.add(search.name)
        study = optuna.load_study(storage=self.storage, study_name=search.name)
        old = study.user_attrs.get(_SEARCH, {})
        if changed := "; ".join(f"{key} was {a!r} and is {b!r} now" for key, a, b in differences(old, facts)):
            where = f"{self.journal.folder}: study {search.name!r}"
            raise ArtifactError(f"{where}: {changed}. Go back to it, or use another --out folder.")
        return Study(self, search, study)

    def _facts(self, search: Search) -> dict[str, Any]:
        tune = self.job.tune
        parts = {"data", "backbone", "backbones", "prompts", "training"}
        decides = self.job.model_dump(mode="json", by_alias=True, include=parts)
        pretrain = self.job.pretrain.model_dump(mode="json", by_alias=True, include={"variants", "training"})
        row = self.job.rows.get(search.row)
        decides |= {"pretrain": pretrain, "row": row.model_dump(mode="json", exclude={"baseline"}) if row else None}
        facts = {"row": search.row, "unit": search.unit, "metric": self.job.training.metric, "seed": self.job.seed}
        facts["job"] = fingerprint(decides)
        return {**facts, "sampler": tune.sampler, "round": tune.round, "space": fingerprint(search.space)}


class Study:
    """One row on one unit. Everything it knows stands in the journal."""

    def __init__(self, studies: Studies, search: Search, study: optuna.Study) -> None:
        self.search = search
        self.name = search.name
        self._job = studies.job
        self._journal, self._storage = studies.journal, studies.storage
        self._study = study
        self._grid: list[dict[str, Scalar]] | None = None
        self._plans: dict[str, Any] = {k: v for k, v in study.user_attrs.items() if k.startswith(_PLAN)}

    @property
    def budget(self) -> int:
        """Trials of this study: those of the job, or fewer where there are no more different ones."""
        if not self.search.space.dimensions:
            return 1
        wanted = self._job.tune.trials
        if self._job.tune.sampler != "grid":
            return wanted
        return min(wanted, len(self.search.space.first) + len(self._grid_points()))

    def asked(self) -> int:
        return len(self._trials())

    def finished(self) -> int:
        return sum(t.state in _SPENT for t in self._trials())

    def best(self) -> float | None:
        found = _winner(self._study)
        return found.value if found else None

    def packs(self) -> list[Pack]:
        """All planned packs, in order."""
        trials = self._trials()
        found = []
        for _, plan in sorted(self._plans.items()):
            for name, numbers in plan["packs"]:
                lanes = tuple(Lane(number, 0, dict(trials[number].params)) for number in numbers)
                found.append(Pack(name, self.search.row, self.search.unit, lanes))
        return found

    def told(self, pack: Pack) -> bool:
        trials = self._trials()
        return all(trials[lane.trial].state in _SPENT for lane in pack.lanes)

    def ask(self) -> list[Pack]:
        """Ask for the next round and plan its packs: one write to the journal. Empty when the budget is spent."""
        start = self.asked()
        count = min(self._job.tune.round, self.budget - start)
        if count <= 0:
            return []
        with self._journal.batch():
            for number in range(start, start + count):
                self._draw(number)
            lanes = [Lane(t.number, 0, dict(t.params)) for t in self._trials()[start:]]
            s, number = self.search, len(self._plans)
            planned = packs(s.row, s.unit, number, lanes, self._job.tune.pack, s.structure)
            key = f"{_PLAN}.{number:06d}"
            plan = {"packs": [[p.name, [lane.trial for lane in p.lanes]] for p in planned]}
            self._study.set_user_attr(key, plan)
        self._plans[key] = plan
        return planned

    def tell(self, results: Sequence[LaneResult]) -> None:
        """Record results, once: a trial that is finished stays as it is."""
        with self._journal.batch():
            trials = self._trials()
            for result in results:
                if not trials[result.trial].state.is_finished():
                    self._tell(trials[result.trial], result)

    def _draw(self, number: int) -> None:
        """Write one configuration: a first point, a point of the grid, or what the sampler proposes."""
        space, tune = self.search.space, self._job.tune
        if number < len(space.first):
            point = space.first[number]
            self._study.enqueue_trial(dict(point.values), user_attrs={OUTSIDE: True} if point.outside else None)
        elif tune.sampler == "grid" and space.dimensions:
            self._study.enqueue_trial(self._grid_points()[number - len(space.first)])
        self._study.sampler = sampler(tune.sampler, self._job.seed, self.name, number, space.conditional)
        self._storage.active = True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a first point outside its range is meant
                trial = self._study.ask()
                assert trial.number == number, "someone else asked this study"
                space.ask(trial)
        finally:
            self._storage.active = False

    def _tell(self, trial: FrozenTrial, result: LaneResult) -> None:
        number, status = trial.number, result.status
        if status == "complete" and not math.isfinite(result.best):
            status = "failed"
        self._storage.set_trial_user_attr(trial._trial_id, _RESULT, _attributes(result))
        if status == "complete":
            self._study.tell(number, result.best)
        elif status == "failed":
            self._study.tell(number, state=TrialState.FAIL)
        else:
            for epoch, value in enumerate(result.curve):
                if math.isfinite(value):
                    self._storage.set_trial_intermediate_value(trial._trial_id, epoch, value)
            self._study.tell(number, state=TrialState.PRUNED)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _grid_points(self) -> list[dict[str, Scalar]]:
        if self._grid is None:
            self._grid = grid_order(self.search.space, self._job.seed, self.name, self._job.tune.trials)
        return self._grid


def winners(folder: Path) -> dict[tuple[str, str], Winner]:
    """(row, unit) -> the best trial, for every study of a journal that has a complete one."""
    found = {}
    for row, unit, study in _studies(folder):
        if (winner := _winner(study)) is not None:
            found[row, unit] = winner
    return found


def trials(folder: Path) -> list[dict[str, Any]]:
    """Every trial of a journal as plain values, by study and number."""
    found = [(row, unit, study.study_name, study.get_trials(deepcopy=False)) for row, unit, study in _studies(folder)]
    return [_plain(row, unit, name, trial) for row, unit, name, of_study in found for trial in of_study]


def _studies(folder: Path) -> Iterator[tuple[str, str, optuna.Study]]:
    storage = Window(Journal(folder))
    for known in storage.get_all_studies():
        search = known.user_attrs[_SEARCH]
        yield search["row"], search["unit"], optuna.load_study(storage=storage, study_name=known.study_name)


def _winner(study: optuna.Study) -> Winner | None:
    found = study.get_trials(deepcopy=False)
    complete = [t for t in found if t.state == TrialState.COMPLETE]
    if not complete:
        return None
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    best = min(complete, key=lambda t: (sign * float(t.value or 0.0), t.number))
    return Winner(best.number, dict(best.params), float(best.value or 0.0), sum(t.state in _SPENT for t in found))


def _attributes(result: LaneResult) -> dict[str, Any]:
    """What of a result Optuna has no place for."""
    return {
        "best": _finite(result.best),
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "curve": [_finite(v) for v in result.curve],
        "losses": [_finite(v) for v in result.losses],
        "seconds": result.seconds,
        "parameters": result.parameters,
        **({"error": result.error} if result.error else {}),
    }


def _plain(row: str, unit: str, study: str, trial: FrozenTrial) -> dict[str, Any]:
    result = trial.user_attrs.get(_RESULT, {})
    return {
        "study": study,
        "row": row,
        "unit": unit,
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value,
        "options": dict(trial.params),
        "best_epoch": result.get("best_epoch", 0),
        "epochs": result.get("epochs", 0),
        "curve": result.get("curve", []),
        "losses": result.get("losses", []),
        "seconds": result.get("seconds", 0.0),
        "parameters": result.get("parameters", 0),
        "error": result.get("error", ""),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
