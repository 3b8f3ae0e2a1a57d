"""A run folder as the report reads it. Only `results.json` and `job.toml` must be there; what else is missing is left out."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from raytune_rec.artifacts.files import read_json
from raytune_rec.errors import ArtifactError
from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.evaluation.metrics import METRICS
from raytune_rec.evaluation.results import FORMAT
from raytune_rec.schema import Scalar


@dataclass(frozen=True)
class Trial:
    """One line of `trials.json`. `curve[0]` is the validation metric before training; a value that was not finite is NaN.

    Args:
        unit: of the results table. fold: the tuning unit, where the unit of the table pools several; else empty.
        measures: further objectives at the best epoch, by name, without `parameters`.
        front: whether no other trial of its row and unit surpasses it without falling behind in another objective; false
            where only one objective was searched.
    """

    row: str
    unit: str
    number: int
    state: str
    value: float
    options: Mapping[str, Scalar] = field(default_factory=dict)
    best_epoch: int = 0
    epochs: int = 0
    curve: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    parameters: int = 0
    measures: Mapping[str, float] = field(default_factory=dict)
    front: bool = False
    fold: str = ""

    @property
    def complete(self) -> bool:
        return self.state == "complete" and math.isfinite(self.value)

    def objective(self, name: str) -> float:
        """A further objective; NaN where the trial has none of this name."""
        return float(self.parameters) if name == "parameters" else self.measures.get(name, math.nan)


@dataclass(frozen=True)
class Run:
    """Everything the report is made of.

    Args:
        folder: of the run. job: text of `job.toml`. results: of `results.json`.
        trials: all of the search. pretrain: variant -> its facts. backbones: facts of each backbone folder.
    """

    folder: Path
    job: str
    results: Mapping[str, Any]
    trials: tuple[Trial, ...] = ()
    pretrain: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    backbones: tuple[Mapping[str, Any], ...] = ()

    @property
    def rows(self) -> list[str]:
        return list(self.results.get("row_order") or self.results["rows"])

    @property
    def units(self) -> list[str]:
        return list(self.results.get("unit_order") or self.results["units"])

    @property
    def lists(self) -> bool:
        """Whether candidate lists were tested, and not rows with a label each."""
        return self.results.get("kind") == "lists"

    @property
    def averaged(self) -> bool:
        """Whether the mean over units is part of the results; it is not where they are different tasks."""
        return MEAN in self.results.get("winners", {})

    @property
    def unit_word(self) -> str:
        return "domain" if self.averaged or not self.lists else "task"

    @property
    def drawn(self) -> str:
        """What intervals resample beside replicates."""
        if not self.lists:
            return "test rows"
        return "test users" if all(u.get("users") for u in self.results["units"].values()) else "test lists"

    @property
    def folds(self) -> Mapping[str, Sequence[str]]:
        """Unit -> the tuning units that it pools, for units that pool any."""
        return self.results.get("tables", {})

    @property
    def compared(self) -> list[str]:
        """Metrics of the comparisons."""
        return list(dict.fromkeys(metric_of(c) for c in self.results["comparisons"]))

    @property
    def metric(self) -> str:
        return str(self.results["protocol"].get("metric", "auc"))

    @property
    def metric_title(self) -> str:
        """The validation metric as a person writes it."""
        return title(self.metric)

    @property
    def higher(self) -> bool:
        """Whether a higher validation value is better."""
        return self.metric not in METRICS or METRICS[self.metric].higher

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The job; empty where its text is damaged."""
        try:
            return tomllib.loads(self.job)
        except tomllib.TOMLDecodeError:
            return {}

    @property
    def objectives(self) -> list[str]:
        """What was searched beside the validation metric."""
        return list(self.settings.get("tune", {}).get("objectives", ()))

    @property
    def claims(self) -> list[str]:
        return [r for r in self.rows if self.results["rows"][r].get("claims")]

    @property
    def title(self) -> str:
        return str(self.settings.get("title") or self.settings.get("name") or self.folder.name)

    def searched(self, row: str | None = None, unit: str | None = None) -> list[Trial]:
        """Complete trials, in order of their number."""
        chosen = [t for t in self.trials if t.complete and row in (None, t.row) and unit in (None, t.unit)]
        return sorted(chosen, key=lambda t: t.number)

    def studies(self, row: str, unit: str) -> list[list[Trial]]:
        """Complete trials of each search: one, or one for each fold."""
        found: dict[str, list[Trial]] = {}
        for t in self.searched(row, unit):
            found.setdefault(t.fold, []).append(t)
        order = {fold: i for i, fold in enumerate(self.folds.get(unit, ()))}
        return [found[fold] for fold in sorted(found, key=lambda fold: order.get(fold, -1))]

    def winners(self, row: str, unit: str) -> list[Trial]:
        """The winning trial of each search, as far as `trials.json` holds it."""
        numbers = {fold: f.get("trial") for fold, f in self.chosen(row, unit).items()}
        found = {t.fold: t for t in self.trials if (t.row, t.unit) == (row, unit) and t.number == numbers.get(t.fold)}
        return [found[fold] for fold in numbers if fold in found]

    def chosen(self, row: str, unit: str) -> dict[str, Mapping[str, Any]]:
        """Fold, or empty where the unit pools none, -> trial, options and validation value of the winner."""
        measures = self.measures(row, unit)
        if not (folds := measures.get("folds")):
            return {"": measures} if measures else {}
        return {fold: folds[fold] for fold in self.folds[unit] if fold in folds}

    def measures(self, row: str, unit: str) -> Mapping[str, Any]:
        """What was measured of a row on a unit or, for `mean`, over units; empty where nothing was."""
        facts = self.results["rows"][row]
        return (facts.get(MEAN) if unit == MEAN else facts["units"].get(unit)) or {}


def read(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        ArtifactError: `results.json` or `job.toml` is missing, or a file is damaged or of an unknown format.
    """
    folder = Path(folder)
    results = read_json(folder / "results.json")
    found = results.get("format") if isinstance(results, dict) else None
    if found != FORMAT:
        raise ArtifactError(f"{folder / 'results.json'}: format {found!r}; this version reads {FORMAT}. Run `evaluate` again.")
    try:
        job = (folder / "job.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{folder / 'job.toml'}: cannot be read ({error}); it is written by `run`.") from None
    return Run(
        folder=folder,
        job=job,
        results=results,
        trials=read_trials(folder, results.get("tables")),
        pretrain=_optional(folder / "pretrain.json", {}),
        backbones=tuple(read_json(p) for p in sorted(folder.glob("backbones/*/backbone.json"))),
    )


def read_trials(folder: Path, tables: Mapping[str, Sequence[str]] | None = None) -> tuple[Trial, ...]:
    """All trials of a run; none where `trials.json` is missing.

    Args:
        tables: unit of the results table -> the tuning units that it pools; without it a trial's unit is its tuning unit.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = Path(folder) / "trials.json"
    pooled = {fold: unit for unit, folds in (tables or {}).items() for fold in folds}
    try:
        return tuple(_trial(t, pooled) for t in _optional(path, []))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path}: not a list of trials ({error!r}); run `tune` again.") from None


def _optional(path: Path, default: Any) -> Any:
    return read_json(path) if path.exists() else default


def _trial(t: Mapping[str, Any], pooled: Mapping[str, str]) -> Trial:
    unit = str(t["unit"])
    return Trial(
        row=str(t["row"]),
        unit=pooled.get(unit, unit),
        fold=unit if unit in pooled else "",
        number=int(t["number"]),
        state=str(t["state"]).lower(),
        value=number(t.get("value")),
        options=dict(t.get("options") or {}),
        best_epoch=int(t.get("best_epoch") or 0),
        epochs=int(t.get("epochs") or 0),
        curve=tuple(number(v) for v in t.get("curve") or ()),
        losses=tuple(number(v) for v in t.get("losses") or ()),
        seconds=float(t.get("seconds") or 0),
        parameters=int(t.get("parameters") or 0),
        measures={str(k): number(v) for k, v in (t.get("measures") or {}).items()},
        front=bool(t.get("front")),
    )


def number(value: Any) -> float:
    """A JSON number; null, which stands for what was not finite, is NaN."""
    return float("nan") if value is None else float(value)


def title(name: str) -> str:
    """A metric or an objective as a person writes it."""
    metric, at, cut = name.partition("@")
    return _TITLES.get(metric, metric.replace("_", " ")) + at + cut


def metric_of(comparison: Mapping[str, Any]) -> str:
    return str(comparison.get("metric", "auc"))


_TITLES = {
    "auc": "AUC",
    "list_auc": "list AUC",
    "hit": "HIT",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "logloss": "log loss",
    "parameters": "tuned parameters",
}
