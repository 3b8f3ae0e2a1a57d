"""The page's table of what validation chose among, unit by unit, where it chose the method of each artifact."""

from __future__ import annotations

from raytune_rec.report import words
from raytune_rec.report.run import Run
from raytune_rec.report.tables.web import Cell, Line, WebTable


def table(run: Run) -> WebTable | None:
    """Units by competing methods; None where there was no choice."""
    told = run.results.get("choice")
    if not told:
        return None
    units = told["units"]
    methods = [method for method in run.methods if any(method in of_unit["valid"] for of_unit in units.values())]
    lines = [
        Line(unit, "", "", [Cell(words.fixed(of["valid"].get(method)), best=of["method"] == method) for method in methods])
        for unit, of in units.items()
    ]
    won = [of_unit["method"] for of_unit in units.values()]
    counts = words.listed([f"{method} {won.count(method)}" for method in methods])
    means = told["pretrainings"]
    others = [f"{name} {words.fixed(mean)}" for name, mean in means.items() if name != told["pretraining"]]
    beside = (
        f" Its mean over {run.unit_word}s is {words.fixed(means.get(told['pretraining']))}, others reach {words.listed(others)}."
    )
    caption = (
        f"Validation {run.metric_title}, mean over the replicates on the first backbone of pre-training {told['pretraining']}; "
        f"the best of a line is bold and became the artifact, and `best` in the table above is it: {counts} of "
        f"{words.counted(len(units), run.unit_word)}. The test rows had no part in it.{beside}"
    )
    return WebTable(caption, [run.unit_word, *methods], lines)
