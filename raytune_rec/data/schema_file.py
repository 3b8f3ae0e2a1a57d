"""A schema as JSON values, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from raytune_rec.components import sentence
from raytune_rec.schema.prepared import DOMAIN, ITEM, SPLITS, USER, DataSchema, Field, Phrases
from raytune_rec.task import Task, Unit

_OF_VECTORS = ("means", "stds")
_TUPLES = ("edges", *_OF_VECTORS)
_OF_SOME = (*_OF_VECTORS, "new")


def schema_values(schema: DataSchema) -> dict[str, Any]:
    """A schema as JSON values."""
    fields = [{n: list(v) if n in _TUPLES else v for n, v in vars(f).items() if v or n not in _OF_SOME} for f in schema.fields]
    texts: dict[str, Any] = {"texts": [asdict(f) for f in schema.texts], "tokenizer": schema.tokenizer} if schema.texts else {}
    texts |= {"vectors": [asdict(f) for f in schema.vectors]} if schema.vectors else {}
    texts |= {"phrases": asdict(schema.phrases)} if schema.phrases else {}
    texts |= {"waiting": list(schema.waiting)} if schema.waiting else {}
    rows = {d: {s: schema.rows.get((d, s), 0) for s in SPLITS} for d in (*schema.domains, *(u.name for u in schema.groups))}
    named = {"fields": fields, "domains": list(schema.domains), "fingerprint": schema.fingerprint, "trained": schema.trained}
    return {**named, "task": asdict(schema.task), "groups": [asdict(unit) for unit in schema.groups], "rows": rows, **texts}


def schema_from(values: Mapping[str, Any]) -> DataSchema:
    """The inverse of `schema_values`; a schema of 0.1, which has neither task nor groups, is read too.

    Raises:
        ValueError: a value is of another type, or they do not fit together. LookupError, TypeError, AttributeError: values are
            missing, or no such thing can be made of them.
    """
    fields, texts, vectors = (
        tuple(Field(**{**f, **{n: tuple(f[n]) for n in _TUPLES if n in f}}) for f in values.get(name, ()))
        for name in ("fields", "texts", "vectors")
    )
    rows = {(d, s): counts[s] for d, counts in values["rows"].items() for s in SPLITS}
    task = Task(**values["task"]) if "task" in values else _task_of_first(values)
    groups = tuple(Unit(**{**unit, "members": tuple(unit["members"])}) for unit in values.get("groups", ()))
    groups += tuple(map(Unit.of_first, values.get("cohorts", ())))
    trained, tokenizer = (values.get(name, "") for name in ("trained", "tokenizer"))
    told: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.get("phrases", {}).items()}
    phrases = Phrases(**told) if told else None
    named = tuple(values["domains"]), values["fingerprint"]
    waiting = tuple(values.get("waiting", ()))
    made = DataSchema(fields, *named, rows, task, groups, trained, texts, tokenizer, phrases, waiting, vectors)
    try:
        schema = _adapter().validate_python(asdict(made))
    except ValidationError as error:
        raise ValueError(sentence("", error.errors()[0])) from None
    if why := _ill_formed(schema):
        raise ValueError(why)
    return schema


@cache
def _adapter() -> TypeAdapter[DataSchema]:
    """Once: it evaluates the annotations."""
    return TypeAdapter(DataSchema)


def _ill_formed(schema: DataSchema) -> str:
    """Why no preparation of ours wrote this schema, in words; empty where one may have."""
    every = (*schema.fields, *schema.texts, *schema.vectors)
    fields = {f.name: f for f in every}
    if missing := {USER, ITEM, DOMAIN} - fields.keys():
        return f"there is no field {min(missing)}"
    if len(fields) < len(every):
        return "two fields have one name"
    if wrong := [name for name, f in fields.items() if f.known < f.has_ids or min(f.length, f.new) < 0]:
        return f"the field {wrong[0][:99]!r} has no size"
    if len(set(schema.domains)) < len(schema.domains) or fields[DOMAIN].size != len(schema.domains) + 1:
        return "the domains are not as many as their field says, or have one name"
    if schema.phrases and (
        out := [i for i in _ids(schema.phrases) if not 0 <= i < min((f.size - 2 for f in schema.texts), default=0)]
    ):
        return f"the words around items have the id {out[0]}, and no text has such a token"
    if schema.task.attribute and schema.task.attribute not in fields:
        return f"the task tells {schema.task.attribute[:99]!r}, and there is no such field"
    if not all(0 < item < fields[ITEM].size for item in schema.waiting):
        return "an item without a unit has no id"
    return next((f"the unit {u.name[:99]!r} is none: {u.ill_formed}" for u in schema.groups if u.ill_formed), "")


def _ids(phrases: Phrases) -> Iterator[int]:
    for value in vars(phrases).values():
        yield from (value,) if isinstance(value, int) else value


def _task_of_first(values: Mapping[str, Any]) -> Task:
    """0.1 kept the length of histories and the attribute that is told."""
    if not (length := values.get("length", 0)):
        return Task()
    repeats = values["sequences"]["options"].get("repeats") == "count"
    return Task("lists", length, repeats=repeats).telling(values.get("predicts", ""))
