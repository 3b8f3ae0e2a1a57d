"""Each metric against scikit-learn or a plain loop, ties and degenerate inputs included."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from raytune_rec.evaluation.metrics.scores import METRICS, auc, calibration_error, group_auc, logloss


def _table(seed: int = 0, lanes: int = 4, rows: int = 300, levels: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    g = np.random.default_rng(seed)
    scores = g.integers(-levels, levels, (lanes, rows)) / levels * 3
    return torch.tensor(scores, dtype=torch.float32), torch.tensor((g.random(rows) < 0.6).astype(np.float32))


@pytest.mark.parametrize("levels", [1, 5, 10_000])
def test_auc_agrees_with_scikit_learn_with_and_without_ties(levels: int) -> None:
    scores, labels = _table(levels, levels=levels)
    np.testing.assert_allclose(auc(scores, labels).numpy(), [roc_auc_score(labels, s) for s in scores], atol=1e-14)


def test_auc_takes_labels_of_each_lane() -> None:
    scores, labels = _table()
    own = torch.stack([labels.roll(i) for i in range(len(scores))])
    np.testing.assert_allclose(
        auc(scores, own).numpy(), [roc_auc_score(y, s) for s, y in zip(scores, own, strict=True)], atol=1e-14
    )


def test_a_single_class_or_no_rows_or_a_nan_has_no_auc() -> None:
    scores, labels = _table()
    assert auc(scores, torch.ones_like(labels)).isnan().all()
    assert auc(scores[:, :0], labels[:0]).isnan().all()
    scores[1, 7] = torch.nan
    assert auc(scores, labels).isnan().tolist() == [False, True, False, False]


def test_infinite_scores_are_in_order() -> None:
    scores = torch.tensor([[torch.inf, 0.0, -torch.inf, torch.inf]])
    assert auc(scores, torch.tensor([1.0, 1, 0, 0])).item() == pytest.approx(roc_auc_score([1, 1, 0, 0], [9, 0, -9, 9]))


def test_logloss_agrees_with_scikit_learn() -> None:
    scores, labels = _table()
    probability = torch.sigmoid(scores.double()).numpy()
    np.testing.assert_allclose(logloss(scores, labels).numpy(), [log_loss(labels, p) for p in probability], rtol=1e-12)


def test_logloss_of_a_large_logit_is_finite() -> None:
    assert logloss(torch.tensor([[500.0]]), torch.tensor([0.0])).item() == pytest.approx(500)


def test_group_auc_is_the_mean_over_groups_of_both_classes_weighted_by_rows() -> None:
    scores, labels = _table(levels=6)
    groups = torch.tensor(np.random.default_rng(2).integers(0, 90, len(labels)) * 7 - 50)
    expected = []
    for s in scores:
        parts = []
        for group in groups.unique():
            y, x = labels[groups == group], s[groups == group]
            if 0 < y.sum() < len(y):
                parts.append((roc_auc_score(y, x), len(y)))
        values, weights = zip(*parts, strict=True)
        expected.append(np.average(values, weights=weights))
    np.testing.assert_allclose(group_auc(scores, labels, groups).numpy(), expected, atol=1e-12)


def test_group_auc_of_one_group_is_auc_and_of_single_rows_is_nothing() -> None:
    scores, labels = _table()
    torch.testing.assert_close(group_auc(scores, labels, torch.zeros(len(labels), dtype=torch.long)), auc(scores, labels))
    assert group_auc(scores, labels, torch.arange(len(labels))).isnan().all()


def test_calibration_error_against_a_loop_over_equal_bins() -> None:
    scores, labels = _table(levels=10**6)
    expected = []
    for s in scores.double():
        order = np.argsort(s.numpy())
        p, y = torch.sigmoid(s).numpy()[order], labels.numpy()[order]
        parts = np.array_split(np.arange(len(p)), 10)
        expected.append(sum(abs(p[i].mean() - y[i].mean()) * len(i) for i in parts) / len(p))
    np.testing.assert_allclose(calibration_error(scores, labels, bins=10).numpy(), expected, atol=1e-12)


def test_calibration_error_of_ties_does_not_depend_on_row_order() -> None:
    scores, labels = _table(levels=3)
    mixed = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(calibration_error(scores, labels), calibration_error(scores[:, mixed], labels[mixed]))
    rate = labels.double().mean()
    assert calibration_error(torch.logit(rate).expand(1, len(labels)), labels).item() == pytest.approx(0, abs=1e-12)


def test_the_table_of_metrics_says_the_direction() -> None:
    scores = torch.tensor([[4.0, -4.0], [-4.0, 4.0]])  # lane 0 is right, lane 1 is wrong
    for name, metric in ((n, m) for n, m in METRICS.items() if not m.lists):
        right, wrong = metric.function(scores, torch.tensor([1.0, 0.0])).tolist()
        assert (right > wrong) if metric.higher else (right < wrong), name
