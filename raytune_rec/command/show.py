"""What there is, read from the code itself: components with their options, strategies, search spaces, jobs."""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, get_args

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from raytune_rec import components
from raytune_rec.components import Family
from raytune_rec.config import Job
from raytune_rec.job import shipped
from raytune_rec.strategies.aliases import ALIASES

_FAMILIES: dict[str, Family] = {
    "backbones": "backbones",
    "prompts": "prompts",
    "objectives": "objectives",
    "sources": "data.sources",
}


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
    others: dict[str, Callable[[], Table]] = {"strategies": _strategies, "spaces": _spaces, "jobs": _jobs, "job": _job}
    if what in others:
        console().print(others[what]())
        return
    family = _FAMILIES[what]
    for name in components.names(family):
        component = components.component(family, name)
        console().print(f"[bold]{escape(name)}[/bold]  {escape(_first_line(component))}")
        console().print(_options(component.Options) if component.Options.model_fields else "  no options\n")


def _options(model: type[BaseModel]) -> Table:
    table = _table("option", "kind", "type", "default", "what it is")
    kinds = components.kinds(model)
    for name, info in model.model_fields.items():
        default = "required" if info.is_required() else str(info.get_default(call_default_factory=True))
        cells = (name, kinds[name], _type(info.annotation, info.metadata), default, info.description or "")
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _type(annotation: Any, bounds: list[Any]) -> str:
    """A type as a person writes it, with its bounds: `float, ge 0, lt 1`."""
    plain = annotation.__name__ if inspect.isclass(annotation) and not hasattr(annotation, "__args__") else str(annotation)
    plain = plain.replace("typing.", "")
    limits = [f"{sign} {getattr(b, sign)}" for b in bounds for sign in ("gt", "ge", "lt", "le") if hasattr(b, sign)]
    return ", ".join([plain, *limits])


def _job() -> Table:
    """Every option of a job, section by section."""
    table = _table("option", "type", "default", "what it is")
    for cells in _options_of(Job, ""):
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _options_of(model: type[BaseModel], above: str) -> Iterator[tuple[str, str, str, str]]:
    """(option with its path, type, default, what it is); `<name>` stands for a name of the user's."""
    for name, info in model.model_fields.items():
        path = f"{above}{info.alias or name}"
        parts = [part for part in (info.annotation, *get_args(info.annotation)) if inspect.isclass(part)]
        inner = [part for part in parts if issubclass(part, BaseModel)]
        if inner:
            named = "" if info.annotation is inner[0] or type(None) in get_args(info.annotation) else ".<name>"
            yield from _options_of(inner[0], f"{path}{named}.")
            continue
        default = "required" if info.is_required() else str(info.get_default(call_default_factory=True))
        yield path, _type(info.annotation, info.metadata), default, info.description or ""


def _strategies() -> Table:
    table = _table("strategy", "start", "trains", "prompt")
    for name, strategy in ALIASES.items():
        table.add_row(name, strategy.start, " + ".join(strategy.train) or "nothing", strategy.prompt)
    return table


def _spaces() -> Table:
    table = _table("space", "searched options")
    for name in shipped.names("search_spaces"):
        values = tomllib.loads((shipped.folder("search_spaces") / f"{name}.toml").read_text(encoding="utf-8"))
        table.add_row(name, escape(", ".join(values.get("space", ()))))
    return table


def _jobs() -> Table:
    table = _table("job", "title")
    for name in shipped.names("jobs"):
        values = tomllib.loads((shipped.folder("jobs") / f"{name}.toml").read_text(encoding="utf-8"))
        table.add_row(escape(name), escape(str(values.get("title", ""))))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 2))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _first_line(component: Any) -> str:
    return (inspect.getdoc(component) or "").partition("\n")[0]
