"""Differences to the baselines as charts: one panel for each unit and metric, and one for the mean over units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.report import words
from raytune_rec.report.pictures import charts
from raytune_rec.report.pictures.panels import Colours, PanelGroup
from raytune_rec.report.pictures.theme import svg
from raytune_rec.report.run import Run, many, metric_of, title


def differences(run: Run, colour: Colours) -> list[PanelGroup]:
    """One group for each compared metric."""
    return [group for metric in run.compared if (group := _group(run, colour, metric))]


def _group(run: Run, colour: Colours, metric: str) -> PanelGroup | None:
    every = [c for c in run.results["comparisons"] if metric_of(c) == metric]
    of_mean = [c for c in every if c["unit"] == MEAN]
    every = of_mean if of_mean and many(run.results) else every
    comparisons = [c for c in every if {c["method"], c["baseline"]} <= set(run.charted(c["unit"]))]
    if not comparisons:
        return None
    methods, limits = list(dict.fromkeys(c["method"] for c in comparisons)), _limits(comparisons)
    units = dict.fromkeys(c["unit"] for c in comparisons)
    panels = [_panel(run, colour, [c for c in comparisons if c["unit"] == unit], methods, metric, limits) for unit in units]
    caption = (
        f"Test {title(metric)} of {words.listed(methods)} minus that of each baseline, with "
        f"{run.results['protocol']['confidence'] * 100:g} % intervals by user. Right of zero is better. A filled dot "
        "stands after correction for the number of comparisons, a hollow one does not. "
        f"{words.spread(run.results)}{_left_out(run, every)}"
    )
    return PanelGroup(caption, panels, [(r, colour[r]) for r in methods], title(metric))


def _left_out(run: Run, comparisons: Sequence[Mapping[str, Any]]) -> str:
    """Which methods that were compared are not drawn, and why."""
    compared = [(method, c["unit"]) for c in comparisons for method in (c["method"], c["baseline"])]
    pairs = dict.fromkeys((method, unit) for method, unit in compared if method in run.tied(unit))
    said = words.listed([f"{method} {words.place(unit)}" for method, unit in pairs])
    return f" Left out: {said}, where all candidates of a list score the same." if said else ""


def _limits(comparisons: Sequence[Mapping[str, Any]]) -> charts.Range:
    """Zero and all intervals, with a margin."""
    ends = [v for c in comparisons for v in (c["low"], c["high"]) if v is not None] or [-0.01, 0.01]
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _panel(
    run: Run, colour: Colours, comparisons: Sequence[Mapping[str, Any]], methods: Sequence[str], metric: str, limits: charts.Range
) -> Markup:
    """The differences on one unit."""
    unit, confidence = comparisons[0]["unit"], run.results["protocol"]["confidence"]
    baselines = list(dict.fromkeys(c["baseline"] for c in comparisons))
    comparisons = [c for c in comparisons if c["low"] is not None]
    effects = [
        charts.Effect(
            line=baselines.index(c["baseline"]) + (methods.index(c["method"]) - (len(methods) - 1) / 2) * 0.7 / len(methods),
            mean=c["difference"],
            low=c["low"],
            high=c["high"],
            colour=colour[c["method"]],
            clear=words.outcome(c, confidence) in ("ahead", "behind"),
            said=f"{c['method']} minus {c['baseline']} {words.signed(c['difference'])} "
            f"({words.signed(c['low'])} to {words.signed(c['high'])})",
        )
        for c in comparisons
    ]
    figure = charts.forest(unit, effects, baselines, limits, f"difference in test {title(metric)}")
    said = "; ".join(f"{c['method']} minus {c['baseline']} {words.signed(c['difference'])}" for c in comparisons)
    return svg(figure, f"Differences in test {title(metric)} {words.place(unit)}: {said}.")
