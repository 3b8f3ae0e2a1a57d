"""Metrics of candidate lists with one positive each. Shapes: U lanes or replicates, N lists, K candidates of a list.

The outcome of a list is `better`, how many of the other candidates stand above the positive, and `ties`, how many stand level
with it. Over a random order of the tied the positive takes each of the places better + 1 ... better + ties + 1 (1 is the first)
equally often, and every metric here is the expectation over that, in closed form; so a constant score earns what chance earns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

CUTS = (5, 10, 20, 50)


def positive_first(scores: Tensor, positive: Tensor, seen: Tensor, domain: Tensor, item_domains: Tensor | None = None) -> Tensor:
    """Scores of all items (U, N, V) -> (U, N, V + 1): the positive's, then those of the others; -inf for items that were seen.

    Args:
        positive: (N,) ids. seen: (N, S) ids, 0 where there is none; id 0 is no item.
        domain: (N,) of each list. item_domains: (V,), where an item of another domain than its list's is left out too.
    """
    positive, seen = (ids.expand(len(scores), *ids.shape) for ids in (positive.unsqueeze(-1), seen))
    others = scores.clone()
    others[..., 0] = -torch.inf
    if item_domains is not None:
        others.masked_fill_(item_domains != domain.unsqueeze(1), -torch.inf)
    others.scatter_(2, seen, -torch.inf).scatter_(2, positive, -torch.inf)
    return torch.cat([scores.gather(2, positive), others], dim=2)


def places(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The outcome of each list.

    Args:
        scores: (U, N, K), the positive in column 0; -inf pads short lists and never counts.

    Returns:
        `better` and `ties`, (U, N) float64; both NaN for a list that holds a NaN.
    """
    positive, others = scores[..., :1], scores[..., 1:]
    broken = torch.isnan(scores).any(-1)
    better = (others > positive).sum(-1).double()
    ties = ((others == positive) & (others > -torch.inf)).sum(-1).double()
    return better.masked_fill(broken, torch.nan), ties.masked_fill(broken, torch.nan)


def candidates(scores: Tensor) -> Tensor:
    """How many candidates each list has, the positive included and padding not: (U, N, K) -> (U, N) float64."""
    return (scores[..., 1:] > -torch.inf).sum(-1).double() + 1


def auc(better: Tensor, ties: Tensor, size: Tensor) -> Tensor:
    """The chance that the positive stands above another candidate of its list; a tie counts half. Higher is better.

    Args:
        better, ties: (U, N). size: (U, N) or (N,), candidates with the positive; a list without another has no value (NaN).
    """
    return 1 - (better.double() + ties.double() / 2) / (size.double() - 1)


def hit(better: Tensor, ties: Tensor, k: int) -> Tensor:
    """Whether the positive is among the first k. Higher is better. (U, N), (U, N) -> (U, N)."""
    return ((k - better.double()) / (ties.double() + 1)).clamp(0, 1)


def ndcg(better: Tensor, ties: Tensor, k: int) -> Tensor:
    """1 / log2(1 + place) where the positive is among the first k, else 0; with one positive the ideal gain is 1.

    Higher is better. (U, N), (U, N) -> (U, N)."""
    place = torch.arange(1, k + 1, dtype=torch.float64, device=better.device)
    return _over_places(better, ties, 1 / torch.log2(1 + place))


def reciprocal_rank(better: Tensor, ties: Tensor) -> Tensor:
    """1 / place of the positive; its mean over lists is MRR. Higher is better. (U, N), (U, N) -> (U, N)."""
    last = int((better + ties).nan_to_num(0.0).max()) + 1 if better.numel() else 1
    return _over_places(better, ties, 1 / torch.arange(1, last + 1, dtype=torch.float64, device=better.device))


def _at(metric: Callable[[Tensor, Tensor, int], Tensor], k: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda better, ties, _: metric(better, ties, k)


LIST_METRICS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "auc": auc,
    **{f"hit@{k}": _at(hit, k) for k in (1, *CUTS)},
    **{f"ndcg@{k}": _at(ndcg, k) for k in CUTS},
    "mrr": lambda better, ties, _: reciprocal_rank(better, ties),
}
"""Name -> function of better (U, N), ties (U, N) and size (U, N) or (N,): (U, N) float64, the value of each list."""


def mean(metric: str, scores: Tensor, labels: Tensor | None = None) -> Tensor:
    """A metric's mean over lists, (U, N, K) -> (U,) float64; NaN of no lists, or where a score is NaN.

    Labels play no part: the positive is in column 0."""
    return mean_of(metric, *outcome(scores))


def outcome(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`places` and `candidates` of each list: (U, N, K) -> three (U, N)."""
    return *places(scores), candidates(scores)


def mean_of(metric: str, better: Tensor, ties: Tensor, size: Tensor) -> Tensor:
    """As `mean`, of outcomes (U, N). The metric may have its name as a validation metric."""
    return LIST_METRICS[metric.removeprefix("list_")](better, ties, size).mean(1)


MEANS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "list_auc" if name == "auc" else name: partial(mean, name) for name in LIST_METRICS
}
"""Name of a validation metric -> its mean over lists."""


def _over_places(better: Tensor, ties: Tensor, value: Tensor) -> Tensor:
    """Mean of `value` (P,) over the places that the positive may take; 0 behind the last of them."""
    total = torch.nn.functional.pad(value.cumsum(0), (1, 0))
    first = better.double().nan_to_num(0.0).long()
    last = first + ties.double().nan_to_num(0.0).long() + 1
    most = len(value)
    gain = (total[last.clamp(max=most)] - total[first.clamp(max=most)]) / (last - first)
    return gain.masked_fill(torch.isnan(better) | torch.isnan(ties), torch.nan)
