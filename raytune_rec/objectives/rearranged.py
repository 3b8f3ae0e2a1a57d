"""Rearranged sequences: the next item, and which of two orders of a history is the user's own (the survey's rearranged sequence
prediction)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from raytune_rec.components import numeric
from raytune_rec.objectives._items import NextItemOptions, item_loss, score
from raytune_rec.objectives._order import followed, part, shuffled
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step, lane


class Rearranged:
    """Next-item loss plus the binary cross-entropy of telling a history from the same with a run of its items shuffled: what
    stands after the last item that another follows scores that other one higher where the order is the user's own. Both hold the
    same items, so that nothing but their order tells them apart.

    Differs from the survey, which describes the idea alone: a history is shown in both orders and told apart as a pair, and the
    detector, the score of the next item, has no parameters of its own. (Telling single histories by their own items works
    against the next item, which is none of them.) Where a shuffle changes nothing, the row counts for the next item alone.
    """

    class Options(NextItemOptions):
        shuffled: float = numeric(0.5, "share of the items that are shuffled, a run of two or more", gt=0, le=1)
        weight: float = numeric(0.1, "of the detection", ge=0, le=1e6)

    reads = "state"

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        outputs, o = run(batch), self.options
        history, target, noise = batch.columns["history"], batch.columns["target"], step.noise.other("rearranged")
        loss = item_loss(o.next_item, outputs["state"], target, outputs, batch, step.noise, o.negatives)
        order, end = followed(history, target)
        first, size = part(end, options["shuffled"], noise.uniform("start", 1), least=2)
        other = shuffled(order, first, size, noise.uniform("order", order.shape[-1]))
        seen = run(replace(batch, columns={**batch.columns, "history": other}), "rearranged", last=True)
        follows = target.gather(-1, end)
        right = score(torch.take_along_dim(outputs["state"], end.unsqueeze(-1), dim=2), follows, outputs)
        wrong = score(seen["user"].unsqueeze(2), follows, outputs)
        each = softplus(wrong - right).squeeze(-1) * (other != order).any(-1)
        return loss + lane(options["weight"].to(loss.dtype), 2) * each
