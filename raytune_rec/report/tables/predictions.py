"""The page's tables of predicted classes: accuracy, and macro precision, recall and F1, one for each unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raytune_rec.evaluation.measures.measure_classes import MACRO, RARE
from raytune_rec.report import words
from raytune_rec.report.run import Run, own, title
from raytune_rec.report.tables.web import Cell, Line, WebTable

_Value = tuple[Mapping[str, Any], bool]


def tables(run: Run, colour: Mapping[str, str]) -> list[tuple[str, WebTable]]:
    """(heading, table) of each unit; none where something else was tested."""
    return [(heading(unit), _table(run, colour, unit)) for unit in run.units] if run.classes else []


def heading(unit: str) -> str:
    return f"Prediction of {unit}"


def metrics(results: Mapping[str, Any], unit: str) -> list[str]:
    """Those that were measured and do not stand in the first table: of the rarer class only where there are two."""
    every = [name for name in (*MACRO, *(RARE + name for name in MACRO[1:])) if name != own(results)]
    return [name for name in every if any(name in method["units"].get(unit, {}) for method in results["methods"].values())]


def values(results: Mapping[str, Any], unit: str) -> dict[str, list[_Value]]:
    """Method -> (measure, whether it is the best) of each of `metrics`. Where all are equal there is no best."""
    names = metrics(results, unit)
    measured = {
        method: [results["methods"][method]["units"].get(unit, {}).get(name, {}) for name in names]
        for method in results.get("method_order") or results["methods"]
    }
    means = [[row[i]["mean"] for row in measured.values() if row[i].get("mean") is not None] for i in range(len(names))]
    best = [max(column) if len(set(column)) > 1 else None for column in means]
    return {
        method: [(v, v.get("mean") is not None and v["mean"] == b) for v, b in zip(measures, best, strict=True)]
        for method, measures in measured.items()
    }


def base(results: Mapping[str, Any], unit: str) -> str:
    """What the predictions are to be compared with, in words."""
    facts, protocol = results["units"][unit], results["protocol"]
    users = f"{words.count(facts['users'])} test users, {words.percent(facts['largest'])} of the most frequent class"
    return f"{users}; candidates: {protocol['candidates']}"


def _table(run: Run, colour: Mapping[str, str], unit: str) -> WebTable:
    lines = [Line(method, colour[method], "", _cells(row)) for method, row in values(run.results, unit).items()]
    rarer = " Of the two classes, the last columns are of the rarer one." if RARE + "f1" in metrics(run.results, unit) else ""
    protocol = run.results["protocol"]
    caption = (
        f"{base(run.results, unit)}; split: {protocol['split']}; cohort: {protocol['cohort']}. Precision, recall and F1 are "
        f"means over the classes of the test users.{rarer} Mean over replicates, with the "
        f"{protocol['confidence'] * 100:g} % interval by user below it; the best of a column is bold."
    )
    return WebTable(caption, ["method", *(title(name) for name in metrics(run.results, unit))], lines)


def _cells(values: Sequence[_Value]) -> list[Cell]:
    cells = []
    for value, best in values:
        limits = [value.get(end) for end in ("low", "high")]
        below = "" if None in limits else " to ".join(map(words.fixed, limits))
        cells.append(Cell(words.fixed(value.get("mean")), below, best))
    return cells
