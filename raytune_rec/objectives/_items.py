"""Losses of states against items. Shapes: S places of a row, K negatives; the rest as in `schema`.

A state (U, B, S, D) is scored against items (U, V, D) by inner product, plus a bias (U, V) where the backbone has one. A target
(U, B, S) of 0 is none. A row's loss is the sum over its targets over the places that the data have, so that in the mean over rows
every target counts the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from raytune_rec import components
from raytune_rec.backbones.base import Outputs, Paired
from raytune_rec.components import structural
from raytune_rec.schema.contract import Batch
from raytune_rec.tensors import Noise, lookup

Drawn = Literal["pairwise", "pointwise"]
Kind = Literal[Drawn, "sampled", "softmax"]
Scores = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Of a row's targets, and of other items for each, (U, B, S) ids."""


class NextItemOptions(components.Options):
    """Of an objective that adds a task to the loss of the next item."""

    next_item: Kind = structural("sampled", "loss of the next item: pairwise, pointwise, sampled or softmax")
    negatives: int = structural(256, "items drawn, for a target (pairwise, pointwise) or for a batch (sampled)", ge=1, le=10**6)


def item_loss(
    kind: Kind,
    states: Tensor,
    target: Tensor,
    outputs: Outputs,
    batch: Batch,
    noise: Noise,
    negatives: int,
    weight: Tensor | None = None,
) -> Tensor:
    """(U, B).

    Args:
        kind: `pairwise` (BPR) and `pointwise` (BCE) draw `negatives` for each target, none of them in the row's history or among
            its targets; `sampled` (softmax) draws them for the whole batch, and leaves out a target's own; `softmax` takes all
            items.
        states: (U, B, S, D). target: (U, B, S), or wider: what goes past S is none.
        weight: (U, B, S) of the targets, or as wide as they are.
    """
    width, target = target.shape[-1], target[..., : states.shape[2]]
    if kind == "softmax":
        loss = _softmax(states, target, outputs)
    elif kind == "sampled":
        loss = _sampled(states, target, outputs, noise.integers("negatives", negatives, 1, outputs["items"].shape[1]))
    else:

        def scores(ids: Sequence[Tensor]) -> Sequence[Tensor]:
            return [score_of_target(states, ids[0], outputs), *(score(states, other, outputs) for other in ids[1:])]

        loss = _drawn(kind, scores, outputs["items"].shape[1], target, batch, noise, negatives)
    if weight is not None:
        loss = loss * weight[..., : states.shape[2]]
    return (loss * (target > 0)).sum(-1) / width


def drawn_loss(kind: Drawn, outputs: Outputs, batch: Batch, noise: Noise, negatives: int) -> Tensor:
    """(U, B): `item_loss` of the batch's targets, of a model with states or of one that scores pairs. The latter knows no places,
    so that the targets of each row are brought together in front.
    """
    target = batch.columns["target"]
    if not isinstance(outputs, Paired):
        return item_loss(kind, outputs["state"], target, outputs, batch, noise, negatives)
    width, most = target.shape[-1], max(1, int((target > 0).sum(-1).max()))
    target = target.sort(dim=-1, descending=True).values[..., :most]

    def scores(ids: Sequence[Tensor]) -> Sequence[Tensor]:
        return outputs.score(torch.stack([*ids], dim=-1).flatten(2)).unflatten(2, (most, -1)).unbind(-1)

    loss = _drawn(kind, scores, outputs.size, target, batch, noise, negatives)
    return (loss * (target > 0)).sum(-1) / width


def score(states: Tensor, ids: Tensor, outputs: Outputs) -> Tensor:
    """(U, B, S) of one item for each state."""
    return _plus_bias((states * lookup(outputs["items"], ids)).sum(-1), ids, outputs)


def score_of_target(states: Tensor, target: Tensor, outputs: Outputs) -> Tensor:
    """(U, B, S): the same of the items that the rows are about."""
    if "target" not in outputs:
        return score(states, target, outputs)
    return _plus_bias((states * outputs["target"].unsqueeze(2)).sum(-1), target, outputs)


def _plus_bias(scores: Tensor, ids: Tensor, outputs: Outputs) -> Tensor:
    return scores + lookup(outputs["bias"], ids) if "bias" in outputs else scores


def _drawn(kind: Drawn, scores: Scores, items: int, target: Tensor, batch: Batch, noise: Noise, negatives: int) -> Tensor:
    history = batch.columns["history"]
    taken = torch.cat([history, target.expand(len(history), -1, -1)], dim=-1).unsqueeze(2)  # (U, B, 1, L + S)
    uniform = (noise.uniform(f"negative.{i}", target.shape[-1]).to(torch.float64) for i in range(negatives))
    drawn = [1 + (u * (items - 1)).long() for u in uniform]  # (U, B, S)
    positive, *others = scores([target, *drawn])
    total = torch.zeros_like(positive)
    for ids, negative in zip(drawn, others, strict=True):
        valid = (ids.unsqueeze(-1) != taken).all(-1)
        each = softplus(negative - positive) if kind == "pairwise" else softplus(negative)
        total = total + each * valid / negatives
    return total if kind == "pairwise" else total + softplus(-positive)


def _sampled(states: Tensor, target: Tensor, outputs: Outputs, ids: Tensor) -> Tensor:
    """Softmax of each target against its own score and those of the negatives (U, K)."""
    vectors = lookup(outputs["items"], ids)  # (U, K, D)
    negative = (states.flatten(1, 2) @ vectors.transpose(1, 2)).unflatten(1, states.shape[1:3])
    if "bias" in outputs:
        negative = negative + lookup(outputs["bias"], ids)[:, None, None]
    negative = negative.masked_fill(ids[:, None, None] == target.unsqueeze(-1), -torch.inf)
    positive = score_of_target(states, target, outputs).unsqueeze(-1)
    return torch.logsumexp(torch.cat([positive, negative], dim=-1), dim=-1) - positive.squeeze(-1)


def _softmax(states: Tensor, target: Tensor, outputs: Outputs) -> Tensor:
    """Lane by lane, targets alone: the scores of all items are large."""
    lanes, target = len(states), target.expand(max(len(states), len(target)), -1, -1)
    items, bias, losses = outputs["items"], outputs.get("bias"), []
    own = score_of_target(states, target, outputs) if "target" in outputs else None
    for i in range(len(target)):
        here = target[i] > 0
        score = states[i if lanes > 1 else 0][here] @ items[i if len(items) > 1 else 0].T  # (targets, V)
        score = score if bias is None else score + bias[i if len(bias) > 1 else 0]
        if own is not None:
            score = score.scatter(1, target[i][here].unsqueeze(1), own[i if len(own) > 1 else 0][here].unsqueeze(1))
        score[:, 0] = -torch.inf  # padding is no item
        loss = cross_entropy(score, target[i][here], reduction="none")
        losses.append(torch.zeros(target.shape[1:], dtype=loss.dtype, device=loss.device).masked_scatter(here, loss))
    return torch.stack(losses)
