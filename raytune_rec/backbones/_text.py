"""Histories as tokens (UPSR, sections 3.3.2 and 3.4.1).

    Given the following purchase history of user: <item 1>, <item 2>, <extra_id_0>, predict masked item purchased by the user?

Shapes: E items of a history with the one behind it, W tokens of an item's text, S tokens that are read, Y that are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from raytune_rec.schema.prepared import Phrases
from raytune_rec.tensors import lookup

Part = tuple[Tensor, Tensor]
"""Tokens, and which of them are real."""


@dataclass(frozen=True)
class Texts:
    """All items' texts.

    Args:
        tokens: (U, V, W) ids of the tokenizer itself, real ones in front. length: (U, V) of them.
        alike: (U, V) a number that items of one text share.
    """

    tokens: Tensor
    length: Tensor
    alike: Tensor

    @classmethod
    def of(cls, tokens: Tensor, unknown: int) -> Texts:
        """tokens: (U, V, W) of the store."""
        real = tokens > 0
        ids, real = compact(torch.where(tokens > 1, tokens - 2, unknown), real)
        ids = ids * real
        alike = [
            torch.unique(lane - 1 + known.long(), dim=0, return_inverse=True)[1] for lane, known in zip(ids, real, strict=True)
        ]
        return cls(ids, real.sum(-1), torch.stack(alike))

    @classmethod
    def held(cls, encoded: Mapping[str, Tensor]) -> Texts:
        return cls(*(encoded[name] for name in ("text_tokens", "text_length", "text_alike")))

    def holding(self) -> dict[str, Tensor]:
        return {"text_tokens": self.tokens, "text_length": self.length, "text_alike": self.alike}


def compact(ids: Tensor, real: Tensor) -> Part:
    """The real ones of (..., S) tokens one behind another, cut to the longest."""
    order = (~real).to(torch.uint8).argsort(dim=-1, stable=True)[..., : max(1, int(real.sum(-1).max()))]
    return ids.gather(-1, order), real.gather(-1, order)


def read(texts: Texts, items: Tensor, masked: Tensor, phrases: Phrases, most: int) -> tuple[Part, Part]:
    """What is read, and what is to be told: of each masked item its sentinel and its text, and the end. The oldest items are left
    out of a sequence of more than `most` tokens, the last one never; an item that has no text is not read.

    Differs from the paper: items, and the words around them, are cut into tokens apart, so that an item has the same ones
    everywhere; the target holds the sentinels, as in T5's own pre-training, so that the decoder is told which item comes.

    Args:
        items: (U, B, E) ids, 0 where there is none. masked: (U, B, E) bool; the last real place may be no item.
    """
    between = len(phrases.between)
    words = lookup(texts.tokens, items)  # (U, B, E, W)
    count = lookup(texts.length, items) * (items > 0)
    shown = masked | (count > 0)
    lanes = max(len(words), len(masked))
    words, count, shown, masked = (t.expand(lanes, *t.shape[1:]) for t in (words, count, shown, masked))
    size = (torch.where(masked, 1, count) + between) * shown
    room = most - len(phrases.before) - len(phrases.behind) - 1 + between
    upto = size.flip(-1).cumsum(-1).flip(-1)  # of an item and all behind it
    last = shown & (upto == size)
    kept = shown & ((upto <= room) | last)
    number = (masked & kept).cumsum(-1) - 1
    hidden = masked & kept & (number < len(phrases.sentinels))
    kept = kept & ~(masked & ~hidden & (count == 0))
    sentinels = torch.tensor(phrases.sentinels, device=items.device)[number.clamp(0, len(phrases.sentinels) - 1)]
    place = torch.arange(words.shape[-1], device=items.device)
    own = torch.where(hidden.unsqueeze(-1), sentinels.unsqueeze(-1), words)
    own_real = torch.where(hidden.unsqueeze(-1), place == 0, place < count.unsqueeze(-1)) & kept.unsqueeze(-1)
    later = kept & (kept.cumsum(-1) > 1)
    joint, joint_real = _said(phrases.between, later)
    parts = (torch.cat([joint, own], -1).flatten(2), torch.cat([joint_real, own_real], -1).flatten(2))
    every = torch.ones_like(kept[..., 0])
    source = _joined(_said(phrases.before, every), parts, _said((*phrases.behind, phrases.end), every))
    told = torch.cat([sentinels.unsqueeze(-1), words], -1).flatten(2)
    told_real = torch.cat([torch.ones_like(hidden).unsqueeze(-1), place < count.unsqueeze(-1)], -1) & hidden.unsqueeze(-1)
    return source, _joined((told, told_real.flatten(2)), _said((phrases.end,), every))


def _said(ids: tuple[int, ...], where: Tensor) -> Part:
    """The same words for each (...) -> (..., n)."""
    words = torch.tensor(ids, dtype=torch.int64, device=where.device)
    return words.expand(*where.shape, -1), where.unsqueeze(-1).expand(*where.shape, len(ids))


def _joined(*parts: Part) -> Part:
    return compact(torch.cat([ids for ids, _ in parts], -1), torch.cat([real for _, real in parts], -1))
