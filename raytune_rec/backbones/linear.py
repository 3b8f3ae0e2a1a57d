"""Logistic regression on all fields: the row that must be beaten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones._fields import FieldLayer
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import structural
from raytune_rec.schema.contract import Batch, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step


class Linear(Backbone):
    """One weight per id or number, and a bias (the first-order part of Eq. 3 of PLATE; Wide of Wide&Deep without crosses).

    It takes nothing from a prompt.
    """

    class Options(components.Options):
        numbers: Literal["field", "discretize"] = structural(
            "field", "numerical fields: as they are (standardised), or in quantile buckets"
        )

    groups: frozenset[str] = frozenset({"linear"})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        self.layer = FieldLayer(schema, 0, options.numbers, 0.0)

    def parameters(self) -> tuple[Parameter, ...]:
        return self.layer.linear_parameters()

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        return {"logit": self.layer.linear(params, batch.columns)}
