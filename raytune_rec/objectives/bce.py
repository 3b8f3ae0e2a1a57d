"""Binary cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import softplus

from raytune_rec import components
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step


class BinaryCrossEntropy:
    """Log loss of `logit` (U, B) against `label` (PLATE, Eq. 4)."""

    class Options(components.Options):
        """None."""

    reads = "logit"

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        logit = run(batch)["logit"]
        return softplus(logit) - logit * batch.label.to(logit.dtype)
