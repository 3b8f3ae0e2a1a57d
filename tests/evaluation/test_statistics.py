"""Intervals and tests by user against plain resampling, an independent library and simulated truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from raytune_rec.evaluation.measures.inputs import ListOutcomes, Outcome, Predictions, Replicates
from raytune_rec.evaluation.measures.measure import Measured, RowMeter, measure
from raytune_rec.evaluation.measures.measure_lists import ListMeter, values
from raytune_rec.evaluation.uncertainty import intervals
from raytune_rec.evaluation.uncertainty.intervals import Estimate, Interval
from raytune_rec.evaluation.uncertainty.users import Users

World = dict[str, dict[str, Predictions]]


def _measured(world: World, labels: dict, groups: dict, resamples: int = 200, seed: int = 0) -> dict[str, dict[str, Measured]]:
    users = Users(groups)
    meters = {u: RowMeter(rows, labels[u], users.places[u], users.size) for u, rows in world.items()}
    return measure(meters, users, resamples, [seed])


def _gap(measured: dict[str, dict[str, Measured]], users: int = 0, confidence: float = 0.95) -> Interval:
    """Of row a and row b, on average over units."""
    a, b = (intervals.average([m[row].estimate("auc") for m in measured.values()], users or 10**6) for row in "ab")
    return intervals.interval(intervals.difference(a, b), confidence)


def _luck(g: np.random.Generator, users: int, pretrainings: int = 0, spread: float = 0.0) -> tuple[World, dict, dict]:
    """Two rows that are equally good on average over users and trainings, and differ from user to user and from training to
    training; a user has 1 to some 20 rows."""
    who = np.repeat(np.arange(users), np.minimum(g.geometric(0.2, users), 20))
    y = (g.random(len(who)) < 0.5).astype(np.float64)
    common, reps = 0.8 * y + g.normal(size=len(who)), max(2 * pretrainings, 1)
    rows = {}
    for row in "ab":
        taste = 0.7 * g.normal(size=users)[who]
        fortune = np.repeat(spread * g.normal(size=max(pretrainings, 1)), reps // max(pretrainings, 1))
        fortune = fortune + 0.3 * spread * g.normal(size=reps)
        stands = tuple(np.repeat(np.arange(pretrainings), 2).tolist()) if pretrainings else ()
        scores = common + (taste + fortune[:, None]) * (2 * y - 1)
        rows[row] = Predictions(row, "u", scores, Replicates(tuple(range(1, reps + 1)), stands))
    return {"u": rows}, {"u": y}, {"u": who}


def test_resampled_values_are_those_of_a_plain_loop_over_the_same_draws() -> None:
    g = np.random.default_rng(0)
    groups = {"x": np.array([5, 5, 9, 7, 7, 7, 2, 9]), "y": np.array([9, 1, 1, 5, 2])}
    labels = {"x": np.array([1, 0, 0, 1, 1, 0, 1, 0.0]), "y": np.array([0, 1, 0, 1, 0.0])}
    world = {u: {row: Predictions(row, u, np.round(g.normal(size=(2, len(y))), 1)) for row in "ab"} for u, y in labels.items()}
    found, users = _measured(world, labels, groups, 40), Users(groups)
    names = np.array([1, 2, 5, 7, 9])
    times = np.concatenate([block for _, block in users.draws(40, [0])], axis=1)
    assert (times.sum(0) == 5).all()
    for s in range(40):
        drawn = [name for name, count in zip(names, times[:, s], strict=True) for _ in range(int(count))]
        for u, y in labels.items():
            rows = [i for name in drawn for i in np.flatnonzero(groups[u] == name)]  # a user brings all rows of every unit
            for row, p in world[u].items():
                auc, loss = (found[u][row].draws[name][s] for name in ("auc", "logloss"))
                if len(set(y[rows])) < 2:
                    assert np.isnan(auc)
                    continue
                assert auc == pytest.approx(np.mean([roc_auc_score(y[rows], scores[rows]) for scores in p.scores]))
                probabilities = 1 / (1 + np.exp(-p.scores[:, rows]))
                assert loss == pytest.approx(np.mean([log_loss(y[rows], of) for of in probabilities]))


def test_resampled_areas_are_weighted_ones() -> None:
    g = np.random.default_rng(1)
    y, who = (g.random(500) < 0.4).astype(float), g.integers(0, 60, 500)
    scores = np.round(g.normal(size=(3, 500)) + y, 1)  # with ties
    found = _measured(
        {"u": {"a": Predictions("a", "u", scores[:1]), "b": Predictions("b", "u", scores[1:])}}, {"u": y}, {"u": who}, 5
    )
    times = np.concatenate([block for _, block in Users({"u": who}).draws(5, [0])], axis=1)
    for s in range(5):
        each = [roc_auc_score(y, row, sample_weight=times[who, s]) for row in scores]
        got = [found["u"][row].draws["auc"][s] for row in "ab"]
        assert got == pytest.approx([each[0], np.mean(each[1:])])


def test_lists_are_resampled_by_user() -> None:
    g = np.random.default_rng(2)
    who, size = np.array([3, 3, 3, 8, 1, 1]), np.full(6, 20)
    outcomes = ListOutcomes("a", "u", Outcome(g.integers(0, 15, (2, 6)), g.integers(0, 3, (2, 6)), size))
    users = Users({"u": who})
    found = measure({"u": ListMeter({"a": outcomes}, users.places["u"], users.size)}, users, 30, [4])["u"]["a"]
    times = np.concatenate([block for _, block in users.draws(30, [4])], axis=1)
    weight = times[np.searchsorted([1, 3, 8], who)]  # (6, 30)
    each = values(outcomes)["ndcg@10"].mean(0)
    np.testing.assert_allclose(found.draws["ndcg@10"], each @ weight / weight.sum(0))


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world, labels, groups = _luck(np.random.default_rng(3), 30)
    whole = _measured(world, labels, groups)["u"]["a"].draws["auc"]
    monkeypatch.setattr("raytune_rec.evaluation.uncertainty.users._CELLS", 300)
    np.testing.assert_array_equal(_measured(world, labels, groups)["u"]["a"].draws["auc"], whole)
    assert (_measured(world, labels, groups, seed=1)["u"]["a"].draws["auc"] != whole).any()


def _false_claims(cases: int, users: int, by_row: bool = False, **further: float) -> float:
    """Share of cases in which rows that are equally good are told apart at 5 %."""
    g, wrong = np.random.default_rng(1), 0
    for i in range(cases):
        world, labels, groups = _luck(g, users, **further)  # type: ignore[arg-type]
        groups = {"u": np.arange(len(groups["u"]))} if by_row else groups
        limits = _gap(_measured(world, labels, groups, 100, i), users)
        assert (limits.p < 0.05) == (not limits.low <= 0 <= limits.high)  # interval and p-value never disagree
        wrong += limits.p < 0.05
    return wrong / cases


def test_equal_rows_are_told_apart_in_five_of_a_hundred_cases_by_user_and_in_many_more_by_row() -> None:
    assert 0.02 <= _false_claims(200, 50) <= 0.09
    assert _false_claims(60, 50, by_row=True) > 0.25


@pytest.mark.parametrize("spread", [0.1, 0.6])
def test_pretrainings_are_part_of_the_variance(spread: float) -> None:
    assert 0.01 <= _false_claims(150, 50, pretrainings=3, spread=spread) <= 0.1


def test_one_pretraining_leaves_its_variance_out() -> None:
    assert _false_claims(60, 50, pretrainings=1, spread=0.6) > 0.2  # why the page says so


def test_users_of_several_units_are_drawn_together() -> None:
    g, width, truth = np.random.default_rng(0), [], []
    for i in range(60):
        taste = g.normal(size=(2, 60))  # a user likes a row in one domain as in another
        world, labels, groups = {}, {}, {}
        for u in "xyz":
            who = np.repeat(np.arange(60), 6)
            y = (np.arange(360) % 2).astype(np.float64)
            scores = {row: 0.8 * y + g.normal(size=360) + 0.7 * taste[k][who] * (2 * y - 1) for k, row in enumerate("ab")}
            world[u] = {row: Predictions(row, u, s) for row, s in scores.items()}
            labels[u], groups[u] = y, who
        apart = {u: who + 100 * k for k, (u, who) in enumerate(groups.items())}
        limits = [_gap(_measured(world, labels, of, 100, i)) for of in (groups, apart)]
        width.append([found.high - found.low for found in limits])
        truth.append(limits[0].mean)
    joint, alone = np.mean(width, axis=0)
    assert joint == pytest.approx(2 * 1.96 * np.std(truth), rel=0.25)
    assert joint > 1.4 * alone


def _estimate(each: list[float], draws: np.ndarray, users: int = 1000, nested: bool = True) -> Estimate:
    return Estimate(float(np.mean(each)), draws, users, (dict(enumerate(each)),), len(each) if nested else 0, nested)


def test_the_parts_of_the_variance_in_closed_form() -> None:
    draws = 0.5 + 0.03 * np.random.default_rng(0).normal(size=4000)
    limits = intervals.interval(_estimate([0.4, 0.5, 0.6], draws))
    users, trainings = draws.var(ddof=1) * 1000 / 999, 0.01 / 3
    freedom = (users + trainings) ** 2 / (users**2 / 999 + trainings**2 / 2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(users + trainings)
    assert (limits.low, limits.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert limits.p == pytest.approx(2 * stats.t.sf(0.5 / np.sqrt(users + trainings), freedom))
    alone = intervals.interval(_estimate([0.5], draws))
    assert alone.high - alone.low == pytest.approx(2 * stats.t.ppf(0.975, 999) * np.sqrt(users))


def test_pretrainings_go_together_by_number_and_others_do_not() -> None:
    draws = np.random.default_rng(0).normal(size=500)
    a, b = _estimate([0.1, 0.5, 0.9], draws), _estimate([0.0, 0.4, 0.8], 0.9 * draws)
    assert intervals.difference(a, b).by_training == pytest.approx([0.1, 0.1, 0.1])
    fewer = intervals.difference(a, _estimate([0.0, 0.4], draws))
    assert fewer.by_training == pytest.approx([0.1, 0.1]) and fewer.pretrainings == 2
    scratch = intervals.difference(a, _estimate([0.0, 0.4, 0.8], draws, nested=False))
    assert scratch.by_training is None and len(scratch.trainings) == 2 and scratch.pretrainings == 3
    runs = intervals.difference(_estimate([0.1, 0.2], draws, nested=False), _estimate([0.1], draws, nested=False))
    assert runs.by_training is None and runs.pretrainings == 0


def test_what_does_not_vary_and_what_is_not_defined_has_no_interval() -> None:
    def limits(draws: np.ndarray, users: int = 9, mean: float = 0.5) -> Interval:
        return intervals.interval(Estimate(mean, draws, users))

    some = np.linspace(0, 1, 100)
    assert limits(some).low < 0.5 and np.isnan(limits(some, users=1).p)
    assert np.isnan(limits(np.full(100, 0.5)).p) and limits(np.zeros(100), mean=0.0).p == 1.0
    rarely, often = (np.where(np.arange(100) < k, np.nan, some) for k in (5, 15))
    assert limits(rarely).high > 0.5 and np.isnan(limits(often).high)


def test_the_mean_over_units_is_over_those_with_a_value_on_a_resample() -> None:
    x, y = Estimate(0.6, np.array([0.5, 0.7, np.nan]), 9), Estimate(0.8, np.array([0.9, np.nan, np.nan]), 9)
    np.testing.assert_allclose(intervals.average([x, y], 12).draws, [0.7, 0.7, np.nan])


def test_holm() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert intervals.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert intervals.holm([0.9, 0.8]) == [1.0, 1.0]
    kept = intervals.holm([0.01, float("nan")])
    assert kept[0] == 0.01 and np.isnan(kept[1])
    assert intervals.holm([]) == []
