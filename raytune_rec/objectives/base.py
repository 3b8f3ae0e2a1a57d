"""What an objective is: from a model to one loss per row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones.base import Outputs
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Step


class RunModel(Protocol):
    """The model with its prompt, as a function of rows."""

    def __call__(self, batch: Batch, /, view: str = "", last: bool = False) -> Outputs:
        """The outputs.

        Args:
            batch: the rows of the step, or altered ones.
            view: a name that gives an altered view noise of its own; the same name, the same noise.
            last: only `user` and `behaviour` are wanted.
        """


class Objective(Protocol):
    """A training objective. Lower is better. It may look at several views of the rows.

    Class attributes:
        Options: frozen pydantic model; `numeric` options come as (U,) tensors.
        reads: which of a backbone's outputs it trains on.
        classes: whether it trains a classifier as well, whose classes stand where items do. May be left out, which says no.
        pairs: whether it trains a model that scores pairs (`backbones.base.Paired`) as well. Likewise.
    """

    Options: type[components.Options]
    reads: str

    def __init__(self, options: Any) -> None: ...

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        """(U, B): the loss of each row, not yet weighted by `batch.weight`."""
