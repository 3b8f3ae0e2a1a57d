"""PROMO (Jiang et al., "Prompt Tuning for Item Cold-start Recommendation", RecSys 2024): a cold item is told by its best users.

Shapes: U: 1 or T lanes, B rows, I own items, N items or rows, K users of an item, W width of the prompt networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from raytune_rec import components
from raytune_rec.axes import Events, clocks, latest, lenders, member_rows, similar_popular, target_of
from raytune_rec.backbones.base import Outputs, Paired
from raytune_rec.components import numeric, padded, structural
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import MEMBER, Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import USER, DataSchema
from raytune_rec.tensors import Init, Params, Step, lane, linear, lookup, normal, xavier, zeros

Information = Literal["feedback", "id", "features", "both"]
_READS: Mapping[Information, tuple[str, ...]] = {
    "feedback": ("user_vector",),
    "id": ("item_embedding",),
    "features": ("item_features",),
    "both": ("item_embedding", "item_features"),
}


@dataclass(frozen=True)
class _Told:
    """What the networks of some items read.

    Args:
        vectors: (U, N, K, width). real: (1, N, K), which of them there are.
    """

    vectors: Tensor
    real: Tensor


class Promo:
    """The k users of highest value who took an item, its pinnacle feedback (Eq. 4), go through a network that is the item's own
    (Eq. 6, 7). What comes out, a vector of the item, and what the backbone makes of it are fused to its representation (Eq. 10).
    An item with too little feedback borrows that of the most similar popular one (Eq. 5, Tanimoto). Two further losses part the
    best users of an item from k others (Eq. 8, 9), and lift cold positives above warm negatives of the batch (Eq. 11, 12).

    Variants of sections 5.5 and 5.6: `information` "id", "features" and "both" are PROMO-I, -F and -IF; `network` "shared" and
    "none" are PROMO-M and -T.

    No leak: a training row's own user is never in the feedback that tells its item, and where there are clocks neither is
    who came at the row's time or later. What validates and tests is later than all feedback that an item has of its own.

    Differs from the paper: users are read as the backbone makes them (`user_vector`), not by their embeddings alone; items of
    other groups count as warm in Eq. 11. Staying counts in means over all events. Feedback is chosen among the `recent` latest
    events of an item. Both losses take means over pairs, and the mean of the networks' outputs is fused; `printed` sums over
    pairs and fuses the mean of what the networks read: then Eq. 9 vanishes from the first step, and the networks learn nothing.
    Every layer has the activation, not the last one alone. The fusion's last layer starts at zero and is added to what the
    backbone makes of the item, so that tuning starts from what was pre-trained. Without feedback there is no loss of feedback.
    """

    groups: frozenset[str] = frozenset({"prompt"})

    class Options(components.Options):
        information: Information = structural("feedback", "what tells an item: feedback (PROMO), id, features or both")
        network: Literal["personal", "shared", "none"] = structural("personal", "a network for each item (PROMO), one, or none")
        feedback: int = padded(10, "k, users of an item (the paper: 10)", ge=1, le=1000)
        staying: float = numeric(1.0, "alpha, worth of staying as long as users do on average", ge=0, le=1e6)
        interaction: float = numeric(1.0, "beta, worth of a point of the rating, or of a click where there is none", ge=0, le=1e6)
        recent: int = structural(50, "latest events of an item among which they are chosen", ge=1, le=100_000)
        least: int = structural(1, "an item with fewer events borrows those of the most similar popular one", ge=0, le=1000)
        popular: float = structural(0.2, "share of the items, by interactions, that lend (the paper: 0.2)", gt=0, le=1)
        layers: int = structural(2, "l, layers of the networks (the authors: 2)", ge=1, le=16)
        width: int = padded(16, "W, width of these layers, and of an item's own vector", ge=1, le=4096)
        fusion_width: int = padded(16, "hidden width of the fusion", ge=1, le=16384)
        feedback_weight: float = numeric(0.01, "lambda_1, weight of the loss of feedback (the authors: 0.01)", ge=0, le=1e6)
        fairness_weight: float = numeric(0.01, "lambda_2, weight of the loss of popularity (the authors: 0.01)", ge=0, le=1e6)
        printed: bool = structural(False, "sums over pairs, and raw feedback fused, as Eq. 8, 10 and 11 print it")

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options = options
        self.read = sum(readings[name].width for name in _READS[options.information])
        self.item = readings["item_vector"].width
        self.width = widths[Site.ITEM]
        self.users = schema.field(USER).size

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ("item_vector", *_READS[options.information])

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.ITEM: 1, Site.TARGET: 1}

    def parameters(self) -> tuple[Parameter, ...]:
        o = self.options
        each, rows, start = ((1,), MEMBER, _behind(xavier)) if o.network == "personal" else ((), None, xavier)
        layers = list(enumerate(pairwise([self.read, *[o.width] * o.layers]))) if o.network != "none" else []
        networks = [Parameter(f"net.{n}.weight", (*each, *shape), "prompt", start, rows) for n, shape in layers]
        networks += [Parameter(f"net.{n}.bias", (*each, shape[1]), "prompt", zeros, rows) for n, shape in layers]
        if o.network == "personal":
            networks.append(Parameter("own", (1, o.width), "prompt", normal(0.1), MEMBER))
        return (
            *networks,
            *(Parameter(f"fuse.{name}", (width, o.fusion_width), "prompt", xavier) for name, width in self._fused().items()),
            Parameter("fuse.bias", (o.fusion_width,), "prompt", zeros),
            Parameter("fuse.out", (o.fusion_width, self.width), "prompt", zeros),
        )

    def _fused(self) -> dict[str, int]:
        """What is fused, and its width."""
        o = self.options
        told = self.read if o.network == "none" or o.printed else o.width
        return {"item": self.item, "told": told, **({"own": o.width} if o.network == "personal" else {})}

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        if batch.members is None:
            return {}
        ids = batch.members.ids
        written = {Site.ITEM: self._items(params, readings, batch, ids, self._told(readings, batch, options, ids))}
        if step.training:
            about = target_of(batch)
            told = self._told(readings, batch, options, about, batch.columns[USER])
            written[Site.TARGET] = self._items(params, readings, batch, about, told)
        return written

    def _items(self, params: Params, readings: Mapping[str, Tensor], batch: Batch, ids: Tensor, told: _Told) -> Tensor:
        """(U, N, D). An item that is none of the unit's own stays as it is."""
        assert batch.members is not None
        base = readings["item_vector"]
        place = member_rows(batch.members.ids, base.shape[1], ids)  # (U, N)
        made = self._networks(params, place, told.vectors)
        count = told.real.sum(2, keepdim=True).clamp(min=1)
        fused = told.vectors if self.options.printed else made
        parts = {"item": lookup(base, ids), "told": (fused * told.real.unsqueeze(-1)).sum(2) / count}
        if self.options.network == "personal":
            parts["own"] = lookup(params["own"], place)
        hidden = sum(linear(part, params[f"fuse.{name}"]) for name, part in parts.items()) + params["fuse.bias"].unsqueeze(1)
        added = linear(torch.relu(hidden), params["fuse.out"])
        return parts["item"] + added * (place > 0).unsqueeze(-1)

    def _networks(self, params: Params, place: Tensor, vectors: Tensor) -> Tensor:
        """(U, N, K, W): what the networks make of what they read (Eq. 7); itself where there are none.

        Args:
            place: (U, N) rows of the networks. vectors: (U, N, K, width).
        """
        if self.options.network == "none":
            return vectors
        for n in range(self.options.layers):
            weight, bias = params[f"net.{n}.weight"], params[f"net.{n}.bias"]
            if self.options.network == "personal":
                vectors = torch.relu(vectors @ lookup(weight, place) + lookup(bias, place).unsqueeze(2))
            else:
                vectors = torch.relu(linear(vectors.flatten(1, 2), weight, bias)).unflatten(1, vectors.shape[1:3])
        return vectors

    def _told(
        self,
        readings: Mapping[str, Tensor],
        batch: Batch,
        options: Mapping[str, Tensor],
        ids: Tensor,
        user: Tensor | None = None,
    ) -> _Told:
        """What tells some items.

        Args:
            ids: (U, N). user: (U, N), the user of the row that each stands for, who is left out; None: no row.
        """
        if self.options.information == "feedback":
            users, real = self._pinnacle(readings, batch, options, ids, user)
            real = real & _first(real.shape[2], options)
            return _Told(lookup(readings["user_vector"], users), real)
        vectors = torch.cat([lookup(readings[name], ids) for name in _READS[self.options.information]], dim=-1).unsqueeze(2)
        return _Told(vectors, torch.ones(1, 1, 1, dtype=torch.bool, device=ids.device).expand(*ids.shape, 1))

    def _pinnacle(
        self, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], ids: Tensor, user: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The users of highest value who took each item, (U, N, K), the best first (Eq. 4), and which of them are real."""
        assert batch.members is not None and batch.members.feedback is not None
        feedback, recent = batch.members.feedback, self.options.recent
        own = latest(feedback, ids, recent)
        users, times, real, worth = own.users, own.times, own.real, _worth(own, options)
        timed = clocks(feedback)
        until = torch.where(real.any(2), times.amax(2) + 1, _NEVER).unsqueeze(-1)  # what is asked of it is later than what it has
        if user is not None:
            mine = real & (users == user.unsqueeze(-1))
            until = torch.where(mine, times, _NEVER).amin(2, keepdim=True)
            until = torch.where(mine.any(2, keepdim=True), until, -_NEVER)  # older than all of these
            real = real & ~mine & _before(times, until, timed)
        few = (real.sum(2) < self.options.least).unsqueeze(-1)
        if few.any():
            lent = latest(feedback, similar_popular(readings["item_vector"], batch, ids, self.options.popular), recent)
            there = lent.real & _before(lent.times, until, timed) & (True if user is None else lent.users != user.unsqueeze(-1))
            users, real = torch.where(few, lent.users, users), torch.where(few, there, real)
            worth = torch.where(few, _worth(lent, options), worth)
        order = worth.masked_fill(~real, -torch.inf).argsort(dim=2, descending=True, stable=True)
        order = order[..., : int(options["feedback"].max())]
        return torch.take_along_dim(users, order, dim=2), torch.take_along_dim(real, order, dim=2)

    def lenders(self, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor]) -> Tensor:
        """(U, I): the items that lend to the unit's own; 0: an item has feedback enough."""
        assert batch.members is not None
        o, ids = self.options, batch.members.ids
        if o.information != "feedback":
            return torch.zeros_like(ids)
        return lenders(readings["item_vector"], batch, ids, o.recent, o.least, o.popular)

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        if batch.members is None:
            return {}
        losses = {}
        if self.options.information == "feedback" and (options["feedback_weight"] > 0).any():
            losses["feedback"] = lane(options["feedback_weight"], 2) * self._of_feedback(params, readings, batch, options, step)
        if (options["fairness_weight"] > 0).any():
            losses["fairness"] = lane(options["fairness_weight"], 2) * self._of_popularity(batch, step, run(None, batch))
        return losses

    def _of_feedback(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Tensor:
        """(U, B): Eq. 8 and 9, of the items that the rows are about."""
        assert step.noise is not None and batch.members is not None and batch.members.feedback is not None
        ids = target_of(batch)
        told = self._told(readings, batch, options, ids, batch.columns[USER])
        place = member_rows(batch.members.ids, readings["item_vector"].shape[1], ids)
        made = self._networks(params, place, told.vectors)
        drawn = step.noise.uniform("promo.others", told.vectors.shape[2])
        others = 1 + (drawn.double() * (self.users - 1)).long()  # (U, B, K)
        took = latest(batch.members.feedback, ids, self.options.recent)
        known = (others.unsqueeze(-1) == took.users.unsqueeze(2)) & took.real.unsqueeze(2)
        new = ~known.any(-1) & _first(others.shape[2], options)
        theirs = self._networks(params, place, lookup(readings["user_vector"], others))
        distance = (made.unsqueeze(3) - theirs.unsqueeze(2)).abs().sum(-1)  # (U, B, K, K)
        pairs = told.real.unsqueeze(3) & new.unsqueeze(2)
        total, count = (distance * pairs).sum((2, 3)), pairs.sum((2, 3))
        gap = total if self.options.printed else total / count.clamp(min=1)
        return softplus(-gap) * (count > 0)

    def _of_popularity(self, batch: Batch, step: Step, outputs: Outputs) -> Tensor:
        """(U, B), the same for all rows of a batch: Eq. 11 and 12. Of rows with histories each draws one warm item."""
        assert batch.members is not None and batch.items is not None
        size = batch.items.ids.shape[1]
        cold = member_rows(batch.members.ids, size, target_of(batch)) > 0
        if "target" not in batch.columns:
            logit, label = outputs["logit"], batch.label
            positive, up, down = logit, label * cold, (1 - label) * ~cold
        else:
            assert step.noise is not None
            target = batch.columns["target"]
            drawn = 1 + (step.noise.uniform("promo.warm", 1).double() * (size - 1)).long().squeeze(-1)  # (U, B)
            taken = torch.cat([batch.columns["history"], target], dim=-1)
            warm = (member_rows(batch.members.ids, size, drawn) == 0) & (taken != drawn.unsqueeze(-1)).all(-1)
            positive, logit = _scored(outputs, target, drawn)
            up, down = batch.label * cold, warm
        up, down = up * batch.weight, down * batch.weight  # (U, B)
        ups, downs = up.sum(1), down.sum(1)
        above, below = (positive * up).sum(1), (logit * down).sum(1)
        means = above / ups.clamp(min=1) - below / downs.clamp(min=1)
        gap = above * downs - below * ups if self.options.printed else means
        return (softplus(-gap) * ((ups > 0) & (downs > 0))).unsqueeze(1).expand(-1, batch.label.shape[1])


def _scored(outputs: Outputs, target: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """(U, B) each: scores of the item that a row is about, and of another one, where the first stands.

    Args:
        target: (U, B, L + 1). other: (U, B).
    """
    if isinstance(outputs, Paired):
        positive, negative = outputs.score(torch.stack([target.amax(-1), other], dim=-1)).unbind(-1)
        return positive, negative
    at = (target > 0).int().argmax(-1, keepdim=True).unsqueeze(-1)
    state = torch.take_along_dim(outputs["state"], at, dim=2).squeeze(2)
    return (state * outputs["target"]).sum(-1), (state * lookup(outputs["items"], other)).sum(-1)


_NEVER = 2**62


def _worth(events: Events, options: Mapping[str, Tensor]) -> Tensor:
    """(U, N, K): what a user's taking of an item is worth (Eq. 4)."""
    return lane(options["staying"], 3) * events.stays + lane(options["interaction"], 3) * events.values


def _first(most: int, options: Mapping[str, Tensor]) -> Tensor:
    """(U, 1, most): the first k users of each lane."""
    return torch.arange(most, device=options["feedback"].device) < lane(options["feedback"], 3)


def _before(times: Tensor, until: Tensor, timed: bool) -> Tensor:
    """Which times are before another; where the data have none all of them are."""
    return times < until if timed else torch.ones_like(times, dtype=torch.bool)


def _behind(init: Init) -> Init:
    """Start values of many matrices behind one another, each drawn as one alone."""

    def drawn(shape: tuple[int, ...], generator: Generator) -> Tensor:
        return torch.stack([init(shape[1:], generator) for _ in range(shape[0])])

    return drawn
