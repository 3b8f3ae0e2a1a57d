"""MMoE (Ma et al., KDD 2018) over domains: experts that all share, a gate and a tower for each domain.

Shapes: as in `_domains`.
"""

from __future__ import annotations

from torch import Tensor

from raytune_rec.backbones._domains import DomainOptions, Layers, MultiDomain, Place, mixed
from raytune_rec.components import structural
from raytune_rec.schema.contract import Parameter


class Mmoe(MultiDomain):
    """Linear part + tower_d(sum_e g_d(x)_e expert_e(x)) with g_d(x) = softmax(W_d x), where x are the fields side by side and d
    is the row's domain.

    Differs from the paper: domains stand for tasks; a gate has a bias.
    """

    gates_by_domain = True

    class Options(DomainOptions):
        experts: int = structural(4, "networks that are mixed", ge=1, le=1024)

    def network(self) -> tuple[Parameter, ...]:
        return (*self._experts.parameters(), *self._gate.parameters(), *self._tower.parameters())

    def score(self, at: Place, fields: Tensor) -> Tensor:
        return self._tower(at, mixed(self._gate(at, fields), self._experts(at, fields)))

    @property
    def _experts(self) -> Layers:
        return Layers("expert", (self.inputs, *self.options.hidden), experts=self.options.experts)

    @property
    def _gate(self) -> Layers:
        gates = self.domains if self.gates_by_domain else 0
        return Layers("gate", (self.inputs, self.options.experts), gates, last=False)

    @property
    def _tower(self) -> Layers:
        return Layers("tower", (self.options.hidden[-1], *self.options.tower, 1), self.domains, last=False)
