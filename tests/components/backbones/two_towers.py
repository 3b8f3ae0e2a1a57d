"""Users and items meet in an inner product; an item is made of its features, so that all are encoded by id."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.axes import item_rows
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import structural
from raytune_rec.schema.contract import Batch, Entities, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, linear, lookup, normal, table


class TwoTowers(Backbone):
    """The vector of a user by id, times that of an item: its id and its tags, through one layer. It takes ITEM."""

    class Options(components.Options):
        width: int = structural(4, "D")

    item_groups = frozenset({"item"})
    user_groups = frozenset({"user"})

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {Site.ITEM: options.width, Site.TARGET: options.width}

    @classmethod
    def gives(cls, options: Options, schema: DataSchema) -> Mapping[str, Reading]:
        return {"item_vector": Reading(options.width, "item"), "user_vector": Reading(options.width, "user")}

    def parameters(self) -> tuple[Parameter, ...]:
        d, of = self.options.width, self.schema.field
        return (
            Parameter("user", (of("user").size, d), "user", table(0.5), "user"),
            Parameter("item", (of("item").size, d), "item", table(0.5), "item"),
            Parameter("tags", (of("tags").size, d), "item", table(0.5), "tags"),
            Parameter("layer", (2 * d, d), "item", normal(0.5)),
        )

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        of_id, tags = lookup(params["item"], items.ids), lookup(params["tags"], items.columns["tags"]).sum(2)
        return {"item_vector": torch.tanh(linear(torch.cat([of_id, tags], dim=-1), params["layer"]))}

    def encode_users(self, params: Params, users: Entities) -> Mapping[str, Tensor]:
        return {"user_vector": lookup(params["user"], users.ids)}

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        item = item_rows(encoded["item_vector"], batch.columns["item"], sites, batch)
        return {"logit": (lookup(encoded["user_vector"], batch.columns["user"]) * item).sum(-1)}
