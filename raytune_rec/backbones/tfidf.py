"""Word overlap: every user gets the items whose words are those of the last items that he took. What a language model must beat.

Shapes: U: 1 or T lanes, B rows, L places, V items, W tokens of a text, S tokens of the tokenizer, K candidates, N last items.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from raytune_rec import components
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import padded, structural
from raytune_rec.errors import AssemblyError
from raytune_rec.schema.contract import Batch, Entities, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import ITEM, DataSchema
from raytune_rec.tensors import Params, Step

_ROWS = 256
"""Rows whose words are held as one matrix."""
_ITEMS = 4096
"""Items whose words are compared with one another at once."""


class TfIdf(Backbone):
    """An item is the vector of its words, each weighed by how often it stands in the item's text times
    1 + log((1 + items) / (1 + items that have it)) (Salton and Buckley, 1988), of length 1; a user is the sum of his last items,
    and the score is the inner product. There is nothing to learn; it takes nothing from a prompt. Unknown tokens are no words. A
    user without history, or whose items have no text, has all scores level.
    """

    class Options(components.Options):
        text: str = structural("title", "which text of the items: a text column, or one of data.text.items", min_length=1)
        last: int = padded(5, "N, last items of the history that are read", ge=1, le=10_000)

    returns = frozenset({"state", "cloze"})
    tasks = frozenset({"lists"})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        there = [field.name for field in schema.texts if field.role == ITEM]
        if options.text not in there:
            known = (
                f"there are {', '.join(there)}" if there else "there are none; set data.text, and a source whose items have text"
            )
            raise AssemblyError(f"backbone.text = {options.text!r}: is no text of the items with tokens; {known}.")
        self.words = schema.field(options.text).size

    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        """`word_weight` (U, V, W): of each place of an item's text."""
        return {"word_weight": torch.stack([_weights(tokens, self.words) for tokens in items.columns[self.options.text]])}

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        assert batch.items is not None
        history, candidates = batch.columns["history"], batch.columns.get("candidates")
        each = (history, options["last"], batch.items.columns[self.options.text], encoded["word_weight"])
        lanes = max(map(len, each))
        logits = []
        for lane in range(lanes):
            taken, last, tokens, weight = (value[lane % len(value)] for value in each)
            listed = None if candidates is None else candidates[lane % len(candidates)].split(_ROWS)
            users = [_user(rows, int(last), tokens, weight, self.words) for rows in taken.split(_ROWS)]
            pieces = zip(users, listed or [None] * len(users), strict=True)
            logits.append(torch.cat([_scores(user, piece, tokens, weight) for user, piece in pieces]))
        return {"logit": torch.stack(logits).to(batch.label.dtype)}


def _weights(tokens: Tensor, size: int) -> Tensor:
    """(V, W) float32 of (V, W) tokens: so that a text's tokens, each with its weight, are a vector of length 1; 0 of no words."""
    words = tokens > 1
    ordered = torch.where(words, tokens, 0).sort(1).values
    first = ordered * (functional.pad(ordered[:, :-1], (1, 0)) != ordered)  # each token of a text once
    having = torch.bincount(first.flatten(), minlength=size).to(torch.float64)
    items = int(words.any(1).sum())
    weight = torch.where(words, 1 + torch.log((1 + items) / (1 + having))[tokens], 0)
    squares = []
    for part, own in zip(tokens.split(_ITEMS), weight.split(_ITEMS), strict=True):
        together = ((part.unsqueeze(1) == part.unsqueeze(2)) * own.unsqueeze(1)).sum(2)  # of all places with the same token
        squares.append((together * own).sum(1))
    return (weight / torch.cat(squares).clamp(min=1e-12).sqrt().unsqueeze(1)).float()


def _user(history: Tensor, last: int, tokens: Tensor, weight: Tensor, size: int) -> Tensor:
    """(B, S) the sum of the vectors of the last items of (B, L) histories."""
    place = (history > 0).sum(1, keepdim=True) - 1 - torch.arange(min(last, history.shape[1]), device=history.device)
    items = history.gather(1, place.clamp(min=0)) * (place >= 0)  # (B, N)
    words = weight.new_zeros(len(history), size)
    return words.scatter_add_(1, tokens[items].flatten(1), weight[items].flatten(1))


def _scores(user: Tensor, candidates: Tensor | None, tokens: Tensor, weight: Tensor) -> Tensor:
    """(B, K) of candidates, (B, V) of all items."""
    if candidates is None:
        return functional.embedding_bag(tokens, user.T.contiguous(), per_sample_weights=weight, mode="sum").T
    theirs = tokens[candidates]  # (B, K, W)
    return (user.gather(1, theirs.flatten(1)).view(theirs.shape) * weight[candidates]).sum(2)
