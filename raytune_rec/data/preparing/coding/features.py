"""Feature columns: raw values -> ids and numbers, with what a model must know of each field, all taken from the training split.

A feature of a user (item) weighs as often as the user (item) has training interactions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from raytune_rec.data.blocks import SourceField
from raytune_rec.data.hashing import scramble
from raytune_rec.data.preparing.coding.known import Known
from raytune_rec.data.preparing.coding.validate import Checked
from raytune_rec.data.preparing.coding.vocabulary import Codes, Order
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import Field, Role

_CONSTANT = 1e-6
"""Deviations below this part of the mean are rounding: the number is the same for all."""


class Column:
    """One feature of the rows of a table of users or items.

    Attributes:
        cut: rows whose multi-valued cell has more known values than are kept; told by `finish`.
    """

    def __init__(self, field: SourceField, rows: int, known: Known | None = None) -> None:
        self.field, self.cut = field, 0
        self._known = known.field(field.name) if known and field.kind != "text" else None
        self._codes = known.codes(field.name) if known and self._known and self._known.has_ids else Codes()
        self._values: np.ndarray = {
            "numerical": lambda: np.full(rows, np.nan, np.float32),
            "text": lambda: np.full(rows, "", object),
            "vector": lambda: np.full((rows, field.length), np.nan, np.float32),
        }.get(field.kind, lambda: np.full(rows, -1, np.int32))()
        self._lists: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # rows, lengths, codes
        self._sums = np.zeros(rows if field.kind == "multi" else 0, np.uint64)  # of the hashes of each list's values

    def put(self, rows: np.ndarray, take: np.ndarray, block: Checked) -> None:
        """Values of the block's rows `take` at the table's rows `rows`."""
        name = self.field.name
        if self.field.kind == "vector":
            self._put_vectors(rows, block.numbers[name][take])
        elif self.field.kind == "numerical":
            self._values[rows] = block.numbers[name][take]
        elif self.field.kind == "categorical":
            self._values[rows] = self._codes.add(block.text[name].take(pa.array(take)))
        elif self.field.kind == "text":
            self._values[rows] = [t or "" for t in block.text[name].take(pa.array(take)).to_pylist()]
        else:
            lengths, codes = list_codes(block.lists[name].take(pa.array(take)), self._codes)
            self._lists.append((rows, lengths, codes))
            self._sums[rows] = _sums(lengths, codes)

    def empty(self) -> np.ndarray:
        """(rows,) bool: nothing is known of the row."""
        if self.field.kind == "multi":
            empty = np.ones(len(self._sums), bool)
            for rows, lengths, _ in self._lists:
                empty[rows[lengths > 0]] = False
            return empty
        if self.field.kind == "vector":
            return np.isnan(self._values).all(1)
        if self.field.kind == "text":
            return np.array([not text.strip() for text in self._values.tolist()], bool)
        return np.isnan(self._values) if self.field.kind == "numerical" else self._values < 0

    def differs(self, rows: np.ndarray, take: np.ndarray, block: Checked) -> np.ndarray:
        """(n,) bool: the block's rows `take` have other values than those put at the table's rows `rows`."""
        name, stored = self.field.name, self._values[rows]
        if self.field.kind == "categorical":
            return self._codes.find(block.text[name].take(pa.array(take))) != stored
        if self.field.kind == "text":
            texts = block.text[name].take(pa.array(take)).to_pylist()
            return np.array([(t or "") != s for t, s in zip(texts, stored, strict=True)], bool)
        if self.field.kind == "multi":
            return _sums(*list_codes(block.lists[name].take(pa.array(take)), self._codes)) != self._sums[rows]
        given = block.numbers[name][take].astype(np.float32)
        if given.shape != stored.shape:
            return np.ones(len(rows), bool)
        same = (given == stored) | (np.isnan(given) & np.isnan(stored))
        return ~same if same.ndim == 1 else ~same.all(1)

    def finish(self, weights: np.ndarray, buckets: int) -> tuple[pa.Array, Field | None, Order | None]:
        """(the encoded column, the field, its vocabulary). A text column is no field.

        Args:
            weights: (rows,) training interactions of each row.
        """
        kind, role = self.field.kind, self.field.role
        if kind == "text":
            return pa.array(self._values.tolist(), pa.string()), None, None
        if kind == "vector":
            column, field = vector_field(self.field.name, role, self._values, weights)
            if self._known and field.length != self._known.length:
                had = f"vectors {self.field.name!r} have {field.length} numbers, and those of data.known {self._known.length}"
                raise DataError(f"{had}; name the same file.")
            return column, self._known or field, None
        if kind == "numerical":
            field = self._known or numerical_field(self.field.name, role, self._values, weights, buckets)
            return pa.array(self._values), field, None
        if kind == "categorical":
            known = self._values >= 0
            order = self._order(np.bincount(self._values[known], weights[known], minlength=len(self._codes)))
            return pa.array(order.ids(self._values)), Field(self.field.name, "categorical", role, order.size), order
        rows, lengths, codes = self._joined_lists(len(weights))
        order = self._order(np.bincount(codes, np.repeat(weights[rows], lengths), minlength=len(self._codes)))
        ids, owner = order.ids(codes), np.repeat(np.arange(len(lengths)), lengths)
        limit = self._known.length if self._known else self.field.length
        column, longest = id_lists(ids, lengths, limit)
        if limit:
            self.cut = int((np.bincount(owner[ids > 0], minlength=len(lengths)) > limit).sum())
        return column, self._known or Field(self.field.name, "multi", role, order.size, longest), order

    def _put_vectors(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """(n, W); a block without any has W = 0."""
        length, width = self._values.shape[1], vectors.shape[1]
        if not length:
            self._values = np.full((len(self._values), width), np.nan, np.float32)
        elif width not in (0, length):
            raise DataError(
                f"vectors {self.field.name!r}: some have {length} numbers and some {width}; write them anew, all of one length."
            )
        if width:
            self._values[rows] = vectors
            self.field = replace(self.field, length=width)

    def _order(self, counts: np.ndarray) -> Order:
        return Order(self._codes.raws(), counts, known=self._known.size - 1 if self._known else None)

    def _joined_lists(self, total: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(all rows in order, length of each, codes one after another)."""
        empty = np.zeros(0, np.int64)
        rows, lengths, codes = (np.concatenate(parts) for parts in zip((empty, empty, empty), *self._lists, strict=True))
        full = np.zeros(total, np.int64)
        full[rows] = lengths
        order = np.argsort(np.repeat(rows, lengths), kind="stable")
        return np.arange(total), full, codes[order]


class FeatureTable:
    """Features of all users or items that have interactions, row by row as their places say.

    Args:
        keys: provisional codes of the raw ids.
        order: their final places.
        known: what is coded already; None: nothing is.
    """

    def __init__(self, fields: Sequence[SourceField], keys: Codes, order: Order, known: Known | None = None) -> None:
        self._keys, self._order = keys, order
        self._filled = np.zeros(len(order.raws) + 1, bool)
        self._differing = np.zeros(len(order.raws) + 1, bool)
        self.repeated = 0
        self.columns = [Column(field, len(self._filled), known) for field in fields]

    def add(self, key: pa.DictionaryArray | pa.Array, block: Checked) -> None:
        """Rows of a block; of repeated keys the first counts, and keys without interactions are passed over."""
        codes = self._keys.find(key)
        places = np.append(self._order.place, 0)[codes]  # 0 where the key has no interactions
        _, first = np.unique(places, return_index=True)
        take = np.sort(first)
        take = take[(places[take] > 0) & ~self._filled[places[take]]]
        for column in self.columns:
            column.put(places[take], take, block)
        self._filled[places[take]] = True
        again = np.setdiff1d(np.flatnonzero(places > 0), take)
        self.repeated += len(again)
        for column in self.columns if len(again) else ():
            self._differing[places[again][column.differs(places[again], again, block)]] = True

    @property
    def rows(self) -> int:
        """Users or items of the interactions."""
        return len(self._filled) - 1

    @property
    def known(self) -> int:
        """Those who have a row."""
        return int(self._filled.sum())

    @property
    def differing(self) -> int:
        """Those whose later rows have other values than the first."""
        return int(self._differing.sum())

    @property
    def empty(self) -> dict[str, int]:
        """Feature -> those of whom it is not known, whether they have a row or not; features that all have are left out."""
        counts = {column.field.name: int(column.empty()[1:].sum()) for column in self.columns}
        return {name: count for name, count in counts.items() if count}

    @property
    def cut(self) -> dict[str, list[int]]:
        """Feature -> how many have more values than are kept, and how many are; features that are nowhere cut are left out."""
        return {column.field.name: [column.cut, column.field.length] for column in self.columns if column.cut}

    def names(self, count: int) -> list[str]:
        return self._order.raws[:count]

    def finish(self, buckets: int) -> tuple[pa.Table, list[Field], Mapping[str, Order]]:
        weights = np.concatenate([[0], self._order.counts]).astype(np.float64)
        columns: dict[str, pa.Array] = {
            "raw": pa.array(["", *self._order.raws], pa.string()),
            "count": pa.array(weights.astype(np.int32)),
        }
        fields: list[Field] = []
        orders: dict[str, Order] = {}
        for column in self.columns:
            name = column.field.name
            columns[name], field, order = column.finish(weights, buckets)
            fields += [field] if field else []
            orders |= {name: order} if order else {}
        return pa.table(columns), fields, orders


def _sums(lengths: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(N,) uint64, the same for lists of the same values."""
    sums = np.zeros(len(lengths), np.uint64)
    np.add.at(sums, np.repeat(np.arange(len(lengths)), lengths), scramble(codes.astype(np.uint64)))
    return sums


def list_codes(lists: pa.ListArray, codes: Codes) -> tuple[np.ndarray, np.ndarray]:
    """((N,) lengths, codes one after another). Empty values within a list are dropped, repeated ones counted once."""
    values = codes.add(lists.flatten())
    lengths = np.where(lists.is_valid().to_numpy(zero_copy_only=False), np.diff(lists.offsets.to_numpy()), 0)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    _, first = np.unique(owner.astype(np.int64) << 32 | values.astype(np.int64) & 0xFFFFFFFF, return_index=True)
    keep = np.zeros(len(values), bool)
    keep[first] = True
    keep &= values >= 0
    return np.bincount(owner[keep], minlength=len(lengths)), values[keep]


def id_lists(ids: np.ndarray, lengths: np.ndarray, limit: int) -> tuple[pa.ListArray, int]:
    """(list<int32> of the known ids of each row, the length of the longest). Unknown ids (0) are dropped, and what goes past
    `limit`.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)[ids > 0]
    ids = ids[ids > 0]
    starts = np.searchsorted(owner, np.arange(len(lengths)))
    if limit:
        keep = np.arange(len(ids)) - starts[owner] < limit
        owner, ids = owner[keep], ids[keep]
    offsets = np.searchsorted(owner, np.arange(len(lengths) + 1)).astype(np.int32)
    longest = int(np.diff(offsets).max(initial=0))
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids.astype(np.int32))), max(longest, 1)


def numerical_field(name: str, role: Role, values: np.ndarray, weights: np.ndarray, buckets: int) -> Field:
    """Mean, deviation and inner quantile edges of the known values, each with its weight."""
    used = ~np.isnan(values) & (weights > 0)
    x, w = values[used].astype(np.float64), weights[used]
    if not len(x):
        return Field(name, "numerical", role, 2)
    mean = float(np.average(x, weights=w))
    std = float(np.sqrt(np.average((x - mean) ** 2, weights=w)))
    order = np.argsort(x, kind="stable")
    share = np.cumsum(w[order]) / w.sum()
    cuts = np.searchsorted(share, np.arange(1, buckets) / buckets - 1e-12)
    quantiles = np.unique(x[order][np.minimum(cuts, len(x) - 1)].astype(np.float32))
    edges = tuple(float(e) for e in quantiles if e < x.max())
    return Field(name, "numerical", role, len(edges) + 2, mean=mean, std=std or 1.0, edges=edges)


def vector_field(name: str, role: Role, values: np.ndarray, weights: np.ndarray) -> tuple[pa.Array, Field]:
    """(list<float32>, null where it is missing; the field). Each number has a mean and a deviation of its own: what a model makes
    of its users may be for the half the same for all.

    Args:
        values: (N, W), NaN rows where missing. weights: (N,) training interactions.

    Raises:
        DataError: no row has a vector.
    """
    missing = np.isnan(values).any(1) if values.shape[1] else np.ones(len(values), bool)
    if missing.all():
        raise DataError(f"vectors {name!r}: no user of the interactions has one; name another file, or leave them out.")
    offsets = np.concatenate([[0], np.cumsum(np.where(missing, 0, values.shape[1]))]).astype(np.int32)
    column = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[~missing].reshape(-1)), mask=pa.array(missing))
    used = ~missing & (weights > 0)
    x, w = (values[used], weights[used]) if used.any() else (values[~missing], np.ones((~missing).sum()))
    means = np.average(x.astype(np.float64), axis=0, weights=w)
    stds = np.sqrt(np.average((x - means) ** 2, axis=0, weights=w))
    stds[stds < _CONSTANT * np.abs(means)] = 1.0
    stds[stds == 0] = 1.0
    return column, Field(name, "vector", role, 0, values.shape[1], means=tuple(means.tolist()), stds=tuple(stds.tolist()))
