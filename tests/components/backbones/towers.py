"""A CTR model with a tower for each domain: its own layer and its own batch norm, over what all domains share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.axes import domain_linear, domain_moments
from raytune_rec.backbones._fields import FieldLayer
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import numeric, structural
from raytune_rec.schema.contract import Batch, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, dropout, linear, lookup, normal, ones, zeros


class Towers(Backbone):
    """Embeddings, a shared norm and a layer of the row's domain (M, K, H) with batch norm of that domain, summed into a logit."""

    class Options(components.Options):
        width: int = structural(4, "D")
        hidden: int = structural(6, "H")
        dropout: float = numeric(0.1, "dropout rate", ge=0, lt=1)

    encoded_groups = frozenset({"embedding"})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        self.layer, self.domains = FieldLayer(schema, options.width, "field", 0.1), len(schema.domains) + 1
        self.wide = len(self.layer.embedded) * options.width

    def parameters(self) -> tuple[Parameter, ...]:
        m, h = self.domains, self.options.hidden
        return (
            *self.layer.parameters(),
            Parameter("shared.gain", (self.wide,), "shared", ones),
            Parameter("tower.weight", (m, self.wide, h), "tower", normal(0.3)),
            Parameter("tower.bias", (m, h), "tower", zeros),
            Parameter("output", (h, 1), "output", normal(0.3)),
        )

    def buffers(self) -> tuple[Parameter, ...]:
        m, h = self.domains, self.options.hidden
        shared = (Parameter("shared.mean", (self.wide,), "shared", zeros), Parameter("shared.var", (self.wide,), "shared", ones))
        return (*shared, Parameter("tower.mean", (m, h), "tower", zeros), Parameter("tower.var", (m, h), "tower", ones))

    def encode(self, params: Params, batch: Batch) -> Mapping[str, Tensor]:
        return {"fields": torch.cat([self.layer.vector(params, f, batch.columns) for f in self.layer.embedded], dim=-1)}

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        everywhere = torch.zeros_like(batch.columns["domain"])
        x = self._norm(params, "shared", encoded["fields"], everywhere, batch.weight, step) * params["shared.gain"].unsqueeze(1)
        domain = batch.columns["domain"]
        x = self._norm(params, "tower", domain_linear(x, params["tower.weight"], domain), domain, batch.weight, step)
        x = torch.relu(x + lookup(params["tower.bias"], domain))  # behind the norm, before which it had no gradient
        x = dropout(x, options["dropout"], step, "tower")
        return {"logit": linear(x, params["output"]).squeeze(-1)}

    def _norm(self, params: Params, name: str, x: Tensor, of: Tensor, weight: Tensor, step: Step) -> Tensor:
        """Batch norm of (U, B, H) over the rows of each domain; frozen, or a domain without rows: by its stored statistics."""
        mean, var = params[f"{name}.mean"], params[f"{name}.var"]
        whole = mean.dim() == 2
        mean, var = (s.unsqueeze(1) if whole else s for s in (mean, var))  # (U, M, H)
        if step.training and name in step.trained:
            now, spread, rows = domain_moments(x, weight, of, mean.shape[1])
            share = 0.1 * (rows > 0).unsqueeze(-1)
            kept = [old + share * (new - old).detach() for old, new in ((mean, now), (var, spread))]
            step.updates |= {f"{name}.{s}": (k.squeeze(1) if whole else k) for s, k in zip(("mean", "var"), kept, strict=True)}
            mean, var = now, spread
        of = of.expand(max(len(of), len(mean)), -1)
        return (x - lookup(mean, of)) * torch.rsqrt(lookup(var, of) + 1e-5)
