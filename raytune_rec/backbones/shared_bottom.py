"""Shared Bottom (Caruana, 1997) over domains: a network that all share, and a tower for each domain (PLATE, appendix A.2).

Shapes: as in `_domains`.
"""

from __future__ import annotations

from torch import Tensor

from raytune_rec.backbones._domains import DomainOptions, Layers, MultiDomain, Place
from raytune_rec.schema.contract import Parameter


class SharedBottom(MultiDomain):
    """Linear part + tower_d(bottom(x)), where x are the fields side by side and d is the row's domain.

    Differs from PLATE, whose shared part is the embedding layer alone: `hidden` are shared layers, as in the original.
    """

    class Options(DomainOptions):
        """As of every model with parts of domains."""

    def network(self) -> tuple[Parameter, ...]:
        return (*self._bottom.parameters(), *self._tower.parameters())

    def score(self, at: Place, fields: Tensor) -> Tensor:
        return self._tower(at, self._bottom(at, fields))

    @property
    def _bottom(self) -> Layers:
        return Layers("bottom", (self.inputs, *self.options.hidden))

    @property
    def _tower(self) -> Layers:
        return Layers("tower", (self.options.hidden[-1], *self.options.tower, 1), self.domains, last=False)
