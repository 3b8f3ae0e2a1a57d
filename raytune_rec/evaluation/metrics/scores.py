"""Metrics of U score vectors at once. Shapes: U lanes or replicates, N rows or lists, K candidates of a list.

The functions here are point-wise: they take scores (U, N) and labels (N,) or (U, N) and return (U,) float64, on the device of the
scores. A vector that holds a NaN has the metric NaN; so has one on which the metric is not defined (AUC of a single class,
anything of no rows). Infinite scores are in order. `METRICS` names them and the means of `candidate_lists`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from raytune_rec.evaluation.metrics.candidate_lists import MEANS


def auc(scores: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve: the chance that a positive row stands above a negative one. Higher is better; a tie counts
    half.

    Args:
        scores: (U, N), any increasing function of the probability.
        labels: (N,) or (U, N) in {0, 1}.

    Returns:
        (U,) float64; NaN where all labels are equal.
    """
    order, start, end = _runs(scores)
    positive = _gather(labels, scores, order)
    midrank = (start + end).double().mul_(0.5).add_(1.0)
    positives = positive.sum(1)
    pairs = positives * (scores.shape[1] - positives)
    area = ((midrank * positive).sum(1) - positives * (positives + 1) / 2) / pairs
    return _void(area, scores)


def logloss(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log likelihood in nats. Lower is better; ties play no part.

    Args:
        scores: (U, N) logits.
        labels: (N,) or (U, N) in [0, 1].

    Returns:
        (U,) float64.
    """
    logit = scores.double()
    return (softplus(logit) - logit * labels.double()).mean(1)


def group_auc(scores: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Mean of the AUC within each group (usually a user), weighted by its rows. Higher is better; a tie counts half.

    Groups of a single class have no AUC and are left out.

    Args:
        scores: (U, N). labels: (N,) or (U, N) in {0, 1}.
        groups: (N,) int64 ids, any values.

    Returns:
        (U,) float64; NaN where no group has both classes.
    """
    _, dense = torch.unique(groups, return_inverse=True)
    count = int(dense.max()) + 1 if dense.numel() else 0
    order, start, end = _runs(scores, dense)
    positive = _gather(labels, scores, order)
    group = dense[order]
    rows = torch.bincount(dense, minlength=count).double()
    first = rows.cumsum(0) - rows  # rows of lower groups, by which the ranks are too high
    midrank = (start + end).double() * 0.5 + 1.0 - first[group]
    zero = positive.new_zeros(len(scores), count)
    positives = zero.scatter_add(1, group, positive)
    rank_sum = zero.scatter_add(1, group, positive * midrank)
    pairs = positives * (rows - positives)
    area = (rank_sum - positives * (positives + 1) / 2) / pairs.clamp(min=1)
    share = torch.where(pairs > 0, rows, 0.0)
    return _void((area * share).sum(1) / share.sum(1), scores)


def calibration_error(scores: Tensor, labels: Tensor, bins: int = 15) -> Tensor:
    """Expected calibration error: mean distance between predicted and observed rate over bins of equal mass. Lower is better.

    Rows in order of score are cut into `bins` parts whose sizes differ by one row at most. Tied rows share their mean label
    first, so that the value does not depend on their order.

    Args:
        scores: (U, N) logits. labels: (N,) or (U, N) in {0, 1}.
        bins: number of parts; no more than N are used.

    Returns:
        (U,) float64 in [0, 1].
    """
    size = scores.shape[1]
    order, start, end = _runs(scores)
    label = _gather(labels, scores, order)
    total = torch.nn.functional.pad(label.cumsum(1), (1, 0))
    label = (total.gather(1, end + 1) - total.gather(1, start)) / (end - start + 1)
    gap = torch.sigmoid(scores.double()).gather(1, order) - label
    part = torch.arange(size, device=scores.device).mul(min(bins, size)).div(max(size, 1), rounding_mode="floor")
    sums = gap.new_zeros(len(scores), max(min(bins, size), 1)).index_add(1, part, gap)
    return _void(sums.abs().sum(1) / size if size else sums.sum(1) * torch.nan, scores)


@dataclass(frozen=True)
class Metric:
    """A metric that needs scores and labels alone.

    Args:
        function: (U, N) scores, (N,) or (U, N) labels -> (U,) float64; of lists: (U, N, K) scores with the positive in column 0,
            labels of any kind, which it ignores -> (U,), the mean over lists.
        higher: whether higher is better.
        lists: whether it takes lists.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    higher: bool
    lists: bool = False


METRICS: dict[str, Metric] = {
    "auc": Metric(auc, True),
    "logloss": Metric(logloss, False),
    "calibration_error": Metric(calibration_error, False),
    **{name: Metric(function, higher=True, lists=True) for name, function in MEANS.items()},
}


def _runs(scores: Tensor, groups: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Ascending order and, by place in it, the first and last place of the run of equal scores: three (U, N) int64.

    With `groups` (N,) the order is by group first, and a run stays within its group.
    """
    value, order = torch.sort(scores, dim=1)
    if groups is not None:
        again = torch.argsort(groups[order], dim=1, stable=True)
        value, order = value.gather(1, again), order.gather(1, again)
    size = scores.shape[1]
    place = torch.arange(size, device=scores.device).expand_as(order)
    if size == 0:
        return order, order, order
    change = value[:, 1:] != value[:, :-1]
    if groups is not None:
        group = groups[order]
        change |= group[:, 1:] != group[:, :-1]
    opens = torch.nn.functional.pad(change, (1, 0), value=True)
    closes = torch.nn.functional.pad(change, (0, 1), value=True)
    start = torch.where(opens, place, 0).cummax(1).values
    end = torch.where(closes, place, size - 1).flip(1).cummin(1).values.flip(1)
    return order, start, end


def _gather(labels: Tensor, scores: Tensor, order: Tensor) -> Tensor:
    """Labels in `order`, (U, N) float64."""
    labels = labels.double()
    return labels[order] if labels.dim() == 1 else labels.expand_as(scores).gather(1, order)


def _void(value: Tensor, scores: Tensor) -> Tensor:
    """NaN where a score is NaN, which a sort would otherwise rank highest."""
    return torch.where(torch.isnan(scores).any(1), torch.nan, value)
