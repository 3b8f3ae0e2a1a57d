"""Raw rows -> ids, for a finished model. Shapes: N rows, V items, L items of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from raytune_rec.data.blocks import ROW_COLUMNS
from raytune_rec.data.cells import encoded
from raytune_rec.data.cold_users import CLASS
from raytune_rec.data.layout import item_keys
from raytune_rec.data.stored.columns import Columns, item_lists, numbers, padded, text, value_lists, vectors
from raytune_rec.data.stored.histories import Histories
from raytune_rec.data.stored.lookup import Lookup
from raytune_rec.errors import DataError
from raytune_rec.schema import Field


class RawRows:
    """How raw rows of a store become columns that a model reads.

    Args:
        lookup: of the store. histories: where rows are users with histories.
    """

    def __init__(self, lookup: Lookup, histories: Histories | None) -> None:
        self.lookup, self.schema, self._shared_items, self._histories = lookup, lookup.schema, lookup.shared_items, histories

    def encode(self, raw: Mapping[str, Sequence[Any]]) -> Columns:
        """Raw rows -> columns of a `Table`, 0 for values that the training split does not know. Identifiers are read as they are
        in files (`data/cells.py`).

        Args:
            raw: `domain`, `user`, `item`, the context features, and any user or item features that stand in for the stored ones.
                Where rows are histories: `history`, a list of raw item ids a row, oldest first, of which unknown ones are left
                out and the last L count; the users' features, or `user`, whose stored ones are taken; `domain` (absent: the
                first, if domains share items); and, to score it, `item`, which becomes the only one of the `candidates`.
                An attribute that is predicted is 0, whatever is given. What else a log holds by the names of this package
                (label, rating, timestamp, position, split) plays no part.

        Raises:
            DataError: a needed column is missing, one is unknown, or one holds what it should not.
        """
        self._known(raw)
        if self._histories:
            return self._encode_users(raw, self._histories)
        needed = ["domain", "user", "item", *(f.name for f in self.schema.with_role("context"))]
        if missing := [name for name in needed if name not in raw]:
            raise DataError(f"rows to encode: there is no column {', '.join(missing)}; there are {', '.join(raw)}.")
        domain, user, item = (encoded(text(raw[name])) for name in ("domain", "user", "item"))
        user_row = self.lookup.rows("user", user)
        item_row = self.lookup.rows("item", item_keys(domain, item, self._shared_items))
        found = {"user": self.lookup.known("user", user_row), "item": self.lookup.known("item", item_row)}
        found["domain"] = self.lookup.ids("domain", domain)
        found |= {name: values[user_row] for name, values in self.lookup.users.items()}
        found |= {name: values[item_row] for name, values in self.lookup.items.items()}
        found |= self._given(raw, self.schema.fields[3:])
        return {f.name: found[f.name] for f in self.schema.fields}

    def past(self, raw: Mapping[str, Sequence[Any]]) -> list[np.ndarray]:
        """Of each raw row of histories the ids of its whole `history`; items that training does not know are left out.

        Raises:
            DataError: as `encode`.
        """
        if "history" not in raw:
            raise DataError(
                f"rows to encode: there is no column history; there are {', '.join(raw) or 'none'}. Give a list of raw item ids "
                "for each row, oldest first, and an empty one where there is no history."
            )
        items, lengths = item_lists(raw["history"])
        owner = np.repeat(np.arange(len(lengths)), lengths)
        ids = self._item_ids(self._domains(raw, len(lengths)).take(pa.array(owner)), items)
        ends = np.cumsum(np.bincount(owner[ids > 0], minlength=len(lengths)))
        return np.split(ids[ids > 0], ends)[:-1]

    def _encode_users(self, raw: Mapping[str, Sequence[Any]], own: Histories) -> Columns:
        past = self.past(raw)
        domain, user = self._domains(raw, len(past)), np.zeros(len(past), np.int64)
        if "user" in raw:
            user = self.lookup.rows("user", encoded(text(raw["user"])))
        found = {name: values[user] for name, values in self.lookup.users.items()}
        found |= self._given(raw, [f for f in self.schema.with_role("user") if f.name in found])
        found |= {"user": self.lookup.known("user", user), "domain": self.lookup.ids("domain", domain)}
        found["history"] = own.recent(past)
        if self.schema.predicts:
            found |= {name: np.zeros(len(past), np.int64) for name in (CLASS, self.schema.predicts)}
        elif "item" in raw:
            found["candidates"] = self._item_ids(domain, text(raw["item"]))[:, None]
        return found

    def _known(self, raw: Mapping[str, Sequence[Any]]) -> None:
        """Raises DataError where a column is none that a log or the store has: a misspelt one would be left out in silence."""
        fields = [f.name for f in self.schema.fields]
        wrong = [name for name in raw if name not in {"history", *fields, *self.lookup.columns, *ROW_COLUMNS}]
        if wrong:
            raise DataError(
                f"rows to encode: there is no column {', '.join(map(repr, wrong))} in these data; they have "
                f"{', '.join([*(['history'] if self._histories else []), *fields])}. Rename it, or leave it out."
            )

    def _given(self, raw: Mapping[str, Sequence[Any]], fields: Sequence[Field]) -> Columns:
        """Features that stand in for the stored ones."""
        return {f.name: self._encode_feature(f, raw[f.name]) for f in fields if f.name in raw}

    def _domains(self, raw: Mapping[str, Sequence[Any]], count: int) -> pa.DictionaryArray:
        """The domain of each row of histories, whose items it tells apart where domains do not share them."""
        names = self.schema.domains
        if "domain" not in raw and (self._shared_items or len(names) == 1):
            return encoded(pa.array(names[:1] * count, pa.string()))
        if "domain" not in raw:
            raise DataError(f"rows to encode: items belong to domains, and there is no column domain; name {_or(names)}.")
        found = encoded(text(raw["domain"]))
        wrong = [name for name in found.to_pylist() if name not in names]
        if wrong and not self._shared_items:
            raise DataError(f"rows to encode: there is no domain {wrong[0]!r}, and items belong to domains; name {_or(names)}.")
        return found

    def _item_ids(self, domain: pa.DictionaryArray, items: pa.Array) -> np.ndarray:
        return self.lookup.ids("item", item_keys(domain, encoded(items), self._shared_items))

    def _encode_feature(self, field: Field, values: Sequence[Any]) -> np.ndarray:
        if field.kind == "numerical":
            return numbers(values, field)
        if field.kind == "vector":
            return vectors(values, field)
        if field.kind == "categorical":
            return self.lookup.ids(field.name, text(values))
        lists = value_lists(values, field)
        ids = self.lookup.ids(field.name, lists.flatten())
        lengths = np.diff(lists.offsets.to_numpy())
        owner = np.repeat(np.arange(len(lists)), lengths)
        return padded(ids[ids > 0], np.bincount(owner[ids > 0], minlength=len(lists)), field.length)


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)
