"""Pairwise loss of the next item."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from raytune_rec import components
from raytune_rec.components import structural
from raytune_rec.objectives._items import drawn_loss
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step


class Bpr:
    """The next item above an item drawn at random (PPR, Eq. 2 and 5; Rendle et al., UAI 2009).

    Differs from the paper: a drawn item that the row holds itself counts for nothing.
    """

    class Options(components.Options):
        negatives: int = structural(1, "items drawn for each target (the paper: 1)", ge=1, le=10**6)

    reads = "state"
    pairs = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        return drawn_loss("pairwise", run(batch), batch, step.noise, self.options.negatives)
