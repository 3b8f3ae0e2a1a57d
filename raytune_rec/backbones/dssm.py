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
from raytune_rec.errors import AssemblyError
from raytune_rec.schema.contract import Batch, Entities, Parameter, Reading, Site, SiteShape
from raytune_rec.schema.prepared import ITEM, USER, DataSchema
from raytune_rec.tensors import Params, Step, drops, lane, linear, lookup, table, xavier, zeros


class Dssm(Backbone):
    """An item is a linear layer over its embedding and its attributes; a user is one over embedding, attributes and what SASRec
    makes of the history; the score is their inner product. What stands at ITEM replaces the vectors of a unit's own items, and at
    TARGET that of the item which a row trains on.

    A user whom training does not know, and an item's missing attribute, are zero in front of their layer. `without_ids` leaves
    the embeddings of some items out of each training step, so that attributes learn to stand alone (DropoutNet, Volkovs et al.,
    NIPS 2017, on the side of items). With `gate` embedding and attributes of an item are experts apart, and a gate that reads how
    often it was taken in training weighs them, g = sigmoid(a log(1 + times) + b) against 1 - g (Cross Decoupling Network, CDN,
    Zhang et al., KDD 2023, on the side of items).

    Differs from the papers: SASRec learns with the towers, not in a stage before, and reads the item embeddings that the item
    tower reads; the layers have biases. CDN has several experts of each kind, of several layers; here each is the tower's layer.
    Its second branch of users, which trains on rows drawn evenly over the items, is left out: every row trains once.

    Raises:
        AssemblyError: `gate`, and the items have no attributes.
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
        gate: bool = structural(False, "weigh an item's embedding against its attributes by how often it was taken (CDN)")

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
        if options.gate and not self.of_items.fields:
            raise AssemblyError(
                "backbone.gate = true: weighs an item's embedding against its attributes, and the items of these data have none; "
                "leave it out, or choose a source whose items have attributes."
            )

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {site: options.width for site in (Site.ITEM, Site.TARGET, Site.USER)}

    @classmethod
    def gives(cls, options: Options, schema: DataSchema) -> Mapping[str, Reading]:
        features = [f for f in schema.with_role("item") if f.name != ITEM]
        given = {"item_vector": Reading(options.width, "item"), "item_embedding": Reading(options.width, "item")}
        if features:
            of_features = {"item_features": len(features) * options.width, "item_content": options.width}
            given |= {name: Reading(width, "item") for name, width in of_features.items()}
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
            *([Parameter("tower.item.gate", (2,), "item_tower", zeros)] if self.options.gate else []),
            Parameter("tower.user", (d + self.of_users.width, d), "user_tower", xavier),
            Parameter("tower.user.bias", (d,), "user_tower", zeros),
        )

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        """`item_content` is what the tower makes of an item without its embedding."""
        d, weight = self.options.width, params["tower.item"]
        embedding = lookup(params["item"], items.ids)
        of_id, content = linear(embedding, weight[:, :d]), params["tower.item.bias"].unsqueeze(1)
        encoded = {"item_embedding": embedding}
        if self.of_items.fields:
            encoded["item_features"] = self.of_items.vector(params, items.columns)
            of_features = linear(encoded["item_features"], weight[:, d:])
            if self.options.gate:
                share = _share(params["tower.item.gate"], items)
                of_id, of_features = share * of_id, (1 - share) * of_features
            content = content + of_features
        return {**encoded, "item_content": content.expand(-1, of_id.shape[1], -1), "item_vector": content + of_id}

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
        items = every_item(self._dropped(encoded, options, step), sites, batch)
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

    def _dropped(self, encoded: Mapping[str, Tensor], options: Mapping[str, Tensor], step: Step) -> Tensor:
        """(U, V, D): the items, some of them by their attributes alone."""
        whole, rate = encoded["item_vector"], options["without_ids"]
        if not drops(rate, step) or step.noise is None:
            return whole
        drawn = step.noise.integers("without_ids", whole.shape[1], 0, 2**24) * 2.0**-24  # (U, V), one for all rows of the step
        gone = (drawn < lane(rate.double(), 2)).unsqueeze(-1)
        return torch.where(gone, encoded["item_content"], whole)


def _share(gate: Tensor, items: Entities) -> Tensor:
    """(U, V, 1): of an item, what its embedding says. gate: (U, 2)."""
    assert items.count is not None
    times = torch.log1p(items.count.to(gate.dtype)).unsqueeze(-1)
    return torch.sigmoid(lane(gate[:, 0], 3) * times + lane(gate[:, 1], 3))


def _tower(params: Params, name: str, profile: Profile, ids: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
    """(U, B, D) of rows, (U, V, D) of all users."""
    parts = [lookup(params[name], ids), *([profile.vector(params, columns)] if profile.fields else [])]
    lanes = max(map(len, parts))
    whole = torch.cat([part.expand(lanes, -1, -1) for part in parts], dim=-1)
    return linear(whole, params[f"tower.{name}"], params[f"tower.{name}.bias"])
