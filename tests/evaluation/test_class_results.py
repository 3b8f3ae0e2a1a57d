"""Predicted classes: metrics against an independent library, intervals against plain resampling, and the results."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from raytune_rec.errors import UserError
from raytune_rec.evaluation.measures.inputs import ClassOutcomes, MethodFacts
from raytune_rec.evaluation.measures.measure import Measured, measure
from raytune_rec.evaluation.measures.measure_classes import ClassMeter, values
from raytune_rec.evaluation.measures.tested import ClassesTested
from raytune_rec.evaluation.results import summarise
from raytune_rec.evaluation.uncertainty.users import Users

SCORES = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
SKILL = {"light": (0.5, 5), "weak": (0.3, 5), "majority": (0.0, 1)}  # chance of being right beyond luck; replicates


def outcome(row: str, classes: int = 2, users: int = 400) -> ClassOutcomes:
    """Class 1 is the most frequent; who is not known is said to be of it, or of any."""
    skill, replicates = SKILL[row]
    share = np.arange(classes, 0, -1) / np.arange(1, classes + 1).sum()
    truth = np.random.default_rng(1).choice(np.arange(1, classes + 1), users, p=share)
    draw, shape = np.random.default_rng(len(row)), (replicates, users)
    guess = draw.integers(1, classes + 2, shape) if skill else np.ones(shape, np.int64)
    said = np.where(draw.random(shape) < skill, truth, guess)
    return ClassOutcomes(row, "gender", said, truth)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("row", SKILL)
def test_metrics_are_those_of_an_independent_library(row: str, classes: int) -> None:
    own = outcome(row, classes)
    found, labels = values(own), np.unique(own.truth)
    for r, said in enumerate(own.predicted):
        assert found["accuracy"][r] == pytest.approx(accuracy_score(own.truth, said))
        for name, score in SCORES.items():
            macro = score(own.truth, said, labels=labels, average="macro", zero_division=0)
            assert found[name][r] == pytest.approx(macro)
            if classes == 2:
                rarer = score(own.truth, said, labels=[2], average=None, zero_division=0)
                assert found[f"rare.{name}"][r] == pytest.approx(rarer[0])
    assert ("rare.f1" in found) == (classes == 2)


def _measured(own: ClassOutcomes, users: np.ndarray) -> Measured:
    of = Users({"gender": users})
    return measure({"gender": ClassMeter({"weak": own}, of.places["gender"])}, of, 600, [1])["gender"]["weak"]


def test_resamples_are_measured_anew() -> None:
    """F1 is no mean over users: its spread is that of plain resampling."""
    own, draw = replace(outcome("weak", users=200), predicted=outcome("weak", users=200).predicted[:1]), np.random.default_rng(3)
    measured = _measured(own, np.arange(200))
    plain = []
    for _ in range(600):
        drawn = draw.integers(0, 200, 200)
        true, said = own.truth[drawn], own.predicted[0, drawn]
        plain.append(np.mean([2 * ((true == c) & (said == c)).sum() / ((true == c).sum() + (said == c).sum()) for c in (1, 2)]))
    assert measured.draws["f1"].std() == pytest.approx(np.std(plain), rel=0.12)
    p = measured.values["accuracy"][0]
    assert measured.draws["accuracy"].std() == pytest.approx(np.sqrt(p * (1 - p) / 200), rel=0.1)
    twice = ClassOutcomes("weak", "gender", np.repeat(own.predicted, 2, axis=1), np.repeat(own.truth, 2))
    grouped = _measured(twice, np.repeat(np.arange(200), 2))
    np.testing.assert_allclose(grouped.draws["f1"], measured.draws["f1"], atol=1e-12)


def results(outcomes: list[ClassOutcomes], **further: Any) -> dict[str, Any]:
    facts = [
        MethodFacts(
            row, "prompt", "ppr", "sasrec", "plain", row != "light", 8, 40, 1000, 12.5, {"gender.1": 0.5, "gender.2": 0.6}
        )
        for row in SKILL
    ]
    tables = {"gender": ["gender.1", "gender.2"]}
    protocol = {"metric": "hit@1", "candidates": "the 2 classes of gender"}
    groups = {"gender": np.arange(len(outcomes[0].truth))}
    tested = ClassesTested(outcomes, groups)
    return summarise(facts, tested, ["light"], ["weak", "majority"], protocol, bootstrap=300, mean=False, tables=tables)


def test_rows_are_compared_by_accuracy_and_f1_and_won_by_accuracy() -> None:
    found = results([outcome(row) for row in SKILL])
    assert json.loads(json.dumps(found)) == found and found["kind"] == "classes"
    truth = outcome("light").truth
    facts = {"n": 400, "users": 400, "classes": 2, "largest": (truth == 1).mean()}
    assert found["units"]["gender"] == facts | {"tied": ["majority"]}  # it says one class to all
    assert [(c["baseline"], c["metric"]) for c in found["comparisons"]] == [
        (baseline, metric) for baseline in ("weak", "majority") for metric in ("accuracy", "f1")
    ]
    assert all(c["p_holm"] >= c["p"] for c in found["comparisons"]) and found["comparisons"][3]["low"] > 0
    measures = {row: facts["units"]["gender"] for row, facts in found["methods"].items()}
    best = max(measures, key=lambda row: measures[row]["accuracy"]["mean"])
    assert found["winners"]["gender"] == {"test": best, "valid": "light"}
    low, mean, high = (measures["majority"]["accuracy"][k] for k in ("low", "mean", "high"))
    assert mean == (truth == 1).mean() and low < mean < high and measures["majority"]["rare.f1"]["mean"] == 0
    assert measures["light"]["folds"]["gender.2"]["valid"] == 0.6


def test_rows_tested_on_different_users_are_refused() -> None:
    other = outcome("weak", users=399)
    with pytest.raises(UserError, match="method 'weak' has other users or classes; test all methods on the same users"):
        results([outcome("light"), other])
