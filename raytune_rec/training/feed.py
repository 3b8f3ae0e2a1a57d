"""The rows of a step.

Their order is a function of (job seed, unit, replicate, epoch) and never of the trial, so that lanes share batches.

Rows are permuted within blocks (the store's rows lie in hash order, so that a block is a fair sample) and cut into batches across
blocks. A whole table in memory and blocks that stream in give the same batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from raytune_rec.schema.contract import Batch
from raytune_rec.schema.prepared import Table
from raytune_rec.tensors import generator, lookup

Key = tuple[object, ...]


def permutation(rows: int, key: Key, epoch: int, block: int) -> Tensor:
    """(rows,) the order of one block in one epoch."""
    return torch.randperm(rows, generator=generator("order", *key, epoch, block))


def device_table(table: Table, device: str) -> tuple[dict[str, Tensor], Tensor]:
    """Columns (1, N, ...) and label (1, N) on the device."""
    columns = {name: torch.tensor(c, device=device).unsqueeze(0) for name, c in table.columns.items()}
    return columns, torch.tensor(table.label, device=device).unsqueeze(0)


def take(columns: Mapping[str, Tensor], label: Tensor, index: Tensor) -> Batch:
    """The rows `index` (U, B) of a table with a leading 1."""
    picked = {name: lookup(c, index) for name, c in columns.items()}
    label = lookup(label, index)
    return Batch(picked, label, torch.ones_like(label), index)


def pieces(batch: Batch, most: int) -> Iterator[Batch]:
    """A batch in parts of at most so many rows; as it is where that is 0."""
    rows = batch.label.shape[1]
    if not 0 < most < rows:
        yield batch
        return
    for part in (slice(first, first + most) for first in range(0, rows, most)):
        columns = {name: column[:, part] for name, column in batch.columns.items()}
        yield Batch(columns, batch.label[:, part], batch.weight[:, part], batch.index[:, part], batch.items, batch.members)


_AHEAD = 64
"""Batches that are gathered at a time."""


class TableFeed:
    """Batches of tables in memory.

    Args:
        tables: the rows of one unit, or of several.
        keys: one per U: (job seed, unit, replicate).
        batch_size: B.
        block_rows: rows of a block.
        device: where batches lie.
        table_of: per key, which of the tables it reads.
    """

    def __init__(
        self,
        tables: Table | Sequence[Table],
        keys: Sequence[Key],
        batch_size: int,
        block_rows: int,
        device: str = "cpu",
        table_of: Sequence[int] | None = None,
    ) -> None:
        held = [tables] if isinstance(tables, Table) else list(tables)
        self.columns, self.label = device_table(held[0] if len(held) == 1 else _join(*held), device)
        self.keys, self.batch_size, self.block_rows, self.device = list(keys), batch_size, block_rows, device
        places = table_of or [0] * len(keys)
        self.rows = [len(held[i]) for i in places]
        starts = np.cumsum([0, *map(len, held)])
        self._starts = [int(starts[i]) for i in places]

    @property
    def start(self) -> Tensor | int:
        """Where the rows of each key begin in `columns`: (U, 1), or 0."""
        return torch.tensor(self._starts, device=self.device).unsqueeze(1) if any(self._starts) else 0

    @property
    def steps(self) -> list[int]:
        """Per key, the steps of an epoch. With fewer than others it idles at the end: its batches have no weight."""
        return [-(-n // self.batch_size) for n in self.rows]

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch (from 1)."""
        order = self._orders(epoch)  # (U, N)
        weight = (order >= 0).to(self.label.dtype)
        order = order.clamp_(min=0)
        start = self.start
        for first in range(0, order.shape[1], self.batch_size * _AHEAD):
            ahead = slice(first, first + self.batch_size * _AHEAD)
            index = order[:, ahead]
            rows = take(self.columns, self.label, index + start)
            for at in range(0, index.shape[1], self.batch_size):
                part = slice(at, at + self.batch_size)
                columns = {n: c[:, part] for n, c in rows.columns.items()}
                yield Batch(columns, rows.label[:, part], weight[:, ahead][:, part], index[:, part])

    def keep(self, lanes: Sequence[int]) -> None:
        """Drop the keys of lanes that left (where lanes do not share one)."""
        if len(self.keys) > 1:
            self.keys = [self.keys[i] for i in lanes]
            self.rows, self._starts = [self.rows[i] for i in lanes], [self._starts[i] for i in lanes]

    def _orders(self, epoch: int) -> Tensor:
        """(U, N) rows of each key, -1 behind those of a shorter table."""
        orders = [self._order(key, rows, epoch) for key, rows in zip(self.keys, self.rows, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(orders, batch_first=True, padding_value=-1).to(self.device)

    def _order(self, key: Key, rows: int, epoch: int) -> Tensor:
        starts = range(0, rows, self.block_rows)
        return torch.cat(
            [
                torch.zeros(0, dtype=torch.int64),
                *(s + permutation(min(self.block_rows, rows - s), key, epoch, i) for i, s in enumerate(starts)),
            ]
        )


class StreamFeed:
    """Batches of blocks that arrive one after the other, for one lane.

    Args:
        blocks: epoch -> the blocks in order. Each but the last has `block_rows` rows.
        key: (job seed, unit, replicate).
        batch_size: B of the whole job; with several workers each gets its share.
        rank, world: this worker's place.
        rows: of all blocks together.
    """

    start = 0

    def __init__(
        self,
        blocks: Iterable[Table],
        key: Key,
        batch_size: int,
        device: str = "cpu",
        rank: int = 0,
        world: int = 1,
        rows: int = 1,
    ) -> None:
        self.blocks, self.keys, self.batch_size, self.device = blocks, [key], batch_size, device
        self.rank, self.world = rank, world
        self.steps = [-(-rows // batch_size)]

    def epoch(self, epoch: int) -> Iterator[Batch]:
        rest: Table | None = None
        first = seen = 0
        for block, table in enumerate(self.blocks):
            order = permutation(len(table), self.keys[0], epoch, block).numpy()
            index = seen + order
            seen += len(table)
            table = Table({n: c[order] for n, c in table.columns.items()} | {_INDEX: index}, table.label[order])
            table = table if rest is None else _join(rest, table)
            full = len(table) // self.batch_size * self.batch_size
            for first in range(0, full, self.batch_size):
                yield self._batch(_cut(table, first, first + self.batch_size))
            rest = _cut(table, full, len(table))
        if rest is not None and len(rest):
            yield self._batch(rest)

    def keep(self, lanes: Sequence[int]) -> None:
        assert list(lanes) in ([0], [])

    def _batch(self, table: Table) -> Batch:
        part = _cut(table, self.rank, len(table), self.world)
        idle = not len(part)  # the last batch has fewer rows than there are workers: a row of no weight keeps this one in step
        columns, label = device_table(_cut(table, 0, 1) if idle else part, self.device)
        index = columns.pop(_INDEX)
        return Batch(columns, label, torch.full_like(label, 0.0 if idle else 1.0), index)


_INDEX = "\x00index"


def _cut(table: Table, start: int, stop: int, step: int = 1) -> Table:
    return Table({n: c[start:stop:step] for n, c in table.columns.items()}, table.label[start:stop:step])


def _join(*tables: Table) -> Table:
    columns = {n: np.concatenate([t.columns[n] for t in tables]) for n in tables[0].columns}
    return Table(columns, np.concatenate([t.label for t in tables]))
