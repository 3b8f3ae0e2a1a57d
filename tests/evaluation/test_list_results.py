"""The content of results.json from invented list outcomes whose order is known."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from raytune_rec.errors import UserError
from raytune_rec.evaluation.measures.inputs import ListOutcomes, MethodFacts, Outcome
from raytune_rec.evaluation.measures.tested import ListsTested
from raytune_rec.evaluation.results import summarise
from raytune_rec.evaluation.uncertainty import intervals

UNITS = {"few": 600, "zero": 300}
USERS = {"few": np.arange(600) % 120, "zero": np.arange(300)}
SKILL = {"light": (0.10, 5), "weak": (0.25, 5), "popular": (0.3, 1)}  # chance that a candidate stands above; replicates
TABLES = {"few": ["few.1", "few.2", "few.3"], "zero": ["zero"]}
TUNED = [*TABLES["few"], "zero"]


def _outcome(g: np.random.Generator, chance: np.ndarray, replicates: int, size: int) -> Outcome:
    better = g.binomial(size - 2, np.broadcast_to(chance, (replicates, len(chance))))
    return Outcome(better, g.integers(0, 2, better.shape), np.full(len(chance), size))


@pytest.fixture(scope="module")
def outcomes() -> list[ListOutcomes]:
    g = np.random.default_rng(1)
    hard = {u: g.beta(2, 4, n) for u, n in UNITS.items()}
    return [
        ListOutcomes(row, u, _outcome(g, chance, r, 100), _outcome(g, chance, r, 1000) if u == "few" else None)
        for row, (skill, r) in SKILL.items()
        for u in UNITS
        for chance in [skill * 3 * hard[u]]
    ]


def _facts(row: str) -> MethodFacts:
    return MethodFacts(
        row, "prompt", "ppr", "sasrec", "plain", row != "light", 8, 40, 1000, 12.5,
        {u: 0.8 + 0.01 * i for i, u in enumerate(TUNED)}, {u: {"training.lr.prompt": 0.01} for u in TUNED},
        {u: i for i, u in enumerate(TUNED)},
    )  # fmt: skip


FACTS = [_facts(row) for row in SKILL]


def _summarise(outcomes: list[ListOutcomes], groups: dict | None = None, bootstrap: int = 400, **further: Any) -> dict:
    groups = USERS if groups is None else groups
    protocol = {"metric": "ndcg@10", "candidates": "99 sampled", "full": "all items"}
    tested = ListsTested(outcomes, groups)
    return summarise(FACTS, tested, ["light"], ["weak", "popular"], protocol, bootstrap=bootstrap, **further)


@pytest.fixture(scope="module")
def results(outcomes: list[ListOutcomes]) -> dict:
    return _summarise(outcomes, mean=False, tables=TABLES)


def test_it_is_plain_json_and_says_its_protocol(results: dict) -> None:
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert (results["format"], results["kind"]) == (3, "lists")
    gain = sum(1 / np.log2(1 + place) for place in range(1, 11))
    level, full = ({"hit@10": pytest.approx(10 / size), "ndcg@10": pytest.approx(gain / size)} for size in (100, 1000))
    assert results["units"] == {
        "few": {
            "n": 600,
            "users": 120,
            "candidates": [100, 100],
            "full_candidates": [1000, 1000],
            "constant": level,
            "full_constant": full,
        },
        "zero": {"n": 300, "users": 300, "candidates": [100, 100], "constant": level},
    }
    protocol = results["protocol"]
    assert protocol["interval"].startswith("bootstrap over users") and "random order of the tied" in protocol["ties"]
    assert protocol["full"] == "all items" and protocol["rows"] == UNITS


def test_values_are_means_over_lists_sampled_and_full_apart(results: dict, outcomes: list[ListOutcomes]) -> None:
    for o in outcomes:
        found = results["methods"][o.method]["units"][o.unit]
        for prefix, outcome in [("", o.sampled), ("full.", o.full)]:
            assert (f"{prefix}ndcg@5" in found) == (outcome is not None)
            if outcome is None:
                continue
            b, t = outcome.better, outcome.ties
            areas = 1 - (b + t / 2) / (outcome.candidates - 1)
            np.testing.assert_allclose(found[f"{prefix}auc"]["replicates"], areas.mean(1))
            gain = np.where(b < 10, 1 / np.log2(2 + b), 0), np.where(b + t < 10, 1 / np.log2(2 + b + t), 0)
            assert found[f"{prefix}ndcg@10"]["mean"] == pytest.approx(((gain[0] + gain[1]) / 2).mean())  # ties are 0 or 1
            for name in ("hit@10", "ndcg@10"):
                assert found[prefix + name]["low"] < found[prefix + name]["mean"] < found[prefix + name]["high"]
            assert "low" not in found[f"{prefix}hit@20"] and "low" not in found[f"{prefix}mrr"]
    assert "logloss" not in results["methods"]["light"]["units"]["few"]


def test_the_interval_has_the_width_of_the_standard_error_over_users(results: dict, outcomes: list[ListOutcomes]) -> None:
    o = next(o for o in outcomes if (o.method, o.unit) == ("popular", "few"))
    areas = (1 - (o.sampled.better + o.sampled.ties / 2) / 99)[0]
    of_users = np.array([(areas - areas.mean())[USERS["few"] == u].sum() for u in range(120)])
    found = results["methods"]["popular"]["units"]["few"]["auc"]
    error = np.sqrt((of_users**2).sum()) / len(areas)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_users_whose_lists_agree_widen_the_intervals(outcomes: list[ListOutcomes]) -> None:
    few = [o for o in outcomes if o.unit == "few"]  # each user has the same list five times, and a row one replicate
    copied = [
        ListOutcomes(
            o.method, "few", Outcome(*(x[:1, USERS["few"]] for x in (o.sampled.better, o.sampled.ties)), np.full(600, 100))
        )
        for o in few
    ]
    by_user, by_list = (_summarise(copied, {"few": users}, 1000) for users in (USERS["few"], np.arange(600)))
    for a, b in zip(by_user["comparisons"], by_list["comparisons"], strict=True):
        assert a["difference"] == b["difference"]
        assert (a["high"] - a["low"]) / (b["high"] - b["low"]) == pytest.approx(np.sqrt(5), rel=0.15)


def test_two_metrics_are_compared_and_holm_counts_every_entry(results: dict) -> None:
    found = results["comparisons"]
    assert [(c["baseline"], c["metric"], c["unit"]) for c in found] == [
        (b, m, u) for b in ("weak", "popular") for m in ("auc", "ndcg@10") for u in UNITS
    ]
    for c in found:
        means = [results["methods"][r]["units"][c["unit"]][c["metric"]]["mean"] for r in (c["method"], c["baseline"])]
        assert c["difference"] == pytest.approx(means[0] - means[1]) and 0 < c["low"] < c["difference"] < c["high"]
        assert (c["n"], c["users"]) == (UNITS[c["unit"]], len(set(USERS[c["unit"]])))
        assert (c["trainings"] is None) == (c["baseline"] == "popular")
    assert [c["p_holm"] for c in found] == pytest.approx(intervals.holm([c["p"] for c in found]))


def test_different_tasks_are_not_averaged_and_equal_ones_are(results: dict, outcomes: list[ListOutcomes]) -> None:
    assert "mean" not in results["winners"] and not any("mean" in row for row in results["methods"].values())
    assert results["winners"] == {u: {"test": "light", "valid": "light"} for u in UNITS}
    averaged = _summarise(outcomes)
    light = averaged["methods"]["light"]
    assert light["mean"]["hit@20"]["mean"] == pytest.approx(np.mean([m["hit@20"]["mean"] for m in light["units"].values()]))
    assert "full.auc" not in light["mean"]  # one of the units has none
    assert [c["unit"] for c in averaged["comparisons"]][:3] == ["few", "zero", "mean"]


def test_a_row_may_lack_a_unit(outcomes: list[ListOutcomes]) -> None:
    kept = [o for o in outcomes if (o.method, o.unit) != ("popular", "zero")]
    for mean in (True, False):
        found = _summarise(kept, mean=mean)
        assert list(found["methods"]["popular"]["units"]) == ["few"] and "mean" not in found["methods"]["popular"]
        of_popular = [(c["metric"], c["unit"]) for c in found["comparisons"] if c["baseline"] == "popular"]
        assert of_popular == [("auc", "few"), ("ndcg@10", "few")]


def test_units_stand_in_the_order_of_the_groups(outcomes: list[ListOutcomes]) -> None:
    assert _summarise(outcomes[::-1], USERS)["unit_order"] == ["few", "zero"]
    assert _summarise(outcomes, {u: USERS[u] for u in ("zero", "few")})["unit_order"] == ["zero", "few"]


def test_a_pooled_unit_has_the_winner_of_each_fold(results: dict) -> None:
    assert results["tables"] == {"few": TABLES["few"]}
    few, zero = (results["methods"]["light"]["units"][u] for u in UNITS)
    assert "trial" not in few and "options" not in few
    assert few["folds"]["few.2"] == {"trial": 1, "options": {"training.lr.prompt": 0.01}, "valid": 0.81}
    assert few["valid"] == pytest.approx(0.81)  # the mean of 0.80, 0.81 and 0.82
    assert zero["trial"] == 3 and "folds" not in zero


def test_a_fold_without_a_winner_leaves_no_mean_of_validation(outcomes: list[ListOutcomes]) -> None:
    facts = [replace(f, valid={"few.1": 0.8}, trial={"few.1": 1}) for f in FACTS]
    found = summarise(facts, ListsTested(outcomes, USERS), [], [], {}, bootstrap=100, tables=TABLES)
    few = found["methods"]["light"]["units"]["few"]
    assert list(few["folds"]) == ["few.1"] and few["valid"] is None and found["winners"]["few"]["valid"] is None


def test_a_broken_outcome_is_null_and_harms_no_other_row(outcomes: list[ListOutcomes], results: dict) -> None:
    better = outcomes[0].sampled.better.astype(float)
    better[2, 5] = np.nan
    broken = [replace(outcomes[0], sampled=replace(outcomes[0].sampled, better=better)), *outcomes[1:]]
    found = _summarise(broken, mean=False, tables=TABLES)
    few = found["methods"]["light"]["units"]["few"]
    assert few["auc"]["mean"] is None and few["auc"]["low"] is None and few["full.auc"]["mean"] is not None
    assert found["methods"]["weak"] == results["methods"]["weak"]
    assert found["comparisons"][0]["p_holm"] is None and found["winners"]["few"]["test"] == "weak"


def test_cohorts_are_measured_on_their_lists(outcomes: list[ListOutcomes]) -> None:
    masks = {"short": np.arange(600) < 50, "none": np.zeros(600, dtype=bool)}
    found = _summarise(outcomes, cohorts={"few": masks})["methods"]["weak"]["units"]["few"]["cohorts"]
    o = next(o for o in outcomes if (o.method, o.unit) == ("weak", "few"))
    expected = (1 - (o.sampled.better + o.sampled.ties / 2) / 99)[:, :50].mean()
    assert found["short"]["n"] == 50 and found["short"]["auc"]["mean"] == pytest.approx(expected)
    nothing = {"mean": None, "low": None, "high": None}
    assert found["none"] == {"n": 0, "users": 0, "auc": nothing, "hit@10": nothing, "ndcg@10": nothing}


def test_intervals_of_a_cohort_are_those_of_its_lists_alone(outcomes: list[ListOutcomes]) -> None:
    """Held to a plain bootstrap of the users who have a list there, and the variance of replicates."""
    mask = (np.arange(600) % 120 < 40) & (np.arange(600) < 480)
    found = _summarise(outcomes, bootstrap=4000, cohorts={"few": {"mine": mask}}, mean=False)
    short = found["methods"]["weak"]["units"]["few"]["cohorts"]["mine"]
    assert (short["n"], short["users"]) == (160, 40)
    o = next(o for o in outcomes if (o.method, o.unit) == ("weak", "few"))
    each = (1 - (o.sampled.better + o.sampled.ties / 2) / 99)[:, mask]
    of_user = {u: each[:, USERS["few"][mask] == u].mean() for u in range(40)}  # four lists each
    draw = np.random.default_rng(4)
    means = [np.mean([of_user[u] for u in draw.integers(0, 40, 40)]) for _ in range(4000)]
    error = np.sqrt(np.var(means, ddof=1) * 40 / 39 + each.mean(1).var(ddof=1) / 5)
    assert (short["auc"]["high"] - short["auc"]["low"]) / 2 == pytest.approx(2.02 * error, rel=0.06)
    assert short["auc"]["mean"] == pytest.approx(each.mean())
    assert found["units"] == _summarise(outcomes, bootstrap=20, mean=False)["units"]


def test_rows_tested_on_different_lists_are_refused(outcomes: list[ListOutcomes]) -> None:
    cut = replace(outcomes[0], sampled=Outcome(*(x[..., :50] for x in vars(outcomes[0].sampled).values())), full=None)
    with pytest.raises(UserError, match=r"few: method 'weak' has 600 lists, others 50; test all methods on the same lists"):
        _summarise([cut, *outcomes[1:]], {"few": np.arange(50), "zero": USERS["zero"]})
    with pytest.raises(UserError, match=r"few: 600 lists and 3 user ids; give each one its user"):
        _summarise(outcomes, {"few": np.arange(3)})


def test_rows_that_tell_no_candidates_apart_are_named(outcomes: list[ListOutcomes]) -> None:
    level = Outcome(np.zeros((1, 300)), np.full((1, 300), 99), np.full(300, 100))
    nearly = replace(level, ties=level.ties - (np.arange(300) == 7))
    for outcome, tied in ((level, ["popular"]), (nearly, None)):
        changed = [replace(o, sampled=outcome) if (o.method, o.unit) == ("popular", "zero") else o for o in outcomes]
        units = _summarise(changed, mean=False, tables=TABLES, bootstrap=20)["units"]
        assert units["zero"].get("tied") == tied and "tied" not in units["few"]
