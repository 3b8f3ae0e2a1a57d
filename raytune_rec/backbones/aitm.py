"""AITM (Xi et al., KDD 2021) over domains: what a network of all domains knows is handed on to the network of each.

Shapes: as in `_domains`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from raytune_rec.backbones._domains import DomainOptions, Layers, MultiDomain, Place
from raytune_rec.schema.contract import Parameter


class Aitm(MultiDomain):
    """Linear part + tower_d(z), z the attention over what is handed on, p = transfer(common(x)), and the own q = own_d(x):

    z = sum_u w_u V u over u in {p, q}, w = softmax((K u) . (Q u) / sqrt(H)), V, K and Q of the domain.

    What it means for one task over many domains: the paper's tasks follow one another (click, then conversion), domains do not.
    So the sequence has two links: the label in any domain, which a network learns that all share, then the label in this one.

    Differs from the paper: the above; no calibrator, since no label implies another.
    """

    class Options(DomainOptions):
        """As of every model with parts of domains."""

    def network(self) -> tuple[Parameter, ...]:
        return tuple(p for layers in self._all for p in layers.parameters())

    def score(self, at: Place, fields: Tensor) -> Tensor:
        common, transfer, own, attention, tower = self._all
        links = transfer(at, common(at, fields)), own(at, fields)
        values, scores = [], []
        for link in links:
            value, key, query = attention(at, link).chunk(3, dim=-1)  # (U, B, H) each
            values.append(value)
            scores.append((key * query).sum(-1) / key.shape[-1] ** 0.5)
        weight = torch.softmax(torch.stack(scores, dim=-1), dim=-1)
        return tower(at, (weight.unsqueeze(-1) * torch.stack(values, dim=2)).sum(2))

    @property
    def _all(self) -> tuple[Layers, ...]:
        widths, last = (self.inputs, *self.options.hidden), self.options.hidden[-1]
        return (
            Layers("common", widths),
            Layers("transfer", (last, last)),
            Layers("own", widths, self.domains),
            Layers("attention", (last, 3 * last), self.domains, last=False),
            Layers("tower", (last, *self.options.tower, 1), self.domains, last=False),
        )
