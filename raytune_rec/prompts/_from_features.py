"""A network from attributes of items to vectors.

Shapes: U: 1 or T lanes, N items, F width of the attributes, H hidden width, D width of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from raytune_rec.schema.contract import Parameter
from raytune_rec.tensors import Init, Params, linear, xavier, zeros


@dataclass(frozen=True)
class FromFeatures:
    """One hidden layer.

    Args:
        read: F. hidden: H, which a pack may pad. width: D.
    """

    read: int
    hidden: int
    width: int

    def parameters(self, last: Init) -> tuple[Parameter, ...]:
        """`last`: start values of the last layer."""
        return (
            Parameter("net.in.weight", (self.read, self.hidden), "prompt", xavier),
            Parameter("net.in.bias", (self.hidden,), "prompt", zeros),
            Parameter("net.out.weight", (self.hidden, self.width), "prompt", last),
            Parameter("net.out.bias", (self.width,), "prompt", zeros),
        )

    def __call__(self, params: Params, features: Tensor) -> Tensor:
        """(U, N, D) of (U, N, F)."""
        hidden = torch.relu(linear(features, params["net.in.weight"], params["net.in.bias"]))
        return linear(hidden, params["net.out.weight"], params["net.out.bias"])
