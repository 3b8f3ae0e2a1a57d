"""Early stopping: who goes on is a function of the curves alone, and a stopped trial is never told as complete."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import optuna
import pytest

from raytune_rec import config
from raytune_rec.job.tuning import StopOptions
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.tuning.packs.planner import DONE, SearchPlanner
from raytune_rec.tuning.search.early_stopping import Member, ladders, survivors, turn
from raytune_rec.tuning.search.records import studies, trials, winners
from raytune_rec.tuning.search.studies import Studies
from tests.tuning import fake

EPOCHS = 9


def _job(rule: str, **tune: Any) -> config.Job:
    found = fake.job(**{"trials": 18, "round": 9, "pack": 4, "stop": {"rule": rule}} | tune)
    return found.model_copy(update={"training": found.training.model_copy(update={"epochs": EPOCHS})})


def _searches(units: tuple[str, ...]) -> list[Any]:
    return [type(s)(s.method, s.unit, s.space, s.structure, s.rows, EPOCHS) for s in fake.searches(units)]


def _run(folder: Path, job: config.Job, seed: int, units: tuple[str, ...] = ("music", "book"), stop: int = 10**6) -> int:
    """Plays the cluster: packs end in any order; ends after some packs as if killed, and results of undecided packs are lost."""
    planner, draw = SearchPlanner.of(Studies(folder, job), _searches(units)), random.Random(seed)
    running: list[Pack] = []
    done = 0
    while done < stop:
        while len(running) < 3 and isinstance(pack := planner.next(), Pack):
            running.append(pack)
        if not running:
            assert planner.next() is DONE
            return done
        planner.done(pack := running.pop(draw.randrange(len(running))), fake.train(pack, job))
        done += 1
    return done


def _facts(folder: Path) -> list[Any]:
    return [(t["study"], t["number"], t["state"], t["value"], t["epochs"], t["losses"], t["options"]) for t in trials(folder)]


def test_the_rungs_of_successive_halving_grow_by_the_factor_and_end_below_the_last_epoch() -> None:
    assert ladders(StopOptions(rule="halving"), 30) == [((1, 3, 9, 27), 1.0)]
    assert ladders(StopOptions(rule="halving", min_epochs=2, factor=2), 16) == [((2, 4, 8), 1.0)]
    assert ladders(StopOptions(rule="halving", min_epochs=40), 30) == [((), 1.0)]
    assert ladders(StopOptions(rule="none"), 30) == [((), 1.0)]


def test_hyperband_has_a_ladder_from_every_rung_with_the_papers_shares() -> None:
    """Li et al., section 3.2 for R = 81 and a factor of 3: 81, 34, 15, 8 and 5 configurations start at 1, 3, 9, 27 and 81."""
    found = ladders(StopOptions(rule="hyperband"), 81)
    assert [rungs for rungs, _ in found] == [(1, 3, 9, 27), (3, 9, 27), (9, 27), (27,), ()]
    assert [share * (81 + 34 + 15 + 8 + 5) for _, share in found] == pytest.approx([81, 34, 15, 8, 5])


def test_rounds_take_hyperbands_ladders_in_turns_by_their_shares() -> None:
    shares = [share for _, share in ladders(StopOptions(rule="hyperband"), 81)]
    turns = [turn(shares, number) for number in range(143)]
    assert turns[:5] == [0, 1, 0, 2, 0]
    assert [turns.count(i) for i in range(5)] == [81, 34, 15, 8, 5]
    assert {turn([1.0], number) for number in range(9)} == {0}


def test_all_trials_of_a_round_meet_and_the_best_third_goes_on(tmp_path: Path) -> None:
    job = _job("hyperband", trials=12, round=4)
    planner, lanes = SearchPlanner.of(Studies(tmp_path, job), _searches(("music",))), dict[tuple[str, int], int]()
    while isinstance(pack := planner.next(), Pack):
        if pack.name.startswith("plate"):
            place = pack.name.rpartition("@")[2].rpartition(".")[0], pack.until
            lanes[place] = lanes.get(place, 0) + len(pack.lanes)
        planner.done(pack, fake.train(pack, job))
    assert lanes == {
        ("r0.b0.h0", 1): 4, ("r0.b0.h1", 0): 1, ("r1.b1.h0", 3): 4, ("r1.b1.h1", 0): 1, ("r2.b0.h0", 1): 4, ("r2.b0.h1", 0): 1,
    }  # fmt: skip


def _members(*best: float) -> list[Member]:
    return [Member(i, (0.5, value), value) for i, value in enumerate(best)]


def test_halving_keeps_the_best_third_at_least_one_and_of_equals_the_first() -> None:
    stop = StopOptions(rule="halving")
    assert survivors(stop, 1, _members(0.1, 0.9, 0.5, 0.9, 0.9, 0.2), [], True) == {1, 3}
    assert survivors(stop, 1, _members(0.1, 0.9, 0.5, 0.9, 0.9, 0.2), [], False) == {0, 5}
    assert survivors(stop, 1, _members(0.1, 0.2), [], True) == {1}
    assert survivors(stop, 1, _members(float("nan"), 0.2, float("nan")), [], True) == {1}
    assert survivors(stop, 1, _members(float("nan")), [], True) == set()


def test_the_median_rule_compares_with_running_averages_of_everyone_who_came_so_far() -> None:
    stop = StopOptions(rule="median")
    members = [Member(5, (0.5, 0.6, 0.7), 0.7), Member(6, (0.5, 0.5, 0.5), 0.5)]
    earlier = [(0.6, 0.6, 0.6, 0.9), (0.7, 0.7, 0.7), (0.9, 0.9)]  # averages up to epoch 2: .6, .7, none; and .6, .5
    assert survivors(stop, 2, members, earlier, True) == {5}
    assert survivors(stop, 2, members, [], True) == {5}
    assert survivors(stop, 2, members, [(0.4, 0.4, 0.4)] * 5, True) == {5, 6}


@pytest.mark.parametrize("rule", ["halving", "hyperband", "median"])
def test_a_stopped_trial_is_pruned_with_its_values_and_an_ended_one_is_as_without_stopping(tmp_path: Path, rule: str) -> None:
    job = _job(rule)
    _run(tmp_path, job, 1)
    rungs = {r for own, _ in ladders(job.tune.stop, EPOCHS) for r in own}
    states = set()
    for row, unit, study in studies(tmp_path):
        for t in study.get_trials(deepcopy=False):
            epochs = t.user_attrs["result"]["epochs"]
            whole = fake.train(Pack("p", row, (_lane(t, unit),)), job)[0]
            assert t.user_attrs["result"]["curve"] == list(whole.curve[: epochs + 1])
            states.add(t.state.name)
            if t.state == optuna.trial.TrialState.PRUNED:
                assert epochs in rungs
                assert t.intermediate_values == dict(enumerate(whole.curve[: epochs + 1]))
            else:
                assert t.state == optuna.trial.TrialState.COMPLETE
                assert epochs == EPOCHS and t.value == whole.best
    assert states == {"COMPLETE", "PRUNED"}
    spent = sum(t["epochs"] for t in trials(tmp_path))
    assert spent < 0.8 * EPOCHS * len(trials(tmp_path))
    assert {w.trials for w in winners(tmp_path).values()} == {18}


def _lane(trial: optuna.trial.FrozenTrial, unit: str) -> Lane:
    return Lane(trial.number, 0, dict(trial.params), unit)


@pytest.mark.parametrize("rule", ["none", "halving", "hyperband", "median"])
def test_who_goes_on_depends_neither_on_packs_nor_on_order_nor_on_interruptions(tmp_path: Path, rule: str) -> None:
    job = _job(rule)
    _run(tmp_path / "whole", job, 1)
    for stop in (1, 4, 2, 6, 3, 9, 10**6):
        _run(tmp_path / "cut", job, stop, stop=stop)
    assert _facts(tmp_path / "cut") == _facts(tmp_path / "whole")
    _run(tmp_path / "alone", _job(rule, share_rows=0, pack=2), 5)
    assert _facts(tmp_path / "alone") == _facts(tmp_path / "whole")


def test_packs_are_closed_up_after_a_rung(tmp_path: Path) -> None:
    """18 lanes of two small units in packs of at most 4 and of equal depth; after the rung the 6 that are left need fewer."""
    job = _job("halving", trials=9, pack=9)
    planner = SearchPlanner.of(Studies(tmp_path, job), [s for s in _searches(("music", "book")) if s.method == "plate"])
    sizes: dict[str, list[int]] = {}
    while isinstance(pack := planner.next(), Pack):
        sizes.setdefault(pack.name.split(".")[-2], []).append(len(pack.lanes))
        assert set(pack.units) <= {"music", "book"}
        assert len(pack.after) == (0 if pack.name.split(".")[-2] == "h0" else len(pack.lanes))
        planner.done(pack, fake.train(pack, job))
    assert sum(sizes["h0"]) == 18 and sum(sizes["h1"]) == 6 and sum(sizes["h2"]) == 2
    assert len(sizes["h2"]) <= len(sizes["h1"]) <= len(sizes["h0"])


def test_a_folder_goes_only_when_nobody_goes_on_from_it(tmp_path: Path) -> None:
    job = _job("halving")
    planner = SearchPlanner.of(Studies(tmp_path, job), _searches(("music",)))
    gone: set[str] = set()
    handed: set[str] = set()
    while isinstance(pack := planner.next(), Pack):
        handed.add(pack.name)
        assert not {name for name, _ in pack.after} & gone
        gone |= set(planner.done(pack, fake.train(pack, job)))
    assert gone == handed
    assert set(SearchPlanner.of(Studies(tmp_path, job), _searches(("music",))).past()) == handed
