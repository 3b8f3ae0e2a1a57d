"""Raw identifiers <-> numbers.

While the rows are read every raw value gets a provisional code in order of appearance. Once the split is known the codes are
ordered: values that occur in the training split get ids from 1 by falling training count and then by raw value, so that ids
depend on neither the order of the rows nor anything outside the training split. Cold items that keep no row of the training split
come behind them, by raw value. The values themselves are held in memory; the rows are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.data.hashing import text_hash


class Codes:
    """Raw values -> provisional codes 0, 1, 2 ... in order of appearance; -1 for null."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._hashes = np.zeros(0, np.uint64)

    def __len__(self) -> int:
        return len(self._codes)

    def add(self, values: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """(N,) int32 codes; values not met before get the next ones."""
        indices, distinct = _distinct(values)
        codes = self._codes
        return _spread(indices, [codes.setdefault(v, len(codes)) for v in distinct])

    def find(self, values: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """(N,) int32 codes, -1 for values never met."""
        indices, distinct = _distinct(values)
        return _spread(indices, [self._codes.get(v, -1) for v in distinct])

    def hashes(self) -> np.ndarray:
        """(len,) uint64: `text_hash` of each value, by code."""
        if len(self._hashes) < len(self._codes):
            fresh = list(self._codes)[len(self._hashes) :]
            self._hashes = np.concatenate([self._hashes, text_hash(fresh)])
        return self._hashes

    def raws(self) -> list[str]:
        """The values, by code."""
        return list(self._codes)


def _distinct(values: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not pa.types.is_dictionary(values.type):
        values = pc.dictionary_encode(values)
    indices = pc.fill_null(values.indices, -1).to_numpy(zero_copy_only=False)
    return indices, values.dictionary.to_pylist()


def _spread(indices: np.ndarray, codes: list[int]) -> np.ndarray:
    return np.array([*codes, -1], dtype=np.int32)[indices]  # index -1, null, takes the last entry


class Order:
    """Final places of provisional codes.

    Args:
        new: (codes,) bool, values that get ids although the training split does not have them; None: there are none.
        known: how many values, those of the first codes, have ids already, which they keep (`Known`); the others get ids behind
            them where they are `new`, by raw value, and none where not. None: no value has an id yet.

    Attributes:
        size: V, ids of the vocabulary including 0. new: how many of them, the last ones, are new.
        place: (codes,) int32: 1 .. V-1 for values of the vocabulary, V and up for the others, by raw value.
        raws: raw value of each place from 1.
        counts: training rows of each place from 1.
    """

    def __init__(self, raws: Sequence[str], counts: np.ndarray, new: np.ndarray | None = None, known: int | None = None) -> None:
        by_name = np.array(sorted(range(len(raws)), key=raws.__getitem__), dtype=np.int64)
        if known is None:
            new = np.zeros(len(raws), bool) if new is None else new & (counts == 0)
            order, used = by_name[np.lexsort((~new[by_name], -counts[by_name]))], int((counts > 0).sum())
        else:
            new = np.zeros(len(raws), bool) if new is None else new
            order, used = np.concatenate([np.arange(known), by_name[by_name >= known]]), known - int(new[:known].sum())
        self.place = np.empty(len(raws), np.int32)
        self.place[order] = np.arange(1, len(raws) + 1, dtype=np.int32)
        self.new = int(new.sum())
        self.size = used + 1 + self.new
        self.raws = [raws[i] for i in order]
        self.counts = counts[order]

    def ids(self, codes: np.ndarray) -> np.ndarray:
        """int32 ids of codes: 0 for null (-1) and for values outside the vocabulary."""
        ids = np.append(np.where(self.place < self.size, self.place, 0), 0).astype(np.int32)
        return ids[codes]

    def table(self) -> pa.Table:
        """raw:string, id:int32 of the vocabulary."""
        known = self.raws[: self.size - 1]
        return pa.table({"raw": pa.array(known, pa.string()), "id": pa.array(range(1, self.size), pa.int32())})
