"""A run folder as the report reads it. Only `results.json` and `job.toml` must be there; what else is missing is left out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from raytune_rec.errors import ArtifactError
from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.evaluation.measures.measure_classes import RARE
from raytune_rec.evaluation.measures.measure_lists import SHUFFLED
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.evaluation.results import FORMAT
from raytune_rec.names import path_name
from raytune_rec.report import grown
from raytune_rec.report.trials import Trial, read_trials
from raytune_rec.storage.files import STORAGE, matching, read_json
from raytune_rec.storage.marker import MARKER


@dataclass(frozen=True)
class Run:
    """Everything the report is made of.

    Args:
        folder: of the run. job: text of `job.toml`. results: of `results.json`.
        trials: all of the search. pretrain: pretraining -> its facts. backbones: facts of each backbone folder.
        retrained: facts of each winner, with its replicates.
        item_texts: what the preparation measured of them; empty where items have no text.
        grown: what was added to it for items that came later.
        saved: what packs saved, in words; empty where it was not measured.
    """

    folder: Path
    job: str
    results: Mapping[str, Any]
    trials: tuple[Trial, ...] = ()
    pretrain: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    backbones: tuple[Mapping[str, Any], ...] = ()
    retrained: tuple[Mapping[str, Any], ...] = ()
    item_texts: Mapping[str, Any] = field(default_factory=dict)
    grown: tuple[grown.Grown, ...] = ()
    saved: str = ""

    @property
    def methods(self) -> list[str]:
        return list(self.results.get("method_order") or self.results["methods"])

    @property
    def units(self) -> list[str]:
        return list(self.results.get("unit_order") or self.results["units"])

    @property
    def lists(self) -> bool:
        """Whether candidate lists were tested, and not rows with a label each."""
        return self.results.get("kind") == "lists"

    @property
    def classes(self) -> bool:
        """Whether users with a class each were tested."""
        return self.results.get("kind") == "classes"

    @property
    def own(self) -> str:
        """The test metric of the first table: the job's own where it was tested."""
        return own(self.results)

    @property
    def beside(self) -> list[str]:
        """The test metrics of the first table: its own and, of rows with a label, the other of AUC and log loss."""
        both = ["auc", "logloss"] if not (self.lists or self.classes) else []
        return [self.own, *(name for name in both if name != self.own and self._tested(name))]

    def _tested(self, metric: str) -> bool:
        return any(metric in measures for method in self.results["methods"].values() for measures in method["units"].values())

    @property
    def lead(self) -> str:
        """The compared test metric that the verdict speaks of first: the job's own where it is one."""
        return lead(self.results)

    @property
    def averaged(self) -> bool:
        """Whether the mean over units is part of the results; it is not where they are different tasks."""
        return MEAN in self.results.get("winners", {})

    @property
    def unit_word(self) -> str:
        if self.pools == "group":
            return "table"
        return "domain" if self.averaged or not (self.lists or self.classes) else "task"

    @property
    def pools(self) -> str:
        """What a unit of the table pools, in a word."""
        return str(self.results.get("pools", "fold"))

    @property
    def folds(self) -> Mapping[str, Sequence[str]]:
        """Unit -> the tuning units that it pools, for units that pool any."""
        return self.results.get("tables", {})

    def tuned(self, unit: str) -> list[str]:
        """The tuning units of a unit of the table: its folds, or itself."""
        return list(self.folds.get(unit, [unit]))

    @property
    def searches(self) -> dict[str, str]:
        """Name of what was searched together -> a unit. Units that pool the same folds (two tests of one model) are one."""
        units: dict[tuple[str, ...], list[str]] = {}
        for unit in self.units:
            units.setdefault(tuple(self.tuned(unit)), []).append(unit)
        return {_together(pooled): pooled[0] for pooled in units.values()}

    def tied(self, unit: str) -> list[str]:
        """Methods under which all candidates of a unit's lists score the same: at chance, they would only widen a chart."""
        return list(self.results.get("units", {}).get(unit, {}).get("tied", ())) if self.lists else []

    def charted(self, unit: str) -> list[str]:
        """The methods that charts of a unit show."""
        return [method for method in self.methods if method not in self.tied(unit)]

    @property
    def compared(self) -> list[str]:
        """Metrics of the comparisons, the leading one first."""
        known = dict.fromkeys(metric_of(c) for c in self.results["comparisons"])
        return sorted(known, key=lambda metric: metric != self.lead)

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
        return higher(self.metric)

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
    def artifacts(self) -> dict[str, Path]:
        """Unit -> the folder of its artifact."""
        folders = {path.parent.name: path.parent for path in STORAGE.list(self.folder / "artifacts", "*/prompt.json")}
        names = {path_name(unit): unit for each in self.units for unit in self.tuned(each)}
        return {names.get(name, name): folder for name, folder in folders.items()}

    @property
    def claims(self) -> list[str]:
        return [r for r in self.methods if self.results["methods"][r].get("claims")]

    @property
    def title(self) -> str:
        return str(self.settings.get("title") or self.settings.get("name") or self.folder.name)

    def searched(self, method: str | None = None, unit: str | None = None) -> list[Trial]:
        """Complete trials, in order of their number."""
        units = None if unit is None else self.tuned(unit)
        chosen = [t for t in self.trials if t.complete and method in (None, t.method) and (units is None or t.unit in units)]
        return sorted(chosen, key=lambda t: t.number)

    def studies(self, method: str, unit: str) -> list[list[Trial]]:
        """Complete trials of each search: one, or one for each fold."""
        trials = self.searched(method, unit)
        return [known for u in self.tuned(unit) if (known := [t for t in trials if t.unit == u])]

    def winners(self, method: str, unit: str) -> list[Trial]:
        """The winning trial of each search, as far as `trials.json` holds it."""
        numbers = {u: chosen.get("trial") for u, chosen in self.chosen(method, unit).items()}
        by_unit = {t.unit: t for t in self.trials if t.method == method and t.unit in numbers and t.number == numbers[t.unit]}
        return [by_unit[u] for u in numbers if u in by_unit]

    def chosen(self, method: str, unit: str) -> dict[str, Mapping[str, Any]]:
        """Tuning unit -> trial, options and validation value of the winner."""
        measures = self.measures(method, unit)
        known = measures.get("folds", {unit: measures} if measures else {})
        return {u: known[u] for u in self.tuned(unit) if u in known}

    def measures(self, method: str, unit: str) -> Mapping[str, Any]:
        """What was measured of a method on a unit or, for `mean`, over units; empty where nothing was."""
        facts = self.results["methods"][method]
        return (facts.get(MEAN) if unit == MEAN else facts["units"].get(unit)) or {}


_READ = ("*.json", "job.toml", "data/summary.json", "grown/*/results.json", "grown/*/data/summary.json")
"""Of a run in an object store, what is fetched."""


def read(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        ArtifactError: `results.json` or `job.toml` is missing, or a file is damaged or of an unknown format.
    """
    folder = Path(folder)
    for files in _READ:
        matching(str(folder / files))
    results = read_json(folder / "results.json")
    known = results.get("format") if isinstance(results, dict) else None
    if known != FORMAT:
        where = folder / "results.json"
        raise ArtifactError(f"{where}: format {known!r}; this version reads {FORMAT}. Run the job again in another --out folder.")
    if not isinstance(methods := results.get("methods"), dict) or not all(isinstance(m, dict) for m in methods.values()):
        raise ArtifactError(
            f"{folder / 'results.json'}: its methods are damaged; `raytune-rec run` with this --out makes it anew."
        )
    try:
        job = (folder / "job.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{folder / 'job.toml'}: cannot be read ({error}); it is written by `run`.") from None
    return Run(
        folder=folder,
        job=job,
        results=results,
        trials=read_trials(folder),
        pretrain=_optional(folder / "pretrain.json", {}),
        backbones=tuple(read_json(p) for p in STORAGE.list(folder, "backbones/*/backbone.json")),
        retrained=tuple(read_json(p) for p in STORAGE.list(folder, "winners/*/*/winner.json")),
        item_texts=_optional(folder / "data" / "summary.json", {}).get("item_texts", {}),
        grown=grown.read(folder),
        saved=_optional(folder / "stages" / "tune" / MARKER, {}).get("facts", {}).get("saved", {}).get("told", ""),
    )


def _optional(path: Path, default: Any) -> Any:
    return read_json(path) if path.exists() else default


def _together(units: Sequence[str]) -> str:
    """Their names, as a panel has room for."""
    return ", ".join(units) if len(units) < 3 else f"{units[0]} and {len(units) - 1} more"


def lead(results: Mapping[str, Any]) -> str:
    metric = own(results)
    return metric if metric in {metric_of(c) for c in results["comparisons"]} else _usual(results)


def own(results: Mapping[str, Any]) -> str:
    metric = str(results["protocol"].get("metric", ""))
    tested = [measures for method in results["methods"].values() for measures in method["units"].values()]
    return metric if tested and all("mean" in (m.get(metric) or {}) for m in tested) else _usual(results)


def higher(metric: str) -> bool:
    """Whether a higher value is better."""
    return metric not in METRICS or METRICS[metric].higher


def best_of(results: Mapping[str, Any], unit: str, metric: str = "") -> str | None:
    """The method ahead in a metric (by default the first table's) on a unit or over units (`mean`); of equals the first."""
    metric, found = metric or own(results), {}
    for name in results.get("method_order") or results["methods"]:
        facts = results["methods"][name]
        measures = (facts.get(MEAN) if unit == MEAN else facts["units"].get(unit)) or {}
        if (value := measures.get(metric, {}).get("mean")) is not None:
            found[name] = value if higher(metric) else -value
    return max(found, key=lambda name: found[name]) if found else None


def _usual(results: Mapping[str, Any]) -> str:
    return "accuracy" if results.get("kind") == "classes" else "auc"


MANY = 9
"""Units from which they have no columns, panels and words of their own."""


def many(results: Mapping[str, Any]) -> bool:
    """Whether results are of many units that have a mean, and thirds by size."""
    return len(results["units"]) >= MANY and bool(results.get("sizes", {}).get("thirds"))


def title(name: str) -> str:
    """A metric or an objective as a person writes it."""
    if name.startswith(RARE):
        return f"{title(name.removeprefix(RARE))} of the rarer"
    if name.startswith(SHUFFLED):
        return f"{title(name.removeprefix(SHUFFLED))} shuffled"
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
    "f1": "F1",
    "logloss": "log loss",
    "parameters": "tuned parameters",
}
