"""Masked items: some of the history are hidden and to be filled in (BERT4Rec, Eq. 8; the survey's masked item prediction)."""

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


class MaskedItem:
    """Cross-entropy at masked places. The last target is always one of them, and what stands before it is the history, as when
    the model is used.

    Differs from the paper: it masks the last item alone in a share of the rows; items may be drawn instead of taking them all.
    """

    class Options(components.Options):
        mask: float = numeric(0.2, "share of the history that is masked (BERT4Rec on MovieLens: 0.2)", ge=0, lt=1)
        negatives: int = structural(0, "items drawn for a batch; 0: all items", ge=0, le=10**6)

    reads = "cloze"

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        history, end = followed(batch.columns["history"], batch.columns["target"])
        drawn = step.noise.uniform("cloze", history.shape[-1]) < lane(options["mask"], 3)
        behind = torch.arange(history.shape[-1] + 1, device=history.device) == end
        masked = pad(drawn & (history > 0), (0, 1)) | behind  # (U, B, L + 1)
        rows = replace(batch, columns={**batch.columns, "history": history, "masked": masked, "length": end.squeeze(-1)})
        outputs = run(rows)
        target = batch.columns["target"]
        target = torch.where(masked, pad(target, (0, masked.shape[-1] - target.shape[-1])), 0)
        kind: Kind = "sampled" if self.options.negatives else "softmax"
        return item_loss(kind, outputs["cloze"], target, outputs, batch, step.noise, self.options.negatives)
