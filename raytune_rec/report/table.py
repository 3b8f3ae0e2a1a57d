"""The results table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.report.words import count, fixed, percent


def console(results: Mapping[str, Any]) -> Table:
    """Rows by units: mean test AUC with half the width of its interval, best in bold, trials spent and parameters tuned.

    Args:
        results: content of `results.json`.
    """
    units = list(results.get("unit_order") or results["units"])
    columns = [*units, MEAN] if len(units) > 1 else units
    table = Table(title="Test AUC", caption=_caption(results))
    table.add_column("row", no_wrap=True)
    for unit in columns:
        table.add_column(unit, justify="right", no_wrap=True)
    for name in ("trials", "tuned", "of backbone"):
        table.add_column(name, justify="right")
    for name in results.get("row_order") or results["rows"]:
        row = results["rows"][name]
        cells = [_cell(row, unit, results["winners"].get(unit, {}).get("test") == name) for unit in columns]
        tail = (count(row["trials"]), count(row["tuned_parameters"]), percent(row["tuned_share"]))
        table.add_row(Text(name), *cells, *tail)
    return table


def _cell(row: Mapping[str, Any], unit: str, best: bool) -> Text:
    measures = row.get(MEAN) if unit == MEAN else row["units"].get(unit)
    auc = (measures or {}).get("auc", {})
    text = fixed(auc.get("mean"))
    if auc.get("low") is not None:
        text += f" ±{(auc['high'] - auc['low']) / 2:.4f}"
    return Text(text, style="bold" if best else "")


def _caption(results: Mapping[str, Any]) -> str:
    p = results["protocol"]
    return f"split {p['split']}, {p['cohort']}, candidates: {p['candidates']}; ± half of the {p['confidence'] * 100:g} % interval"
