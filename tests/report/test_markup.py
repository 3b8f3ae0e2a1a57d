"""Names are shown as they are: nothing in them is markup of the console, of Markdown, of HTML or of a formula."""

from __future__ import annotations

import io
import re
import warnings

from rich.console import Console

from raytune_rec.artifacts.card import card, plain
from raytune_rec.artifacts.prompt_facts import PromptFacts, StrategyFacts
from raytune_rec.command.show import console as output
from raytune_rec.report.pictures import charts, theme
from raytune_rec.report.tables.terminal import console
from raytune_rec.task import Task, Unit

NAMES = ("[bold]y", "a[v1]", "b[/c]", ":smile:", "$x^$")


def test_a_table_shows_names_as_they_are() -> None:
    row = {
        "trials": 1,
        "tuned_parameters": 1,
        "tuned_share": 0.5,
        "pretrainings": 0,
        "units": {n: {"auc": {"mean": 0.5}} for n in NAMES},
    }
    protocol = {"split": "[red]s", "cohort": "all", "candidates": "c[/x]", "confidence": 0.95, "metric": "auc"}
    results = {"units": {n: {} for n in NAMES}, "methods": {"r[/b]": row}, "winners": {}, "protocol": protocol}
    shown = io.StringIO()
    Console(file=shown, width=400, emoji=False).print(console(results))
    assert [name for name in (*NAMES, "r[/b]", "[red]s", "c[/x]") if name not in shown.getvalue()] == []
    assert not output(markup=False)._markup and not output()._emoji


def test_a_card_shows_names_as_they_are() -> None:
    said = plain("a|b <img src=x onerror=y> **x** `z` [l](u)\n# h")
    assert not set("|<>*`[]#\n") & set(said.replace("&#", "")) and "onerror=y" in said
    assert plain("music, few.1") == "music, few.1"


def test_a_card_shows_an_attribute_as_it_is_called() -> None:
    """It is the log's own word."""
    name = "<img src=x onerror=y> `**z**`"
    strategy = StrategyFacts(name="prompt", start="backbone", train=("prompt",), prompt="on")
    facts = PromptFacts(
        unit=Unit.of_fold(name, 1), method=name, strategy=strategy, prompt="ppr", prompt_options={}, backbone="sasrec",
        backbone_options={}, backbone_fingerprint="0" * 16, data_fingerprint="1" * 16, task=Task("classes", 9, name),
        parameters={}, tuned_parameters=1, trial=0, about=name,
    )  # fmt: skip
    said = card(facts)
    code = re.findall(r"```python.*?```", said, re.DOTALL)
    assert len(code) == 1 and "<img" in code[0] and "`" not in code[0].removeprefix("```python").removesuffix("```")
    assert "<img" not in said.replace(code[0], "") and "**z**" not in said.replace(code[0], "")


def test_a_chart_takes_no_name_for_a_formula() -> None:
    with theme.panel("$x^$ and $") as (figure, _):
        assert "$x^$ and $" in theme.svg(figure, "alt")


def test_a_chart_cuts_names_to_the_room_that_it_has() -> None:
    """Wide letters are of no font that draws it: the reader's own does."""
    names = ["\u66f8" * 90, "n" * 90, "short"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = theme.svg(charts.bars(names[0], names, [1.0, 2.0, 3.0], ["1,234 (5 %)"] * 3, ["#111111"] * 3, "x"), "alt")
    drawn = re.findall(r">([^<>]+)</text>", shown)
    assert {"n" * 27 + "\u2026", "\u66f8" * 13 + "\u2026", "\u66f8" * 17 + "\u2026", "short"} <= set(drawn)
    assert theme.cut("n" * 28, 28) == "n" * 28
