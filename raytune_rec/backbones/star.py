"""STAR (Sheng et al., CIKM 2021): in each layer the weights that all domains share times those of the row's domain.

Shapes: as in `_domains`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from raytune_rec.axes import domain_moments
from raytune_rec.backbones._domains import DomainOptions, Layers, MultiDomain, Place, by_domain, known, weights
from raytune_rec.components import structural
from raytune_rec.schema.contract import Parameter
from raytune_rec.schema.prepared import DOMAIN
from raytune_rec.tensors import dropout, lookup, ones, zeros

_MOMENTUM, _EPSILON = 0.1, 1e-5
_ROWS = 16
"""Rows of a domain that a step must have for statistics of its own."""


class Star(MultiDomain):
    """Linear part + star network + auxiliary network, summed into one logit (Sheng et al., section 3).

    A layer of the star network has the matrix W * W_d, element by element, and the bias b + b_d; its widths are `hidden` and one
    output. The auxiliary network (widths `tower`) reads the fields, the domain's embedding among them, and all domains share it.

    Partitioned normalisation makes of the fields x that the star network reads (g * g_d) (x - m_d) / sqrt(v_d + eps) + (s + s_d):
    mean m_d and variance v_d are those of the domain's rows in the step, and after training their moving averages.

    Differs from the paper: steps mix domains. A domain with fewer than 16 rows in a step is normalised with its moving averages
    there, and moves them by so much less. W_d and g_d start at one, b_d and s_d at zero, so that training starts from the shared
    network. An unknown domain is told by the auxiliary network and the linear part alone.
    """

    class Options(DomainOptions):
        partitioned_norm: bool = structural(False, "normalise what the star network reads, domain by domain")

    def network(self) -> tuple[Parameter, ...]:
        made = [p for name, shape in self._star for p in weights(name, shape)]
        made += [p for name, shape in self._star for p in weights(f"{name}.domain", shape, self.domains, init=ones)]
        return (*made, *self._auxiliary.parameters(), *(self._norms() if self.options.partitioned_norm else ()))

    def _norms(self) -> Iterator[Parameter]:
        for name, init in (("gain", ones), ("shift", zeros)):
            yield Parameter(f"norm.{name}", (self.inputs,), "interaction", init)
            yield Parameter(f"norm.{name}.domain", (self.domains, self.inputs), "domain", known(init), DOMAIN)

    def buffers(self) -> tuple[Parameter, ...]:
        if not self.options.partitioned_norm:
            return ()
        start = {"mean": zeros, "var": ones}
        return tuple(Parameter(f"norm.{n}", (self.domains, self.inputs), "domain", known(i), DOMAIN) for n, i in start.items())

    def score(self, at: Place, fields: Tensor) -> Tensor:
        params = at.params
        x = self._normalised(at, fields) if self.options.partitioned_norm else fields
        for i, (name, _) in enumerate(self._star):
            weight = params[f"{name}.weight"].unsqueeze(1) * params[f"{name}.domain.weight"]  # (U, G, K, H)
            x = by_domain(x, at.spans, weight, params[f"{name}.bias"].unsqueeze(1) + params[f"{name}.domain.bias"])
            if i < len(self.options.hidden):
                x = dropout(torch.relu(x), at.rate, at.step, name)
        return x + self._auxiliary(at, fields)

    def _normalised(self, at: Place, x: Tensor) -> Tensor:
        """(U, B, K)."""
        params = at.params
        mean, var = params["norm.mean"], params["norm.var"]  # (U, G, K)
        if at.step.training and "domain" in at.step.trained:
            mean, var = self._of_step(at, x, mean, var)
        gain = params["norm.gain"].unsqueeze(1) * params["norm.gain.domain"]
        shift = params["norm.shift"].unsqueeze(1) + params["norm.shift.domain"]
        scale = gain * torch.rsqrt(var + _EPSILON)
        return (x - lookup(mean, at.domain)) * lookup(scale, at.domain) + lookup(shift, at.domain)

    @staticmethod
    def _of_step(at: Place, x: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (U, G, K) that normalise the rows of a step; the moving averages follow."""
        now, spread, rows = domain_moments(x, at.weight, at.domain, mean.shape[1])
        rows = rows.unsqueeze(-1)  # (U, G, 1)
        enough = rows >= _ROWS
        centre = torch.where(enough, now, mean)
        spread = spread + (now - centre).square()  # about the centre
        momentum = _MOMENTUM * (rows / _ROWS).clamp(max=1)
        at.step.updates["norm.mean"] = (mean + momentum * (now - mean)).detach()
        at.step.updates["norm.var"] = (var + momentum * (spread - var)).detach()
        return centre, torch.where(enough, spread, var)

    @property
    def _star(self) -> list[tuple[str, tuple[int, int]]]:
        sizes = (self.inputs, *self.options.hidden, 1)
        return [(f"star.{i}", shape) for i, shape in enumerate(pairwise(sizes))]

    @property
    def _auxiliary(self) -> Layers:
        return Layers("auxiliary", (self.inputs, *self.options.tower, 1), last=False)
