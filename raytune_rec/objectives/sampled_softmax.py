"""Cross-entropy of the next item over a sample of the items."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from raytune_rec import components
from raytune_rec.components import structural
from raytune_rec.objectives._items import item_loss
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step


class SampledSoftmax:
    """The next item among items drawn uniformly for the whole batch. (Their chance is the same for all, so that no correction
    changes the loss by more than a constant.)
    """

    class Options(components.Options):
        negatives: int = structural(256, "items drawn for a batch", ge=1, le=10**6)

    reads = "state"
    classes = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        outputs, target = run(batch), batch.columns["target"]
        return item_loss("sampled", outputs["state"], target, outputs, batch, step.noise, self.options.negatives)
