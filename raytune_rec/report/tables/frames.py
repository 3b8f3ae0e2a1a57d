"""Results and trials of a run as tables for programs: data frames, and the CSV files beside the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from raytune_rec.report.run import Run, read
from raytune_rec.storage.files import STORAGE

RESULTS, TRIALS = "results.csv", "trials.csv"
_OF_RESULT = (
    "method",
    "unit",
    "metric",
    "value",
    "low",
    "high",
    "sd",
    "replicates",
    "baseline",
    "strategy",
    "backbone",
    "prompt",
)


def results(run: Run) -> pd.DataFrame:
    """One row for each method, unit (also `mean`) and test metric.

    Columns: method, unit, metric; value (mean over replicates), low and high (limits of its interval), sd (between replicates),
    replicates (how many), baseline, strategy, backbone, prompt. What is not defined is NaN.
    """
    return pd.DataFrame(list(_results(run)), columns=list(_OF_RESULT))


def _results(run: Run) -> Iterator[dict[str, Any]]:
    for name in run.methods:
        method = run.results["methods"][name]
        facts = {key: method.get(key) for key in ("baseline", "strategy", "backbone", "prompt")}
        units: Mapping[str, Any] = {unit: method["units"].get(unit) for unit in run.units} | {"mean": method.get("mean")}
        for unit, measures in units.items():
            for metric, value in (measures or {}).items():
                if isinstance(value, Mapping) and "replicates" in value and "mean" in value:
                    told = {key: value.get(key) for key in ("low", "high", "sd")}
                    count = sum(each is not None for each in value["replicates"])
                    row = {"method": name, "unit": unit, "metric": metric, "value": value["mean"], **told}
                    yield {**row, "replicates": count, **facts}


def trials(run: Run) -> pd.DataFrame:
    """One row for each trial of the search: method, unit, number, state, value (of validation, the best epoch), best_epoch,
    epochs, seconds, parameters, further objectives, and a column for each searched option."""
    usual = ["method", "unit", "number", "state", "value", "best_epoch", "epochs", "seconds", "parameters"]
    rows = [{**{name: getattr(t, name) for name in usual}, **t.measures, **t.options} for t in run.trials]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=usual)


def winners(run: Run) -> pd.DataFrame:
    """One row for each method and unit of the table: its best validation value, the trial, and the options that won. Where a unit
    pools folds, a row for each of these."""
    rows = []
    for name in run.methods:
        for unit, measures in run.results["methods"][name]["units"].items():
            for tuned, won in (measures.get("folds") or {unit: measures}).items():
                rows.append(
                    {
                        "method": name,
                        "unit": tuned,
                        "valid": won.get("valid"),
                        "trial": won.get("trial"),
                        **(won.get("options") or {}),
                    }
                )
    return pd.DataFrame(rows)


def write(folder: Path) -> None:
    """`results.csv` and `trials.csv` into a run folder."""
    run = read(folder)
    for name, table in ((RESULTS, results(run)), (TRIALS, trials(run))):
        STORAGE.put(folder / name, lambda temporary, table=table: table.to_csv(temporary, index=False))  # type: ignore[misc]
