"""Scores of cold and warm items against each other, and accuracy by how often an item was taken, held to plain loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from raytune_rec.evaluation.measures.cohorts import taken
from raytune_rec.evaluation.measures.spread import EDGES, KINDS, of_kinds, spread, together


def _lists(seed: int, lists: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of 12 candidates on a scale of their own, their ids, and which of 30 items are cold; some places are empty."""
    draw = np.random.default_rng(seed)
    cold = draw.random(30) < 0.4
    ids = np.stack([draw.permutation(30)[:12] for _ in range(lists)])
    ids[:, 0] = draw.choice(np.flatnonzero(cold), lists)
    scores = 100 * seed + (7 * draw.normal(size=ids.shape)).round() - 9 * cold[ids]  # whole numbers: some are level
    scores[:, 1:][draw.random((lists, 11)) < 0.1] = -np.inf
    return scores, ids, cold


def _plainly(scores: np.ndarray, ids: np.ndarray, cold: np.ndarray) -> tuple[list[list[float]], float]:
    kinds: list[list[float]] = [[], [], []]
    for of_list, items in zip(scores.tolist(), ids.tolist(), strict=True):
        kinds[0].append(of_list[0])
        for score, item in zip(of_list[1:], items[1:], strict=True):
            if score > -np.inf:
                kinds[1 if cold[item] else 2].append(score)
    won = sum((p > w) + (p == w) / 2 for p in kinds[0] for w in kinds[2])
    centre = sum(kinds[2]) / len(kinds[2])
    scale = (sum((w - centre) ** 2 for w in kinds[2]) / len(kinds[2])) ** 0.5
    return [[(s - centre) / scale for s in kind] for kind in kinds], won / len(kinds[0]) / len(kinds[2])


def test_scores_are_told_in_deviations_of_warm_negatives_whatever_the_scale_and_the_passes() -> None:
    for seed in (1, 2):
        scores, ids, cold = _lists(seed)
        found = spread([of_kinds(scores[part], cold[ids[part, 1:]]) for part in (slice(0, 7), slice(7, 40))])
        kinds, above = _plainly(scores, ids, cold)
        assert found is not None and found.above[0] == pytest.approx(above) and found.lists == 40
        assert np.isin(scores[:, 0], scores[:, 1:][~cold[ids[:, 1:]]]).any(), "a cold positive is level with a warm negative"
        for place, kind in enumerate(kinds):
            assert found.means[0, place] == pytest.approx(np.mean(kind), abs=1e-9)
            limits = [-np.inf, *EDGES.tolist(), np.inf]
            counted = [sum(low <= z < high for z in kind) / len(kind) for low, high in pairwise(limits)]
            np.testing.assert_allclose(found.shares[0, place], counted, atol=1e-12)


def test_replicates_count_the_same_and_parts_as_their_lists() -> None:
    a, b = (spread([of_kinds(s, cold[ids[:, 1:]])]) for s, ids, cold in (_lists(1, 40), _lists(2, 10)))
    assert a is not None and b is not None
    each, pooled = together([a, a], axis=0), together([a, b], axis=1)
    assert each is not None and pooled is not None and each.above.shape == (2,) and pooled.lists == 50
    np.testing.assert_allclose(pooled.means, (4 * a.means + b.means) / 5)
    told = each.facts()
    assert told["above"] == pytest.approx(float(a.above[0])) and list(told)[1:] == list(KINDS)
    assert each.of([1]).above.tolist() == a.above.tolist()
    assert together([a, None], axis=0) is None and together([], axis=1) is None


def test_where_scores_tell_nothing_apart_there_is_no_spread() -> None:
    scores, ids, cold = _lists(1)
    cold = cold[ids[:, 1:]]
    assert spread([of_kinds(np.zeros_like(scores), cold)]) is None
    assert spread([of_kinds(np.where(scores == scores.max(), np.nan, scores), cold)]) is None
    assert spread([of_kinds(scores, np.ones(11, bool))]) is None, "no warm item"


def test_of_long_lists_every_so_many_candidates_are_kept() -> None:
    scores, cold = np.arange(2 * 1901.0).reshape(2, 1901), np.arange(1900) % 4 == 0
    for positives, colds, warms in (of_kinds(scores, cold), of_kinds(scores, np.stack([cold, cold]))):
        assert positives.tolist() == [0, 1901] and len(colds) + len(warms) == 2 * 950 <= 2 * 1000
        assert colds.tolist() == [first + i for first in (1, 1902) for i in range(0, 1900, 4)]
        assert warms.tolist() == [first + i for first in (1, 1902) for i in range(2, 1900, 4)]


def test_items_are_classed_by_how_often_they_were_taken() -> None:
    times = np.array([0, 1, 2, 4, 5, 9, 10, 19, 20, 250, 4])
    masks = taken(times)
    assert list(masks) == ["0", "1", "2 to 4", "5 to 9", "10 to 19", "20 to 49", "200 to 499"]
    assert times[masks["2 to 4"]].tolist() == [2, 4, 4] and sum(m.sum() for m in masks.values()) == len(times)
