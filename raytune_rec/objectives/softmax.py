"""Cross-entropy of the next item over all items."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from raytune_rec import components
from raytune_rec.objectives._items import item_loss
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step


class Softmax:
    """The next item among all items."""

    class Options(components.Options):
        """None."""

    reads = "state"
    classes = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        assert step.noise is not None
        outputs, target = run(batch), batch.columns["target"]
        return item_loss("softmax", outputs["state"], target, outputs, batch, step.noise, 0)
