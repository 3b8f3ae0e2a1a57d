"""The order of a history, altered. Shapes: L items of a history; the rest as in `schema`."""

from __future__ import annotations

import torch
from torch import Tensor

from raytune_rec.tensors import lane


def followed(history: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """A history without what nothing follows, as a model meets it in use.

    Args:
        history: (U, B, L). target: (U, B, L + 1), 0 where there is none.

    Returns:
        The items before the last target (U, B, L), and its place (U, B, 1): 0 in a row without targets.
    """
    place = torch.arange(target.shape[-1], device=target.device)
    end = (place * (target > 0)).amax(-1, keepdim=True)
    return history * (place[: history.shape[-1]] < end), end


def part(length: Tensor, share: Tensor, where: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """First place and length of a run of some of the items.

    Args:
        length: (U, B, 1) items of each history. share: (U,) of them, rounded up. where: (U, B, 1) in [0, 1), from its first
            possible place to its last.
        least: items of a run, where the history has as many.
    """
    size = torch.ceil(length * lane(share, 3)).long().clamp(min=least).minimum(length.clamp(min=1))
    return (where * (length - size + 1).clamp(min=1)).long(), size


def shuffled(history: Tensor, first: Tensor, size: Tensor, drawn: Tensor) -> Tensor:
    """Histories (U, B, L) with the items of a run in another order; it may be the same by chance. `drawn` (U, B, L) in [0, 1)."""
    place = torch.arange(history.shape[-1], device=history.device)
    inside = (place >= first) & (place < first + size)
    key = torch.where(inside, first + drawn * 0.999 * size, place.to(drawn.dtype))  # a run keeps its places
    return history.expand(key.shape).gather(-1, key.argsort(dim=-1, stable=True))
