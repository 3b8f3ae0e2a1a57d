"""What an objective is: from outputs and labels to one loss per row."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones.base import Outputs
from raytune_rec.schema import Batch


class Objective(Protocol):
    """A training objective. Lower is better."""

    Options: type[components.Options]

    def __init__(self, options: Any) -> None: ...

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        """(U, B): the loss of each row, not yet weighted by `batch.weight`."""
