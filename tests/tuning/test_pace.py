"""A search learns from its second round on, and a round is cut for everything that can train at a time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import config
from raytune_rec.schema.work import Pack
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.search.pace import Pace
from raytune_rec.tuning.search.plan import for_recipes
from raytune_rec.tuning.search.records import trials
from raytune_rec.tuning.search.space import Point, Space
from raytune_rec.tuning.search.studies import Studies
from tests.tuning import fake

RATE = "training.lr.default"


def _one(options: Any) -> Any:
    return 0, ()


def _run(
    folder: Path, job: config.Job, slots: int = 1, packs: int = 10**6, fail: tuple[int, ...] = (), **search: Any
) -> list[Pack]:
    """Plays the cluster, one pack after the other; trials of some numbers fail."""
    wanted = fake.searches(**{"units": ("music",), "structure": _one, **search})
    planner = SearchPlanner.of(Studies(folder, job), wanted, slots=slots)
    done: list[Pack] = []
    while len(done) < packs and isinstance(pack := planner.next(), Pack):
        results = [
            dataclasses.replace(r, status="failed", best=float("nan")) if r.trial in fail else r for r in fake.train(pack, job)
        ]
        planner.done(pack, results)
        done.append(pack)
    return done


def _asked(folder: Path, row: str = "plate") -> list[dict[str, Any]]:
    return [t["options"] for t in trials(folder) if t["method"] == row]


def _facts(folder: Path) -> list[Any]:
    return [(t["study"], t["number"], t["state"], t["value"], t["options"]) for t in trials(folder)]


def test_a_round_is_a_quarter_of_the_trials_unless_the_job_names_one() -> None:
    default = config.TuneOptions()
    assert (default.trials, Pace.of(default)) == (64, Pace(16, 10))
    assert Pace.of(config.TuneOptions(trials=18)) == Pace(5, 5)
    assert Pace.of(config.TuneOptions(trials=1)) == Pace(1, 1)
    assert Pace.of(config.TuneOptions(trials=64, round=32)) == Pace(32, 10)
    assert Pace.of(config.TuneOptions(trials=64, round=3)) == Pace(3, 10)


def test_recipes_of_a_pre_training_are_asked_in_quarters_whatever_the_round_of_the_rows() -> None:
    job = fake.job(round=8)
    recipes = for_recipes(job.model_copy(update={"pretrain": config.PretrainOptions(trials=8)}))
    assert Pace.of(recipes.tune) == Pace(2, 2)


@pytest.mark.parametrize(
    ("sampler", "trials", "round", "first", "modelled"),
    [
        ("tpe", 64, 16, 4, 48),
        ("gp", 64, 3, 4, 52),  # ten told after four rounds of three
        ("tpe", 8, 8, 2, 0),
        ("tpe", 8, 2, 5, 3),  # first points are tried first, whatever was learnt
        ("nsga2", 32, 8, 1, 24),
        ("random", 64, 16, 4, 0),
    ],
)
def test_how_many_trials_are_modelled(sampler: str, trials: int, round: int, first: int, modelled: int) -> None:
    assert Pace.of(config.TuneOptions(trials=trials, round=round)).modelled(sampler, trials, first) == modelled


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_from_the_second_round_on_proposals_are_no_longer_random(tmp_path: Path, sampler: str) -> None:
    """A point outside its range and a failed trial teach nothing, and still count: the round is over when they are told."""
    space = Space(fake.SPACE.dimensions, (Point({RATE: 1e-9}, outside=True),))
    asked = {}
    for name in (sampler, "random"):
        _run(tmp_path / name, fake.job(trials=16, round=0, pack=8, sampler=name), fail=(1,), space=space, packs=4)
        asked[name] = _asked(tmp_path / name)
    assert asked[sampler][:4] == asked["random"][:4]
    assert all(ours != theirs for ours, theirs in zip(asked[sampler][4:8], asked["random"][4:8], strict=True))


@pytest.mark.parametrize(("rule", "packs"), [("none", 10**6), ("halving", 5)])
def test_raising_the_trials_keeps_what_was_asked_and_goes_on_in_the_same_rounds(tmp_path: Path, packs: int, rule: str) -> None:
    few, many = ({"trials": n, "round": 0, "stop": {"rule": rule}} for n in (8, 20))
    units = ("music", "book")
    _run(tmp_path / "whole", fake.job(**few), units=units)
    _run(tmp_path / "raised", fake.job(**few), packs=packs, units=units)
    later = _run(tmp_path / "raised", fake.job(**many), units=units)
    known = {(study, number): facts for study, number, *facts in _facts(tmp_path / "raised")}
    assert len(known) == 2 * 2 * 20
    for study, number, *facts in _facts(tmp_path / "whole"):
        assert known[study, number] == facts
    assert max(sum(lane.unit == "music" for lane in pack.lanes) for pack in later) == 2


def test_a_round_is_cut_into_as_many_packs_as_can_train_at_a_time(tmp_path: Path) -> None:
    job = fake.job(trials=16, round=16, pack=32)
    for slots, sizes in ((1, [16]), (2, [16]), (4, [8, 8]), (7, [4, 4, 4, 4]), (100, [1] * 16)):
        done = _run(tmp_path / str(slots), job, slots)  # two rows share the slots
        assert [len(pack.lanes) for pack in done if pack.method == "plate"] == sizes
        assert _facts(tmp_path / str(slots)) == _facts(tmp_path / "1")
    rows = dataclasses.replace(fake.searches(("music",), structure=_one)[0], rows=10**6)
    planner = SearchPlanner.of(Studies(tmp_path / "alone", job), [rows], slots=2)
    packs = [planner.next(), planner.next()]
    assert [len(pack.lanes) for pack in packs if isinstance(pack, Pack)] == [8, 8]


def test_many_teams_keep_wide_packs(tmp_path: Path) -> None:
    job = fake.job(trials=16, round=16, pack=16, share_rows=0)
    done = _run(tmp_path, job, slots=2, units=tuple(f"unit {i}" for i in range(15)))
    assert {len(pack.lanes) for pack in done} == {16}


def test_lanes_that_cannot_share_are_cut_where_packs_are_widest(tmp_path: Path) -> None:
    job = fake.job(trials=12, round=12, pack=32)
    done = _run(tmp_path, job, slots=10, structure=fake.alike)
    of_row = [pack for pack in done if pack.method == "plate"]
    assert len(of_row) == 5
    assert max(len(pack.lanes) for pack in of_row) - min(len(pack.lanes) for pack in of_row) <= 1


def test_ladders_of_a_round_share_what_can_train_at_a_time(tmp_path: Path) -> None:
    job = fake.job(trials=24, round=24, pack=32, stop={"rule": "hyperband", "factor": 2})
    search = dataclasses.replace(fake.searches(("music",), structure=_one)[0], epochs=fake.EPOCHS)
    planner = SearchPlanner.of(Studies(tmp_path, job), [search], slots=3)
    packs = [planner.next() for _ in range(3)]
    assert all(isinstance(pack, Pack) for pack in packs)
    assert planner.next() is None  # three ladders, a pack each


def test_a_plan_is_kept_on_a_machine_with_other_slots(tmp_path: Path) -> None:
    job = fake.job(trials=16, round=16, pack=32)
    first = _run(tmp_path, job, slots=4, packs=1)
    others = _run(tmp_path, job, slots=1)
    assert [len(pack.lanes) for pack in (*first, *others) if pack.method == "plate"] == [8, 8]
