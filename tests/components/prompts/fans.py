"""Cold items as their fans see them: each of a unit's items gets the mean of the users who took it last, through a layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.axes import latest
from raytune_rec.components import numeric, structural
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, lane, linear, lookup, xavier


class Fans:
    """Writes ITEM: the item's own vector, and `share` of what its fans make of it. Reads users and items by id."""

    groups: frozenset[str] = frozenset({"prompt"})

    class Options(components.Options):
        events: int = structural(3, "of an item that are read")
        share: float = numeric(0.5, "of the fans' part", ge=0, le=1)

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options, self.users, self.width = options, readings["user_vector"].width, widths[Site.ITEM]

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ("item_vector", "user_vector")

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.ITEM: 1}

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("layer", (self.users, self.width), "prompt", xavier),)

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        members = batch.members
        if members is None or members.feedback is None:
            return {}
        events = latest(members.feedback, members.ids, self.options.events)  # (U, I, K)
        real = events.real
        fans = lookup(readings["user_vector"], events.users) * real.unsqueeze(-1)
        mean = fans.sum(2) / real.sum(2, keepdim=True).clamp(min=1)
        share = lane(options["share"], 3)
        own = lookup(readings["item_vector"], members.ids)
        return {Site.ITEM: (1 - share) * own + share * torch.tanh(linear(mean, params["layer"]))}

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        return {}
