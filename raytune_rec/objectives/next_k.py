"""The next k items, not the next one alone (the survey's next-k-behaviours prediction)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.components import structural
from raytune_rec.objectives._items import Kind, item_loss
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step


class NextK:
    """Mean loss of the k items that follow each place, all against the same representation."""

    class Options(components.Options):
        k: int = structural(3, "items that follow", ge=1, le=1000)
        next_item: Kind = structural("sampled", "loss of each: pairwise, pointwise, sampled or softmax")
        negatives: int = structural(
            256, "items drawn, for a target (pairwise, pointwise) or for a batch (sampled)", ge=1, le=10**6
        )

    reads = "state"

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        outputs, o, target = run(batch), self.options, batch.columns["target"]
        losses = []
        for ahead in range(min(o.k, target.shape[-1])):
            further = torch.nn.functional.pad(target[..., ahead:], (0, ahead))
            noise = step.noise.other(f"ahead.{ahead}") if ahead else step.noise
            losses.append(item_loss(o.next_item, outputs["state"], further, outputs, batch, noise, o.negatives))
        return torch.stack(losses).mean(0)
