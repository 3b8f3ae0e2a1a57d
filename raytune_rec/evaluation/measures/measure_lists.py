"""All that the results need of one unit of candidate lists. Shapes: R replicates, N lists, U users, B resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from raytune_rec.evaluation.measures.inputs import ListOutcomes, Outcome
from raytune_rec.evaluation.metrics.candidate_lists import LIST_METRICS
from raytune_rec.evaluation.uncertainty.intervals import Array
from raytune_rec.evaluation.uncertainty.resampled import Means

FULL = "full."
"""In front of the metrics of the full ranking."""
SHUFFLED = "shuffled."
"""Of the protocol's candidates, with the items of each history in a random order."""
BEST = "best "
"""Of a ranking of items that another method found: `best 100.`, with how many."""
WITH_INTERVAL = ("hit@10", "ndcg@10")
"""Of every ranking, and AUC of the protocol's."""
COMPARED = ("auc", "ndcg@10")
OF_COHORTS = ("auc", "hit@10", "ndcg@10")


class ListMeter:
    """The lists of one unit under all methods of the table.

    Args:
        outcomes: method -> where its positives stand; R may differ between methods, the lists are the same.
        users: (N,) each list's user. size: U.
        names: of the metrics; empty: all of them.
    """

    def __init__(
        self, outcomes: Mapping[str, ListOutcomes], users: NDArray[np.intp], size: int, names: Sequence[str] = ()
    ) -> None:
        each = {method: {n: v for n, v in values(o).items() if not names or n in names} for method, o in outcomes.items()}
        self.values = {method: {name: _mean(v) for name, v in measures.items()} for method, measures in each.items()}
        self.replicates = {method: o.trained for method, o in outcomes.items()}
        self._drawn = [(method, name) for method, measures in each.items() for name in measures if _has_interval(name)]
        self._means = Means(np.concatenate([each[method][name] for method, name in self._drawn]), users, size)

    def drawn(self, times: Array) -> dict[str, dict[str, Array]]:
        """Method -> metric -> (R, B), with users drawn so often (U, B)."""
        drawn: dict[str, dict[str, Array]] = {method: {} for method in self.values}
        rest = self._means.drawn(times)
        for method, name in self._drawn:
            count = len(self.values[method][name])
            drawn[method][name], rest = rest[:count], rest[count:]
        return drawn


def values(outcomes: ListOutcomes) -> dict[str, Array]:
    """Metric -> (R, N), its value for each list, with what stands in front of those of a ranking (`ListOutcomes.rankings`)."""
    return {ranking + name: v for ranking, outcome in outcomes.rankings.items() for name, v in _of(outcome).items()}


def _has_interval(name: str) -> bool:
    return name == "auc" or name.rpartition(".")[2] in WITH_INTERVAL


def chosen(outcomes: ListOutcomes, mask: NDArray[np.bool_]) -> ListOutcomes:
    """The lists in `mask`, with the first of their rankings."""
    better, ties = (np.atleast_2d(x)[:, mask] for x in (outcomes.sampled.better, outcomes.sampled.ties))
    return replace(outcomes, sampled=Outcome(better, ties, outcomes.sampled.candidates[mask]), full=None, spread=None, others={})


def _mean(each: Array) -> Array:
    """(R, N) -> (R,); NaN of no lists."""
    return np.asarray(each.mean(1)) if each.shape[1] else np.full(len(each), np.nan)


def _of(outcome: Outcome) -> dict[str, Array]:
    better, ties, size = (
        torch.as_tensor(np.asarray(x, dtype=np.float64)) for x in (outcome.better, outcome.ties, outcome.candidates)
    )
    return {name: np.atleast_2d(metric(better, ties, size).numpy()) for name, metric in LIST_METRICS.items()}
