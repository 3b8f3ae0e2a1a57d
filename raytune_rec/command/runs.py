"""What `runs` and `compare` print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table

from raytune_rec import runs
from raytune_rec.command.show import console
from raytune_rec.errors import ArtifactError, UserError
from raytune_rec.storage.files import write_text
from raytune_rec.storage.places import located, shown

_STYLE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Runs side by side</title><style>
body{font:16px/1.5 system-ui,sans-serif;margin:1rem;color-scheme:light dark}div{overflow-x:auto}
table{border-collapse:collapse}th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #8884}
tbody th{text-align:left;font-weight:normal}</style><h1>Runs side by side</h1>"""


def listed(folder: Path) -> None:
    """The runs in a folder: how far each is, and what leads there."""
    there = runs.found(folder)
    if not there:
        raise UserError(f"{folder}: there are no runs here; name the folder that holds run folders.")
    table = Table("run", "done", "best on test", box=None, header_style="bold", padding=(0, 2, 0, 0))
    damaged: list[str] = []
    for place, stages in there:
        best = "-"
        if "evaluate" in stages:
            try:
                best = _best(runs.open(place))
            except ArtifactError as error:  # the others are listed all the same
                best = "cannot be read"
                damaged += error.problems
        done = "all" if "report" in stages else f"up to {stages[-1]}" if stages else "nothing"
        table.add_row(place.name, done, best)
    console(markup=False).print(table)
    if damaged:
        raise ArtifactError(damaged)


def _best(run: runs.Run) -> str:
    values = run.results[run.results.metric == run.metric].groupby("method")["value"].mean()
    return f"{values.idxmax()} ({run.metric} {values.max():.4f})" if values.notna().any() else "-"


def compared(folders: Sequence[Path], out: Path | None) -> None:
    """Runs side by side, by the metric that ranks each; with `out` as a page of all metrics too."""
    opened = [runs.open(folder) for folder in folders]
    frame = runs.compare(opened)
    notes = []
    if len({run.data for run in opened}) > 1:
        notes.append("warning: the runs stand on different data, or on other splits of it: their levels cannot be compared.")
    if len(leads := list(dict.fromkeys(run.metric for run in opened))) > 1:
        notes.append(f"warning: the runs are ranked by different metrics: {', '.join(leads)}.")
    leading = frame[frame.index.get_level_values("metric").isin(leads)]
    table = Table("metric", "unit", "method", *frame.columns, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for place, values in zip(leading.index.to_list(), leading.to_numpy(), strict=True):
        table.add_row(*place, *("-" if pd.isna(value) else f"{value:.4f}" for value in values))
    console(markup=False).print(table)
    for note in notes:
        console(markup=False).print(note)
    if out:
        body = frame.to_html(float_format="{:.4f}".format, na_rep="-", border=0, escape=True)
        told = "".join(f"<p>{note}</p>" for note in notes)
        write_text(out := located(out).absolute(), f"{_STYLE}{told}<div>{body}</div></html>\n")
        console(markup=False).print(f"page: {shown(out.as_uri())}")
