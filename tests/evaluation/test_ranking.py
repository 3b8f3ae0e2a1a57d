"""The oracle `ranking` against the mean over all orders of the tied, by enumeration, and scikit-learn where it agrees on the
rule."""

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from tests.evaluation import ranking


def _lists(seed: int, levels: int, width: int = 6, rows: int = 25) -> tuple[torch.Tensor, torch.Tensor]:
    g = np.random.default_rng(seed)
    relevance = (g.random((rows, width)) < 0.4).astype(float)
    relevance[np.arange(rows), g.integers(0, width, rows)] = 1
    return torch.tensor(g.integers(0, levels, (rows, width)), dtype=torch.float32), torch.tensor(relevance)


def _orders(scores: np.ndarray) -> list[tuple[int, ...]]:
    return [p for p in permutations(range(len(scores))) if all(scores[a] >= scores[b] for a, b in pairwise(p))]


def _expected(value, scores: torch.Tensor, relevance: torch.Tensor) -> np.ndarray:
    rows = zip(scores.numpy(), relevance.numpy(), strict=True)
    return np.array([np.mean([value(r[list(p)]) for p in _orders(s)]) for s, r in rows])


def _ndcg(r: np.ndarray, k: int) -> float:
    discount = 1 / np.log2(np.arange(len(r)) + 2) * (np.arange(len(r)) < k)
    return float(r @ discount / (np.sort(r)[::-1] @ discount))


ORACLES = {
    "hit_rate": lambda r, k: float(r[:k].any()),
    "ndcg": _ndcg,
    "reciprocal_rank": lambda r, _: 1 / (np.flatnonzero(r)[0] + 1),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("levels", [1, 2, 3, 1000])
@pytest.mark.parametrize("k", [1, 3, 6, 9])
def test_value_is_the_mean_over_all_orders_of_the_tied(name: str, levels: int, k: int) -> None:
    scores, relevance = _lists(levels, levels, rows=4 if levels == 1 else 12)
    extra = () if name == "reciprocal_rank" else (k,)
    got = getattr(ranking, name)(scores, relevance, *extra)
    np.testing.assert_allclose(got.numpy(), _expected(lambda r: ORACLES[name](r, k), scores, relevance), atol=1e-12)


def test_graded_ndcg_agrees_with_scikit_learn_on_ties() -> None:
    scores, _ = _lists(3, 3)
    grades = torch.tensor(np.random.default_rng(1).integers(0, 4, scores.shape), dtype=torch.float64)
    for k in (2, 4, 6):
        theirs = [ndcg_score(g[None], s[None], k=k) for s, g in zip(scores.numpy(), grades.numpy(), strict=True)]
        np.testing.assert_allclose(ranking.ndcg(scores, grades, k).nan_to_num(0).numpy(), theirs, atol=1e-12)


def test_a_constant_score_earns_what_chance_earns_on_long_lists() -> None:
    relevance = torch.zeros(1, 100)
    relevance[0, 7] = 1
    flat = torch.zeros(1, 100)
    assert ranking.hit_rate(flat, relevance, 10).item() == pytest.approx(0.1)
    assert ranking.reciprocal_rank(flat, relevance).item() == pytest.approx(np.mean(1 / np.arange(1, 101)))


def test_a_list_without_relevant_candidates_has_no_value() -> None:
    scores, none = torch.rand(2, 5), torch.zeros(2, 5)
    for name in set(ORACLES) - {"reciprocal_rank"}:
        assert getattr(ranking, name)(scores, none, 3).isnan().all(), name
    assert ranking.reciprocal_rank(scores, none).isnan().all()


def test_padding_changes_nothing() -> None:
    scores, relevance = _lists(0, 3)
    wide = torch.cat([scores, torch.full((len(scores), 4), -torch.inf)], 1)
    padded = torch.cat([relevance, torch.zeros(len(scores), 4)], 1)
    for name in set(ORACLES) - {"reciprocal_rank"}:
        function = getattr(ranking, name)
        torch.testing.assert_close(function(wide, padded, 4), function(scores, relevance, 4))
