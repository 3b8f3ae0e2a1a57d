"""Rows of a table that read the same: a prompt computes what it makes of them once.

Shapes: B rows of a batch, N of a table, G distinct ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import generator


class Repeats:
    """Finds the distinct rows of frozen readings, of the table when a prompt first asks, and of each batch.

    Args:
        encoded: name -> (1, N, ...), the encoding of a table that is computed once; empty where it changes.
    """

    def __init__(self, encoded: Mapping[str, Tensor]) -> None:
        self.encoded = encoded
        self.known: dict[str, tuple[Tensor, Tensor]] = {}

    def of(self, batch: Batch) -> Batch:
        """A batch of the table that knows its distinct rows; as it was where lanes have rows of their own."""
        if not self.encoded or batch.index.shape[0] > 1:
            return batch
        return batch.knowing(lambda name: self._distinct(name, batch.index[0]))

    def _distinct(self, name: str, index: Tensor) -> tuple[Tensor, Tensor] | None:
        if name not in self.known:
            self.known[name] = _distinct_rows(self.encoded[name][0])
        values, of_row = self.known[name]
        if 2 * len(values) > len(of_row):  # hardly a row repeats
            return None
        used, place = torch.unique(of_row[index], return_inverse=True)
        return values[used].unsqueeze(0), place


def _distinct_rows(reading: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows of (N, width), and which of them each row is (N,).

    Rows are told apart by a random sum of theirs, which is far quicker than to sort them; should two that differ have the same
    sum, they are sorted after all.
    """
    weight = torch.rand(reading.shape[-1], generator=generator("distinct"), dtype=torch.float64).to(reading.device)
    _, of_row = torch.unique((reading.double() * weight).sum(-1), return_inverse=True)
    places = torch.arange(len(reading), device=reading.device)
    values = reading[torch.zeros_like(places)[: int(of_row.max()) + 1].scatter_(0, of_row, places)]
    if torch.equal(values[of_row], reading):
        return values, of_row
    values, of_row = torch.unique(reading, dim=0, return_inverse=True)
    return values, of_row
