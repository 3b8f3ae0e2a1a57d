"""The page's tables of cold items beside warm ones: how their scores lie, and accuracy by how often an item was taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_rec.data.cold_items import COLD
from raytune_rec.evaluation.measures.spread import KINDS
from raytune_rec.report import words
from raytune_rec.report.run import Run, title
from raytune_rec.report.tables.web import Cell, Line, WebTable

CLASSES = ("ndcg@10", "hit@10")
"""Metrics of the classes of items."""


def of_scores(run: Run) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Unit -> method -> how its scores lie, where that was measured."""
    found = {unit: {m: s for m in run.methods if (s := run.measures(m, unit).get("scores"))} for unit in run.units}
    return {unit: methods for unit, methods in found.items() if methods}


def classed(run: Run) -> dict[str, list[str]]:
    """Unit -> its classes of items by how often they were taken, of units of lists that have any; JSON has them in no order."""
    cohorts = {unit: [of for m in run.methods if (of := run.measures(m, unit).get("cohorts"))] for unit in run.units}
    known = {unit: of_unit[0] for unit, of_unit in cohorts.items() if of_unit and run.lists}
    return {unit: sorted(classes, key=lambda name: int(name.partition(" ")[0])) for unit, classes in known.items()}


def scores(run: Run, colour: Mapping[str, str]) -> WebTable | None:
    """Where cold positives and cold negatives score on average, and how often a cold positive is above a warm negative."""
    lines = [
        Line(method, colour[method], "", [Cell(words.fixed(s["above"])), *(Cell(words.signed(s[k]["mean"])) for k in KINDS[:2])])
        for methods in of_scores(run).values()
        for method, s in methods.items()
    ]
    if not lines:
        return None
    caption = (
        "The chance that a cold item that was taken scores above a warm one that was not, of any test lists (a tie counts half), "
        "and mean scores, in standard deviations of the warm negatives from their mean. These are levels and no comparisons: a "
        "model that scores all cold items higher has high ones everywhere. Missing: methods that score all warm candidates the "
        "same."
    )
    return WebTable(caption, ["method", "cold positive above warm negative", *KINDS[:2]], lines)


def by_count(run: Run, colour: Mapping[str, str]) -> list[WebTable]:
    """For each metric, methods by classes of items."""
    pairs = [(unit, name) for unit, classes in classed(run).items() for name in classes]
    return [_by_count(run, colour, pairs, metric) for metric in CLASSES] if pairs else []


def added(run: Run, colour: Mapping[str, str]) -> WebTable | None:
    """What methods reach on items that came after the run; None where none did."""
    lines = []
    for grown in run.grown:
        units = ", ".join(grown.results["tables"][COLD])
        for method, facts in grown.results["methods"].items():
            found = [facts["units"].get(COLD, {}).get(metric, {}) for metric in CLASSES]
            cells = [_cell(m.get("mean"), m.get("low"), m.get("high")) for m in found]
            told = [Cell(words.count(grown.items)), Cell(words.count(grown.results["units"][COLD]["n"]))]
            name = f"{grown.name}: {method}"
            lines.append(Line(name, colour.get(method, "transparent"), units, [*told, *cells]))
    if not lines:
        return None
    caption = (
        "Groups of items that the run did not have, added by `tune --only-new`: tuned with what won on their domain's largest "
        "group, without a search; what all items share stayed as it was, and so did all other prompts. Test rows of these items "
        "alone, mean over lists and replicates, with intervals by user below it."
    )
    return WebTable(caption, ["method", "items", "rows", *map(title, CLASSES)], lines)


def _by_count(run: Run, colour: Mapping[str, str], pairs: list[tuple[str, str]], metric: str) -> WebTable:
    lines, sizes = list[Line](), dict[tuple[str, str], Mapping[str, Any]]()
    for method in run.methods:
        found = [run.measures(method, unit).get("cohorts", {}).get(name, {}) for unit, name in pairs]
        sizes |= {pair: f for pair, f in zip(pairs, found, strict=True) if f}
        values = [f.get(metric, {}) for f in found]
        lines.append(Line(method, colour[method], "", [_cell(v.get("mean"), v.get("low"), v.get("high")) for v in values]))
    counts = [Cell(words.count(sizes[pair]["n"]), f"{words.count(sizes[pair]['users'])} users") for pair in pairs]
    caption = (
        f"Test {title(metric)} by how often training met a list's positive item, mean over lists and replicates, with the "
        f"{run.results['protocol']['confidence'] * 100:g} % interval by user below it."
    )
    return WebTable(
        caption, ["method", *(f"{u}, {name}" for u, name in pairs)], [Line("lists", "transparent", "", counts), *lines]
    )


def _cell(mean: float | None, low: float | None, high: float | None) -> Cell:
    return Cell(words.fixed(mean), "" if low is None else f"{words.fixed(low)} to {words.fixed(high)}")
