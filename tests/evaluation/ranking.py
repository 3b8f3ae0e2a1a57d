"""The oracle of `candidate_lists`: top-k metrics of lists with any number of relevant candidates, at the price of a sort.

Shapes: B lists, K candidates of a list.

Every metric takes scores (B, K) and relevance (B, K), returns (B,) float64, one value per list, and is better when higher.
Ties: the value is the expectation over a random order of the tied candidates, computed in closed form, so a constant score
earns what chance earns.

A list without a relevant candidate has no value (NaN). Short lists of a batch are padded with score -inf and relevance 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def hit_rate(scores: Tensor, relevance: Tensor, k: int) -> Tensor:
    """Whether a relevant candidate is among the first k: (B, K), (B, K) in {0, 1} -> (B,)."""
    order = _ranked(scores, relevance > 0)
    top = min(k, scores.shape[1])
    cut = top - 1
    start, size, found = order.start[:, cut], order.size[:, cut], order.found[:, cut]
    drawn = top - start  # places among the first k that the run across the cut fills
    none = torch.exp(_log_choose(size - found, drawn) - _log_choose(size, drawn))
    missed = torch.where(size - found >= drawn, none, 0.0)
    return _void(torch.where(order.before[:, cut] > 0, 1.0, 1.0 - missed), order)


def ndcg(scores: Tensor, relevance: Tensor, k: int) -> Tensor:
    """Discounted cumulative gain at k over the best possible: gain = relevance, discount `1 / log2(1 + place)`.

    Args:
        scores: (B, K).
        relevance: (B, K) grades, 0 or above.
        k: places that count.
    """
    order = _ranked(scores, relevance)
    discount = 1 / torch.log2(torch.arange(scores.shape[1], device=scores.device).double() + 2)
    discount[k:] = 0
    ideal = relevance.double().sort(dim=1, descending=True).values @ discount
    return _void((order.found / order.size) @ discount / ideal, order)


def reciprocal_rank(scores: Tensor, relevance: Tensor) -> Tensor:
    """1 / place of the first relevant candidate; its mean over lists is MRR. (B, K), (B, K) in {0, 1} -> (B,)."""
    order = _ranked(scores, relevance > 0)
    leads = (order.before == 0) & (order.found > 0)  # the run of the first relevant candidate
    # Within it the j-th place holds the first of r relevant ones among m: C(m - j, r - 1) / C(m, r).
    rest = order.size - order.step
    chance = torch.exp(_log_choose(rest, order.found - 1) - _log_choose(order.size, order.found))
    chance = torch.where(leads & (rest >= order.found - 1), chance, 0.0)
    return _void((chance / order.place).sum(1), order)


@dataclass(frozen=True)
class _Order:
    """Candidates from the best down; a run is a set of tied ones. All (B, K) float64 but `total` (B,).

    Args:
        start: candidates above the run of a place. size: of that run. step: 1-based place within the run. place: 1-based place.
        found: relevance within the run. before: relevance above it. total: relevance of the list.
    """

    start: Tensor
    size: Tensor
    step: Tensor
    place: Tensor
    found: Tensor
    before: Tensor
    total: Tensor


def _ranked(scores: Tensor, relevance: Tensor) -> _Order:
    value, order = torch.sort(scores, dim=1, descending=True)
    width = scores.shape[1]
    gain = relevance.double().gather(1, order)
    place = torch.arange(width, device=scores.device).expand_as(order)
    change = value[:, 1:] != value[:, :-1]
    pad = torch.nn.functional.pad
    start = torch.where(pad(change, (1, 0), value=True), place, 0).cummax(1).values
    end = torch.where(pad(change, (0, 1), value=True), place, width - 1).flip(1).cummin(1).values.flip(1)
    above = pad(gain.cumsum(1), (1, 0))
    before = above.gather(1, start)
    return _Order(
        start=start.double(),
        size=(end - start + 1).double(),
        step=(place - start + 1).double(),
        place=(place + 1).double(),
        found=above.gather(1, end + 1) - before,
        before=before,
        total=gain.sum(1),
    )


def _log_choose(n: Tensor, r: Tensor) -> Tensor:
    """Log of the number of r-subsets of n; callers mask 0 <= r <= n."""
    n, r = n.clamp(min=0), r.clamp(min=0)
    return torch.lgamma(n + 1) - torch.lgamma(r + 1) - torch.lgamma((n - r).clamp(min=0) + 1)


def _void(value: Tensor, order: _Order) -> Tensor:
    return torch.where(order.total > 0, value, torch.nan)
