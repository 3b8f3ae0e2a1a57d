"""The prepared data, for reading: whole tables by domain and split, the join with user and item features, and raw rows -> ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_rec.config import SequenceOptions
from raytune_rec.data.histories import Histories
from raytune_rec.data.layout import MARKER, domain_folder, item_keys
from raytune_rec.data.tables import schema_from
from raytune_rec.data.validate import encoded
from raytune_rec.errors import DataError
from raytune_rec.schema import ALL_DOMAINS, SPLITS, DataSchema, Field, Split, Table

Columns = dict[str, np.ndarray]


class Store:
    """A complete store. Cheap to open; what is read is read when it is asked for.

    In the interactions `user` and `item` are rows of their tables. Row r < V is id r; the rows behind are those whom the
    training split does
    not know: their features are there, their id is 0.

    Attributes:
        path: the store's folder.
        schema: what a model must know of it.
    """

    def __init__(self, path: Path, schema: DataSchema, shared_items: bool, histories: Histories | None = None) -> None:
        self.path, self.schema, self._shared_items, self.histories = path, schema, shared_items, histories

    @classmethod
    def open(cls, path: Path, complete: bool = True) -> Store:
        """A store, or the part of one beside a backbone that maps raw rows (`complete` False).

        Raises:
            DataError: there is none, or it is not complete.
        """
        path = Path(path)
        if complete and not (path / MARKER).exists():
            raise DataError(f"{path}: no prepared data here (there is no {MARKER}); run `raytune-rec prepare` on the job first.")
        try:
            values = json.loads((path / "schema.json").read_text(encoding="utf-8"))
            schema, sequences = schema_from(values), values.get("sequences")
            histories = None
            if sequences:
                histories = Histories(path, schema, SequenceOptions(**sequences["options"]), sequences["seed"])
            return cls(path, schema, bool(values["shared_items"]), histories)
        except (OSError, ValueError, KeyError, TypeError) as error:
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
            return self.join(_arrays(pa.concat_tables(files)))
        parts = []
        for name in self.schema.domains if domain == ALL_DOMAINS else (domain,):
            rows = pq.read_table(self._file(name), columns=[*names, "split"], partitioning=None)
            rows = rows.filter(pc.equal(rows["split"], SPLITS.index(split))).drop_columns("split")
            place = np.full(len(rows), self.schema.domains.index(name) + 1, np.int32)
            parts.append(rows.append_column("domain", pa.array(place)))
        return self.join(_arrays(pa.concat_tables(parts)))

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

    def _with_profile(self, columns: Columns) -> Table:
        """Columns of histories, with the features of their users."""
        user = columns["user"]
        profile = {name: values[user] for name, values in self._user_features.items()}
        return Table(profile | columns | {"user": self._known("user", user)}, np.ones(len(user), np.float32))

    def join(self, columns: Mapping[str, Any]) -> Table:
        """Columns as they stand in the training files (user, item, domain, label, context; or user, domain, items) -> all fields.

        Args:
            columns: name -> (N,) numbers; a multi-valued one an object array (or an Arrow array) of lists.
        """
        if self.histories:
            user, domain = (np.asarray(columns[name], np.int64) for name in ("user", "domain"))
            return self._with_profile(self.histories.windows(user, domain, _lists(columns["items"])))
        user, item = (np.asarray(columns[name], np.int64) for name in ("user", "item"))
        found = {"user": self._known("user", user), "item": self._known("item", item)}
        found["domain"] = np.asarray(columns["domain"], np.int64)
        found |= {name: values[user] for name, values in self._user_features.items()}
        found |= {name: values[item] for name, values in self._item_features.items()}
        found |= {f.name: _cast(columns[f.name], f) for f in self.schema.with_role("context")}
        return Table({f.name: found[f.name] for f in self.schema.fields}, np.asarray(columns["label"], np.float32))

    def train_files(self) -> list[Path]:
        """Parquet files of all domains' training rows, mixed in hash order, in row groups of `block_rows`."""
        if self.histories:
            return self.histories.train_files()
        return sorted((self.path / "train").glob("part-*.parquet"))

    def vocabulary(self, field: str) -> pa.Table:
        """raw:string, id:int32 of a categorical or multi-valued field."""
        return pq.read_table(self.path / "vocabulary" / f"{field}.parquet")

    def encode(self, raw: Mapping[str, Sequence[Any]]) -> Columns:
        """Raw rows -> columns of a `Table`, 0 for values that the training split does not know.

        Args:
            raw: `domain`, `user`, `item`, the context features, and any user or item features that stand in for the stored ones.

        Raises:
            DataError: a needed column is missing.
        """
        needed = ["domain", "user", "item", *(f.name for f in self.schema.with_role("context"))]
        if missing := [name for name in needed if name not in raw]:
            raise DataError(f"rows to encode: there is no column {', '.join(missing)}; there are {', '.join(raw)}.")
        domain, user, item = (encoded(_text(raw[name])) for name in ("domain", "user", "item"))
        user_row = self._rows("user", user)
        item_row = self._rows("item", item_keys(domain, item, self._shared_items))
        found = {"user": self._known("user", user_row), "item": self._known("item", item_row)}
        found["domain"] = _find(self._index("domain"), domain)
        found |= {name: values[user_row] for name, values in self._user_features.items()}
        found |= {name: values[item_row] for name, values in self._item_features.items()}
        found |= {f.name: self._encode_feature(f, raw[f.name]) for f in self.schema.fields[3:] if f.name in raw}
        return {f.name: found[f.name] for f in self.schema.fields}

    def _file(self, domain: str) -> Path:
        if domain not in self.schema.domains:
            raise DataError(f"there is no domain {domain!r}; the data have {', '.join(self.schema.domains)}.")
        return domain_folder(self.path, domain) / "part-00000.parquet"

    def _known(self, field: str, rows: np.ndarray) -> np.ndarray:
        return np.where(rows < self.schema.field(field).size, rows, 0)

    def _rows(self, field: str, keys: pa.Array) -> np.ndarray:
        raws = pq.read_table(self.path / f"{field}s.parquet", columns=["raw"])["raw"]
        return _find(pd.Index(raws.to_pylist()[1:]), encoded(keys))

    def _index(self, field: str) -> pd.Index:
        return pd.Index(self.vocabulary(field)["raw"].to_pylist())

    def _encode_feature(self, field: Field, values: Sequence[Any]) -> np.ndarray:
        if field.kind == "numerical":
            return pd.to_numeric(pd.Series(list(values)), errors="coerce").to_numpy(np.float32)
        if field.kind == "categorical":
            return _find(self._index(field.name), encoded(_text(values)))
        lists = pa.array([None if v is None else [str(x) for x in v] for v in values], pa.list_(pa.string()))
        ids = _find(self._index(field.name), encoded(lists.flatten()))
        lengths = np.diff(lists.offsets.to_numpy())
        owner = np.repeat(np.arange(len(lists)), lengths)
        return _padded(ids[ids > 0], np.bincount(owner[ids > 0], minlength=len(lists)), field.length)

    @cached_property
    def _user_features(self) -> Columns:
        return self._feature_columns("users", "user")

    @cached_property
    def _item_features(self) -> Columns:
        return self._feature_columns("items", "item")

    def _feature_columns(self, table: str, role: str) -> Columns:
        fields = [f for f in self.schema.fields[3:] if f.role == role]
        columns = pq.read_table(self.path / f"{table}.parquet", columns=[f.name for f in fields])
        return {f.name: _cast(columns[f.name].combine_chunks(), f) for f in fields}


def _lists(values: Any) -> Sequence[np.ndarray]:
    return values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values


def _arrays(table: pa.Table) -> dict[str, Any]:
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    return {name: c if pa.types.is_list(c.type) else c.to_numpy(zero_copy_only=False) for name, c in columns.items()}


def _cast(values: Any, field: Field) -> np.ndarray:
    """int64 ids, float32 numbers, or (N, L) int64 ids of a stored column."""
    if field.kind != "multi":
        return np.asarray(values, np.float32 if field.kind == "numerical" else np.int64)
    if isinstance(values, pa.Array):
        return _padded(values.flatten().to_numpy(), np.diff(values.offsets.to_numpy()), field.length)
    flat = np.concatenate([np.zeros(0, np.int64), *values]).astype(np.int64)
    return _padded(flat, np.array([len(v) for v in values], np.int64), field.length)


def _padded(flat: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
    """(N, L) int64, zeros behind; what goes past L is left out.

    Args:
        flat: ids, row after row.
        lengths: (N,) ids of each row.
    """
    out = np.zeros((len(lengths), width), np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    column = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    keep = column < width
    out[row[keep], column[keep]] = flat[keep]
    return out


def _find(index: pd.Index, values: pa.DictionaryArray) -> np.ndarray:
    """(N,) int64: place in the index from 1, 0 where it is not there. Looked up once per distinct value."""
    distinct = index.get_indexer(pd.Index(values.dictionary.to_pylist(), dtype=object)) + 1
    places = pc.fill_null(values.indices, -1).to_numpy(zero_copy_only=False)
    return np.append(distinct, 0).astype(np.int64)[places]


def _text(values: Sequence[Any]) -> pa.Array:
    """Any sequence of identifiers as an Arrow array."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    return pa.array(values, from_pandas=True)
