"""A schema as JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_rec.schema import SPLITS, DataSchema, Field

_OF_VECTORS = ("means", "stds")
_TUPLES = ("edges", *_OF_VECTORS)


def schema_values(schema: DataSchema) -> dict[str, Any]:
    """A schema as JSON values."""
    fields = [{n: list(v) if n in _TUPLES else v for n, v in vars(f).items() if v or n not in _OF_VECTORS} for f in schema.fields]
    rows = {d: {s: schema.rows.get((d, s), 0) for s in SPLITS} for d in (*schema.domains, *schema.cohorts)}
    found = {"fields": fields, "domains": list(schema.domains), "fingerprint": schema.fingerprint, "rows": rows}
    found |= {name: value for name in ("trained", "predicts") if (value := getattr(schema, name))}
    return found | ({"length": schema.length, "cohorts": list(schema.cohorts)} if schema.length else {})


def schema_from(values: Mapping[str, Any]) -> DataSchema:
    """The inverse of `schema_values`."""
    fields = tuple(Field(**{**f, **{n: tuple(f[n]) for n in _TUPLES if n in f}}) for f in values["fields"])
    rows = {(d, s): counts[s] for d, counts in values["rows"].items() for s in SPLITS}
    length, cohorts = values.get("length", 0), tuple(values.get("cohorts", ()))
    further = {name: values.get(name, "") for name in ("trained", "predicts")}
    return DataSchema(fields, tuple(values["domains"]), values["fingerprint"], rows, length, cohorts, **further)
