"""Prints what there is, as `listing` reads it from the code."""

from __future__ import annotations

import json

from rich import table
from rich.console import Console
from rich.markup import escape

from raytune_rec.command.listing import Table, listed
from raytune_rec.config import Job


def console(markup: bool = True) -> Console:
    """Standard output: as wide as the terminal, and wide enough for a table where there is none.

    Args:
        markup: whether what is printed is Rich's markup; names in it must be escaped then.
    """
    screen = Console(highlight=False, markup=markup, emoji=False)
    return screen if screen.is_terminal else Console(highlight=False, markup=markup, emoji=False, width=160)


def show(what: str) -> None:
    """Print one list.

    Args:
        what: backbones, prompts, objectives, sources, strategies, spaces, jobs, job (its options) or schema (JSON, for editors).
    """
    if what == "schema":
        print(json.dumps(Job.model_json_schema(), indent=2))
        return
    for thing in listed(what):
        if thing.name:
            text = thing.doc if what == "sources" else thing.doc.partition("\n")[0]
            console().print(f"[bold]{escape(thing.name)}[/bold]  {escape(text)}")
        for cells in thing.tables:
            console().print(_printed(cells))
        if not thing.tables:
            console().print("  no options\n")


def _printed(cells: Table) -> table.Table:
    printed = table.Table(box=None, header_style="bold", padding=(0, 2, 0, 2))
    for column in cells.columns:
        printed.add_column(column, overflow="fold")
    for row in cells.rows:
        printed.add_row(*(escape(cell) for cell in row))
    return printed
