"""A cold item as the mean of the users who took it: nothing is learnt. What a learnt prompt of cold items must beat first."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.axes import latest, lenders
from raytune_rec.components import numeric, structural
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, lane, lookup


class FeedbackMean:
    """Writes ITEM: what the backbone makes of the item, and the mean of the vectors of its latest users in training, weighted. An
    item with too few users borrows those of the most similar popular one (PROMO, Eq. 5); one that finds none stays as it is.

    Nothing is trained, so that a search alone finds both weights: strategy `tuning_free`.
    """

    groups: frozenset[str] = frozenset()

    class Options(components.Options):
        recent: int = structural(50, "latest users of an item that count", ge=1, le=100_000)
        least: int = structural(1, "an item with fewer users borrows those of the most similar popular one", ge=0, le=1000)
        popular: float = structural(0.2, "share of the items, by interactions, that lend (PROMO: 0.2)", gt=0, le=1)
        own: float = numeric(1.0, "weight of what the backbone makes of the item", ge=0, le=1e6)
        users: float = numeric(1.0, "weight of the mean of its users", ge=0, le=1e6)

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options = options

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ("item_vector", "user_vector")

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.ITEM: 1}

    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        members = batch.members
        if members is None or members.feedback is None:
            return {}
        lent, recent = self.lenders(readings, batch, options), self.options.recent
        events = latest(members.feedback, torch.where(lent > 0, lent, members.ids), recent)  # (U, I, K)
        vectors = lookup(readings["user_vector"], events.users) * events.real.unsqueeze(-1)
        count = events.real.sum(2, keepdim=True)
        item = lookup(readings["item_vector"], members.ids)
        mixed = lane(options["own"], 3) * item + lane(options["users"], 3) * vectors.sum(2) / count.clamp(min=1)
        return {Site.ITEM: (count > 0) * mixed + (count == 0) * item}

    def lenders(self, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor]) -> Tensor:
        """(U, I): the items that lend to the unit's own; 0: an item has users enough."""
        assert batch.members is not None
        o = self.options
        return lenders(readings["item_vector"], batch, batch.members.ids, o.recent, o.least, o.popular)

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        return {}
