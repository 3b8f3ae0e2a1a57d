"""The rows of one unit that choose the best epoch, on the device. Shapes: T lanes, N rows, K candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from raytune_rec.schema.prepared import DOMAIN, USER, Table
from raytune_rec.tasks.kinds import kind_of
from raytune_rec.tensors import Step
from raytune_rec.training.feed import device_table, take
from raytune_rec.training.model import Model
from raytune_rec.training.repeats import Repeats

MIB = 2**20


class Validation:
    """Measures lanes of one unit. What the table's task keeps of the scores of a pass is all that is held of them.

    Args:
        table: the rows.
        model: lanes of the unit; what is frozen in it is encoded here, once.
        metrics: names; each is the mean over the rows' domains (a pooled one would follow the largest).
        chunk: most rows times lanes of a pass.
        device: where the rows lie.
        cache_mib: most memory for what is encoded once; beyond it each pass encodes its rows.
    """

    def __init__(self, table: Table, model: Model, metrics: Sequence[str], chunk: int, device: str, cache_mib: int = 512) -> None:
        self.kind = kind_of(table.task)
        self.metrics, self.chunk = tuple(metrics), self.kind.most_rows(table, chunk)
        domains_of = table.item_domains
        self.item_domains = None if domains_of is None else torch.as_tensor(domains_of, device=device)
        columns, label = device_table(table, device)
        order = columns[USER][0].argsort(stable=True)  # so that a chunk has few users
        self.columns, self.label = {n: c[:, order] for n, c in columns.items()}, label[:, order]
        domains = self.columns[DOMAIN][0]
        self.domains = [torch.nonzero(domains == d).squeeze(1) for d in domains.unique()]
        self.encoded = (
            encoded(model, self.columns, self.label, chunk) if fits(model, [(self.columns, self.label)], cache_mib) else None
        )
        self.repeats = Repeats(self.encoded or {})

    def values(self, model: Model, one_pass: bool = False) -> dict[str, list[float]]:
        """Metric -> its value for each lane of the model.

        Args:
            one_pass: for who measures memory: the largest pass alone is made and stands for the others.
        """
        model, passes = model.holding(), self._passes(model)
        parts = [self._reduced(model, index) for index in (passes[:1] if one_pass else passes)]
        if one_pass:
            parts = [tuple(each[:, : index.shape[1]] for each in parts[0]) for index in passes]
        kept = [torch.cat(each, dim=1) for each in zip(*parts, strict=True)]
        means = {name: torch.stack([self._value(name, kept, rows) for rows in self.domains]).mean(0) for name in self.metrics}
        return {name: mean.expand(model.lanes).tolist() for name, mean in means.items()}

    def scores(self, model: Model) -> Tensor:
        """(U, N) logits, or (U, N, K) of candidates."""
        model, passes = model.holding(), self._passes(model)
        return torch.cat([self._logits(model, index) for index in passes], dim=1)

    def _value(self, metric: str, kept: Sequence[Tensor], rows: Tensor) -> Tensor:
        """(U,) of some of the rows."""
        return self.kind.value(metric, tuple(each[:, rows] for each in kept), self.label[0, rows])

    def _passes(self, model: Model) -> list[Tensor]:
        """(1, n) places of each pass; what a pass writes stays small enough for a cache."""
        return list(chunks(self.label, self.chunk // max(1, model.lanes)))

    def _reduced(self, model: Model, index: Tensor) -> tuple[Tensor, ...]:
        """What is kept of a pass, whose logits go: (U, n, ...) each."""
        columns = {n: c[0] for n, c in self.columns.items()}
        return self.kind.reduce(self._logits(model, index), columns, index[0], self.item_domains)

    @torch.no_grad()
    def _logits(self, model: Model, index: Tensor) -> Tensor:
        """(U, n), or (U, n, K) of candidates."""
        batch = self.repeats.of(take(self.columns, self.label, index))
        known = model.encode(batch) if self.encoded is None else {n: e[:, index[0]] for n, e in self.encoded.items()}
        return model.scores(batch, known, Step(False, model.trained_groups, last=True))


@torch.no_grad()
def fits(model: Model, tables: Sequence[tuple[Mapping[str, Tensor], Tensor]], mib: int) -> bool:
    """Whether the encoding of some tables, columns and label, is the same for all epochs and fits in so much memory."""
    if not model.encoding_is_frozen:
        return False
    columns, label = tables[0]
    row = model.part(slice(1)).encode(take(columns, label, torch.zeros(1, 1, dtype=torch.int64, device=label.device)))
    size = sum(part.numel() * part.element_size() for part in row.values())
    return size * sum(label.shape[1] for _, label in tables) <= mib * MIB


@torch.no_grad()
def encoded(model: Model, columns: Mapping[str, Tensor], label: Tensor, chunk: int) -> dict[str, Tensor]:
    """The frozen encoding of a table, name -> (1, N, ...): the same for every lane of a unit."""
    model = model.part(slice(1))
    parts = [model.encode(take(columns, label, index)) for index in chunks(label, chunk)]
    return {name: torch.cat([p[name] for p in parts], dim=1) for name in parts[0]}


def chunks(label: Tensor, rows: int) -> Iterator[Tensor]:
    """(1, n) places of a table, so many at a time."""
    for index in torch.arange(label.shape[1], device=label.device).split(max(1, rows)):
        yield index.unsqueeze(0)
