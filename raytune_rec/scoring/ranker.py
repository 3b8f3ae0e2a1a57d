"""Where the positive of each test list stands, and which class a user is said to have. Shapes: N lists, K candidates, V items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from raytune_rec.evaluation.inputs import Outcome
from raytune_rec.evaluation.lists import outcome, positive_first
from raytune_rec.schema import Batch, Table
from raytune_rec.tensors import Step
from raytune_rec.training.feed import device_table, take
from raytune_rec.training.model import Model

_ROWS = 1024


@torch.no_grad()
def rank(model: Model, table: Table, full: bool) -> tuple[Outcome, Outcome | None]:
    """The outcome of each list of a table (`Histories.test`), with one replicate: among its candidates, and among all items.

    Args:
        model: of one lane.
        full: among all items (of its domain: `Table.item_domains`) too, without those in `seen`; where the table has no
            candidates, that is the only ranking.
    """
    sampled_too = "candidates" in table.columns
    known = {n: c for n, c in table.columns.items() if n not in ("seen", "positive", "owner")}
    rows, label = device_table(Table(known, table.label), "cpu")
    positive, seen, domain = (torch.as_tensor(table.columns[name]) for name in ("positive", "seen", "domain"))
    item_domains = None if table.item_domains is None else torch.as_tensor(table.item_domains)
    sampled, every = [], []
    for index in torch.arange(len(table)).split(_ROWS):
        batch = take(rows, label, index.unsqueeze(0))
        if sampled_too:
            sampled.append(outcome(_scores(model, batch)))
        if full or not sampled_too:
            batch = replace(batch, columns={n: c for n, c in batch.columns.items() if n != "candidates"})
            scores = positive_first(_scores(model, batch), positive[index], seen[index], domain[index], item_domains)
            every.append(outcome(scores))
    found = [_joined(parts) for parts in (sampled, every) if parts]
    return found[0], found[1] if len(found) > 1 else None


@torch.no_grad()
def classify(model: Model, table: Table) -> np.ndarray:
    """(N,) ids of the classes that a model of one lane finds most likely of the users of a table; of equal ones the lowest."""
    known = {n: c for n, c in table.columns.items() if n != "owner"}
    rows, label = device_table(Table(known, table.label), "cpu")
    parts = [_scores(model, take(rows, label, i.unsqueeze(0)))[0] for i in torch.arange(len(table)).split(_ROWS)]
    return torch.cat(parts)[:, 1:].argmax(1).numpy() + 1  # id 0 is no class


def _scores(model: Model, batch: Batch) -> Tensor:
    """(1, B, K) of candidates, or (1, B, V)."""
    return model.scores(batch, model.encode(batch), Step(False, last=True))


def _joined(parts: list[tuple[Tensor, Tensor, Tensor]]) -> Outcome:
    better, ties, size = (torch.cat(each, dim=1).numpy() for each in zip(*parts, strict=True))
    return Outcome(better, ties, size[0])


def joined(outcomes: list[Outcome], axis: int) -> Outcome:
    """Of several replicates (axis 0), or of several parts of the lists (axis 1)."""
    better, ties = (np.concatenate([getattr(o, name) for o in outcomes], axis=axis) for name in ("better", "ties"))
    return Outcome(better, ties, np.concatenate([o.candidates for o in outcomes]) if axis else outcomes[0].candidates)
