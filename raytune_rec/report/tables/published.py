"""The page's table of numbers that others published, beside ours. They come from the job (`published`); nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.job.published import SHARE
from raytune_rec.report import words
from raytune_rec.report.run import Run, title
from raytune_rec.report.tables.web import Cell, Line, WebTable


def table(run: Run, colour: Mapping[str, str]) -> WebTable | None:
    """Methods by units, ours above and the published value below; None where the job names none."""
    told = run.settings.get("published", [])
    places = dict.fromkeys([*run.units, MEAN])
    named = {unit for block in told for values in block["values"].values() for unit in values}
    units = [unit for unit in places if unit in named] + sorted(named - {*places})
    lines = []
    for block in told:
        metric = block.get("metric", "auc")
        name = "tuned" if metric == SHARE else title(metric)
        for method, values in block["values"].items():
            cells = [_cell(run, method, unit, metric, values.get(unit)) for unit in units]
            lines.append(Line(method, colour.get(method, ""), f"{block['source']} · {name}", cells))
    if not lines:
        return None
    protocol = run.results["protocol"]
    theirs = dict.fromkeys(f"{block['source']}: {block['protocol'].strip().rstrip('.')}" for block in told)
    caption = (
        "Ours, and below it the published value. They come from different experiments: compare methods within ours, or within "
        f"theirs. {'. '.join(theirs)}. Ours: split {protocol['split']}, {protocol['cohort']}, winners chosen by "
        f"{protocol.get('chosen by', 'validation')}."
    )
    return WebTable(caption, ["method", *units], lines, "no value on that side")


def _cell(run: Run, method: str, unit: str, metric: str, theirs: float | None) -> Cell:
    write = words.percent if metric == SHARE else words.fixed
    return Cell(write(_ours(run, method, unit, metric)), f"published {write(theirs)}" if theirs is not None else "")


def _ours(run: Run, method: str, unit: str, metric: str) -> float | None:
    facts: Mapping[str, Any] = run.results["methods"].get(method, {})
    if metric == SHARE:
        return facts.get("tuned_share") if unit == MEAN else None
    measures = facts.get(MEAN) if unit == MEAN else facts.get("units", {}).get(unit)
    value: float | None = (measures or {}).get(metric, {}).get("mean")
    return value
