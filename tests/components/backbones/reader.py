"""A language model in small: items are the tokens of their text, start values come from elsewhere, and one lane stacks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.axes import every_item, item_rows
from raytune_rec.backbones._fields import pooled
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import structural
from raytune_rec.schema.contract import Batch, Entities, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, lookup, normal, xavier

TOKENS = 12


class Reader(Backbone):
    """An item is the mean of its tokens, a user the mean of the history, times a matrix; a prompt may add to the user."""

    class Options(components.Options):
        width: int = structural(4, "D")

    item_groups = frozenset({"words"})
    returns = frozenset({"state"})
    tasks = frozenset({"lists"})
    most_lanes = 1
    most_rows = 24
    most_candidates = 4
    mixed_precision = True

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {Site.USER: options.width, Site.ITEM: options.width}

    @classmethod
    def gives(cls, options: Options, schema: DataSchema) -> Mapping[str, Reading]:
        return {"item_vector": Reading(options.width, "item")}

    def parameters(self) -> tuple[Parameter, ...]:
        d = self.options.width
        return (Parameter("words", (TOKENS, d), "words", normal(1.0)), Parameter("user", (d, d), "user", xavier))

    def start(self) -> Mapping[str, Tensor]:
        words = torch.linspace(-1, 1, TOKENS * self.options.width).view(TOKENS, -1)
        return {"words": words.sin() * (torch.arange(TOKENS) > 0).unsqueeze(1)}

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        tokens = items.columns["title"]
        return {"item_vector": pooled(lookup(params["words"], tokens), tokens)}

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        items, history = encoded["item_vector"], batch.columns["history"]
        read = item_rows(items, history, sites, batch) * (history > 0).unsqueeze(-1)
        sums = torch.nn.functional.pad(read.cumsum(2), (0, 0, 1, 0))  # (U, B, L + 1, D)
        state = sums / torch.arange(1, sums.shape[2] + 1, device=sums.device).view(1, 1, -1, 1) @ params["user"].unsqueeze(1)
        own = state[:, :, -1]  # padding adds nothing: what stands last is what stands after the history
        added = sites.get(Site.USER)
        user = own if added is None else own + added
        outputs = {"user": user, "behaviour": own, "items": every_item(items, sites, batch)}
        outputs["state"] = state if added is None else state + added.unsqueeze(2)
        if step.training:
            return outputs
        if "candidates" in batch.columns:
            against = item_rows(items, batch.columns["candidates"], sites, batch)
            return {**outputs, "logit": (against @ user.unsqueeze(-1)).squeeze(-1)}
        return {**outputs, "logit": user @ outputs["items"].transpose(1, 2)}
