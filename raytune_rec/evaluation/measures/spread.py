"""How the scores of cold and warm items lie against each other (PROMO, RecSys 2024, Figure 2).

A model that scores all warm items higher ranks what a user would take, where it is cold, below what he would not, where it is
warm. So three kinds of scores are kept, all of lists whose positive item is cold: those of the positives, and those of the other
candidates, cold and warm.

Differs from the paper: it draws the scores of one online model; here models of other scales stand side by side. So a score is
told by its distance from the mean of the warm candidates that were not taken, as a multiple of their standard deviation, of each
model by itself; histograms and means are over models.

Shapes: R replicates, n lists of a pass, K candidates, V items, C classes of a histogram.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
KINDS = ("cold positives", "cold negatives", "warm negatives")
EDGES = np.arange(-4, 6.01, 0.5)
"""(C - 1,) between the classes of a histogram, whose first and last are open."""
_MOST = 1000
"""Most candidates of a list that are kept: of longer ones, every so many."""


@dataclass(frozen=True)
class Spread:
    """Args:
    shares: (R, 3, C) of the scores of each of `KINDS`. means: (R, 3) of them.
    above: (R,) the chance that a cold positive scores above a warm negative, of whatever lists; a tie counts half.
    lists: how many were looked at.
    """

    shares: Array
    means: Array
    above: Array
    lists: int

    def of(self, places: list[int]) -> Spread:
        """Some of the replicates."""
        return Spread(self.shares[places], self.means[places], self.above[places], self.lists)

    def facts(self) -> dict[str, Any]:
        """As `results.json` has it."""
        each = zip(KINDS, self.means.mean(0), self.shares.mean(0), strict=True)
        told = {kind: {"mean": float(mean), "shares": np.round(shares, 4)} for kind, mean, shares in each}
        return {"above": float(self.above.mean()), **told}


def of_kinds(scores: Array, cold: NDArray[np.bool_]) -> list[Array]:
    """The scores of each of `KINDS`, of some lists.

    Args:
        scores: (n, K), the positive first; -inf is no candidate. cold: (n, K - 1), or (K - 1,) where all lists have the same
            candidates: which of the others are cold.
    """
    every = max(1, math.ceil((scores.shape[1] - 1) / _MOST))
    others, cold = scores[:, 1::every], cold[..., ::every]
    real = others != -np.inf
    return [scores[:, 0], others[real & cold], others[real & ~cold]]


def spread(passes: Sequence[Sequence[Array]]) -> Spread | None:
    """Of one model, from `of_kinds` of each pass; None where a kind is missing, a score is none, or all warm ones are equal."""
    kinds = [np.concatenate(parts).astype(np.float64) for parts in zip(*passes, strict=True)]
    positives, _, warm = kinds
    if min(map(len, kinds)) == 0 or not all(np.isfinite(scores).all() for scores in kinds) or np.ptp(warm) == 0:
        return None
    scaled = [(scores - warm.mean()) / warm.std() for scores in kinds]
    ascending = np.sort(warm)
    below, up_to = (np.searchsorted(ascending, positives, side=side) for side in ("left", "right"))
    shares = [np.bincount(np.searchsorted(EDGES, z, side="right"), minlength=len(EDGES) + 1) / len(z) for z in scaled]
    means = [z.mean() for z in scaled]
    above = (below + up_to).mean() / 2 / len(warm)
    return Spread(np.array([shares]), np.array([means]), np.array([above]), len(positives))


def together(parts: Sequence[Spread | None], axis: int) -> Spread | None:
    """Of replicates (axis 0), or of parts of the lists (axis 1), each as its lists count; None where one of them lacks it."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    weight = np.array([p.lists for p in known], np.float64)

    def joined(each: Sequence[Array]) -> Array:
        return np.concatenate(each) if axis == 0 else np.average(each, 0, weight)

    every = joined([p.shares for p in known]), joined([p.means for p in known]), joined([p.above for p in known])
    return Spread(*every, known[0].lists if axis == 0 else int(weight.sum()))
