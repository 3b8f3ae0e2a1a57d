"""Masked item text prediction (UPSR, section 3.4.1): the texts of masked items are told, token by token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from raytune_rec import components
from raytune_rec.components import numeric
from raytune_rec.objectives._order import followed
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step, lane


class MaskedText:
    """Each item of a history is masked with a probability, the last target included; of a share of the rows the last target
    alone. A row's loss is the mean over the tokens to be told (Eq. 1).

    Differs from the paper, which does not say what a history without a masked item trains on: there the item of the least draw is
    masked.
    """

    class Options(components.Options):
        mask: float = numeric(0.1, "share of the items that are masked (the paper: 0.1)", ge=0, lt=1)
        last: float = numeric(0.1, "share of the rows of which the last item alone is masked (the paper: 0.1)", ge=0, le=1)

    reads = "text"

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        target = batch.columns["target"]
        history, end = followed(batch.columns["history"], target)
        place = torch.arange(target.shape[-1], device=target.device)
        items = torch.where(place == end, target, pad(history, (0, 1)))  # (U, B, L + 1)
        drawn = step.noise.uniform("masked_text", items.shape[-1])
        drawn = torch.where(items > 0, drawn, 2.0)
        least = drawn == drawn.amin(-1, keepdim=True)
        alone = step.noise.uniform("masked_text.last", 1) < lane(options["last"].float(), 3)
        masked = (drawn < lane(options["mask"].float(), 3)) | least
        masked = torch.where(alone, place == end, masked) & (items > 0)
        rows = replace(batch, columns={**batch.columns, "history": items, "masked": masked})
        return -run(rows)["text"]
