"""The tables of users and items of a store, and its vocabularies: what is known of an id, and where a raw value stands."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.columns import Columns, cast, find
from raytune_rec.data.validate import encoded
from raytune_rec.schema import DataSchema


class Lookup:
    """Of one store. Each table is read once, when it is asked for.

    Args:
        path: the store's folder, or the part of it beside a backbone. schema: of it.
    """

    def __init__(self, path: Path, schema: DataSchema) -> None:
        self.path, self.schema = path, schema
        self._indexes: dict[Path, pd.Index] = {}

    def vocabulary(self, field: str) -> pa.Table:
        """raw:string, id:int32 of a categorical or multi-valued field."""
        return pq.read_table(self._vocabulary(field))

    def known(self, field: str, rows: np.ndarray) -> np.ndarray:
        """Rows of the table of users or items -> ids, 0 for those whom training does not know."""
        return np.where(rows < self.schema.field(field).size, rows, 0)

    def rows(self, field: str, keys: pa.Array) -> np.ndarray:
        """(N,) rows of the table of users or items, 0 where a key is in none."""
        return find(self._index(self.path / f"{field}s.parquet", 1), encoded(keys))

    def ids(self, field: str, values: pa.Array) -> np.ndarray:
        """(N,) ids of raw values, 0 where training does not know one."""
        return find(self._index(self._vocabulary(field), 0), encoded(values))

    @cached_property
    def users(self) -> Columns:
        """Their features, by row of the table; row 0 has none."""
        return self._features("users", "user")

    @cached_property
    def items(self) -> Columns:
        """Likewise."""
        return self._features("items", "item")

    def _vocabulary(self, field: str) -> Path:
        return self.path / "vocabulary" / f"{field}.parquet"

    def _index(self, path: Path, first: int) -> pd.Index:
        if path not in self._indexes:
            raws = pq.read_table(path, columns=["raw"])["raw"].to_pylist()
            self._indexes[path] = pd.Index(raws[first:], dtype=object)
        return self._indexes[path]

    def _features(self, table: str, role: str) -> Columns:
        fields = [f for f in self.schema.fields[3:] if f.role == role]
        columns = pq.read_table(self.path / f"{table}.parquet", columns=[f.name for f in fields])
        return {f.name: cast(columns[f.name].combine_chunks(), f) for f in fields}
