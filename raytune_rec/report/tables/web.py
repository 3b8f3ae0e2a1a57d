"""The page's tables: every number as the text that is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.report import probabilities, words
from raytune_rec.report.run import Run, best_of, metric_of, title


@dataclass(frozen=True)
class Cell:
    """A number, a second line below it, and whether it is the best of its column."""

    text: str
    below: str = ""
    best: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a table: its name with a swatch and a note, then its cells."""

    name: str
    colour: str
    note: str
    cells: Sequence[Cell] = field(default_factory=tuple)


@dataclass(frozen=True)
class WebTable:
    """A caption tells what a dash stands for, where there is one: `dash` in its words."""

    caption: str
    head: Sequence[str]
    lines: Sequence[Line]
    dash: str = "not measured"

    @property
    def explained(self) -> str:
        dashes = any(words.NONE in (cell.text, cell.below) for line in self.lines for cell in line.cells)
        return f"{self.caption} {words.NONE}: {self.dash}." if dashes else self.caption


UNSEARCHED = "not measured, or nothing was searched"
"""What a dash stands for beside the cost of methods."""


def columns(run: Run) -> list[str]:
    """Units, and their mean where there are several and it says something."""
    return [*run.units, MEAN] if len(run.units) > 1 and run.averaged else run.units


def main(run: Run, colour: Mapping[str, str]) -> WebTable:
    """Methods by units, and what each method cost."""
    protocol, places = run.results["protocol"], [(unit, metric) for unit in columns(run) for metric in run.beside]
    lines = []
    for method in run.methods:
        facts = run.results["methods"][method]
        cells = [level(run, method, unit, metric) for unit, metric in places]
        lines.append(Line(method, colour[method], note(facts), [*cells, *cost(facts)]))
    of_list = " of a list (the chance that its positive stands above another)" if run.own == "auc" else ""
    over = f"{of_list}, mean over lists and" if run.lists else ", mean over"
    lower = f"{title('logloss')}: lower is better; " if "logloss" in run.beside else ""
    caption = (
        f"Test {words.listed([title(metric) for metric in run.beside])}{over} replicates, with the "
        f"{protocol['confidence'] * 100:g} % interval below it; {lower}the best of a column is bold. "
        f"Split: {protocol['split']}; cohort: {protocol['cohort']}; {words.candidates(run.results)}."
        f"{words.pooled(run, ' ', '.')} {words.spread(run.results)}{words.averaged(run.results, run.own, ' ')}"
        f"{words.untested(run.results, ' ')}{probabilities.warning(run.results, ' ')} "
        "Intervals of levels hold the chance of the test users, whom all methods "
        "share; methods are judged by their paired differences below. "
        f"{effort(run)}"
    )
    heads = [unit if metric == run.own else f"{unit}: {title(metric)}" for unit, metric in places]
    return WebTable(caption, ["method", *heads, "trials", "tuned", "search"], lines, UNSEARCHED)


FURTHER = [("auc", "AUC"), ("logloss", "log loss"), ("group_auc", "user AUC"), ("calibration_error", "calibration error")]


def further(run: Run, colour: Mapping[str, str], shown: Sequence[str]) -> WebTable | None:
    """The other metrics of rows with labels, of each method on each unit; None of lists.

    Args:
        shown: metrics that stand elsewhere.
    """
    there = {name for r in run.methods for u in run.units for name in run.measures(r, u)}
    names = [(n, t) for n, t in FURTHER if n in there and n not in shown]
    if run.lists or run.classes or not names:
        return None
    head = [f"{unit}: {title}" for unit in columns(run) for _, title in names]
    lines = []
    for method in run.methods:
        cells = []
        for unit in columns(run):
            for name, _ in names:
                listed = run.measures(method, unit).get(name, {})
                sd = listed.get("sd")
                cells.append(Cell(words.fixed(listed.get("mean")), f"sd {words.fixed(sd)}" if sd is not None else ""))
        lines.append(Line(method, colour[method], "", cells))
    caption = (
        "Mean over replicates, with their standard deviation. Log loss and calibration error (15 bins of equal mass): lower "
        "is better. User AUC: mean over users who have both labels, weighted by their rows; higher is better."
    )
    return WebTable(caption, ["method", *head], lines)


def cohorts(run: Run, colour: Mapping[str, str]) -> WebTable | None:
    """AUC of each cohort, where the results have any; those of lists stand by the items that they tell of."""
    if run.lists:
        return None
    pairs = [(u, c) for u in run.units for c in _cohort_names(run, u)]
    if not pairs:
        return None
    lines = []
    for method in run.methods:
        listed = [run.measures(method, u).get("cohorts", {}).get(c, {}) for u, c in pairs]
        cells = [Cell(words.fixed(f.get("auc", {}).get("mean")), f"n {words.count(f.get('n'))}") for f in listed]
        lines.append(Line(method, colour[method], "", cells))
    head = ["method", *[f"{u}: {c.replace('_', ' ')}" for u, c in pairs]]
    return WebTable("Test AUC of cohorts of the test rows.", head, lines, "no AUC, for want of rows of both labels")


def comparisons(run: Run, colour: Mapping[str, str]) -> WebTable | None:
    """Every tested difference."""
    listed = run.results["comparisons"]
    if not listed:
        return None
    confidence = run.results["protocol"]["confidence"]
    several = len(run.compared) > 1
    said = {"ahead": "better", "leaning": "undecided", "open": "undecided", "trailing": "undecided", "behind": "worse"}
    lines = []
    for c in listed:
        cells = [
            Cell(c["baseline"]),
            Cell(c["unit"]),
            *([Cell(title(metric_of(c)))] if several else []),
            Cell(words.signed(c["difference"]), best=words.outcome(c, confidence) == "ahead"),
            Cell(span(c["low"], c["high"])),
            Cell(words.p_value(c["p"])),
            Cell(words.p_value(c["p_holm"])),
            Cell(words.count(c["users"])),
            Cell(words.count(c["pretrainings"])),
            Cell(said[words.outcome(c, confidence)]),
        ]
        lines.append(Line(c["method"], colour[c["method"]], "", cells))
    caption = (
        f"Paired differences of test {words.listed([title(m) for m in run.compared])}, with {confidence * 100:g} % intervals. "
        f"{words.spread(run.results)} p: of a difference of zero; p, Holm: corrected for all lines of this table; users: who has "
        "rows under the difference; pre-trainings: how many stand under the method of the two that has fewest (none: both start "
        f"from scratch).{words.averaged(run.results, run.lead, ' ')}{words.not_compared(run.results, ' ')}"
    )
    head = ["method", "baseline", run.unit_word, *["metric"][: int(several)], "difference", "interval", "p", "p, Holm"]
    dash = "nothing to be told: equal on every row, too few users to tell, or no pre-training under it"
    return WebTable(caption, [*head, "users", "pre-trainings", "verdict"], lines, dash)


def winners(run: Run) -> list[tuple[str, str, str, str, str]]:
    """(method, tuning unit, trial, validation value, options) of each winner."""
    return [
        _winner(method, tuned, chosen)
        for method in run.methods
        for unit in run.searches.values()
        for tuned, chosen in run.chosen(method, unit).items()
    ]


def _winner(method: str, place: str, chosen: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    options = ", ".join(f"{k} = {words.option(v)}" for k, v in sorted(chosen.get("options", {}).items()))
    trial = words.NONE if chosen.get("trial") is None else str(chosen["trial"])
    return method, place, trial, words.fixed(chosen.get("valid")), options or words.NONE


def facts(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as (dotted name, text)."""
    if isinstance(value, Mapping):
        return [pair for k, v in value.items() for pair in facts(v, f"{prefix}.{k}" if prefix else str(k))]
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(words.option(v) for v in value))]
    return [(prefix, words.NONE if value is None else words.option(value))]


def pretraining(run: Run) -> list[tuple[str, str]]:
    """(pretraining, what it was) in words."""
    listed = []
    for name, v in run.pretrain.items():
        parts = []
        if v.get("parameters"):
            parts.append(f"{words.count(v['parameters'])} parameters")
        if v.get("curve"):
            parts.append(f"{len(v['curve']) - 1} epochs")
        if v.get("from"):  # what it took there is not known here
            parts.append("a finished backbone, trained in another run")
        elif v.get("seconds") is not None:
            parts.append(words.duration(v["seconds"]))
        if v.get("rows_per_second"):
            parts.append(f"{words.count(v['rows_per_second'])} rows a second")
        tried = v.get("trials")
        if tried:
            parts.append(f"{len(tried) if isinstance(tried, list) else tried} recipes tried")
        recipe = ", ".join(f"{k} = {t}" for k, t in facts(v.get("recipe") or {}))
        listed.append((name, "; ".join(parts + ([f"recipe: {recipe}"] if recipe else []))))
    return listed


def effort(run: Run) -> str:
    """What `cost` tells, in sentences."""
    searched = any(run.results["methods"][method].get("recipes") for method in run.methods)
    recipes = "Recipes: trials of the search of a pre-training, which all methods on it share. " if searched else ""
    return f"{recipes}Tuned: parameters trained for one {run.unit_word}, and their share of the backbone."


def cost(facts: Mapping[str, Any]) -> list[Cell]:
    """Trials (of its own search, and below those of its pre-training), tuned parameters and time of a method."""
    return [
        Cell(words.count(facts["trials"]), words.counted(recipes, "recipe") if (recipes := facts.get("recipes")) else ""),
        Cell(words.count(facts["tuned_parameters"]), words.percent(facts["tuned_share"])),
        Cell(words.duration(facts["seconds"]) if facts["trials"] else words.NONE),
    ]


def level(run: Run, method: str, unit: str, metric: str = "") -> Cell:
    """What a method reached on a unit in a metric, by default the first table's."""
    value = run.measures(method, unit).get(metric or run.own, {})
    return Cell(
        words.fixed(value.get("mean")),
        span(value.get("low"), value.get("high"), plain=True),
        best_of(run.results, unit, metric) == method,
    )


def span(low: float | None, high: float | None, plain: bool = False) -> str:
    """An interval, of a difference or `plain`."""
    if low is None or high is None:
        return words.NONE
    write = words.fixed if plain else words.signed
    return f"{write(low)} to {write(high)}"


def note(facts: Mapping[str, Any]) -> str:
    """Who trains what, below the name of a method."""
    if among := facts.get("among"):
        return f"by validation, of {words.listed(among)}"
    parts = [facts["strategy"], facts["backbone"], *([f"prompt {facts['prompt']}"] if facts["prompt"] != "none" else [])]
    if facts["baseline"]:
        parts.append("baseline")
    return " · ".join(parts)


def _cohort_names(run: Run, unit: str) -> list[str]:
    return list(dict.fromkeys(c for r in run.methods for c in run.measures(r, unit).get("cohorts", {})))
