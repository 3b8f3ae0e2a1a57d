"""A cold item by its attributes: a linear map in closed form, and a small step away from it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.axes import member_rows
from raytune_rec.components import numeric, structural
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import MEMBER, Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, lane, lookup, zeros


class Content:
    """Writes ITEM: what a ridge regression of the well-known items' vectors on their attributes makes of the item's, mixed with
    what the backbone makes of it, and a vector of its own that is trained and never longer than `delta`.

    Without `delta` nothing is trained (strategy `tuning_free`): a linear model aligned to attributes, as in MARec (2024). With it
    a frozen content vector takes a bounded step, as in "Let It Go? Not Quite" (RecSys 2025).

    Differs from these: both map attributes to the vectors of a backbone, not to co-occurrences or from a text encoder.
    """

    groups: frozenset[str] = frozenset({"prompt"})

    class Options(components.Options):
        delta: bool = structural(False, "train a bounded step for each item")
        known: int = structural(20, "interactions of an item on which the regression stands", ge=1, le=10**9)
        ridge: float = numeric(1.0, "weight of the squares of the map's numbers", ge=1e-6, le=1e9)
        content: float = numeric(1.0, "share of what attributes say of an item; the rest is the backbone's", ge=0, le=1)
        bound: float = numeric(
            1.0, "length of a step, as a multiple of the mean length of the known items' vectors", ge=0, le=1e3
        )

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options, self.width = options, widths[Site.ITEM]

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ("item_vector", "item_features")

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.ITEM: 1}

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("delta", (1, self.width), "prompt", zeros, MEMBER),) if self.options.delta else ()

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        members = batch.members
        if members is None or batch.items is None or batch.items.count is None:
            return {}
        vectors, features = readings["item_vector"], readings["item_features"]
        features = torch.cat([features, torch.ones_like(features[..., :1])], dim=-1)  # (U, V, F)
        own = member_rows(members.ids, vectors.shape[1], batch.items.ids) > 0
        known = ((batch.items.count >= self.options.known) & ~own).unsqueeze(-1)  # (U, V, 1)
        seen = features * known
        squares = seen.transpose(1, 2) @ seen
        ridge = lane(options["ridge"].to(seen.dtype), 3) * torch.eye(seen.shape[2], dtype=seen.dtype, device=seen.device)
        mapped = torch.linalg.solve(squares + ridge, seen.transpose(1, 2) @ (vectors * known))  # (U, F, D)
        share = lane(options["content"], 3)
        told = lookup(features, members.ids) @ mapped
        item = share * told + (1 - share) * lookup(vectors, members.ids)
        if not self.options.delta:
            return {Site.ITEM: item}
        length = (vectors.norm(dim=-1, keepdim=True) * known).sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
        delta = params["delta"][:, 1 : 1 + members.ids.shape[1]]  # row 0 is none's
        most = lane(options["bound"], 3) * length
        return {Site.ITEM: item + delta * (most / delta.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1)}

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        return {}
