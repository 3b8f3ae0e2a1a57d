"""Replaced items: the next item, and which items of the history are not the user's own (the survey's replaced item detection)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from raytune_rec.components import numeric
from raytune_rec.objectives._items import NextItemOptions, item_loss
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step, lane, lookup


class ReplacedItem:
    """Next-item loss plus the binary cross-entropy of telling replaced items: what stands after an item, times the item, is high
    where it is the user's own.

    Differs from the survey, which describes the idea alone: replacements are drawn uniformly (no generator), and the detector has
    no parameters of its own.
    """

    class Options(NextItemOptions):
        replaced: float = numeric(0.2, "share of the history that is replaced", ge=0, lt=1)
        weight: float = numeric(0.1, "of the detection", ge=0, le=1e6)

    reads = "state"

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        outputs, o, target = run(batch), self.options, batch.columns["target"]
        loss = item_loss(o.next_item, outputs["state"], target, outputs, batch, step.noise, o.negatives)
        history, items = batch.columns["history"], outputs["items"].shape[1]
        width = history.shape[-1]
        other = 1 + (step.noise.uniform("replacement", width).double() * (items - 1)).long()
        replaced = (step.noise.uniform("replaced", width) < lane(options["replaced"], 3)) & (history > 0) & (other != history)
        shown = torch.where(replaced, other, history)  # (U, B, L)
        seen = run(replace(batch, columns={**batch.columns, "history": shown}), "replaced")
        used = seen["state"].shape[2] - 1
        shown, replaced = shown[..., :used], replaced[..., :used]
        score = (seen["state"][:, :, 1:] * lookup(seen["items"], shown)).sum(-1)
        each = torch.where(replaced, softplus(score), softplus(-score)) * (shown > 0)
        return loss + lane(options["weight"].to(loss.dtype), 2) * each.sum(-1) / width
