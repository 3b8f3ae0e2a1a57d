"""CL4Rec (Xie et al., ICDE 2022): the next item, and two altered views of each history that must be alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from raytune_rec.components import numeric
from raytune_rec.objectives._items import NextItemOptions, item_loss
from raytune_rec.objectives._order import part, shuffled
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Noise, Step, contrast, lane


class Cl4rec:
    """Next-item loss plus InfoNCE of two views, each made by one of three operators that is drawn for each row: crop (a run of
    `crop` of the items), mask (`mask` of them hidden), reorder (a run of `reorder` of them shuffled). CL4Rec is SASRec with this
    objective.

    Differs from the paper: the next item is found by the loss that `next_item` names (the paper: pairwise), similarity is the
    cosine over a temperature (the paper: the inner product), and a masked item is a zero vector. The weight stands against the
    mean over the places of a window, not against one target: with windows of 200 items the paper's 0.1 is much too large, and
    0.01 is not. With several workers each contrasts its own share of a batch, so that their number changes the result.
    """

    class Options(NextItemOptions):
        crop: float = numeric(0.6, "eta, share of the items that a crop keeps (the paper tries 0.1 to 0.9)", gt=0, le=1)
        mask: float = numeric(0.3, "gamma, share of the items that a mask hides (the paper tries 0.1 to 0.9)", ge=0, lt=1)
        reorder: float = numeric(0.5, "beta, share of the items that are shuffled (the paper tries 0.1 to 0.9)", ge=0, le=1)
        temperature: float = numeric(0.5, "of the contrastive loss", gt=0, le=1e6)
        weight: float = numeric(0.1, "lambda, weight of the contrastive loss (the paper: 0.1)", ge=0, le=1e6)

    reads = "state"

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        outputs, o = run(batch), self.options
        target = batch.columns["target"]
        loss = item_loss(o.next_item, outputs["state"], target, outputs, batch, step.noise, o.negatives)
        views = []
        for name in ("view.1", "view.2"):
            views.append(run(_altered(batch, options, step.noise.other(name)), name, last=True)["behaviour"])
        weight = lane(options["weight"].to(loss.dtype), 2)
        return loss + weight * contrast(views[0], views[1], options["temperature"], batch.weight)


def _altered(batch: Batch, options: Mapping[str, Tensor], noise: Noise) -> Batch:
    """The batch with one operator applied to each history, (U, B, L); where rates differ between lanes, so do histories."""
    history = batch.columns["history"]
    length = (history > 0).sum(-1, keepdim=True)  # (U, B, 1)
    place = torch.arange(history.shape[-1], device=history.device)
    choice, where = noise.uniform("operator", 1), noise.uniform("start", 1)
    drawn = noise.uniform("order", history.shape[-1])
    first, kept = part(length, options["crop"], where)
    source = (place + first).clamp(max=history.shape[-1] - 1).expand(*first.shape[:2], -1)
    cropped = history.expand(source.shape).gather(-1, source) * (place < kept)
    masked = history * (drawn >= lane(options["mask"], 3))
    reordered = shuffled(history, *part(length, options["reorder"], where), drawn)
    ways = torch.broadcast_tensors(cropped, masked, reordered)
    chosen = torch.where(choice < 1 / 3, ways[0], torch.where(choice < 2 / 3, ways[1], ways[2]))
    kept = torch.where(choice < 1 / 3, torch.minimum(kept, length), length).squeeze(-1)
    return replace(batch, columns={**batch.columns, "history": chosen, "length": kept})
