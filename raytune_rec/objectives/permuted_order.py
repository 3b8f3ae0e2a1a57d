"""Permuted order: items are predicted one after the other in an order that is drawn anew each time (XLNet, Yang et al., NeurIPS
2019; the survey's permuted language modelling)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from raytune_rec import components
from raytune_rec.components import numeric, structural
from raytune_rec.objectives._items import Kind, item_loss
from raytune_rec.objectives._order import followed
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step, lane


class PermutedOrder:
    """The history's items get a random order, of which the tail is to be predicted, each item from those before it in that order
    (XLNet, Eq. 5). A cut is drawn in the tail: items before it are shown, those behind are masked. Which of the masked comes
    next in the order is open, so that each of them stands for that term: their mean, times the terms of the tail, is the loss in
    expectation. The history is what stands before the last target, which is predicted too, from what is shown, as when the
    model is used.

    Differs from XLNet: one cut for each pass instead of all at once, which takes two streams of attention (the gradient's
    expectation is the same, not its noise); and a masked item sees where the other masks stand, not what is behind them.
    """

    class Options(components.Options):
        tail: float = numeric(1 / 6, "share of the order that is predicted, 1 / K (XLNet: 1/6)", gt=0, le=1)
        negatives: int = structural(0, "items drawn for a batch; 0: all items", ge=0, le=10**6)

    reads = "cloze"

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        target = batch.columns["target"]
        history, length = followed(batch.columns["history"], target)
        tail = torch.ceil(length * lane(options["tail"], 3)).long()  # (U, B, 1)
        count = (step.noise.uniform("cut", 1).double() * (tail + 1)).long()  # behind the cut: none to the whole tail
        drawn = step.noise.uniform("order", history.shape[-1]).masked_fill(history == 0, 2.0)
        hidden = pad(drawn.argsort(dim=-1, stable=True).argsort(dim=-1) >= length - count, (0, 1))  # (U, B, L + 1)
        place = torch.arange(hidden.shape[-1], device=history.device)
        hidden, follows = hidden & (place < length), place == length
        shown = {"history": history, "masked": hidden | follows, "length": length.squeeze(-1)}
        rows = replace(batch, columns={**batch.columns, **shown})
        outputs = run(rows)
        target = torch.where(hidden, pad(history, (0, 1)), target * follows)
        weight = torch.where(hidden, (tail + 1) / count.clamp(min=1), 1.0)
        kind: Kind = "sampled" if self.options.negatives else "softmax"
        return item_loss(kind, outputs["cloze"], target, outputs, batch, step.noise, self.options.negatives, weight)
