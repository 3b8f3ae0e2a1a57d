"""Raw rows -> ids, for a finished model. Shapes: N rows, V items, L items of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from raytune_rec.data.blocks import ROW_COLUMNS
from raytune_rec.data.cells import encoded
from raytune_rec.data.layout import item_keys
from raytune_rec.data.stored.columns import Columns, item_lists, numbers, padded, text, value_lists, vectors
from raytune_rec.data.stored.histories import recent
from raytune_rec.data.stored.lookup import Lookup
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import CANDIDATES, CLASS, DOMAIN, HISTORY, ITEM, USER, Field


class UnknownColumns(DataError):
    """Rows have columns that the data have not.

    Args:
        names: of the columns.
    """

    def __init__(self, problems: str, names: Sequence[str] = ()) -> None:
        super().__init__(problems)
        self.names = tuple(names)


class RawRows:
    """How raw rows of a store become columns that a model reads.

    Args:
        lookup: of the store.
    """

    def __init__(self, lookup: Lookup) -> None:
        self.lookup, self.schema, self._task = lookup, lookup.schema, lookup.schema.task
        self._shared_items = lookup.shared_items

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
        return self._users(raw) if self._task.histories else self._interactions(raw)

    def _interactions(self, raw: Mapping[str, Sequence[Any]]) -> Columns:
        needed = [DOMAIN, USER, ITEM, *(f.name for f in self.schema.with_role("context"))]
        if missing := [name for name in needed if name not in raw]:
            raise DataError(f"rows to encode: there is no column {', '.join(missing)}; there are {', '.join(raw)}.")
        domain, user, item = (encoded(text(raw[name])) for name in (DOMAIN, USER, ITEM))
        user_row = self.lookup.rows(USER, user)
        item_row = self.lookup.rows(ITEM, item_keys(domain, item, self._shared_items))
        columns = {USER: self.lookup.known(USER, user_row), ITEM: self.lookup.known(ITEM, item_row)}
        columns[DOMAIN] = self.lookup.ids(DOMAIN, domain)
        columns |= {name: values[user_row] for name, values in self.lookup.users.items()}
        columns |= {name: values[item_row] for name, values in self.lookup.items.items()}
        columns |= self._given(raw, self.schema.fields[3:])
        return {f.name: columns[f.name] for f in self.schema.fields}

    def past(self, raw: Mapping[str, Sequence[Any]]) -> list[np.ndarray]:
        """Of each raw row of histories the ids of its whole `history`; items that have none are left out.

        Raises:
            DataError: as `encode`.
        """
        if HISTORY not in raw:
            raise DataError(
                f"rows to encode: there is no column history; there are {', '.join(raw) or 'none'}. Give a list of raw item ids "
                "for each row, oldest first, and an empty one where there is no history."
            )
        items, lengths = item_lists(raw[HISTORY])
        owner = np.repeat(np.arange(len(lengths)), lengths)
        ids = self._item_ids(self._domains(raw, len(lengths)).take(pa.array(owner)), items)
        ends = np.cumsum(np.bincount(owner[ids > 0], minlength=len(lengths)))
        return np.split(ids[ids > 0], ends)[:-1]

    def read(self, items: np.ndarray) -> np.ndarray:
        """Those of some ids that a model reads in a history: no pre-training knows the others."""
        return items[items < self.schema.field(ITEM).known]

    def _users(self, raw: Mapping[str, Sequence[Any]]) -> Columns:
        past = self.past(raw)
        domain, user = self._domains(raw, len(past)), np.zeros(len(past), np.int64)
        if USER in raw:
            user = self.lookup.rows(USER, encoded(text(raw[USER])))
        columns = {name: values[user] for name, values in self.lookup.users.items()}
        columns |= self._given(raw, [f for f in self.schema.with_role("user") if f.name in columns])
        columns |= {USER: self.lookup.known(USER, user), DOMAIN: self.lookup.ids(DOMAIN, domain)}
        columns[HISTORY] = recent([self.read(items) for items in past], self._task.length)
        if self._task.attribute:
            columns |= {name: np.zeros(len(past), np.int64) for name in (CLASS, self._task.attribute)}
        elif ITEM in raw:
            columns[CANDIDATES] = self._item_ids(domain, text(raw[ITEM]))[:, None]
        return columns

    def _known(self, raw: Mapping[str, Sequence[Any]]) -> None:
        """Raises UnknownColumns where neither log nor store has a column: a misspelt one would be left out in silence."""
        fields = [f.name for f in self.schema.fields]
        wrong = [name for name in raw if name not in {HISTORY, *fields, *self.lookup.columns, *ROW_COLUMNS}]
        if wrong:
            raise UnknownColumns(
                f"rows to encode: there is no column {', '.join(map(repr, wrong))} in these data; they have "
                f"{', '.join([*(['history'] if self._task.histories else []), *fields])}. Rename it, or leave it out.",
                wrong,
            )

    def _given(self, raw: Mapping[str, Sequence[Any]], fields: Sequence[Field]) -> Columns:
        """Features that stand in for the stored ones."""
        return {f.name: self._encode_feature(f, raw[f.name]) for f in fields if f.name in raw}

    def _domains(self, raw: Mapping[str, Sequence[Any]], count: int) -> pa.DictionaryArray:
        """The domain of each row of histories, whose items it tells apart where domains do not share them."""
        names = self.schema.domains
        if DOMAIN not in raw and (self._shared_items or len(names) == 1):
            return encoded(pa.array(names[:1] * count, pa.string()))
        if DOMAIN not in raw:
            raise DataError(f"rows to encode: items belong to domains, and there is no column domain; name {_or(names)}.")
        given = encoded(text(raw[DOMAIN]))
        if not self._shared_items and (wrong := [name for name in given.dictionary.to_pylist() if name not in names]):
            raise DataError(f"rows to encode: there is no domain {wrong[0]!r}, and items belong to domains; name {_or(names)}.")
        return given

    def _item_ids(self, domain: pa.DictionaryArray, items: pa.Array) -> np.ndarray:
        return self.lookup.ids(ITEM, item_keys(domain, encoded(items), self._shared_items))

    def holds_unknown(self, field: Field, values: Sequence[Any]) -> np.ndarray:
        """(N,) bool: whether a list of a multi-valued field holds a value that training did not know."""
        lists = value_lists(values, field)
        owner = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
        unknown = self.lookup.ids(field.name, lists.flatten()) == 0
        return np.bincount(owner[unknown], minlength=len(lists)) > 0

    def _encode_feature(self, field: Field, values: Sequence[Any]) -> np.ndarray:
        if field.kind == "numerical":
            return numbers(values, field)
        if field.kind == "vector":
            return vectors(values, field)
        if field.kind == "categorical":
            return self.lookup.ids(field.name, encoded(text(values)))
        lists = value_lists(values, field)
        ids = self.lookup.ids(field.name, lists.flatten())
        lengths = np.diff(lists.offsets.to_numpy())
        owner = np.repeat(np.arange(len(lists)), lengths)
        return padded(ids[ids > 0], np.bincount(owner[ids > 0], minlength=len(lists)), field.length)


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)
