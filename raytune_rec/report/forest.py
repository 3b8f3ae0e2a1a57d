"""Differences to the baselines as charts: one panel for each unit and metric, and one for the mean over units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from raytune_rec.report import charts, words
from raytune_rec.report.panels import Colours, Group
from raytune_rec.report.run import Run, metric_of, title
from raytune_rec.report.theme import svg


def differences(run: Run, colour: Colours) -> Group | None:
    """All compared metrics one after the other; None where nothing was compared."""
    found = run.results["comparisons"]
    if not found:
        return None
    confidence = run.results["protocol"]["confidence"]
    rows = list(dict.fromkeys(c["row"] for c in found))
    panels = []
    for metric in run.compared:
        of_metric = [c for c in found if metric_of(c) == metric]
        limits = _limits(of_metric)
        for unit in dict.fromkeys(c["unit"] for c in of_metric):
            here = [c for c in of_metric if c["unit"] == unit and c["low"] is not None]
            panels.append(_panel(run, colour, here, unit, metric, limits))
    caption = (
        f"Test {words.listed([title(m) for m in run.compared])} of {words.listed(rows)} minus that of each baseline, with "
        f"{confidence * 100:g} % intervals over {run.drawn} and replicates. Right of zero is better. A "
        "filled dot stands after correction for the number of comparisons, a hollow one does not."
    )
    return Group(caption, panels, [(r, colour[r]) for r in rows])


def _limits(found: Sequence[Mapping[str, Any]]) -> charts.Range:
    """Zero and all intervals, with a margin."""
    ends = [v for c in found for v in (c["low"], c["high"]) if v is not None] or [-0.01, 0.01]
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _panel(run: Run, colour: Colours, found: Sequence[Mapping[str, Any]], unit: str, metric: str, limits: charts.Range) -> Markup:
    confidence = run.results["protocol"]["confidence"]
    rows, baselines = (list(dict.fromkeys(c[k] for c in run.results["comparisons"])) for k in ("row", "baseline"))
    effects = [
        charts.Effect(
            line=baselines.index(c["baseline"]) + (rows.index(c["row"]) - (len(rows) - 1) / 2) * 0.7 / len(rows),
            mean=c["difference"],
            low=c["low"],
            high=c["high"],
            colour=colour[c["row"]],
            clear=words.outcome(c, confidence) in ("ahead", "behind"),
        )
        for c in found
    ]
    name = unit if len(run.compared) == 1 else f"{unit}: {title(metric)}"
    figure = charts.forest(name, effects, baselines, limits, f"difference in test {title(metric)}")
    said = "; ".join(f"{c['row']} minus {c['baseline']} {words.signed(c['difference'])}" for c in found)
    return svg(figure, f"Differences in test {title(metric)} {words.place(unit)}: {said}.")
