"""Cold items beside warm ones: how their scores lie, and what methods reach by how often an item was taken in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from raytune_rec.evaluation.measures.spread import KINDS
from raytune_rec.report import words
from raytune_rec.report.pictures.panels import Colours, PanelGroup
from raytune_rec.report.pictures.theme import MUTED, PALETTE, panel, svg, tell
from raytune_rec.report.run import Run, title
from raytune_rec.report.tables.cold_items import CLASSES, classed, of_scores

_COLOURS = (PALETTE[0], PALETTE[2], PALETTE[1])
"""Of `KINDS`."""
_SHADES = {"warm": MUTED, "cold": PALETTE[1]}


def scores(run: Run) -> PanelGroup | None:
    """Histograms of what positives and other candidates score, one panel for each method that is drawn."""
    panels = [
        _scores(method, of_method, run.results["units"][unit]["score_edges"])
        for unit, methods in of_scores(run).items()
        for method, of_method in methods.items()
        if method in _drawn(run)
    ]
    if not panels:
        return None
    caption = (
        "Test lists whose positive is cold: what the positives score, and the other candidates, cold and warm. A score is "
        "told by its distance from the mean of the warm candidates, in their standard deviations, of each replicate by itself; "
        "shares are means over replicates. Higher scores stand right; the outermost classes are open. Warm negatives that stand "
        "as far right as cold positives hide them. All methods are in the table."
    )
    return PanelGroup(caption, panels, list(zip(KINDS, _COLOURS, strict=True)), "Scores of cold and warm items")


def _drawn(run: Run) -> list[str]:
    """Methods that claim or are compared with; all of them where none claims."""
    return [m for m in run.methods if not run.claims or m in run.claims or run.results["methods"][m]["baseline"]]


def _scores(method: str, of_method: Mapping[str, Any], edges: Sequence[float]) -> Markup:
    width = edges[1] - edges[0]
    ends = [edges[0] - width, *edges, edges[-1] + width]
    with panel(method) as (figure, axes):
        for kind, colour in zip(KINDS, _COLOURS, strict=True):
            shares = of_method[kind]["shares"]
            axes.stairs(shares, ends, fill=True, color=colour, alpha=0.18)
            axes.stairs(shares, ends, color=colour, linewidth=1.2)
        axes.set_xlim(ends[0], ends[-1])
        axes.set_xlabel("score, deviations of warm negatives")
        axes.set_ylabel("share")
    said = ", ".join(f"{kind} {words.signed(of_method[kind]['mean'])}" for kind in KINDS)
    above = f"a cold positive scores above a warm negative with chance {words.fixed(of_method['above'])}"
    return svg(figure, f"Scores under {method}, means in deviations of the warm negatives: {said}; {above}.")


def item_map(run: Run) -> PanelGroup | None:
    """The items of one unit before and after its tuning, on the same axes."""
    told = run.results.get("item_map")
    if not told:
        return None
    every = [point for kind in _SHADES for name in ("before", "after") for point in told[kind][name]]
    limits = [(min(values), max(values)) for values in zip(*every, strict=True)]
    panels = [
        svg(
            _places({kind: told[kind][name] for kind in _SHADES}, f"{name} tuning", limits),
            f"Items {name} tuning: of the ten nearest items of a cold one {words.percent(told['near'][name])} are cold.",
        )
        for name in ("before", "after")
    ]
    drawn = {kind: f"{words.count(len(told[kind]['before']))} of {words.count(told[kind]['items'])} {kind}" for kind in _SHADES}
    all_drawn = all(len(told[kind]["before"]) == told[kind]["items"] for kind in _SHADES)
    sampled = "" if all_drawn else f" (a sample, seed {told['seed']})"
    shares = words.listed([words.percent(share) for share in told["explained"]])
    caption = (
        f"Vectors of items under {told['method']} on {told['unit']} (the replicate that is its artifact) and under its "
        f"pre-trained backbone: {drawn['cold']} items of the unit and {drawn['warm']} ones{sampled}. Both pictures have the two "
        f"principal axes of all these vectors, which hold {shares} of their variance (the paper draws t-SNE, each model by "
        "itself). Of the ten items nearest to a cold one, in all dimensions, "
        f"{words.percent(told['near']['before'])} are cold before and {words.percent(told['near']['after'])} after."
    )
    key = [("cold items", _SHADES["cold"]), ("warm items", "var(--muted)")]
    return PanelGroup(caption, panels, key, "Items before and after tuning")


def _places(points: Mapping[str, Sequence[Sequence[float]]], name: str, limits: Sequence[tuple[float, float]]) -> Figure:
    with panel(name, height=2.8) as (figure, axes):
        for kind, colour in _SHADES.items():
            x, y = zip(*points[kind], strict=True) if points[kind] else ((), ())
            axes.plot(x, y, "o", color=colour, markersize=3 if kind == "warm" else 4, alpha=0.55, markeredgewidth=0)
        margins = [0.05 * (high - low) + 1e-9 for low, high in limits]
        for frame, (low, high), margin in zip((axes.set_xlim, axes.set_ylim), limits, margins, strict=True):
            frame(low - margin, high + margin)
        axes.set_xlabel("first principal axis")
        axes.set_ylabel("second principal axis")
    return figure


def by_count(run: Run, colour: Colours) -> list[PanelGroup]:
    """What methods reach by how often an item was taken, one group for each metric."""
    return [group for metric in CLASSES if (group := _by_count(run, colour, metric))]


def _by_count(run: Run, colour: Colours, metric: str) -> PanelGroup | None:
    panels, shown = [], dict[str, None]()
    for unit, classes in classed(run).items():
        methods = [m for m in run.charted(unit) if m in _drawn(run)]
        values = {m: cohorts for m in methods if (cohorts := run.measures(m, unit).get("cohorts"))}
        floor = run.results["units"][unit].get("constant", {}).get(metric)
        told = {
            method: words.listed([f"{words.fixed(cohorts[name][metric]['mean'])} at {name}" for name in classes])
            for method, cohorts in values.items()
        }
        said = "; ".join(f"{method} {told[method]}" for method in [m for m in told if m in run.claims] or told)
        panels.append(svg(_lines(run, unit, classes, values, metric, colour, floor), f"{title(metric)} in {unit}: {said}."))
        shown |= dict.fromkeys(values)
    if not panels:
        return None
    caption = (
        f"Test {title(metric)} by how many training rows the item has, from the number below each class to the next. Lines with "
        f"{run.results['protocol']['confidence'] * 100:g} % intervals by user are of methods that claim; dotted: what a constant "
        "score reaches. All methods with their intervals, and how many lists a class has, are in the table."
    )
    return PanelGroup(caption, panels, [(m, colour[m]) for m in run.methods if m in shown], title(metric))


def _lines(
    run: Run,
    unit: str,
    classes: Sequence[str],
    values: Mapping[str, Mapping[str, Any]],
    metric: str,
    colour: Colours,
    floor: float | None,
) -> Figure:
    at = range(len(classes))
    with panel(unit, height=2.4) as (figure, axes):
        for method, of_method in values.items():
            each = [of_method[c][metric] for c in classes]
            means = [e["mean"] for e in each]
            tell(axes, at, means, [f"{method}, {c}: {words.fixed(m)}" for c, m in zip(classes, means, strict=True)])
            if method in run.claims:
                axes.plot(at, means, "o-", color=colour[method], markersize=4, linewidth=1.6, zorder=3)
                for x, e in zip(at, each, strict=True):
                    if e["low"] is not None:
                        axes.plot([x, x], [e["low"], e["high"]], color=colour[method], linewidth=1.2, zorder=3)
            else:
                axes.plot(at, means, ".-", color=colour[method], linewidth=0.9, markersize=4, alpha=0.8)
        if floor is not None:
            axes.axhline(floor, color=MUTED, linewidth=0.9, linestyle=":")
        axes.set_xticks(at, [c.partition(" ")[0] for c in classes])
        axes.set_xlim(-0.5, len(classes) - 0.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("training rows of the item, from")
        axes.set_ylabel(f"test {title(metric)}")
    return figure
