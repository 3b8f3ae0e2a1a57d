"""The tables of users and items of a store, and its vocabularies: what is known of an id, and where a raw value stands.

Keys are text as files are read (`data/cells.py`).
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.layout import item_parts, vocabulary_file
from raytune_rec.data.stored.columns import Columns, cast, find
from raytune_rec.data.stored.pools import Pools
from raytune_rec.schema.prepared import DataSchema


class Lookup:
    """Of one store. Each table is read once, when it is asked for.

    Args:
        path: the store's folder, or the part of it beside a backbone. schema: of it. shared_items: whether domains share items.
    """

    def __init__(self, path: Path, schema: DataSchema, shared_items: bool) -> None:
        self.path, self.schema, self.shared_items = path, schema, shared_items
        self._indexes: dict[Path, pd.Index] = {}

    def vocabulary(self, field: str) -> pa.Table:
        """raw:string, id:int32 of a categorical or multi-valued field."""
        return pq.read_table(self._vocabulary(field))

    def known(self, field: str, rows: np.ndarray) -> np.ndarray:
        """Rows of the table of users or items -> ids, 0 for those whom training does not know."""
        return np.where(rows < self.schema.field(field).size, rows, 0)

    def rows(self, field: str, keys: pa.Array) -> np.ndarray:
        """(N,) rows of the table of users or items, 0 where a key is in none."""
        return find(self._index(self.path / f"{field}s.parquet", 1), keys)

    def ids(self, field: str, keys: pa.Array) -> np.ndarray:
        """(N,) ids of raw values, 0 where training does not know one."""
        return find(self._index(self._vocabulary(field), 0), keys)

    @cached_property
    def catalogue(self) -> tuple[np.ndarray, np.ndarray]:
        """(V,) the raw id of each item, and the id of its domain, 0 where domains share it. Id 0 is no item."""
        keys = ["", *self.vocabulary("item")["raw"].to_pylist()]
        domains, names = item_parts(keys, self.shared_items)
        place = {name: i for i, name in enumerate(self.schema.domains, 1)}
        return np.array(names, object), np.array([place.get(name, 0) for name in domains], np.int64)

    @cached_property
    def pools(self) -> Pools:
        """What a row of each domain may be ranked among."""
        return Pools(self.catalogue[1], not self.shared_items and len(self.schema.domains) > 1)

    @cached_property
    def known_pools(self) -> Pools:
        """Likewise, without new items: what a pre-training ranks."""
        known = self.schema.field("item").known
        return self.pools if known == len(self.pools) else Pools(self.catalogue[1][:known], self.pools.apart)

    @cached_property
    def columns(self) -> set[str]:
        """Names of what the tables hold of users and items, text for models that read words included."""
        files = [self.path / "users.parquet", self.path / "items.parquet"]
        return {name for file in files for name in pq.read_schema(file).names} - {"raw", "count"}

    @cached_property
    def users(self) -> Columns:
        """Their features, by row of the table; row 0 has none."""
        return self._features("users", "user")

    @cached_property
    def items(self) -> Columns:
        """Likewise."""
        return self._features("items", "item")

    def _vocabulary(self, field: str) -> Path:
        path = vocabulary_file(self.path, field)
        older = path.with_name(f"{field}.parquet") if re.fullmatch(r"\w[\w.-]{0,99}", field, re.ASCII) else path
        return older if not path.exists() and older.exists() else path  # artifacts of 0.1 have the names themselves

    def _index(self, path: Path, first: int) -> pd.Index:
        if path not in self._indexes:
            raws = pq.read_table(path, columns=["raw"])["raw"].to_pylist()
            self._indexes[path] = pd.Index(raws[first:], dtype=object)
        return self._indexes[path]

    def _features(self, table: str, role: str) -> Columns:
        fields = [f for f in self.schema.fields[3:] if f.role == role]
        columns = pq.read_table(self.path / f"{table}.parquet", columns=[f.name for f in fields])
        return {f.name: cast(columns[f.name].combine_chunks(), f) for f in fields}
