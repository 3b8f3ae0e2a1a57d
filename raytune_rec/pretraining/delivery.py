"""The training rows of a worker: the store's row groups, in file order.

Where they fit in the memory set for it, a worker reads them once and keeps them; otherwise one stream of Ray Data serves all
epochs. (Ray Data starts four processes and takes seconds to begin a stream, and the thread that drives a stream which waits for
its reader never sleeps: it took nine tenths of the interpreter from a training loop of small steps.) A task reads one row group,
so that a block is a block of the store: every worker sees the same ones in the same order, as the loop without Ray does, and cuts
its share from each batch. `ray.data.read_parquet` would make one block of a file, and reads a file that is named twice once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
from ray.data import DataIterator, Dataset, Datasource, ExecutionOptions, ExecutionResources, ReadTask, TaskPoolStrategy
from ray.data.block import BlockMetadata

from raytune_rec.data.stored.store import Store
from raytune_rec.schema.prepared import Table
from raytune_rec.storage.files import STORAGE

_AHEAD = 8
"""Blocks that may lie read ahead of training, where they are large."""
_LEAST_AHEAD = 64 * 2**20
_READERS = 2


@dataclass(frozen=True)
class RowGroup:
    """A row group of a file."""

    path: str
    number: int
    rows: int
    size: int


def row_groups(files: Sequence[Path]) -> list[RowGroup]:
    """All row groups that hold rows, in file order."""
    filled = []
    for path in files:
        footer = pq.read_metadata(path)
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        filled += [RowGroup(str(path), i, g.num_rows, g.total_byte_size) for i, g in enumerate(groups) if g.num_rows]
    return filled


class RowGroupSource(Datasource):
    """One task, and so one block, for each row group of each epoch."""

    def __init__(self, groups: Sequence[RowGroup], epochs: int) -> None:
        self._groups, self._epochs = list(groups), epochs

    def estimate_inmemory_data_size(self) -> int:
        return sum(g.size for g in self._groups) * self._epochs

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None) -> list[ReadTask]:
        of_epoch = [ReadTask(partial(_read, g), BlockMetadata(g.rows, g.size, None, None)) for g in self._groups]
        return of_epoch * self._epochs


def stream(groups: Sequence[RowGroup], epochs: int) -> Dataset:
    """The row groups, `epochs` times over. The readers claim no CPU: the workers may hold them all."""
    source, readers = RowGroupSource(groups, epochs), TaskPoolStrategy(size=_READERS)
    rows = ray.data.read_datasource(source, num_cpus=0, compute=readers, override_num_blocks=len(groups) * epochs)
    rows.context.enable_progress_bars = False
    return rows


def options(groups: Sequence[RowGroup]) -> ExecutionOptions:
    """In order, and a bounded way ahead."""
    ahead = max(_LEAST_AHEAD, _AHEAD * max(g.size for g in groups))
    return ExecutionOptions(preserve_order=True, resource_limits=ExecutionResources(object_store_memory=ahead))


def fit(groups: Sequence[RowGroup], mebibytes: int) -> bool:
    """Whether the blocks of an epoch may be kept in memory."""
    return sum(g.size for g in groups) <= mebibytes * 2**20


class Blocks:
    """The blocks of an epoch, each time it is iterated.

    Args:
        store: whose users and items are joined to the rows.
        groups: row groups of an epoch.
        shard: the stream of `stream`, of all epochs; None: the blocks are read once and kept.
    """

    def __init__(self, store: Store, groups: Sequence[RowGroup], shard: DataIterator | None) -> None:
        self._store, self._groups = store, groups
        self._kept = [table for group in groups for table in _read(group)] if shard is None else []
        self._delivered: Iterator[pa.Table] = _delivered(shard) if shard else iter(())

    def __iter__(self) -> Iterator[Table]:
        blocks = iter(self._kept) if self._kept else self._delivered
        for _ in self._groups:
            yield self._store.join(_columns(next(blocks)))


def _delivered(shard: DataIterator) -> Iterator[pa.Table]:
    return iter(shard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2))  # type: ignore[arg-type]


def _read(group: RowGroup) -> Iterable[pa.Table]:
    STORAGE.fetch(Path(group.path))
    return [pq.ParquetFile(group.path).read_row_group(group.number, use_threads=False)]


def _columns(table: pa.Table) -> dict[str, Any]:
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    return {name: c if pa.types.is_list(c.type) else c.to_numpy(zero_copy_only=False) for name, c in columns.items()}
