"""Walks of a few hops over transitions between items (after arXiv 2605.07125): nothing is trained.

Shapes: U: 1 or T lanes, B rows, L places, V items, E events, N transitions that occur, A attribute values, K candidates, P pairs
of an item and a value that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import numeric, padded, structural
from raytune_rec.errors import AssemblyError
from raytune_rec.schema.contract import Batch, Entities, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import ITEM, DataSchema
from raytune_rec.tensors import Params, Step, generator

_ROWS = 256
"""Rows whose walks over all items are held at once."""


class Transitions(Backbone):
    """A walk begins at one of the last items of the history, and goes on to what users took after an item in training, in
    proportion to how often. The score of an item is the sum over hops h of damping^(h - 1) times the chance that the walk is
    there after h hops, divided by (1 + times it was taken)^`even`. A share of the walks, `similarity`, makes one step more, to a
    value of the item's attributes, and from it to an item that has it. There is nothing to learn, so that a search alone finds
    its numbers; it takes nothing from a prompt. A user without history has all scores level.

    Transitions are counted in the rows that train, each user's in order of time or position; rows that are level in both get one
    by a drawn number. An item that follows after d others counts 1 / d; repeats do not count.

    Differs from the paper: of its graph only the idea is taken, transitions, few hops, and likeness of attributes.

    Raises:
        AssemblyError: `similarity`, and the items have no attributes with values.
    """

    class Options(components.Options):
        hops: int = padded(2, "hops of a walk", ge=1, le=16)
        last: int = padded(5, "last items of the history, where walks begin", ge=1, le=10_000)
        damping: float = numeric(0.5, "weight of a hop, as a multiple of that of the one before", ge=0, le=1)
        even: float = numeric(0.0, "exponent that takes back how often an item was taken", ge=0, le=2)
        similarity: float = numeric(0.0, "share of the walks that make one step more, over an attribute value", ge=0, le=1)
        reach: int = structural(1, "places between two items of a user that count as a transition", ge=1, le=100)

    reads_feedback = True
    returns = frozenset({"state", "cloze"})
    tasks = frozenset({"lists"})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        self.fields = tuple(f for f in schema.with_role("item") if f.name != ITEM and f.has_ids)
        self._refuse_similarity(options.similarity > 0)

    def _refuse_similarity(self, wanted: bool) -> None:
        if wanted and not self.fields:
            raise AssemblyError(
                "backbone.similarity above 0: steps go over values of attributes, and the items of these data have none; set "
                "methods.NAME.options.'backbone.similarity' = 0.0, or choose a source whose items have attributes."
            )

    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        """`step_from`, `step_to` and `step_weight`, (U, N) each: transitions that occur; zeros behind where there are fewer."""
        assert items.feedback is not None, "nobody pre-trains this model"
        events = items.feedback
        columns = (torch.as_tensor(t) for t in (events.start, events.user, events.order))
        lanes = [_counted(start, user, order, self.options.reach) for start, user, order in zip(*columns, strict=True)]
        names = ("step_from", "step_to", "step_weight")
        parts = zip(*lanes, strict=True)
        return {n: torch.nn.utils.rnn.pad_sequence(list(p), batch_first=True) for n, p in zip(names, parts, strict=True)}

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        items = batch.items
        assert items is not None and items.count is not None
        self._refuse_similarity(bool((options["similarity"] > 0).any()))
        per_lane = {**encoded, **options, "history": batch.columns["history"], "count": items.count}
        per_lane |= {f"of.{f.name}": items.columns[f.name] for f in self.fields}
        candidates = batch.columns.get("candidates")
        lanes = max(map(len, (*per_lane.values(), *([] if candidates is None else [candidates]))))
        logits = []
        for lane in range(lanes):
            score = self._walk({name: value[lane % len(value)] for name, value in per_lane.items()})
            rows = per_lane["history"][lane % len(per_lane["history"])].split(_ROWS)
            listed = [None] * len(rows) if candidates is None else candidates[lane % len(candidates)].split(_ROWS)
            scores = (score(history) for history in rows)
            logits.append(torch.cat([s if ids is None else s.gather(1, ids) for s, ids in zip(scores, listed, strict=True)]))
        return {"logit": torch.stack(logits).to(batch.label.dtype)}

    def _walk(self, lane: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
        """(B, L) histories -> (B, V) scores of one lane."""
        size = len(lane["count"])
        matrix = _sparse(lane["step_to"], lane["step_from"], lane["step_weight"], (size, size))
        last, hops, damping, share = (lane[name].item() for name in ("last", "hops", "damping", "similarity"))
        alike = self._alike(lane) if share > 0 else None
        even = (1 + lane["count"].to(matrix.dtype)).pow(lane["even"].item()).unsqueeze(1)

        def score(history: Tensor) -> Tensor:
            at = _begun(history, int(last), size).T  # (V, B)
            total = torch.zeros_like(at)
            for hop in range(int(hops)):
                at = torch.sparse.mm(matrix, at)
                total = total + damping**hop * at
            if alike is not None:
                total = (1 - share) * total + share * torch.sparse.mm(alike[1], torch.sparse.mm(alike[0], total))
            return (total / even).T

        return score

    def _alike(self, lane: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(A, V) and (V, A): a step from items to their attribute values, and one on to items that have them, all alike."""
        values, items, size = [], [], 0
        for field in self.fields:
            ids = lane[f"of.{field.name}"].view(len(lane["count"]), -1)
            item, place = torch.nonzero(ids, as_tuple=True)
            values.append(size + ids[item, place])
            items.append(item)
            size += field.size
        value, item = torch.stack([torch.cat(values), torch.cat(items)]).unique(dim=1)  # (P,) each
        each, having = (torch.bincount(item, minlength=len(lane["count"])), torch.bincount(value, minlength=size))
        down = _sparse(value, item, 1 / each[item], (size, len(each)))
        return down, _sparse(item, value, 1 / having[value], (len(each), size))


def _sparse(row: Tensor, column: Tensor, weight: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_coo_tensor(torch.stack([row, column]), weight, shape, check_invariants=False)


def _counted(start: Tensor, user: Tensor, risen: Tensor, reach: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) each: items, what follows on each, and its share of all that follows.

    Args:
        start, user: as in `Feedback`. risen: its `order`.
    """
    size = len(start) - 1
    item = torch.repeat_interleave(torch.arange(size, device=start.device), start.diff())
    user, risen = user[: len(item)], risen[: len(item)]  # of lanes with fewer events, zeros stand behind
    order = torch.randperm(len(item), generator=generator("transitions")).to(item.device)
    for key in (risen, user):
        order = order[key[order].argsort(stable=True)]
    order = order[user[order] > 0]
    item, user = item[order], user[order]
    keys, weights = [], []
    for apart in range(1, reach + 1):
        real = (user[apart:] == user[:-apart]) & (item[apart:] != item[:-apart])
        keys.append((item[:-apart] * size + item[apart:])[real])
        weights.append(torch.full_like(keys[-1], 1 / apart, dtype=torch.float64))
    key, which = torch.cat(keys).unique(return_inverse=True)
    count = torch.zeros(len(key), dtype=torch.float64, device=key.device).index_add_(0, which, torch.cat(weights))
    first, then = key // size, key % size
    out = torch.zeros(size, dtype=torch.float64, device=key.device).index_add_(0, first, count)
    return first, then, (count / out[first]).float()


def _begun(history: Tensor, last: int, size: int) -> Tensor:
    """(B, V): evenly at the last items of (B, L) histories."""
    place = (history > 0).sum(1, keepdim=True) - 1 - torch.arange(min(last, history.shape[1]), device=history.device)
    real = place >= 0
    items = history.gather(1, place.clamp(min=0)) * real
    share = real / real.sum(1, keepdim=True).clamp(min=1)
    return torch.zeros(len(history), size, device=history.device).scatter_add_(1, items, share)
