"""PEPNet (Chang et al., KDD 2023): gates of the domain over the embeddings (EPNet), of user and item over the layers (PPNet).

Shapes: as in `_domains`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from raytune_rec.backbones._domains import DomainOptions, Layers, MultiDomain, Place
from raytune_rec.components import structural
from raytune_rec.schema.contract import Parameter
from raytune_rec.schema.prepared import DOMAIN, ITEM, USER


class Pepnet(MultiDomain):
    """Linear part + a deep part over the fields x, in which gates scale what layers read. A gate is 2 sigmoid(.) of a network,
    `tower` its hidden widths. EPNet scales the embeddings, x' = gate(domain, x) * x, PPNet the input of each layer,
    gate_l(user, item, x') * h_l. What a gate reads beside the vectors of domain, user and item is detached.

    Differs from the paper: one task, so that there is one deep part; items have no author; a domain has its embedding alone.
    """

    groups = frozenset({"embedding", "linear", "interaction"})

    class Options(DomainOptions):
        gates: Literal["both", "embedding", "layers"] = structural("both", "EPNet and PPNet, EPNet alone, or PPNet alone")

    def network(self) -> tuple[Parameter, ...]:
        return tuple(p for layers in (*self._deep, *self._gates.values()) for p in layers.parameters())

    def score(self, at: Place, fields: Tensor) -> Tensor:
        gates = self._gates
        if "embedding" in gates:
            fields = fields * self._gate(at, gates["embedding"], self._of(fields, DOMAIN), fields)
        hidden = fields
        prior = torch.cat([self._of(fields, USER), self._of(fields, ITEM)], dim=-1)
        for i, layer in enumerate(self._deep):
            if f"layers.{i}" in gates:
                hidden = hidden * self._gate(at, gates[f"layers.{i}"], prior, fields)
            hidden = layer(at, hidden)
        return hidden

    @staticmethod
    def _gate(at: Place, gate: Layers, prior: Tensor, fields: Tensor) -> Tensor:
        return 2 * torch.sigmoid(gate(at, torch.cat([prior, fields.detach()], dim=-1)))

    def _of(self, fields: Tensor, name: str) -> Tensor:
        """(U, B, D) of one field among all, side by side."""
        place = [f.name for f in self.layer.ordered].index(name)
        return fields.split(self.layer.widths, dim=-1)[place]

    @property
    def _deep(self) -> list[Layers]:
        sizes = list(pairwise((self.inputs, *self.options.hidden, 1)))
        return [Layers(f"deep.{i}", shape, last=i < len(sizes) - 1) for i, shape in enumerate(sizes)]

    @property
    def _gates(self) -> dict[str, Layers]:
        """What is scaled -> the gate."""
        o, width = self.options, self.options.width
        made = {"embedding": (width, self.inputs)} if o.gates != "layers" else {}
        made |= {f"layers.{i}": (2 * width, n) for i, n in enumerate((self.inputs, *o.hidden))} if o.gates != "embedding" else {}
        sizes = {name: (prior + self.inputs, *o.tower, out) for name, (prior, out) in made.items()}
        return {name: Layers(f"gate.{name}", size, last=False) for name, size in sizes.items()}
