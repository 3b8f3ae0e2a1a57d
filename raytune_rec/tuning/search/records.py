"""What a journal says when the search is over: winners, fronts and every trial, as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from raytune_rec.schema.work import LaneResult, Scalar
from raytune_rec.tuning.search.journal import Journal, replayed
from raytune_rec.tuning.search.sampling import SPENT, Window

RESULT, SEARCH = "result", "search"
"""User attributes: of a trial, what Optuna has no place for; of a study, what it searches."""


@dataclass(frozen=True)
class Winner:
    """The best trial of a study by its first objective; of equals the first.

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


def winners(folder: Path) -> dict[tuple[str, str], Winner]:
    """(method, unit) -> the best trial, for every study of a journal that has a complete one."""
    by_study = {}
    with replayed(folder):
        for method, unit, study in studies(folder):
            if (winner := winner_of(study)) is not None:
                by_study[method, unit] = winner
    return by_study


def trials(folder: Path) -> list[dict[str, Any]]:
    """Every trial of a journal as plain values, by study and number."""
    return Reader(folder).trials()


class Reader:
    """A journal that is read again and again while another process writes it: each time, only what is new.

    Args:
        folder: of the journal; it need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with replayed(folder):
            self._storage = Window(Journal(folder))

    def trials(self) -> list[dict[str, Any]]:
        """Every trial as plain values, by study and number."""
        rows: list[dict[str, Any]] = []
        with replayed(self._folder):
            for method, unit, study in _studies(self._storage):
                front = front_of(study)
                rows += [_plain(method, unit, study.study_name, t, t.number in front) for t in study.get_trials(deepcopy=False)]
        return rows


def studies(folder: Path) -> Iterator[tuple[str, str, optuna.Study]]:
    """Method, unit and study of everything that a journal holds."""
    return _studies(Window(Journal(folder)))


def _studies(storage: Window) -> Iterator[tuple[str, str, optuna.Study]]:
    for known in storage.get_all_studies():
        search = known.user_attrs[SEARCH]
        yield search["method"], search["unit"], optuna.load_study(storage=storage, study_name=known.study_name)


def winner_of(study: optuna.Study) -> Winner | None:
    every = study.get_trials(deepcopy=False)
    complete = [t for t in every if t.state == TrialState.COMPLETE]
    if not complete:
        return None
    sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
    best = min(complete, key=lambda t: (sign * t.values[0], t.number))
    return Winner(best.number, dict(best.params), float(best.values[0]), sum(t.state in SPENT for t in every))


def front_of(study: optuna.Study) -> set[int]:
    """Trials that no other beats in every objective; empty with one objective."""
    return {t.number for t in study.best_trials} if len(study.directions) > 1 else set()


def attributes(result: LaneResult) -> dict[str, Any]:
    """What of a result Optuna has no place for."""
    return {
        "best": finite(result.best),
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "curve": [finite(v) for v in result.curve],
        "losses": [finite(v) for v in result.losses],
        "seconds": result.seconds,
        "parameters": result.parameters,
        **({"measures": dict(result.measures)} if result.measures else {}),
        **({"error": result.error} if result.error else {}),
    }


def finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(method: str, unit: str, study: str, trial: FrozenTrial, front: bool) -> dict[str, Any]:
    result = trial.user_attrs.get(RESULT, {})
    return {
        "study": study,
        "method": method,
        "unit": unit,
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.values[0] if trial.state == TrialState.COMPLETE else None,
        "options": dict(trial.params),
        "best_epoch": result.get("best_epoch", 0),
        "epochs": result.get("epochs", 0),
        "curve": result.get("curve", []),
        "losses": result.get("losses", []),
        "seconds": result.get("seconds", 0.0),
        "parameters": result.get("parameters", 0),
        "measures": result.get("measures", {}),
        "front": front,
        "error": result.get("error", ""),
    }
