"""Metrics of lists with one positive: against `ranking`, against a plain loop over the places, and on lists that are odd."""

from math import log2
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raytune_rec.evaluation.metrics import candidate_lists
from raytune_rec.evaluation.metrics.candidate_lists import LIST_METRICS
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.task import ListMetric, RowMetric
from tests.evaluation import ranking

VALUES = {
    "hit": lambda place, k: float(place <= k),
    "ndcg": lambda place, k: (place <= k) / log2(1 + place),
    "mrr": lambda place, _: 1 / place,
}


def _scores(levels: int, lanes: int = 3, rows: int = 40, width: int = 30) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(levels).integers(0, levels, (lanes, rows, width)), dtype=torch.float32)


def _metric(name: str, scores: torch.Tensor) -> torch.Tensor:
    return LIST_METRICS[name](*candidate_lists.places(scores), candidate_lists.candidates(scores))


@pytest.mark.parametrize("levels", [1, 2, 6, 10**6])
def test_they_are_those_of_ranking_with_one_relevant_candidate(levels: int) -> None:
    scores = _scores(levels)
    flat = scores.flatten(0, 1)
    relevance = torch.zeros_like(flat)
    relevance[:, 0] = 1
    theirs = {f"hit@{k}": ranking.hit_rate(flat, relevance, k) for k in (1, *candidate_lists.CUTS)}
    theirs |= {f"ndcg@{k}": ranking.ndcg(flat, relevance, k) for k in candidate_lists.CUTS}
    theirs["mrr"] = ranking.reciprocal_rank(flat, relevance)
    assert set(theirs) == set(LIST_METRICS) - {"auc"}
    for name, expected in theirs.items():
        torch.testing.assert_close(_metric(name, scores).flatten(), expected, atol=1e-12, rtol=0)


@given(better=st.integers(0, 60), ties=st.integers(0, 60), more=st.integers(1, 60))
def test_they_are_means_over_the_places_that_the_positive_may_take(better: int, ties: int, more: int) -> None:
    size = better + ties + more + 1
    found = {name: metric(*torch.tensor([[[better]], [[ties]], [[size]]])).item() for name, metric in LIST_METRICS.items()}
    places = range(better + 1, better + ties + 2)
    for name, value in found.items():
        if name == "auc":
            expected = np.mean([(size - place) / (size - 1) for place in places])
        else:
            kind, _, k = name.partition("@")
            expected = np.mean([VALUES[kind](place, int(k or 0)) for place in places])
        assert value == pytest.approx(expected, abs=1e-12), name


def test_outcomes_of_known_lists() -> None:
    scores = torch.tensor([[[2.0, 3.0, 2.0, 1.0], [5.0, 1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0, 0.0], [-torch.inf, 1.0, 2.0, 3.0]]])
    better, ties = candidate_lists.places(scores)
    assert better.tolist() == [[1, 0], [0, 3]] and ties.tolist() == [[1, 0], [3, 0]]
    assert _metric("auc", scores).tolist() == [[0.5, 1], [0.5, 0]]


def test_padding_changes_nothing() -> None:
    scores = _scores(4)
    scores[0, 0, 0] = -torch.inf  # even where the positive itself lies that low
    padded = torch.cat([scores, torch.full((*scores.shape[:2], 7), -torch.inf)], 2)
    assert candidate_lists.candidates(padded).eq(30).all()
    for name in LIST_METRICS:
        torch.testing.assert_close(_metric(name, padded), _metric(name, scores))


def test_a_nan_spoils_its_list_and_the_mean_of_its_lane_alone() -> None:
    scores = _scores(4)
    scores[1, 7, 12] = torch.nan
    scores[2, 3, 0] = torch.nan
    for name in LIST_METRICS:
        broken = _metric(name, scores).isnan()
        assert broken.nonzero().tolist() == [[1, 7], [2, 3]], name
        assert candidate_lists.mean(name, scores).isnan().tolist() == [False, True, True]


def test_a_positive_alone_has_no_auc_and_no_lists_have_no_value() -> None:
    alone = torch.zeros(1, 1, 1)
    assert _metric("auc", alone).isnan().all() and _metric("hit@5", alone).item() == _metric("ndcg@5", alone).item() == 1
    for name in LIST_METRICS:
        assert candidate_lists.mean(name, torch.zeros(2, 0, 9)).isnan().tolist() == [True, True]


def test_validation_metrics_of_lists_ignore_labels_and_are_higher_for_the_better_lane() -> None:
    own = {name: metric for name, metric in METRICS.items() if metric.lists}
    assert set(own) == set(get_args(ListMetric)) and not any(METRICS[name].lists for name in get_args(RowMetric))
    scores = torch.zeros(2, 6, 100)
    scores[1, :, 1:60] = torch.linspace(-1, 1, 59)
    lifted = scores + torch.eye(100)[0] * torch.tensor([2.0, 0.0])[:, None, None]  # the positives of lane 0
    for name, metric in own.items():
        assert metric.higher
        right, wrong = metric.function(lifted, torch.zeros(6)).tolist()
        assert right == 1 > wrong >= 0, name
    torch.testing.assert_close(own["list_auc"].function(scores, torch.zeros(0)), _metric("auc", scores).mean(1))
