"""Where the positive of each test list stands. Shapes: N lists, K candidates, V items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from raytune_rec.evaluation.inputs import Outcome
from raytune_rec.evaluation.lists import candidates, places
from raytune_rec.schema import Table
from raytune_rec.tensors import Step
from raytune_rec.training.assemble import Model
from raytune_rec.training.feed import device_table, take

_ROWS = 1024


@torch.no_grad()
def rank(model: Model, table: Table, full: bool) -> tuple[Outcome, Outcome | None]:
    """The outcome of each list of a table (`Histories.test`), with one replicate.

    Args:
        model: of one lane.
        full: among all items too, without those in `seen`.
    """
    known = {n: c for n, c in table.columns.items() if n not in ("seen", "positive", "owner")}
    rows, label = device_table(Table(known, table.label), "cpu")
    seen, positive = (torch.as_tensor(table.columns[name]) for name in ("seen", "positive"))
    sampled, every = [], []
    for index in torch.arange(len(table)).split(_ROWS):
        batch = take(rows, label, index.unsqueeze(0))
        sampled.append(_outcome(model.forward(batch, model.encode(batch), Step(False, last=True))["logit"]))
        if full:
            batch = replace(batch, columns={n: c for n, c in batch.columns.items() if n != "candidates"})
            scores = model.forward(batch, model.encode(batch), Step(False, last=True))["logit"][0]
            every.append(_outcome(_positive_first(scores, positive[index], seen[index]).unsqueeze(0)))
    return _joined(sampled), _joined(every) if full else None


def _positive_first(scores: Tensor, positive: Tensor, seen: Tensor) -> Tensor:
    """(B, V) scores of all items -> (B, V + 1): the positive's, then those of the others that were not seen."""
    own = scores.gather(1, positive.unsqueeze(1))
    others = scores.clone()
    others[:, 0] = -torch.inf
    others.scatter_(1, seen, -torch.inf).scatter_(1, positive.unsqueeze(1), -torch.inf)
    return torch.cat([own, others], dim=1)


def _outcome(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    better, ties = places(scores)
    return better, ties, candidates(scores)


def _joined(parts: list[tuple[Tensor, Tensor, Tensor]]) -> Outcome:
    better, ties, size = (torch.cat(each, dim=1).numpy() for each in zip(*parts, strict=True))
    return Outcome(better, ties, size[0])


def joined(outcomes: list[Outcome], axis: int) -> Outcome:
    """Of several replicates (axis 0), or of several parts of the lists (axis 1)."""
    better, ties = (np.concatenate([getattr(o, name) for o in outcomes], axis=axis) for name in ("better", "ties"))
    return Outcome(better, ties, np.concatenate([o.candidates for o in outcomes]) if axis else outcomes[0].candidates)
