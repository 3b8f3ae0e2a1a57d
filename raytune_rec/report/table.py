"""The results tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.evaluation.measure_lists import FULL
from raytune_rec.report import classes, missing, rankings
from raytune_rec.report.run import lead, title
from raytune_rec.report.words import averaged, count, fixed, not_compared, percent, tied, under, untested


def console(results: Mapping[str, Any]) -> Group:
    """The main table; of candidate lists also the ranking metrics of each unit, sampled and full rankings apart.

    Args:
        results: content of `results.json`.
    """
    units = list(results.get("unit_order") or results["units"])
    tables = [_main(results, [*units, MEAN] if len(units) > 1 and MEAN in results["winners"] else units)]
    if results.get("kind") == "lists":
        for prefix in ("", FULL):
            tables += [_ranking(results, unit, prefix) for unit in units if rankings.measured(results, unit, prefix)]
    if results.get("kind") == "classes":
        tables += [_classes(results, unit) for unit in units]
    return Group(*tables, *(Text(line) for line in missing.lines(results)))


def _main(results: Mapping[str, Any], columns: Sequence[str]) -> Table:
    """Rows by units: mean test AUC with half the width of its interval, best in bold, trials spent and parameters tuned."""
    table = Table(title=f"Test {title(lead(results))}", caption=_caption(results))
    table.add_column("row", no_wrap=True)
    for unit in columns:
        table.add_column(unit, justify="right", no_wrap=True)
    for name in ("trials", "tuned", "of backbone"):
        table.add_column(name, justify="right")
    for name in results.get("row_order") or results["rows"]:
        row = results["rows"][name]
        cells = [_cell(row, unit, results["winners"].get(unit, {}).get("test") == name, lead(results)) for unit in columns]
        tail = (count(row["trials"]), count(row["tuned_parameters"]), percent(row["tuned_share"]))
        table.add_row(Text(name), *cells, *tail)
    return table


def _ranking(results: Mapping[str, Any], unit: str, prefix: str) -> Table:
    """Rows by metrics, means over lists and replicates, best in bold; narrow enough for 80 columns."""
    said = f"candidates: {rankings.candidates(results, unit, prefix)}; split {results['protocol']['split']}"
    said += tied(results, unit, ". ")
    table = Table(title=rankings.heading(results, unit, prefix), caption=said, box=SIMPLE_HEAD, padding=0)
    table.add_column("row", overflow="fold")
    for name in rankings.METRICS:
        table.add_column(title(name).replace("@", "\n@"), justify="right", no_wrap=True, min_width=6)
    for row, values in rankings.values(results, unit, prefix).items():
        cells = [Text(fixed(mean), style="bold" if best else "") for mean, _, best in values]
        table.add_row(Text(row), *(cells or [Text(fixed(None))] * len(rankings.METRICS)))
    return table


def _classes(results: Mapping[str, Any], unit: str) -> Table:
    """Rows by metrics of the predicted classes."""
    names = classes.metrics(results, unit)
    table = Table(title=classes.heading(unit), caption=classes.base(results, unit), box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("row", overflow="fold")
    for name in names:
        table.add_column(title(name).replace(" of ", "\nof "), justify="right", no_wrap=True)
    for row, values in classes.values(results, unit).items():
        table.add_row(Text(row), *(Text(fixed(v.get("mean")), style="bold" if best else "") for v, best in values))
    return table


def _cell(row: Mapping[str, Any], unit: str, best: bool, metric: str) -> Text:
    measures = row.get(MEAN) if unit == MEAN else row["units"].get(unit)
    auc = (measures or {}).get(metric, {})
    text = fixed(auc.get("mean"))
    if auc.get("low") is not None:
        text += f" ±{(auc['high'] - auc['low']) / 2:.4f}"
    return Text(text, style="bold" if best else "")


def _caption(results: Mapping[str, Any]) -> str:
    p = results["protocol"]
    half = f"± half of the {p['confidence'] * 100:g} % interval, by user"
    said = [f"split {p['split']}, {p['cohort']}, candidates: {p['candidates']}; {half}", under(results)]
    said += [averaged(results, lead(results)), untested(results), not_compared(results)]
    return ". ".join(s.rstrip(".") for s in said if s)
