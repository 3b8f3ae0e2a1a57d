"""DSSM (Huang et al., CIKM 2013) as two towers over ids, attributes and the user's history (PROMO, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.axes import every_item
from raytune_rec.backbones._profile import Profile
from raytune_rec.backbones._sequence import head_widths, scores
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.backbones.sasrec import SasRec
from raytune_rec.components import numeric, structural
from raytune_rec.schema.contract import Batch, Entities, Parameter, Reading, Site, SiteShape
from raytune_rec.schema.prepared import ITEM, USER, DataSchema
from raytune_rec.tensors import Params, Step, drops, lane, linear, lookup, table, xavier, zeros


class Dssm(Backbone):
    """An item is a linear layer over its embedding and its attributes; a user is one over embedding, attributes and what SASRec
    makes of the history; the score is their inner product. What stands at ITEM replaces the vectors of a unit's own items, and at
    TARGET that of the item which a row trains on.

    A user whom training does not know, and an item's missing attribute, are zero in front of their layer. `without_ids` leaves
    the embeddings of some items out of each training step, so that attributes learn to stand alone (DropoutNet, Volkovs et al.,
    NIPS 2017, on the side of items).

    Differs from the paper: SASRec learns with the towers, not in a stage before, and reads the item embeddings that the item
    tower reads; the layers have biases.
    """

    class Options(components.Options):
        width: int = structural(16, "D, width of embeddings and towers (PROMO: 16)", ge=1, le=16384)
        history: Literal["attention", "none"] = structural("attention", "SASRec inside the user tower, or no history")
        blocks: int = structural(2, "Transformer blocks (PROMO: 2)", ge=1, le=128)
        heads: int = structural(4, "attention heads; a divisor of the width (PROMO: 4)", ge=1, le=1024)
        inner: int = structural(16, "width of the feed-forward net", ge=1, le=65536)
        embedding_std: float = structural(0.02, "standard deviation of the embeddings' start values", gt=0, le=100)
        dropout: float = numeric(0.1, "dropout rate of the history (PROMO: 0.1)", ge=0, lt=1)
        without_ids: float = numeric(0.0, "share of the items that a step knows by attributes alone (DropoutNet)", ge=0, lt=1)

        _heads = head_widths()

    groups = frozenset({"embedding", "encoder", "item_tower", "user_tower"})
    item_groups = frozenset({"embedding", "item_tower"})
    user_groups = frozenset({"embedding", "user_tower"})
    returns = frozenset({"state"})
    tasks = frozenset({"lists"})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        of_encoder = {name: getattr(options, name) for name in SasRec.Options.model_fields}
        self.history = SasRec(SasRec.Options(**of_encoder), schema, {}) if options.history == "attention" else None
        self.of_items = Profile(tuple(f for f in schema.with_role("item") if f.name != ITEM), options.width)
        self.of_users = Profile(tuple(f for f in schema.with_role("user") if f.name != USER), options.width)

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {site: options.width for site in (Site.ITEM, Site.TARGET, Site.USER)}

    @classmethod
    def gives(cls, options: Options, schema: DataSchema) -> Mapping[str, Reading]:
        features = [f for f in schema.with_role("item") if f.name != ITEM]
        given = {"item_vector": Reading(options.width, "item"), "item_embedding": Reading(options.width, "item")}
        given |= {"item_features": Reading(len(features) * options.width, "item")} if features else {}
        return {**given, "user_vector": Reading(options.width, "user")}

    def parameters(self) -> tuple[Parameter, ...]:
        d, drawn = self.options.width, table(self.options.embedding_std)
        users, items = (self.schema.field(name).size for name in (USER, ITEM))
        if self.history:
            looked_up = [*self.history.parameters(), Parameter("tower.history", (d, d), "user_tower", xavier)]
        else:
            looked_up = [Parameter("item", (items, d), "embedding", drawn, ITEM)]
        return (
            *looked_up,
            Parameter("user", (users, d), "embedding", drawn, USER),
            *self.of_items.parameters("embedding"),
            *self.of_users.parameters("embedding"),
            Parameter("tower.item", (d + self.of_items.width, d), "item_tower", xavier),
            Parameter("tower.item.bias", (d,), "item_tower", zeros),
            Parameter("tower.user", (d + self.of_users.width, d), "user_tower", xavier),
            Parameter("tower.user.bias", (d,), "user_tower", zeros),
        )

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        features = {"item_features": self.of_items.vector(params, items.columns)} if self.of_items.fields else {}
        vector = _tower(params, "item", self.of_items, items.ids, items.columns)
        return {"item_vector": vector, "item_embedding": lookup(params["item"], items.ids), **features}

    def encode_users(self, params: Params, users: Entities) -> Mapping[str, Tensor]:
        """Without a history: what stands in the tables."""
        return {"user_vector": _tower(params, "user", self.of_users, users.ids, users.columns)}

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        items = every_item(self._dropped(params, encoded, options, step), sites, batch)
        user = _tower(params, "user", self.of_users, batch.columns[USER], batch.columns)
        outputs = {"items": items, **({"target": sites[Site.TARGET]} if Site.TARGET in sites else {})}
        if self.history is None:
            places = batch.columns["history"].shape[2] + 1
            outputs["state"] = user.unsqueeze(2).expand(-1, -1, places, -1)
        else:
            taste, before = self.history.represented(params, batch, {}, options["dropout"], step)
            if before is not None:
                moved = linear(before.flatten(1, 2), params["tower.history"]).unflatten(1, before.shape[1:3])
                outputs["state"] = user.unsqueeze(2) + moved
            user = user + linear(taste, params["tower.history"])
        outputs |= {"user": user, "behaviour": user}
        if (added := sites.get(Site.USER)) is not None:
            outputs["user"] = user = user + added
            outputs |= {"state": outputs["state"] + added.unsqueeze(2)} if "state" in outputs else {}
        return outputs if step.training else {**outputs, "logit": scores(user, batch.columns.get("candidates"), items)}

    def _dropped(self, params: Params, encoded: Mapping[str, Tensor], options: Mapping[str, Tensor], step: Step) -> Tensor:
        """(U, V, D): the items, some of them by their attributes alone."""
        whole, rate = encoded["item_vector"], options["without_ids"]
        if not drops(rate, step) or step.noise is None:
            return whole
        drawn = step.noise.integers("without_ids", whole.shape[1], 0, 2**24) * 2.0**-24  # (U, V), one for all rows of the step
        gone = (drawn < lane(rate.double(), 2)).unsqueeze(-1)
        return whole - gone * linear(encoded["item_embedding"], params["tower.item"][:, : self.options.width])


def _tower(params: Params, name: str, profile: Profile, ids: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
    """(U, B, D) of users, (U, V, D) of items."""
    parts = [lookup(params[name], ids), *([profile.vector(params, columns)] if profile.fields else [])]
    lanes = max(map(len, parts))
    whole = torch.cat([part.expand(lanes, -1, -1) for part in parts], dim=-1)
    return linear(whole, params[f"tower.{name}"], params[f"tower.{name}.bias"])
