"""The map of items, held to a singular value decomposition and to plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from raytune_rec.evaluation.item_map import MOST, item_map


def test_both_models_are_drawn_on_the_two_axes_of_most_variance_of_all_vectors_together() -> None:
    draw = np.random.default_rng(1)
    before = draw.normal(size=(40, 6)) @ np.diag([9.0, 4, 1, 0.5, 0.2, 0.1])
    cold, warm, after = np.arange(1, 9), np.arange(9, 38), before.copy()  # 38 and 39 are cold items of another unit
    after[cold] += 3 * draw.normal(size=(8, 6))
    told = item_map(before, after, cold, warm, 0)
    shown = np.r_[cold, warm]
    both = np.r_[before[shown], after[shown]]
    centred = both - both.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(told["explained"], (singular**2 / (singular**2).sum())[:2])
    signs = [np.sign(axis[np.abs(axis).argmax()]) for axis in axes[:2]]
    expected = centred @ axes[:2].T * signs
    made = np.r_[told["cold"]["before"], told["warm"]["before"], told["cold"]["after"], told["warm"]["after"]]
    np.testing.assert_allclose(made, expected, atol=6e-5)
    assert (told["cold"]["items"], told["warm"]["items"]) == (8, 29)


def test_vectors_of_one_number_lie_on_the_first_axis() -> None:
    before = np.random.default_rng(4).normal(size=(30, 1))
    told = item_map(before, 2 * before, np.arange(1, 9), np.arange(9, 30), 0)
    assert told["explained"].tolist() == [1.0, 0.0] and not told["cold"]["after"][:, 1].any()
    both = np.r_[before[1:], 2 * before[1:]]
    np.testing.assert_allclose(told["cold"]["after"][:, 0], 2 * before[1:9, 0] - both.mean(), atol=6e-5)


def test_neighbours_are_counted_in_the_whole_space() -> None:
    draw = np.random.default_rng(2)
    before, cold, warm = draw.normal(size=(60, 5)), np.arange(1, 16), np.arange(16, 60)
    after = before.copy()
    after[cold] += 50
    told = item_map(before, after, cold, warm, 0)
    shares = []
    for item in cold.tolist():
        others = sorted((float(((before[item] - before[o]) ** 2).sum()), o) for o in range(1, 60) if o != item)
        shares.append(sum(o in cold for _, o in others[:10]) / 10)
    assert told["near"]["before"] == pytest.approx(np.mean(shares)) and told["near"]["after"] == 1.0


def test_of_many_items_a_sample_is_drawn_the_same_before_and_after() -> None:
    before = np.random.default_rng(3).normal(size=(1000, 4))
    told, again = (item_map(before, before, np.arange(1, 301), np.arange(301, 1000), seed) for seed in (5, 5))
    assert {kind: len(told[kind]["before"]) for kind in MOST} == MOST and told["cold"]["items"] == 300
    for kind in MOST:
        np.testing.assert_array_equal(told[kind]["before"], told[kind]["after"])
        np.testing.assert_array_equal(told[kind]["before"], again[kind]["before"])
