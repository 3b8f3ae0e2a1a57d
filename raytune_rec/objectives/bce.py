"""Binary cross-entropy."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from raytune_rec import components
from raytune_rec.backbones.base import Outputs
from raytune_rec.schema import Batch


class BinaryCrossEntropy:
    """Log loss of `logit` (U, B) against `label` (PLATE, Eq. 4)."""

    class Options(components.Options):
        """None."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        logit = outputs["logit"]
        return softplus(logit) - logit * batch.label.to(logit.dtype)
