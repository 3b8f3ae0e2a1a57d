"""STAR (Sheng et al., CIKM 2021): in each layer the weights that all domains share times those of the row's domain.

Shapes: as in `_domains`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from raytune_rec.backbones._domains import DomainOptions, Layers, MultiDomain, Place, by_domain, weights
from raytune_rec.schema.contract import Parameter
from raytune_rec.tensors import dropout, ones


class Star(MultiDomain):
    """Linear part + star network + auxiliary network, summed into one logit (Sheng et al., section 3).

    A layer of the star network has the matrix W * W_d, element by element, and the bias b + b_d; its widths are `hidden` and one
    output. The auxiliary network (widths `tower`) reads the fields, the domain's embedding among them, and all domains share it.

    Differs from the paper: no partitioned normalisation, as batch norm is off in all models here unless it is asked
    for; W_d starts at one and b_d at zero, so that training starts from the shared network.
    """

    class Options(DomainOptions):
        """As of every model with parts of domains."""

    def network(self) -> tuple[Parameter, ...]:
        made = [p for name, shape in self._star for p in weights(name, shape)]
        made += [p for name, shape in self._star for p in weights(f"{name}.domain", shape, self.domains, init=ones)]
        return (*made, *self._auxiliary.parameters())

    def score(self, at: Place, fields: Tensor) -> Tensor:
        x, params = fields, at.params
        for i, (name, _) in enumerate(self._star):
            weight = params[f"{name}.weight"].unsqueeze(1) * params[f"{name}.domain.weight"]  # (U, G, K, H)
            x = by_domain(x, at.domain, weight, params[f"{name}.bias"].unsqueeze(1) + params[f"{name}.domain.bias"])
            if i < len(self.options.hidden):
                x = dropout(torch.relu(x), at.rate, at.step, name)
        return x + self._auxiliary(at, fields)

    @property
    def _star(self) -> list[tuple[str, tuple[int, int]]]:
        sizes = (self.inputs, *self.options.hidden, 1)
        return [(f"star.{i}", shape) for i, shape in enumerate(pairwise(sizes))]

    @property
    def _auxiliary(self) -> Layers:
        return Layers("auxiliary", (self.inputs, *self.options.tower, 1), last=False)
