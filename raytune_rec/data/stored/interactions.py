"""Reading interactions: rows of user, item, context and label, joined with what is known of users and items. Shapes: N rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_rec.data.layout import domain_file
from raytune_rec.data.stored.columns import Columns, arrays, cast
from raytune_rec.data.stored.lookup import Lookup
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import DOMAIN, ITEM, SPLITS, USER, Split, Table
from raytune_rec.storage.files import STORAGE
from raytune_rec.task import Unit

_LABEL = "label"


class Interactions:
    """The interactions of a store."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup, self.schema = lookup, lookup.schema
        self._names = [USER, ITEM, _LABEL, *(f.name for f in self.schema.with_role("context"))]

    def train_files(self) -> list[Path]:
        return STORAGE.list(self.lookup.path / "train", "part-*.parquet")

    def load(self, unit: Unit, split: Split) -> Table:
        if unit.kind == "all" and split == "train":
            files = [pq.read_table(path, columns=[*self._names, DOMAIN]) for path in self.train_files()]
            return self.join(arrays(pa.concat_tables(files)))
        return self.join(arrays(self._read(unit, split)))

    def tables(self) -> dict[str, dict[str, str]]:
        return {unit.name: {unit.name: ""} for unit in self.schema.units}

    def test(self, unit: Unit, part: str = "") -> Table:
        """`owner` is the row of the table of users: those whom training does not know differ too."""
        rows = arrays(self._read(unit, "test"))
        return replace(self.join(rows), owner=np.asarray(rows[USER], np.int64))

    def join(self, columns: Mapping[str, Any]) -> Table:
        """Columns user, item, domain, label and context, (N,) each; a multi-valued one an object or Arrow array of lists."""
        user, item = (np.asarray(columns[name], np.int64) for name in (USER, ITEM))
        joined = {USER: self.lookup.known(USER, user), ITEM: self.lookup.known(ITEM, item)}
        joined[DOMAIN] = np.asarray(columns[DOMAIN], np.int64)
        joined |= {name: values[user] for name, values in self.lookup.users.items()}
        joined |= {name: values[item] for name, values in self.lookup.items.items()}
        joined |= {f.name: cast(columns[f.name], f) for f in self.schema.with_role("context")}
        return Table({f.name: joined[f.name] for f in self.schema.fields}, np.asarray(columns[_LABEL], np.float32))

    def check_candidates(self) -> None:
        """None are drawn."""

    def known_histories(self) -> Columns:
        raise DataError(f"{self.lookup.path}: its rows are single interactions; vectors are of a run with data.sequences.")

    def _read(self, unit: Unit, split: Split) -> pa.Table:
        parts = []
        for domain in (unit.domain,) if unit.domain else self.schema.domains:
            rows = pq.read_table(domain_file(self.lookup.path, domain), columns=[*self._names, "split"], partitioning=None)
            rows = rows.filter(pc.equal(rows["split"], SPLITS.index(split))).drop_columns("split")
            if unit.kind == "items":
                rows = rows.filter(pc.is_in(rows[ITEM], pa.array(unit.members, rows[ITEM].type)))
            place = np.full(len(rows), self.schema.domains.index(domain) + 1, np.int32)
            parts.append(rows.append_column(DOMAIN, pa.array(place)))
        return pa.concat_tables(parts)
