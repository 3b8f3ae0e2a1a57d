"""Rows on disk between the passes, in buckets of their hash: each bucket fits in memory, and the buckets in turn are all rows in
hash order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from raytune_rec.data.hashing import scramble
from raytune_rec.storage.files import STORAGE
from raytune_rec.storage.listing import remove_files

BUCKETS = 64


class Spill:
    """Temporary Arrow files, one per bucket. A context manager: leaving it deletes them.

    Args:
        folder: of these files alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: list[pa.ipc.RecordBatchStreamWriter] = []

    def __enter__(self) -> Spill:
        STORAGE.make_folder(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        remove_files(self._folder, "*.arrow")

    def add(self, rows: dict[str, np.ndarray | pa.Array]) -> None:
        """Rows with a column `hash` (N,) uint64. All calls have the same columns."""
        table = pa.table(rows)
        if not self._writers:
            self._writers = [pa.ipc.new_stream(self._path(b), table.schema) for b in range(BUCKETS)]
        bucket = (place_key(table["hash"].to_numpy()) >> np.uint64(58)).astype(np.int64)
        table = table.take(pa.array(np.argsort(bucket, kind="stable")))
        ends = np.cumsum(np.bincount(bucket, minlength=BUCKETS)).tolist()
        for writer, start, end in zip(self._writers, [0, *ends], ends, strict=False):
            if end > start:
                writer.write_table(table.slice(start, end - start).combine_chunks())

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers = []

    def buckets(self) -> Iterator[pa.Table]:
        """Each bucket's rows in hash order; to be called after `close`. May be called again."""
        for path in (self._path(b) for b in range(BUCKETS)):
            if path.exists():
                with pa.OSFile(str(path)) as file:
                    table = pa.ipc.open_stream(file).read_all().combine_chunks()
                yield table.take(pa.array(_order(table)))

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:02d}.arrow"


def place_key(hashes: np.ndarray) -> np.ndarray:
    """(N,) uint64: the order of rows in the store. Not the hash itself, or the splits, cut by it, would stand in runs."""
    return scramble(hashes ^ np.uint64(0x5851F42D4C957F2D))


def _order(table: pa.Table) -> np.ndarray:
    """Repeated rows have equal hashes: they are told apart by their values, so that their order in the files does not matter."""
    ties = [table[c].to_numpy() for c in ("row", "label", "rating", "stay", "position", "timestamp") if c in table.column_names]
    return np.lexsort((*ties, place_key(table["hash"].to_numpy())))
