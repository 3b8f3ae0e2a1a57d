"""Popularity: every user gets the items that were taken most often. The row that must be beaten when items are ranked."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.schema.contract import Batch, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step


class Popularity(Backbone):
    """An item's score is its rank by interactions of the training split: ids are given in that order, so that there is nothing to
    learn. It takes nothing from a prompt. Items taken equally often are ordered by raw id. Where an attribute is predicted, every
    user gets the class whose users have most interactions in the training split.
    """

    class Options(components.Options):
        """None."""

    returns: frozenset[str] = frozenset({"state", "cloze"})
    tasks = frozenset({"lists", "classes"})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        self.items, self.known = schema.field("item").size, schema.field("item").known
        self.classes_of = schema.classes

    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        candidates = batch.columns.get("candidates")
        if candidates is None:
            size = self.classes_of if "class" in batch.columns else self.items
            candidates = torch.arange(size, device=batch.label.device).expand(*batch.label.shape, -1)
        if "class" not in batch.columns:
            candidates = candidates.clamp(max=self.known)  # nobody took a new item: these are level, behind all others
        return {"logit": -candidates.to(batch.label.dtype)}
