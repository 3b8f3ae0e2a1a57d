"""The prepared data, for reading: whole tables by domain and split, the join with user and item features, and raw rows -> ids."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raytune_rec.data.layout import TEXTS
from raytune_rec.data.schema_file import schema_from
from raytune_rec.data.stored.columns import Columns
from raytune_rec.data.stored.histories import Histories
from raytune_rec.data.stored.interactions import Interactions
from raytune_rec.data.stored.items import items
from raytune_rec.data.stored.lookup import Lookup
from raytune_rec.data.stored.raw import RawRows
from raytune_rec.data.stored.reader import Reader
from raytune_rec.data.tokens import Tokenizer, read
from raytune_rec.errors import DataError
from raytune_rec.job.data import SequenceOptions
from raytune_rec.schema.prepared import ITEM, USER, ById, DataSchema, Items, Split, Table
from raytune_rec.storage import marker
from raytune_rec.storage.files import STORAGE
from raytune_rec.task import Unit


class Store:
    """A complete store. Cheap to open; what is read is read when it is asked for.

    In the interactions `user` and `item` are rows of their tables. Row r < V is id r; the rows behind are those whom the
    training split does not know: their features are there, their id is 0.

    Attributes:
        path: the store's folder.
        schema: what a model must know of it.
        columns: name of a column -> its name in the log that was prepared, where that has another one.
        reader: of its rows.
        raw: what maps raw rows.
    """

    def __init__(self, lookup: Lookup, reader: Reader) -> None:
        self.path, self.schema, self.lookup, self.reader = lookup.path, lookup.schema, lookup, reader
        self.raw = RawRows(lookup)
        self.columns: Mapping[str, str] = {}

    @classmethod
    def open(cls, path: Path, complete: bool = True, attribute: str | None = None) -> Store:
        """A store, or the part of one beside a backbone that maps raw rows (`complete` False).

        Args:
            attribute: what the task tells, in place of the schema's own: a backbone is shared by jobs whose cold users have other
                tasks.

        Raises:
            DataError: there is none, or it is not complete.
        """
        path = Path(path)
        STORAGE.fetch(path, only=True)
        if complete and not marker.complete(path):
            raise DataError(
                f"{path}: no prepared data here (there is no {marker.MARKER}); run `raytune-rec prepare` on the job first."
            )
        try:
            values = json.loads((path / "schema.json").read_text(encoding="utf-8"))
            schema, sequences = schema_from(values), values.get("sequences")
            schema = schema if attribute is None else replace(schema, task=schema.task.telling(attribute))
            options, seed = (SequenceOptions(**sequences["options"]), sequences["seed"]) if sequences else (None, 0)
            store = cls.of(path, schema, bool(values["shared_items"]), options, seed)
            store.columns = {str(ours): str(theirs) for ours, theirs in values.get("columns", {}).items()}
            return store
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            where = path / "schema.json"
            raise DataError(f"{where}: cannot be read ({error}); delete the folder and prepare the data again.") from None

    @classmethod
    def of(cls, path: Path, schema: DataSchema, shared_items: bool, sequences: SequenceOptions | None, seed: int) -> Store:
        """A store whose schema is known. `sequences` and `seed`, of the split, are those of histories."""
        lookup = Lookup(path, schema, shared_items)
        return cls(lookup, Interactions(lookup) if sequences is None else Histories(lookup, sequences, seed))

    def load(self, unit: Unit | str, split: Split) -> Table:
        """All rows of a split of a unit, given itself or by its name. Of all domains: for `train` in the mixed order of
        `train_files`, else domain after domain.

        Raises:
            DataError: there is no unit of this name.
        """
        return self.reader.load(self.schema.unit(unit) if isinstance(unit, str) else unit, split)

    def items(self, names: Collection[str] = (), feedback: bool = False) -> Items:
        """All items by id, with the columns that are named and, where it is asked for, who took them."""
        return items(self.lookup, names, feedback)

    def by_id(self, unit: Unit | str, feedback: bool | None = None) -> ById:
        """All items and users with all that is known of them, the same ones for every unit, and a unit's own items. All domains
        together, which are pre-trained on, have no new items (`Field.new`).

        Args:
            feedback: with who took them, which the part of a store beside a backbone does not know; None: where the unit has
                items of its own.
        """
        whose = self.schema.unit(unit) if isinstance(unit, str) else unit
        if whose.kind == "all":
            return ById(self._known_items, self._users)
        told = bool(whose.members) if feedback is None else feedback
        items = self._items_and_who_took_them if told else self._items
        return ById(items, self._users, np.array(whose.members, np.int64) if whose.members else None)

    @cached_property
    def _items(self) -> Items:
        features = (*self.schema.with_role("item"), *self.schema.texts, *self.schema.vectors)
        return self.items([field.name for field in features if field.role == "item" and field.name != ITEM])

    @cached_property
    def _known_items(self) -> Items:
        """Without new ones."""
        known = self.schema.field(ITEM).known
        if known == len(self._items):
            return self._items
        return Items({name: values[:known] for name, values in self._items.columns.items()}, self._items.count[:known])

    @cached_property
    def _items_and_who_took_them(self) -> Items:
        return replace(self._items, feedback=self.items(feedback=True).feedback)

    @cached_property
    def _users(self) -> Columns:
        size = self.schema.field(USER).size
        return {USER: np.arange(size), **{name: values[:size] for name, values in self.lookup.users.items()}}

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What made the tokens of `schema.texts`; raises DataError where there are none."""
        return read(self.path / TEXTS)

    def tests(self, only: str = "") -> dict[str, dict[str, Table]]:
        """The tables of the results: name -> unit -> its test rows. Several units share a table where each tests a part of it; a
        unit that serves two tasks has two tables.

        Args:
            only: of one unit; the tables of others are without any.
        """
        reader, unit = self.reader, self.schema.unit
        return {
            name: {u: reader.test(unit(u), part) for u, part in units.items() if only in ("", u)}
            for name, units in reader.tables().items()
        }

    def join(self, columns: Mapping[str, Any]) -> Table:
        """Columns as they stand in the training files (user, item, domain, label, context; or user, domain, items) -> all fields.

        Args:
            columns: name -> (N,) numbers; a multi-valued one an object array (or an Arrow array) of lists.
        """
        return self.reader.join(columns)

    def train_files(self) -> list[Path]:
        """Parquet files of all domains' training rows, mixed in hash order, in row groups of `block_rows`."""
        return self.reader.train_files()

    def vocabulary(self, field: str) -> pa.Table:
        """raw:string, id:int32 of a categorical or multi-valued field."""
        return self.lookup.vocabulary(field)

    def encode(self, raw: Mapping[str, Sequence[Any]]) -> Columns:
        """Raw rows -> columns of a `Table` (see `RawRows.encode`)."""
        return self.raw.encode(raw)
