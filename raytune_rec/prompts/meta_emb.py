"""MetaEmb (Pan et al., "Warm Up Cold-start Advertisements", SIGIR 2019): attributes make the vector with which an item starts.

Shapes: U: 1 or T lanes, B rows, L places, I own items, N items, M items of a row, K users of an item, O other users, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import softplus

from raytune_rec import components
from raytune_rec.axes import latest, member_rows, target_of
from raytune_rec.components import numeric, padded, structural
from raytune_rec.prompts._from_features import FromFeatures
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import USER, DataSchema
from raytune_rec.tensors import Params, Step, lane, lookup, zeros


class MetaEmb:
    """Writes ITEM: what a network makes of the item's attributes stands for its embedding, beside what the backbone makes of the
    attributes themselves; then one step of gradient descent on the log loss of its latest users in training, as positive ones,
    and of others, spread evenly over all, as negative ones. An item without users stays where it starts. A training row's own
    item (TARGET) is told without the row's user.

    The network is trained through that step on well-known items, drawn from each row's history: with s the user before the
    place of item i and t the other rows' users who did not take it, l(v) = softplus(-s v) + mean of softplus(t v), and the loss
    is `at_once` l(start) + (1 - `at_once`) l(stepped) (the paper's Eq. 8). The step's gradient has a closed form, in the item's
    vector, so that its own gradient is exact. The objective trains it on the rows of the unit's own items as well.

    Differs from the paper: the vector made stands behind the item tower's layer, which is linear, and not before it; the step is
    made in that space, on users without their histories (an artifact keeps who took an item, not after what), and the two losses
    are both of the row. The last layer starts at zero, without tanh. Rows that have labels train by their objective alone.
    """

    groups: frozenset[str] = frozenset({"prompt"})

    class Options(components.Options):
        hidden_width: int = padded(32, "H, hidden width of the network", ge=1, le=16384)
        rate: float = numeric(0.1, "length of the inner step, as a multiple of the gradient", ge=0, le=1e6)
        at_once: float = numeric(0.1, "alpha, share of the loss before the step (the paper: 0.1)", ge=0, le=1)
        users: int = structural(10, "K, latest users of an item in its step", ge=1, le=100_000)
        others: int = structural(64, "O, other users in a step", ge=1, le=10**6)
        items: int = structural(4, "M, well-known items of a row's history that train", ge=1, le=10_000)
        known: int = structural(20, "interactions of an item that is well known", ge=1, le=10**9)

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options = options
        self.network = FromFeatures(readings["item_features"].width, options.hidden_width, widths[Site.ITEM])

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ("item_vector", "item_content", "item_features", "user_vector")

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.ITEM: 1, Site.TARGET: 1}

    def parameters(self) -> tuple[Parameter, ...]:
        return self.network.parameters(zeros)

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        if batch.members is None or batch.members.feedback is None:
            return {}
        own = batch.members.ids
        written = {Site.ITEM: self._stepped(self._start(params, readings, own), readings, batch, options, own)}
        if step.training:
            about = target_of(batch)
            start = self._start(params, readings, about)
            made = self._stepped(start, readings, batch, options, about, batch.columns[USER])
            mine = member_rows(own, readings["item_vector"].shape[1], about).unsqueeze(-1) > 0
            written[Site.TARGET] = torch.where(mine, made, lookup(readings["item_vector"], about))
        return written

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        if batch.members is None or batch.members.feedback is None or "history" not in batch.columns:
            return {}
        outputs = run(None, batch)
        places, real = self._drawn(batch, step)  # (U, B, M)
        history, count = batch.columns["history"], places.shape[2]
        ids = torch.take_along_dim(history, places, dim=2)
        start = self._start(params, readings, ids.flatten(1))
        users = batch.columns[USER].repeat_interleave(count, dim=1)
        vectors = (start, self._stepped(start, readings, batch, options, ids.flatten(1), users))
        state = torch.take_along_dim(outputs["state"], places.unsqueeze(-1), dim=2).flatten(1, 2)  # (U, B * M, D)
        apart = (batch.weight > 0).unsqueeze(1).expand(-1, ids[0].numel(), -1)  # (U, B * M, B)
        for taken in torch.cat([history, batch.columns["target"]], dim=2).unbind(2):  # one place at a time: it is the most memory
            apart = apart & (ids.flatten(1).unsqueeze(2) != taken.unsqueeze(1))
        others = apart.sum(-1).clamp(min=1)

        def loss(v: Tensor) -> Tensor:
            negative = softplus(v @ outputs["user"].transpose(1, 2)) * apart
            return softplus(-(state * v).sum(-1)) + negative.sum(-1) / others

        share = lane(options["at_once"], 2)
        each = (share * loss(vectors[0]) + (1 - share) * loss(vectors[1])).unflatten(1, (-1, count)) * real
        return {"meta": each.sum(2) / real.sum(2).clamp(min=1)}

    def _drawn(self, batch: Batch, step: Step) -> tuple[Tensor, Tensor]:
        """Places of well-known items in the rows' histories, (U, B, M), and which of them there are."""
        assert step.noise is not None and batch.members is not None and batch.items is not None and batch.items.count is not None
        history, items = batch.columns["history"], batch.items.ids.shape[1]
        known = lookup(batch.items.count, history) >= self.options.known
        known = known & (history > 0) & (member_rows(batch.members.ids, items, history) == 0)
        drawn = step.noise.uniform("meta_emb.places", history.shape[2]).masked_fill(~known, -1)
        places = drawn.topk(min(self.options.items, history.shape[2]), dim=2).indices
        return places, torch.take_along_dim(known, places, dim=2)

    def _start(self, params: Params, readings: Mapping[str, Tensor], ids: Tensor) -> Tensor:
        """(U, N, D): items by their attributes alone."""
        return lookup(readings["item_content"], ids) + self.network(params, lookup(readings["item_features"], ids))

    def _stepped(
        self,
        start: Tensor,
        readings: Mapping[str, Tensor],
        batch: Batch,
        options: Mapping[str, Tensor],
        ids: Tensor,
        user: Tensor | None = None,
    ) -> Tensor:
        """(U, N, D): start - rate * gradient of mean softplus(-u start) over its users + mean softplus(u start) over others.

        Args:
            start: (U, N, D). ids: (U, N). user: (U, N), of each, who is left out; None: nobody.
        """
        assert batch.members is not None and batch.members.feedback is not None
        everybody = readings["user_vector"]
        events = latest(batch.members.feedback, ids, self.options.users)
        real = events.real if user is None else events.real & (events.users != user.unsqueeze(-1))
        real = real & (ids > 0).unsqueeze(-1)
        took = lookup(everybody, events.users)  # (U, N, K, D)
        count = real.sum(2).unsqueeze(-1)
        missed = torch.sigmoid(-(took * start.unsqueeze(2)).sum(-1)) * real
        up = (missed.unsqueeze(-1) * took).sum(2) / count.clamp(min=1)
        others = spread(everybody, self.options.others)
        down = torch.sigmoid(start @ others.transpose(1, 2)) @ others / others.shape[1]
        return start + lane(options["rate"], 3) * (up - down) * (count > 0)


def spread(everybody: Tensor, most: int) -> Tensor:
    """(U, O, D) of all users (U, V, D), evenly over their ids."""
    size = everybody.shape[1] - 1
    count = min(most, size)
    return everybody[:, 1 + torch.arange(count, device=everybody.device) * size // count]
