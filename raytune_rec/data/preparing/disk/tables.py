"""Writing the store: row groups of even size, rejected rows, and the schema as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.blocks import Fault, Reject
from raytune_rec.data.formats import suggested
from raytune_rec.storage.files import STORAGE

REJECTED = pa.schema([("file", pa.string()), ("line", pa.int64()), ("value", pa.string()), ("reason", pa.string())])
_REMEDIES = {
    "a quote is not closed": "; write cells without line breaks, or set data.options.quote = '' where quotes are letters",
    "not utf-8": "; set data.options.encoding to the file's, such as 'latin-1'",
    "past the year 2262 (read as a date)": "",
    "past the year 2262": "; set data.options.time_unit, or map what is only an order as position",
}


class RowGroupWriter:
    """Parquet files of row groups of `rows` rows (the last one shorter), `part-00000.parquet` and on.

    Args:
        groups: row groups of a file.
    """

    def __init__(self, folder: Path, schema: pa.Schema, rows: int, groups: int = 1 << 30) -> None:
        self._folder, self._schema, self._rows, self._groups = folder, schema, rows, groups
        self._held: list[pa.Table] = []
        self._count = self._written = 0
        self._writer: pq.ParquetWriter | None = None
        STORAGE.make_folder(folder)

    def add(self, table: pa.Table) -> None:
        self._held.append(table)
        self._count += len(table)
        if self._count >= self._rows:
            table = pa.concat_tables(self._held)
            whole = len(table) - len(table) % self._rows
            for start in range(0, whole, self._rows):
                self._write(table.slice(start, self._rows))
            # a copy: the rest would otherwise hold all of the table in memory
            self._held = [table.slice(whole).take(pa.array(range(len(table) - whole), pa.int64()))]
            self._count = len(table) - whole

    def close(self) -> None:
        if self._count or not self._written:
            self._write(pa.concat_tables(self._held) if self._held else self._schema.empty_table())
        if self._writer is not None:
            self._writer.close()

    def _write(self, group: pa.Table) -> None:
        if self._written % self._groups == 0:
            if self._writer is not None:
                self._writer.close()
            path = self._folder / f"part-{self._written // self._groups:05d}.parquet"
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        assert self._writer is not None
        self._writer.write_table(group.combine_chunks(), row_group_size=self._rows)
        self._written += 1


class Rejects:
    """Rows that cannot be used, written as they come and counted by reason; too many of them end the preparation."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, REJECTED)
        self._path = path
        self._faults: dict[tuple[str, str], Fault] = {}
        self.reasons: Counter[str] = Counter()

    def __enter__(self) -> Rejects:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, rejects: Sequence[Reject], faults: Mapping[tuple[str, str], Fault]) -> None:
        for key, fault in faults.items():
            if key in self._faults:
                self._faults[key].count += fault.count
            else:
                self._faults[key] = fault
        if rejects:
            columns = {name: [getattr(r, name) for r in rejects] for name in REJECTED.names}
            self._writer.write_table(pa.table(columns, REJECTED))
            self.reasons.update(r.reason for r in rejects)

    def judge(self, what: str, read: int, refused: int, limit: float, formats: bool) -> list[str]:
        """What to say where more than the allowed share of rows was refused since the last time, rule by rule; else nothing.

        Args:
            formats: a job can say how text is written.
        """
        faults, self._faults = self._faults, {}
        if refused <= limit * read:
            return []
        named = [_told(fault, formats) for fault in sorted(faults.values(), key=lambda fault: -fault.count)]
        return [
            f"{refused} of {read} {what} cannot be used, more than data.max_rejected = {limit:g} allows. "
            f"All are in {self._path}; mend them, or raise data.max_rejected. What is wrong:",
            *named,
        ]


def _told(fault: Fault, formats: bool) -> str:
    first = fault.first
    rows = f"; {fault.count:,} rows in all" if fault.count > 1 else ""
    return f"  {first.file}, line {first.line}: {first.reason} (value: {first.value!r}){rows}{_remedy(first) if formats else ''}"


def _remedy(reject: Reject) -> str:
    """What a job may set so that such rows can be read."""
    for words, remedy in _REMEDIES.items():
        if words in reject.reason:
            return remedy
    form = suggested(reject.value) if "is not a finite number" in reject.reason else ""
    fits = form and (form == "iso") >= (reject.column == "timestamp") and (form, reject.column) != ("iso", "label")
    return f'; set data.options.formats.{reject.column} = "{form}"' if fits else ""
