"""Intervals and tests against brute force, scipy and simulated truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from raytune_rec.evaluation import statistics


def _scores(seed: int, rows: int = 400, shift: float = 0.8, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    g = np.random.default_rng(seed)
    labels = (np.arange(rows) % 3 > 0).astype(np.float64)
    base = g.normal(size=rows) + shift * labels
    scores = np.stack([base, base + g.normal(size=rows)])
    return (np.round(scores * levels) if levels else scores), labels


@pytest.mark.parametrize("levels", [0, 1])
def test_delong_is_the_covariance_of_the_pair_kernel(levels: int) -> None:
    scores, labels = _scores(0, rows=90, levels=levels)
    areas, covariance = statistics.delong(scores, labels)
    x, y = scores[:, labels > 0], scores[:, labels == 0]
    kernel = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    np.testing.assert_allclose(areas, [roc_auc_score(labels, s) for s in scores])
    expected = np.cov(kernel.mean(2)) / x.shape[1] + np.cov(kernel.mean(1)) / y.shape[1]
    np.testing.assert_allclose(covariance, expected, rtol=1e-10)


def test_delong_test_sees_a_difference_and_no_difference() -> None:
    scores, labels = _scores(1, rows=2000)
    assert statistics.delong_test(scores[0], scores[1], labels) < 1e-3
    assert statistics.delong_test(scores[0], scores[0] * 3 + 1, labels) == 1.0


def test_influences_of_a_class_sum_to_zero_and_predict_a_resampled_auc() -> None:
    scores, labels = _scores(2, rows=3000)
    areas, influence = statistics.placements(scores, labels)
    for part in (labels > 0, labels == 0):
        np.testing.assert_allclose(influence[:, part].sum(1), 0, atol=1e-12)
    g = np.random.default_rng(0)
    weights = np.zeros(len(labels))
    for part in (np.flatnonzero(labels), np.flatnonzero(labels == 0)):
        weights += np.bincount(g.choice(part, len(part)), minlength=len(labels))
    exact = [roc_auc_score(labels, s, sample_weight=weights) for s in scores]
    np.testing.assert_allclose(areas + influence @ weights, exact, atol=5e-4)  # changes are near 1e-2


def test_a_class_that_is_missing_leaves_nothing() -> None:
    areas, influence = statistics.placements(np.ones((2, 5)), np.ones(5))
    assert np.isnan(areas).all() and np.isnan(influence).all()


def test_bootstrap_of_one_replicate_has_delongs_standard_error() -> None:
    scores, labels = _scores(3, rows=1500)
    _, covariance = statistics.delong(scores, labels)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    found = statistics.auc_difference(scores[:1], scores[1:], labels, resamples=4000)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.06)
    assert found.mean == pytest.approx(roc_auc_score(labels, scores[0]) - roc_auc_score(labels, scores[1]))


def test_bootstrap_against_resampling_with_new_rankings() -> None:
    scores, labels = _scores(4, rows=300, levels=2)
    g = np.random.default_rng(0)
    brute = []
    for _ in range(1500):
        rows = np.concatenate([g.choice(part, len(part)) for part in (np.flatnonzero(labels), np.flatnonzero(labels == 0))])
        brute.append(roc_auc_score(labels[rows], scores[0][rows]) - roc_auc_score(labels[rows], scores[1][rows]))
    found = statistics.auc_difference(scores[:1], scores[1:], labels)
    np.testing.assert_allclose([found.low, found.high], np.quantile(brute, [0.025, 0.975]), atol=0.006)


def test_interval_covers_the_truth_at_its_rate_with_rows_and_replicates_random() -> None:
    # Replicates differ by their own shift and noise: the truth is the mean over rows and replicates.
    def draw(g: np.random.Generator, rows: int, replicates: int) -> tuple[np.ndarray, np.ndarray]:
        labels = (np.arange(rows) % 2).astype(np.float64)
        skill = 0.8 + 0.15 * g.normal(size=(2, replicates, 1))
        common = g.normal(size=rows)
        return skill * labels + common + 0.3 * g.normal(size=(2, replicates, rows)), labels

    g = np.random.default_rng(0)
    covered = 0
    for i in range(300):
        (a, b), labels = draw(g, 300, 5)
        found = statistics.auc_difference(a, b, labels, resamples=300, seed=i)
        covered += found.low <= 0 <= found.high
    assert 0.90 <= covered / 300 <= 0.99


def test_spread_of_replicates_widens_the_interval() -> None:
    scores, labels = _scores(5, rows=1000)
    g = np.random.default_rng(0)
    equal = np.repeat(scores[:1], 5, axis=0)
    spread = equal + 0.7 * labels * g.normal(size=(5, 1))
    base = np.repeat(scores[1:], 5, axis=0)
    narrow, wide = (statistics.auc_difference(a, base, labels) for a in (equal, spread))
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_one_replicate_stands_for_five_equal_ones() -> None:
    scores, labels = _scores(6)
    tuned = scores[:1] + 0.1 * np.random.default_rng(0).normal(size=(5, len(labels)))
    alone, repeated = scores[1:], np.repeat(scores[1:], 5, axis=0)
    one, five = (statistics.auc_difference(tuned, b, labels) for b in (alone, repeated))
    np.testing.assert_allclose([one.mean, one.low, one.high, one.p], [five.mean, five.low, five.high, five.p], rtol=1e-10)


def test_unequal_numbers_of_replicates_are_resampled_apart() -> None:
    scores, labels = _scores(7)
    found = statistics.auc_difference(np.repeat(scores[:1], 3, 0), np.repeat(scores[1:], 2, 0), labels)
    assert found.low < found.mean < found.high


def test_dependent_rows_of_a_user_widen_the_interval_of_groups() -> None:
    scores, labels = _scores(8, rows=300)
    copies = 6  # each user repeats one row: 6 times fewer independent rows than there seem to be
    a, b = (np.tile(s, copies)[None] for s in scores)
    groups = np.tile(np.arange(len(labels)), copies)
    rows = statistics.auc_difference(a, b, np.tile(labels, copies))
    users = statistics.auc_difference(a, b, np.tile(labels, copies), groups)
    assert (users.high - users.low) / (rows.high - rows.low) == pytest.approx(np.sqrt(copies), rel=0.15)


def test_the_seed_decides() -> None:
    scores, labels = _scores(9)
    first, again, other = (statistics.auc_difference(scores[:1], scores[1:], labels, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_replicate_tests_agree_with_scipy() -> None:
    g = np.random.default_rng(0)
    a, b = g.normal(size=8) + 0.5, g.normal(size=8)
    assert statistics.paired_t(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert statistics.wilcoxon(a, b) == pytest.approx(stats.wilcoxon(a, b).pvalue)
    found = statistics.mean_interval(a)
    low, high = stats.t.interval(0.95, 7, a.mean(), stats.sem(a))
    np.testing.assert_allclose([found.mean, found.low, found.high], [a.mean(), low, high])


def test_replicate_tests_of_equal_or_single_values() -> None:
    assert statistics.paired_t([1, 2], [1, 2]) == statistics.wilcoxon([1, 2], [1, 2]) == 1.0
    assert statistics.paired_t([2, 3], [1, 2]) == 0.0
    assert np.isnan(statistics.paired_t([1], [2]))
    assert np.isnan(statistics.mean_interval([0.5]).low)


def test_holm() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert statistics.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    kept = statistics.holm([0.01, float("nan")])
    assert kept[0] == 0.01 and np.isnan(kept[1])
    assert statistics.holm([]) == []
