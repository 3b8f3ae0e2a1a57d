"""The prepared data, for reading: whole tables by domain and split, the join with user and item features, and raw rows -> ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_rec.config import SequenceOptions
from raytune_rec.data.cold_users import CLASS
from raytune_rec.data.layout import domain_file
from raytune_rec.data.schema_file import schema_from
from raytune_rec.data.stored.columns import Columns, arrays, cast, lists
from raytune_rec.data.stored.histories import Histories
from raytune_rec.data.stored.lookup import Lookup
from raytune_rec.data.stored.raw import RawRows
from raytune_rec.errors import DataError
from raytune_rec.schema import ALL_DOMAINS, SPLITS, Split, Table
from raytune_rec.storage import marker
from raytune_rec.storage.files import STORAGE


class Store:
    """A complete store. Cheap to open; what is read is read when it is asked for.

    In the interactions `user` and `item` are rows of their tables. Row r < V is id r; the rows behind are those whom the
    training split does
    not know: their features are there, their id is 0.

    Attributes:
        path: the store's folder.
        schema: what a model must know of it.
        raw: what maps raw rows.
    """

    def __init__(self, lookup: Lookup, histories: Histories | None = None) -> None:
        self.path, self.schema, self.lookup, self.histories = lookup.path, lookup.schema, lookup, histories
        self.raw = RawRows(lookup, histories)

    @classmethod
    def open(cls, path: Path, complete: bool = True, predicts: str | None = None) -> Store:
        """A store, or the part of one beside a backbone that maps raw rows (`complete` False).

        Args:
            predicts: stands for the schema's own: a backbone is shared by jobs whose cold users have other tasks.

        Raises:
            DataError: there is none, or it is not complete.
        """
        path = Path(path)
        if complete and not marker.complete(path):
            raise DataError(
                f"{path}: no prepared data here (there is no {marker.MARKER}); run `raytune-rec prepare` on the job first."
            )
        try:
            values = json.loads((path / "schema.json").read_text(encoding="utf-8"))
            schema, sequences = schema_from(values), values.get("sequences")
            schema = schema if predicts is None else replace(schema, predicts=predicts)
            lookup, histories = Lookup(path, schema, bool(values["shared_items"])), None
            if sequences:
                histories = Histories(lookup, SequenceOptions(**sequences["options"]), sequences["seed"])
            return cls(lookup, histories)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            where = path / "schema.json"
            raise DataError(f"{where}: cannot be read ({error}); delete the folder and prepare the data again.") from None

    def load(self, domain: str, split: Split) -> Table:
        """All rows of a split of a domain (or of another unit of histories), or of `ALL_DOMAINS`: for `train` in the mixed order
        of `train_files`, else domain after domain.
        """
        if self.histories:
            return self._with_profile(self.histories.load(domain, split))
        names = ["user", "item", "label", *(f.name for f in self.schema.with_role("context"))]
        if domain == ALL_DOMAINS and split == "train":
            files = [pq.read_table(path, columns=[*names, "domain"]) for path in self.train_files()]
            return self.join(arrays(pa.concat_tables(files)))
        parts = []
        for name in self.schema.domains if domain == ALL_DOMAINS else (domain,):
            rows = pq.read_table(self._file(name), columns=[*names, "split"], partitioning=None)
            rows = rows.filter(pc.equal(rows["split"], SPLITS.index(split))).drop_columns("split")
            place = np.full(len(rows), self.schema.domains.index(name) + 1, np.int32)
            parts.append(rows.append_column("domain", pa.array(place)))
        return self.join(arrays(pa.concat_tables(parts)))

    def tests(self) -> dict[str, dict[str, Table]]:
        """The tables of the results: name -> unit -> its test rows. Several units share a table where each tests a part of it; a
        unit that serves two tasks has two tables.
        """
        if not self.histories:
            return {unit: {unit: self.load(unit, "test")} for unit in self.schema.units}
        own = self.histories
        return {
            name: {unit: self._with_profile(own.test(unit, only)) for unit, only in units.items()}
            for name, units in own.tables().items()
        }

    def users_of(self, domain: str, split: Split) -> np.ndarray:
        """(N,) whose interactions they are, as rows of the table of users: those whom training does not know differ too."""
        rows = pq.read_table(self._file(domain), columns=["user", "split"], partitioning=None)
        return np.asarray(rows.filter(pc.equal(rows["split"], SPLITS.index(split)))["user"])

    def _with_profile(self, columns: Columns) -> Table:
        """Columns of histories, with the features of their users."""
        user = columns["user"]
        profile = {name: values[user] for name, values in self.lookup.users.items()}
        ranks_items = "positive" in columns and CLASS not in columns
        item_domains = self.lookup.pools.domains if ranks_items and self.lookup.pools.apart else None
        found = profile | columns | {"user": self.lookup.known("user", user)}
        return Table(found, np.ones(len(user), np.float32), item_domains)

    def join(self, columns: Mapping[str, Any]) -> Table:
        """Columns as they stand in the training files (user, item, domain, label, context; or user, domain, items) -> all fields.

        Args:
            columns: name -> (N,) numbers; a multi-valued one an object array (or an Arrow array) of lists.
        """
        if self.histories:
            user, domain = (np.asarray(columns[name], np.int64) for name in ("user", "domain"))
            return self._with_profile(self.histories.windows(user, domain, lists(columns["items"])))
        user, item = (np.asarray(columns[name], np.int64) for name in ("user", "item"))
        found = {"user": self.lookup.known("user", user), "item": self.lookup.known("item", item)}
        found["domain"] = np.asarray(columns["domain"], np.int64)
        found |= {name: values[user] for name, values in self.lookup.users.items()}
        found |= {name: values[item] for name, values in self.lookup.items.items()}
        found |= {f.name: cast(columns[f.name], f) for f in self.schema.with_role("context")}
        return Table({f.name: found[f.name] for f in self.schema.fields}, np.asarray(columns["label"], np.float32))

    def train_files(self) -> list[Path]:
        """Parquet files of all domains' training rows, mixed in hash order, in row groups of `block_rows`."""
        if self.histories:
            return self.histories.train_files()
        return STORAGE.list(self.path / "train", "part-*.parquet")

    def vocabulary(self, field: str) -> pa.Table:
        """raw:string, id:int32 of a categorical or multi-valued field."""
        return self.lookup.vocabulary(field)

    def encode(self, raw: Mapping[str, Sequence[Any]]) -> Columns:
        """Raw rows -> columns of a `Table` (see `RawRows.encode`)."""
        return self.raw.encode(raw)

    def _file(self, domain: str) -> Path:
        if domain not in self.schema.domains:
            raise DataError(f"there is no domain {domain!r}; the data have {', '.join(self.schema.domains)}.")
        return domain_file(self.path, domain)
