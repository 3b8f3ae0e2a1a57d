"""Runs of many domains: a table that is read at a glance, and the domains one below the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.evaluation.sizes import NAMES, NEARNESS
from raytune_rec.report import probabilities, words
from raytune_rec.report.run import Run, many, title
from raytune_rec.report.tables import web
from raytune_rec.report.tables.web import Cell, Line, WebTable

PARTS = {"rows": "mean by rows", **{name: f"{name} third" for name in NAMES}}
BY_DISTANCE = dict(zip(NEARNESS, ("near third", "third between", "far third"), strict=True))
_DISTANCE = (
    "how far the users of a {word}'s training rows (and the items, where they are shared) are from those of all others: "
    "1 - Morisita's index of overlap, 0 where the same come equally often in both, 1 where none is in both"
)


def columns(results: Mapping[str, Any]) -> list[tuple[str, dict[str, Mapping[str, Any]]]]:
    """Heads with method -> {mean, low, high} of the metric that is told by size, of results of many units."""
    sizes = results["sizes"]
    plain = {m: facts.get(MEAN, {}).get(sizes["metric"], {}) for m, facts in results["methods"].items()}
    parts = [(head, {m: told.get(part, {}) for m, told in sizes["means"].items()}) for part, head in PARTS.items()]
    return [("mean", plain), *parts]


def best_in(results: Mapping[str, Any]) -> dict[str, int]:
    """Method -> on how many units no other has a higher test value."""
    won = [results["winners"].get(unit, {}).get("test") for unit in results["units"]]
    return {method: won.count(method) for method in results["methods"]}


def best(values: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The methods of the highest mean of a column: AUC or accuracy, so that higher is better."""
    known = {method: v["mean"] for method, v in values.items() if v.get("mean") is not None}
    return {method for method, mean in known.items() if mean == max(known.values())}


def main(run: Run, colour: Mapping[str, str]) -> WebTable:
    """Methods by means over all domains and over thirds of them, and what each method cost."""
    shown, won = columns(run.results), best_in(run.results)
    more = [metric for metric in run.beside if metric != run.results["sizes"]["metric"]]
    lines = []
    for name in run.methods:
        cells = [_mean(values.get(name, {}), name in best(values)) for _, values in shown]
        cells += [web.level(run, name, MEAN, metric) for metric in more]
        facts = run.results["methods"][name]
        lines.append(Line(name, colour[name], web.note(facts), [*cells, Cell(str(won[name])), *web.cost(facts)]))
    protocol, thirds, metric = run.results["protocol"], run.results["sizes"]["thirds"], run.results["sizes"]["metric"]
    rows = {name: [run.results["units"][u]["n"] for u in thirds[name]] for name in NAMES}
    ranges = words.listed([f"{name} {words.count(min(n))} to {words.count(max(n))}" for name, n in rows.items()])
    caption = (
        f"Test {title(metric)}, mean over {words.counted(len(run.units), run.unit_word)}, each counting the same or by its "
        f"test rows, and over thirds of them by size ({ranges}), with the {protocol['confidence'] * 100:g} % interval below; "
        "the best of a column is bold. Best in: on how many no other method has a higher value. "
        f"Split: {protocol['split']}; cohort: {protocol['cohort']}; {words.candidates(run.results)}. {words.spread(run.results)}"
        f"{words.averaged(run.results, metric, ' ')}{words.untested(run.results, ' ')}"
        f"{probabilities.warning(run.results, ' ')} "
        f"{web.effort(run)}"
    )
    means = [f"mean {title(metric)}" for metric in more]
    head = ["method", *(head for head, _ in shown), *means, "best in", "trials", "tuned", "search"]
    return WebTable(caption, head, lines, web.UNSEARCHED)


def gains(run: Run, colour: Mapping[str, str]) -> WebTable | None:
    """What the claiming methods gain over each baseline, by size of the domains; None where nothing is compared."""
    told = run.results.get("sizes", {}).get("differences", [])
    pairs = dict.fromkeys((c["method"], c["baseline"]) for c in told)
    if not pairs or not run.results["sizes"]["thirds"]:
        return None
    metric = run.results["sizes"]["metric"]
    parts = {**PARTS, **BY_DISTANCE} if run.results["sizes"].get("nearness") else PARTS
    by_part = {(c["method"], c["baseline"], c["of"]): c for c in told}
    lines = []
    for method, baseline in pairs:
        each = [by_part[method, baseline, part] for part in parts]
        cells = [Cell(words.signed(c["difference"]), web.span(c["low"], c["high"])) for c in each]
        lines.append(Line(method, colour[method], f"minus {baseline}", cells))
    far = f", and {_distances(run)}" if parts is not PARTS else ""
    caption = (
        f"Paired differences of test {title(metric)}: of the mean that counts each {run.unit_word} by its test rows, and of "
        f"the plain means over thirds of them by test rows{far}. Intervals are by user, and not corrected for "
        "their number."
    )
    return WebTable(caption, ["method", *parts.values()], lines)


def _distances(run: Run) -> str:
    """Which thirds by distance there are, and what a distance is; empty where there are none."""
    sizes = run.results["sizes"]
    if not (near := sizes.get("nearness")):
        return ""
    ends = {name: [sizes["distances"][unit] for unit in near[name]] for name in BY_DISTANCE}
    ranges = words.listed([f"{name} {min(d):.2f} to {max(d):.2f}" for name, d in ends.items()])
    return f"by distance ({ranges}): {_DISTANCE.format(word=run.unit_word)}"


def by_distance(run: Run, colour: Mapping[str, str]) -> WebTable | None:
    """Methods by means over thirds of the domains by distance; None where there are none."""
    sizes = run.results.get("sizes", {})
    if not sizes.get("nearness"):
        return None
    shown = [{m: told.get(part, {}) for m, told in sizes["means"].items()} for part in BY_DISTANCE]
    marked = [(values, best(values)) for values in shown]
    lines = [Line(m, colour[m], "", [_mean(values.get(m, {}), m in top) for values, top in marked]) for m in run.methods]
    caption = f"Test {title(sizes['metric'])}, plain means over thirds of {run.unit_word}s {_distances(run)}."
    return WebTable(caption, ["method", *BY_DISTANCE.values()], lines)


def _mean(value: Mapping[str, Any], best: bool) -> Cell:
    return Cell(words.fixed(value.get("mean")), web.span(value.get("low"), value.get("high"), plain=True), best)


def domains(run: Run) -> WebTable:
    """Domains by methods, the smallest first."""
    units = sorted(run.units, key=lambda unit: run.results["units"][unit]["n"])
    far = run.results["sizes"].get("distances", {})
    notes = {
        u: f"{words.count(run.results['units'][u]['n'])} rows{f', distance {far[u]:.2f}' if u in far else ''}" for u in units
    }
    lines = [Line(unit, "", notes[unit], [web.level(run, m, unit) for m in run.methods]) for unit in units]
    caption = f"Test {title(run.own)} of each {run.unit_word}, the best of a line bold."
    return WebTable(caption, [run.unit_word, *run.methods], lines)


def upright(table: WebTable | None, head: str) -> WebTable | None:
    """The same with its columns as lines, under a head of their own."""
    if table is None:
        return None
    lines = [Line(name, "", "", [line.cells[i] for line in table.lines]) for i, name in enumerate(table.head[1:])]
    return replace(table, head=[head, *(line.name for line in table.lines)], lines=lines)


def drawn(run: Run) -> dict[str, str]:
    """Of `run.searches` those with charts of their own: of many units six of all sizes, else all."""
    if not many(run.results):
        return run.searches
    by_size = sorted(run.searches, key=lambda name: run.results["units"].get(run.searches[name], {}).get("n", 0))
    places = dict.fromkeys(round(i * (len(by_size) - 1) / 5) for i in range(6))
    return {by_size[place]: run.searches[by_size[place]] for place in places}
