"""The results tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.report import missing
from raytune_rec.report.run import best_of, own, title
from raytune_rec.report.run import many as of_many
from raytune_rec.report.tables import many, predictions, rankings
from raytune_rec.report.words import averaged, candidates, count, fixed, not_compared, percent, tied, under, untested


def console(results: Mapping[str, Any]) -> Group:
    """The main table; of candidate lists also the ranking metrics of each unit, sampled and full rankings apart.

    Args:
        results: content of `results.json`.
    """
    units = list(results.get("unit_order") or results["units"])
    tables: list[RenderableType] = [_Main(results, [*units, MEAN] if len(units) > 1 and MEAN in results["winners"] else units)]
    if results.get("kind") == "lists":
        for prefix in rankings.prefixes(results):
            tables += [_ranking(results, unit, prefix) for unit in units if rankings.measured(results, unit, prefix)]
    if results.get("kind") == "classes":
        tables += [_classes(results, unit) for unit in units]
    return Group(*tables, *(Text(line) for line in missing.lines(results)))


class _Main:
    """Methods by units: mean test value of the job's own metric with half the width of its interval, best in bold, trials spent,
    those of the pre-training's recipe, and parameters tuned. Of many units means over all and over thirds of them, of the metric
    that is told by size.

    Where the console is too narrow for all columns, they follow in blocks, each with the names of the methods.
    """

    def __init__(self, results: Mapping[str, Any], units: Sequence[str]) -> None:
        self._results = results
        self._methods = list(results.get("method_order") or results["methods"])
        if of_many(results):
            won, self._metric = many.best_in(results), results["sizes"]["metric"]
            self._columns = [(head, _means(self._methods, values)) for head, values in many.columns(results)]
            self._columns.append(("best in", [Text(str(won[name])) for name in self._methods]))
        else:
            self._metric = own(results)
            self._columns = [(unit, [self._cell(name, unit) for name in self._methods]) for unit in units]
        facts = [results["methods"][name] for name in self._methods]
        recipes = [method.get("recipes", 0) for method in facts]
        self._columns += [
            ("trials", [Text(count(method["trials"])) for method in facts]),
            *([("recipes", [Text(count(n)) for n in recipes])] if any(recipes) else []),
            ("tuned", [Text(count(method["tuned_parameters"])) for method in facts]),
            ("of backbone", [Text(percent(method["tuned_share"])) for method in facts]),
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        first = 0
        while first < len(self._columns):
            last = first + 1
            while last < len(self._columns) and self._width(console, options, first, last + 1) <= options.max_width:
                last += 1
            yield self._block(first, last)
            whole = not first and last == len(self._columns)
            first = last
        if not whole:
            yield Text(_caption(self._results, self._metric), style="table.caption")

    def _width(self, console: Console, options: ConsoleOptions, first: int, last: int) -> int:
        untitled = self._block(first, last)
        untitled.title = untitled.caption = None
        return Measurement.get(console, options.update(max_width=10**4), untitled).maximum

    def _block(self, first: int, last: int) -> Table:
        """Some of the columns; the title stands over the first block, the caption below the only one: the last of several may be
        narrow."""
        whole = not first and last == len(self._columns)
        caption = Text(_caption(self._results, self._metric)) if whole else None
        table = Table(title=None if first else Text(f"Test {title(self._metric)}"), caption=caption)
        table.add_column("method", overflow="fold")
        for name, cells in self._columns[first:last]:
            table.add_column(Text(name), justify="right", overflow="fold", min_width=max(len(cell) for cell in cells))
        for number, name in enumerate(self._methods):
            table.add_row(Text(name), *(cells[number] for _, cells in self._columns[first:last]))
        return table

    def _cell(self, name: str, unit: str) -> Text:
        best = best_of(self._results, unit) == name
        return _cell(self._results["methods"][name], unit, best, self._metric)


def _ranking(results: Mapping[str, Any], unit: str, prefix: str) -> Table:
    """Methods by metrics, means over lists and replicates, best in bold; narrow enough for 80 columns."""
    said = f"candidates: {rankings.candidates(results, unit, prefix)}; split {results['protocol']['split']}"
    said += tied(results, unit, ". ")
    table = Table(title=Text(rankings.heading(results, unit, prefix)), caption=Text(said), box=SIMPLE_HEAD, padding=0)
    table.add_column("method", overflow="fold")
    names = rankings.metrics(results, unit, prefix)
    for name in names:
        table.add_column(title(name).replace("@", "\n@").replace(" ", "\n"), justify="right", no_wrap=True, min_width=6)
    for method, values in rankings.values(results, unit, prefix).items():
        cells = [Text(fixed(mean), style="bold" if best else "") for mean, _, best in values]
        table.add_row(Text(method), *(cells or [Text(fixed(None))] * len(names)))
    return table


def _classes(results: Mapping[str, Any], unit: str) -> Table:
    """Methods by metrics of the predicted classes."""
    names = predictions.metrics(results, unit)
    table = Table(
        title=Text(predictions.heading(unit)), caption=Text(predictions.base(results, unit)), box=SIMPLE_HEAD, padding=(0, 1)
    )
    table.add_column("method", overflow="fold")
    for name in names:
        table.add_column(title(name).replace(" of ", "\nof "), justify="right", no_wrap=True)
    for method, values in predictions.values(results, unit).items():
        table.add_row(Text(method), *(Text(fixed(v.get("mean")), style="bold" if best else "") for v, best in values))
    return table


def _means(methods: Sequence[str], values: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """A column of means over units, the best in bold."""
    best = many.best(values)
    return [_value(values.get(name, {}), name in best) for name in methods]


def _cell(method: Mapping[str, Any], unit: str, best: bool, metric: str) -> Text:
    measures = method.get(MEAN) if unit == MEAN else method["units"].get(unit)
    return _value((measures or {}).get(metric, {}), best)


def _value(auc: Mapping[str, Any], best: bool) -> Text:
    text = fixed(auc.get("mean"))
    if auc.get("low") is not None:
        text += f" ±{(auc['high'] - auc['low']) / 2:.4f}"
    return Text(text, style="bold" if best else "")


def _caption(results: Mapping[str, Any], metric: str) -> str:
    p = results["protocol"]
    half = f"± half of the {p['confidence'] * 100:g} % interval, by user"
    said = [f"split {p['split']}, {p['cohort']}, {candidates(results)}; {half}", under(results)]
    said += [averaged(results, metric), untested(results), not_compared(results)]
    return ". ".join(s.rstrip(".") for s in said if s)
