"""What there is, read from the code itself, as plain tables: `show` prints them, the reference in the docs is made of them."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from raytune_rec import components
from raytune_rec.components import Family, kinds
from raytune_rec.config import Job
from raytune_rec.job import shipped
from raytune_rec.strategies.aliases import ALIASES

FAMILIES: dict[str, Family] = {
    "backbones": "backbones",
    "prompts": "prompts",
    "objectives": "objectives",
    "sources": "data.sources",
    "trackers": "trackers",
}


class Shown(StrEnum):
    """What `show` can list."""

    BACKBONES = "backbones"
    PROMPTS = "prompts"
    OBJECTIVES = "objectives"
    STRATEGIES = "strategies"
    SPACES = "spaces"
    SOURCES = "sources"
    TRACKERS = "trackers"
    JOBS = "jobs"
    JOB = "job"
    SCHEMA = "schema"


@dataclass(frozen=True)
class Table:
    """Cells of text, a row for each option or name."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Listed:
    """One thing that there is, or a whole list where things are no more than rows.

    Args:
        name: of the thing; empty of a list. doc: what it is, in words; of a source also which files it reads.
        tables: with its options, and with a source's fields; those that have rows.
    """

    name: str
    doc: str
    tables: list[Table]

    @property
    def options(self) -> list[tuple[str, ...]]:
        return [row for table in self.tables if table.columns[0] == "option" for row in table.rows]


def listed(what: str) -> Iterator[Listed]:
    """What there is of one kind.

    Args:
        what: backbones, prompts, objectives, sources, trackers, strategies, spaces, jobs or job (its options).
    """
    lists: dict[str, Callable[[], Table]] = {"strategies": _strategies, "spaces": _spaces, "jobs": _jobs, "job": _job}
    if what in lists:
        yield Listed("", "", [lists[what]()])
        return
    for name in components.names(FAMILIES[what]):
        component = components.component(FAMILIES[what], name)
        doc = inspect.getdoc(inspect.getmodule(component) if what == "sources" else component) or ""
        tables = [_own_options(component.Options, lanes=what not in ("sources", "trackers"))]
        if what == "sources":
            tables.append(_fields(component))
        yield Listed(name, doc, [table for table in tables if table.rows])


def _own_options(model: type[BaseModel], lanes: bool) -> Table:
    """Of a component. lanes: whether it is a part of packs, where each option has a kind."""
    rows = _options(model, "")
    if lanes:
        return Table(("option", "kind", "type", "default", "what it is"), rows)
    return Table(("option", "type", "default", "what it is"), [(path, *cells) for path, _, *cells in rows])


def _options(model: type[BaseModel], above: str) -> list[tuple[str, ...]]:
    """(option with its path, kind, type, default, what it is); `<name>` stands for a name of the user's."""
    rows: list[tuple[str, ...]] = []
    for name, info in model.model_fields.items():
        path = f"{above}{info.alias or name}"
        inner = _model_in(info.annotation)
        if inner is None:
            rows.append(
                (path, kinds(model)[name], type_of(info.annotation, info.metadata), _default(info), info.description or "")
            )
        else:
            rows += _options(inner, f"{path}{'.<name>' if get_origin(info.annotation) is dict else ''}.")
    return rows


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a section: itself, an optional one, or that of each name."""
    parts = [part for part in (annotation, *get_args(annotation)) if inspect.isclass(part) and issubclass(part, BaseModel)]
    return parts[0] if parts else None


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True)
    if default is None or default == "":
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return f"[{', '.join(map(str, default))}]" if isinstance(default, list | tuple) else str(default)


def type_of(annotation: Any, bounds: Sequence[Any] = ()) -> str:
    """A type as a person writes it, with its bounds: `float, ge 0, lt 1`."""
    limits = [
        f"{sign} {getattr(b, sign)}" for b in bounds for sign in ("gt", "ge", "lt", "le") if getattr(b, sign, None) is not None
    ]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        plain = type_of(args[0], [part for a in args[1:] for part in (a.metadata if isinstance(a, FieldInfo) else [a])])
    elif origin in (Union, UnionType):
        plain = " | ".join(type_of(part) for part in args if part is not NoneType)
    elif origin is Literal:
        plain = " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in args)
    elif origin is not None:
        inner = ", ".join(type_of(part) for part in args if part is not Ellipsis)
        plain = f"{'list' if origin is tuple else origin.__name__}[{inner}]"
    else:
        plain = getattr(annotation, "__name__", str(annotation))
    return ", ".join([plain, *limits])


def _fields(source: Any) -> Table:
    """The features that a source reads, beside user, item and what a row says of them."""
    fields = source(source.Options(**source.example)).fields()
    rows = [(f.name, f.role, f.kind) for f in fields]
    return Table(("field", "of", "kind"), rows)


def _job() -> Table:
    """Every option of a job, section by section."""
    return Table(("option", "type", "default", "what it is"), [(path, *cells) for path, _, *cells in _options(Job, "")])


def _strategies() -> Table:
    rows = [(name, s.start, " + ".join(s.train) or "nothing", s.prompt) for name, s in ALIASES.items()]
    return Table(("strategy", "start", "trains", "prompt"), rows)


def _spaces() -> Table:
    rows = [(name, ", ".join(_shipped("search_spaces", name).get("space", ()))) for name in shipped.names("search_spaces")]
    return Table(("space", "searched options"), rows)


def _jobs() -> Table:
    return Table(("job", "title"), [(name, str(_shipped("jobs", name).get("title", ""))) for name in shipped.names("jobs")])


def _shipped(folder: Literal["jobs", "search_spaces"], name: str) -> dict[str, Any]:
    return tomllib.loads((shipped.folder(folder) / f"{name}.toml").read_text(encoding="utf-8"))
