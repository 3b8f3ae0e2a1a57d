"""PLE (Tang et al., RecSys 2020) over domains: experts of all and of each domain, gated level by level.

Shapes: as in `_domains`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from raytune_rec.backbones._domains import DomainOptions, Layers, MultiDomain, Place, mixed
from raytune_rec.components import structural
from raytune_rec.schema.contract import Parameter


class Ple(MultiDomain):
    """Linear part + tower_d of the last level's state. At a level the domain's experts read the domain's state, the shared ones
    the shared state; the domain's new state is what its gate, reading the old one, mixes of both kinds.
    The shared gate mixes them for the shared state of the next level. One level is CGC.

    Differs from the paper: domains stand for tasks, so that a row passes the experts of its own domain alone, and the shared gate
    mixes these with the shared ones instead of the experts of all domains; a gate has a bias.
    """

    class Options(DomainOptions):
        levels: int = structural(2, "levels of extraction; 1: CGC", ge=1, le=16)
        shared_experts: int = structural(2, "experts of a level that all domains share", ge=1, le=1024)
        own_experts: int = structural(1, "experts of a level of each domain's own", ge=1, le=1024)

    def network(self) -> tuple[Parameter, ...]:
        layers = [layer for level in range(self.options.levels) for layer in self._level(level)]
        return tuple(p for layer in (*layers, self._tower) for p in layer.parameters())

    def score(self, at: Place, fields: Tensor) -> Tensor:
        own = shared = fields
        for level in range(self.options.levels):
            of_domain, of_all, gate, *gate_of_all = self._level(level)
            experts = [of_domain(at, own), of_all(at, shared)]
            lanes = max(map(len, experts))
            states = torch.cat([e.expand(lanes, -1, -1, -1) for e in experts], dim=2)  # (U, B, E, H), those of the domain first
            own = mixed(gate(at, own), states)
            shared = mixed(gate_of_all[0](at, shared), states) if gate_of_all else shared
        return self._tower(at, own)

    def _level(self, level: int) -> list[Layers]:
        """Experts of the domain and of all, the domain's gate, and before the last level the shared one."""
        o = self.options
        first, count = (o.hidden[-1] if level else self.inputs), o.shared_experts + o.own_experts
        made = [
            Layers(f"own.{level}", (first, *o.hidden), self.domains, o.own_experts),
            Layers(f"shared.{level}", (first, *o.hidden), experts=o.shared_experts),
            Layers(f"gate.{level}", (first, count), self.domains, last=False),
        ]
        return made if level == o.levels - 1 else [*made, Layers(f"gate_shared.{level}", (first, count), last=False)]

    @property
    def _tower(self) -> Layers:
        return Layers("tower", (self.options.hidden[-1], *self.options.tower, 1), self.domains, last=False)
