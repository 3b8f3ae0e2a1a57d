"""The content of results.json from invented predictions whose order is known."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from raytune_rec.errors import UserError
from raytune_rec.evaluation.measures.cohorts import cold_warm, counts
from raytune_rec.evaluation.measures.inputs import MethodFacts, Predictions, Replicates
from raytune_rec.evaluation.measures.tested import RowsTested
from raytune_rec.evaluation.results import summarise

UNITS = {"music": 900, "book": 600}
RUN = {"protocol": {}, "bootstrap": 100}


def _facts(row: str, trials: int = 8, tuned: int = 40) -> MethodFacts:
    return MethodFacts(
        row, "prompt", "plate", "deepfm", "prompted", row != "good", trials, tuned, 1000, 12.5,
        valid={u: {"good": 0.8, "weak": 0.7, "flat": 0.6}[row] for u in UNITS},
        options={u: {"training.lr.prompt": 0.01} for u in UNITS}, trial=dict.fromkeys(UNITS, 3),
    )  # fmt: skip


@pytest.fixture(scope="module")
def world() -> dict:
    g = np.random.default_rng(0)
    labels = {u: (g.random(n) < 0.6).astype(np.float32) for u, n in UNITS.items()}
    predictions = []
    for u, y in labels.items():
        noise = g.normal(size=len(y))
        skill = {"good": (1.2, 5), "weak": (0.6, 5), "flat": (0.5, 1)}
        predictions += [
            Predictions(row, u, (k * y + noise + 0.05 * g.normal(size=(r, len(y)))).astype(np.float32))
            for row, (k, r) in skill.items()
        ]
    return {
        "facts": [_facts("good"), _facts("weak"), _facts("flat", trials=0, tuned=0)],
        "predictions": predictions,
        "labels": labels,
        "groups": {u: g.integers(0, 80, n) for u, n in UNITS.items()},
    }


def _summarise(predictions: list, labels: dict, groups: dict, **further: Any) -> dict:
    return summarise(tested=RowsTested(predictions, labels, groups), **further)


@pytest.fixture(scope="module")
def results(world: dict) -> dict:
    return _summarise(**world, compare=["good"], baselines=["weak", "flat"], protocol={"metric": "auc"}, bootstrap=400)


def test_it_is_plain_json(results: dict) -> None:
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_values_are_those_of_the_predictions(world: dict, results: dict) -> None:
    for p in world["predictions"]:
        found = results["methods"][p.method]["units"][p.unit]
        areas = [roc_auc_score(world["labels"][p.unit], s) for s in p.scores]
        np.testing.assert_allclose(found["auc"]["replicates"], areas)
        assert found["auc"]["mean"] == pytest.approx(np.mean(areas))
        losses = [log_loss(world["labels"][p.unit], 1 / (1 + np.exp(-s.astype(np.float64)))) for s in p.scores]
        np.testing.assert_allclose(found["logloss"]["replicates"], losses)
        for name in ("auc", "logloss"):
            assert found[name]["low"] < found[name]["mean"] < found[name]["high"]
        assert set(found) >= {"group_auc", "calibration_error", "valid", "trial", "options"}
    assert results["units"]["music"] == {"n": 900, "positives": int(world["labels"]["music"].sum()), "users": 80}


def test_interval_of_the_log_loss_has_the_width_of_its_standard_error_over_users(world: dict, results: dict) -> None:
    p = next(p for p in world["predictions"] if p.method == "flat" and p.unit == "music")
    y, users = world["labels"]["music"], world["groups"]["music"]
    loss = np.logaddexp(0, np.where(y > 0, -p.scores[0], p.scores[0]))
    error = np.sqrt((np.bincount(users, loss - loss.mean()) ** 2).sum()) / len(y)
    found = results["methods"]["flat"]["units"]["music"]["logloss"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.99 * error, rel=0.15)


def test_the_mean_over_units(results: dict) -> None:
    row = results["methods"]["good"]
    assert row["mean"]["auc"]["mean"] == pytest.approx(np.mean([m["auc"]["mean"] for m in row["units"].values()]))
    widths = [m["auc"]["high"] - m["auc"]["low"] for m in (row["mean"], *row["units"].values())]
    assert widths[0] < min(widths[1:])


def test_comparisons_find_the_better_row_and_nothing_where_there_is_nothing(world: dict, results: dict) -> None:
    assert [(c["baseline"], c["unit"]) for c in results["comparisons"]] == [
        (b, u) for b in ("weak", "flat") for u in ("music", "book", "mean")
    ]
    assert results["kind"] == "rows" and {c["metric"] for c in results["comparisons"]} == {"auc"}
    for c in results["comparisons"]:
        values = [results["methods"][r]["mean" if c["unit"] == "mean" else "units"] for r in (c["method"], c["baseline"])]
        values = values if c["unit"] == "mean" else [v[c["unit"]] for v in values]
        assert c["difference"] == pytest.approx(values[0]["auc"]["mean"] - values[1]["auc"]["mean"])
        assert 0 < c["low"] < c["difference"] < c["high"]
        assert c["p"] <= c["p_holm"] < 1e-3
        assert (c["trainings"] is None) == (c["baseline"] == "flat")  # one run of it, of five: they do not go together
        assert (c["n"], c["users"], c["pretrainings"]) == (1500 if c["unit"] == "mean" else UNITS[c["unit"]], 80, None)
        assert c["covers"] == "80 users" + (", drawn with all their rows in 2 units" * (c["unit"] == "mean")) + "; replicates"
    same = [Predictions("twin", p.unit, p.scores) for p in world["predictions"] if p.method == "good"]
    facts = [*world["facts"], MethodFacts("twin", "prompt", "plate", "deepfm", "", True, 8, 40, 1000, 1.0)]
    both = _summarise(
        **world | {"facts": facts, "predictions": world["predictions"] + same}, **RUN, compare=["good"], baselines=["twin"]
    )
    assert all(c["difference"] == 0 and c["p_holm"] == 1 for c in both["comparisons"])


def test_two_rows_that_claim_and_are_baselines_are_compared_once(world: dict) -> None:
    rows = {"compare": ["good", "weak"], "baselines": ["weak", "flat", "good"]}
    found = _summarise(**world, **rows, protocol={}, bootstrap=100, mean=False)
    pairs = [(c["method"], c["baseline"]) for c in found["comparisons"] if c["unit"] == "music"]
    assert pairs == [("good", "weak"), ("good", "flat"), ("weak", "flat")]


def test_without_a_mean_over_units_there_is_none_anywhere(world: dict) -> None:
    found = _summarise(**world, compare=["good"], baselines=["weak"], protocol={}, bootstrap=100, mean=False)
    assert "mean" not in found["winners"] and not any("mean" in method for method in found["methods"].values())
    assert [c["unit"] for c in found["comparisons"]] == ["music", "book"]


def test_a_row_without_training_has_one_replicate_and_no_spread(results: dict) -> None:
    found = results["methods"]["flat"]
    assert found["units"]["music"]["auc"]["sd"] is None and len(found["units"]["music"]["auc"]["replicates"]) == 1
    assert found["trials"] == 0 and results["costs"]["methods"]["flat"]["seconds_per_trial"] is None


def test_winners_and_costs(results: dict) -> None:
    assert results["winners"] == {u: {"test": "good", "valid": "good"} for u in ("music", "book", "mean")}
    assert results["costs"]["trials"] == 16 and results["methods"]["good"]["tuned_share"] == 0.04


def test_lower_is_better_where_the_validation_metric_is_a_loss(world: dict) -> None:
    found = _summarise(**world, compare=[], baselines=[], protocol={"metric": "logloss"}, bootstrap=100)
    assert found["winners"]["music"] == {"test": "good", "valid": "flat"}


def test_a_missing_or_broken_prediction_is_absent_or_null_and_named(world: dict) -> None:
    kept = [p for p in world["predictions"] if (p.method, p.unit) != ("weak", "book")]
    broken = [replace(p, scores=p.scores * np.nan) if (p.method, p.unit) == ("flat", "music") else p for p in kept]
    found = _summarise(**world | {"predictions": broken}, **RUN, compare=["good"], baselines=["weak", "flat"])
    assert "book" not in found["methods"]["weak"]["units"] and "mean" not in found["methods"]["weak"]
    assert found["methods"]["flat"]["units"]["music"]["auc"]["mean"] is None
    assert found["methods"]["flat"]["mean"]["auc"]["mean"] is None and found["methods"]["good"]["mean"]["auc"]["mean"] > 0.5
    assert [(c["baseline"], c["unit"]) for c in found["comparisons"]][:2] == [("weak", "music"), ("flat", "music")]
    assert found["not_compared"] == [{"method": "good", "baseline": "weak", "unit": "book", "why": "weak has no result there"}]
    assert found["winners"]["mean"]["test"] == "good"
    json.dumps(found, allow_nan=False)


def test_a_unit_of_a_single_class_has_no_auc_but_a_loss_and_is_no_part_of_the_mean(world: dict) -> None:
    labels = {**world["labels"], "book": np.ones(UNITS["book"], dtype=np.float32)}
    found = _summarise(**world | {"labels": labels}, **RUN, compare=["good"], baselines=["weak"])
    music, book = (found["methods"]["good"]["units"][u] for u in ("music", "book"))
    assert book["auc"]["mean"] is None and book["logloss"]["mean"] > 0
    assert [c["p_holm"] is None for c in found["comparisons"]] == [False, True, False]
    assert found["methods"]["good"]["mean"]["auc"]["mean"] == pytest.approx(music["auc"]["mean"])
    assert found["methods"]["good"]["mean"]["logloss"]["mean"] == pytest.approx(
        (music["logloss"]["mean"] + book["logloss"]["mean"]) / 2
    )
    assert found["averaged"] == {"auc": ["music"], "group_auc": ["music"]} and found["winners"]["mean"]["test"] == "good"


def test_each_row_needs_its_user(world: dict) -> None:
    few = {"music": world["groups"]["music"][:7]}
    with pytest.raises(UserError) as refused:
        _summarise(**world | {"groups": few}, **RUN, compare=[], baselines=[])
    text = "; give each one its user."
    assert refused.value.problems == ("music: 900 rows and 7 user ids" + text, "book: 600 rows and 0 user ids" + text)


def test_replicates_may_be_missing_and_every_pretraining_counts_the_same(world: dict) -> None:
    def some(p: Predictions, kept: list[int]) -> Predictions:
        return replace(p, scores=p.scores[kept], replicates=Replicates(tuple(k + 1 for k in kept), tuple(k % 3 for k in kept)))

    changed = [
        p if p.method == "flat" else some(p, [0, 1, 3, 4] if p.method == "good" else [0, 1, 2, 3, 4])
        for p in world["predictions"]
    ]
    found = _summarise(**world | {"predictions": changed}, **RUN, compare=["good"], baselines=["weak", "flat"])
    good = found["methods"]["good"]["units"]["music"]
    assert (good["numbers"], good["pretrainings"]) == ([1, 2, 4, 5], [0, 1, 0, 1])
    r = good["auc"]["replicates"]
    assert good["auc"]["mean"] == pytest.approx(((r[0] + r[2]) / 2 + (r[1] + r[3]) / 2) / 2)
    assert [found["methods"][row]["pretrainings"] for row in ("good", "weak", "flat")] == [2, 3, 0]
    assert {c["baseline"]: c["pretrainings"] for c in found["comparisons"]} == {"weak": 2, "flat": 2}
    assert len(found["comparisons"][0]["trainings"]) == 2  # of the pre-trainings that both stand on
    assert found["comparisons"][0]["covers"] == "80 users; 2 pre-trainings with their replicates"


def test_cohorts_are_measured_on_their_rows(world: dict) -> None:
    n = UNITS["music"]
    users, items = np.arange(n) % 7, np.arange(n) % 5
    masks = cold_warm(users, items, counts(np.repeat(np.arange(7), np.arange(7) * 3), 7), np.full(5, 50))
    assert masks["cold_user"].tolist() == (users < 4).tolist() and masks["warm_item"].all()
    found = _summarise(**world, compare=[], baselines=[], protocol={}, bootstrap=100, cohorts={"music": masks})
    cold = found["methods"]["good"]["units"]["music"]["cohorts"]["cold_user"]
    p = next(p for p in world["predictions"] if p.method == "good")
    expected = roc_auc_score(world["labels"]["music"][users < 4], p.scores[0][users < 4])
    assert cold["n"] == int((users < 4).sum()) and cold["auc"]["replicates"][0] == pytest.approx(expected)
    assert found["methods"]["good"]["units"]["music"]["cohorts"]["cold_item"]["auc"]["mean"] is None
    assert "cohorts" not in found["methods"]["good"]["units"]["book"]


def test_id_0_is_never_seen_in_training() -> None:
    assert counts(np.array([0, 0, 1, 3, 3]), 4).tolist() == [0, 1, 0, 2]


def test_a_domain_called_mean_is_refused(world: dict) -> None:
    with pytest.raises(UserError, match="'mean' stands for the mean over units"):
        tested = RowsTested([Predictions("x", "mean", np.ones(3))], {"mean": np.ones(3)}, {"mean": np.arange(3)})
        summarise([], tested, [], [], {})
