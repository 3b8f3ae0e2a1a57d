"""Studies and planners without processes: proposals depend on told results alone, and nothing is told twice."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from raytune_rec import config
from raytune_rec.errors import ArtifactError
from raytune_rec.schema.work import LaneResult, Pack
from raytune_rec.tuning.packs.planner import DONE, FixedPlanner, SearchPlanner
from raytune_rec.tuning.search import sampling
from raytune_rec.tuning.search.journal import Journal, merge
from raytune_rec.tuning.search.records import trials, winners
from raytune_rec.tuning.search.space import Dimension, Point, Space
from raytune_rec.tuning.search.studies import Search, Studies
from tests.tuning import fake


def _planner(folder: Path, job: config.Job, **search: Any) -> SearchPlanner:
    return SearchPlanner.of(Studies(folder, job), fake.searches(**search))


def _work(planner: SearchPlanner, job: config.Job, choose: Callable[[list[Pack]], Pack], packs: int = 10**6) -> list[str]:
    """Plays the cluster: up to three packs at a time, finished in any order; stops after some packs."""
    open_packs: list[Pack] = []
    done: list[str] = []
    while len(done) < packs:
        while len(open_packs) < 3 and isinstance(pack := planner.next(), Pack):
            open_packs.append(pack)
        if not open_packs:
            assert planner.next() is DONE
            break
        pack = choose(open_packs)
        open_packs.remove(pack)
        planner.done(pack, fake.train(pack, job))
        done.append(pack.name)
    return done


def _first(packs: list[Pack]) -> Pack:
    return packs[0]


def _facts(folder: Path) -> list:
    return [(t["study"], t["number"], t["state"], t["value"], tuple(t["options"].items())) for t in trials(folder)]


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "gp", "qmc"])
def test_proposals_are_equal_whatever_the_order_of_completion(tmp_path: Path, sampler: str) -> None:
    job = fake.job(sampler=sampler, trials=6 if sampler == "gp" else 16)
    space = {"units": ("music",)} if sampler == "gp" else {}
    _work(_planner(tmp_path / "a", job, **space), job, _first)
    _work(_planner(tmp_path / "b", job, **space), job, random.Random(3).choice)
    assert _facts(tmp_path / "a") == _facts(tmp_path / "b")
    studies = {study for study, *_ in _facts(tmp_path / "a")}
    assert len(_facts(tmp_path / "a")) == job.tune.trials * len(studies)
    assert len({(study, options) for study, *_, options in _facts(tmp_path / "a")}) > 0.6 * job.tune.trials * len(studies)


def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    job = fake.job()
    _work(_planner(tmp_path / "whole", job), job, _first)
    done: list[str] = []
    for stop in (1, 2, 5, 3, 10**6):
        done += _work(_planner(tmp_path / "cut", job), job, random.Random(stop).choice, stop)
    assert _facts(tmp_path / "cut") == _facts(tmp_path / "whole")
    assert len(done) == len(set(done))


def test_a_kill_between_ask_and_plan_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = fake.job()
    _work(_planner(tmp_path / "whole", job), job, _first)
    planner = _planner(tmp_path / "cut", job)
    monkeypatch.setattr("raytune_rec.tuning.packs.study_groups.parts", lambda *_: 1 / 0)  # all asked, nothing planned
    with pytest.raises(ZeroDivisionError):
        planner.next()
    monkeypatch.undo()
    assert trials(tmp_path / "cut") == []
    _work(_planner(tmp_path / "cut", job), job, _first)
    assert _facts(tmp_path / "cut") == _facts(tmp_path / "whole")


def test_a_pack_that_was_planned_is_issued_again_with_the_same_lanes(tmp_path: Path) -> None:
    job = fake.job()
    first = [_planner(tmp_path, job).next()]
    again = _planner(tmp_path, fake.job(pack=1)).next()  # another size of packs counts from the next round on
    assert [again] == first


def test_nothing_is_told_twice(tmp_path: Path) -> None:
    job = fake.job()
    planner = _planner(tmp_path, job)
    pack = planner.next()
    assert isinstance(pack, Pack)
    planner.done(pack, fake.train(pack, job))
    before = _facts(tmp_path)
    other = [dataclasses.replace(r, best=0.0) for r in fake.train(pack, job)]
    planner.done(pack, other)
    _planner(tmp_path, job).done(pack, other)
    assert _facts(tmp_path) == before


def test_failed_and_pruned_lanes_are_told_as_such(tmp_path: Path) -> None:
    job = fake.job(trials=3, round=3)
    planner = _planner(tmp_path, job, units=("music",), structure=lambda options: (0, ()))
    pack = planner.next()
    assert isinstance(pack, Pack) and len(pack.lanes) == 3
    good, bad, weak = fake.train(pack, job)
    nan = float("nan")
    planner.done(
        pack,
        [
            good,
            dataclasses.replace(bad, status="failed", best=nan, curve=(0.5, nan), error="the loss is not finite"),
            dataclasses.replace(weak, status="pruned"),
        ],
    )
    found = {t["number"]: t for t in trials(tmp_path) if t["method"] == "plate"}
    assert [found[i]["state"] for i in range(3)] == ["complete", "fail", "pruned"]
    assert found[1]["error"] == "the loss is not finite"
    assert found[1]["curve"] == [0.5, None]
    assert found[0]["value"] == good.best and found[0]["best_epoch"] == 3 and found[0]["parameters"] == 5
    assert winners(tmp_path)["plate", "music"].trial == 0
    assert winners(tmp_path)["plate", "music"].trials == 3


def test_of_equal_trials_the_first_wins_and_a_loss_is_minimised(tmp_path: Path) -> None:
    for metric, expected in (("auc", 2), ("logloss", 1)):
        job = fake.job(trials=4, round=4, pack=4)
        job = job.model_copy(update={"training": job.training.model_copy(update={"metric": metric})})
        planner = _planner(tmp_path / metric, job, units=("music",), structure=lambda options: (0, ()))
        pack = planner.next()
        assert isinstance(pack, Pack)
        values = [0.6, 0.5, 0.7, 0.7] if metric == "auc" else [0.6, 0.5, 0.7, 0.5]
        planner.done(pack, [dataclasses.replace(r, best=v) for r, v in zip(fake.train(pack, job), values, strict=True)])
        winner = winners(tmp_path / metric)["plate", "music"]
        assert (winner.trial, winner.options) == (expected, pack.lanes[expected].options)


def test_the_merged_journal_tells_dashboards_what_their_axes_are(tmp_path: Path) -> None:
    """`optuna-dashboard` and Optuna's plots take the names of objectives and options from the study."""
    job = fake.job(sampler="nsga2", objectives=["parameters"])
    planner = _planner(tmp_path / "journal", job, units=("music",))
    pack = planner.next()
    assert isinstance(pack, Pack)
    merge(tmp_path / "journal", tmp_path / "journal.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log")))
    study = optuna.load_study(study_name="plate/music", storage=storage)
    assert study.metric_names == ["auc", "parameters"]
    assert [set(trial.params) for trial in study.trials] == [set(pack.lanes[0].options)] * len(study.trials)


def test_more_trials_go_on_where_the_search_ended(tmp_path: Path) -> None:
    few, many = fake.job(trials=8), fake.job(trials=16)
    _work(_planner(tmp_path / "a", few), few, _first)
    _work(_planner(tmp_path / "a", many), many, _first)
    _work(_planner(tmp_path / "b", many), many, _first)
    assert _facts(tmp_path / "a") == _facts(tmp_path / "b")


def test_another_search_in_the_same_journal_is_refused_with_the_difference(tmp_path: Path) -> None:
    _work(_planner(tmp_path, fake.job()), fake.job(), _first, 1)
    told = r"study 'plate/music': sampler was 'tpe' and is 'random' now\. Go back to it, or use another --out folder"
    with pytest.raises(ArtifactError, match=told):
        _planner(tmp_path, fake.job(sampler="random"))
    for folder, sampler in ((tmp_path, "tpe"), (tmp_path / "another", "random")):
        assert _planner(folder, fake.job(sampler=sampler))


def test_first_points_come_first_and_one_outside_its_range_teaches_nothing(tmp_path: Path) -> None:
    job = fake.job(trials=24, round=8)
    x = Dimension("training.lr.default", "float", 1e-3, 1e-1, log=True)
    rest = (Dimension("backbone.dropout", "float", 0.0, 0.5),)
    space = Space((x, *rest), (Point({x.key: 1e-6}, outside=True), Point({x.key: 5e-2})))
    planner = _planner(tmp_path, job, units=("music",), space=space, structure=lambda options: (0, ()))
    _work(planner, job, _first)
    options = [t["options"][x.key] for t in trials(tmp_path) if t["method"] == "plate"]
    assert options[:2] == [1e-6, 5e-2]
    assert all(1e-3 <= value <= 1e-1 for value in options[1:])


def test_tpe_finds_better_than_random(tmp_path: Path) -> None:
    best = {}
    for sampler in ("tpe", "random"):
        job = fake.job(sampler=sampler, trials=48, round=8, pack=8)
        _work(_planner(tmp_path / sampler, job, structure=lambda options: (0, ())), job, _first)
        best[sampler] = sum(w.value for w in winners(tmp_path / sampler).values())
    assert best["tpe"] > best["random"]


def test_a_grid_is_tried_once_and_ends(tmp_path: Path) -> None:
    job = fake.job(sampler="grid", trials=50)
    dropout = Dimension("backbone.dropout", "float", 0.0, 0.5, step=0.25)
    space = Space((dropout, Dimension("training.lr.default", "choice", choices=(0.1, 0.01))))
    _work(_planner(tmp_path, job, space=space), job, _first)
    for study in ("plate/music", "single/book"):
        assert len({options for name, *_, options in _facts(tmp_path) if name == study}) == 6
        assert sum(name == study for name, *_ in _facts(tmp_path)) == 6


def test_a_row_with_nothing_to_search_has_one_trial(tmp_path: Path) -> None:
    job = fake.job()
    planner = SearchPlanner.of(Studies(tmp_path, job), [Search("plate", "music", Space(), fake.alike)])
    pack = planner.next()
    assert isinstance(pack, Pack) and [dict(lane.options) for lane in pack.lanes] == [{}]
    assert planner.progress().total == 1


def test_names_that_no_folder_can_have_are_kept(tmp_path: Path) -> None:
    job = fake.job(trials=2, round=2)
    planner = _planner(tmp_path, job, units=("a/b .. c",))
    pack = planner.next()
    assert isinstance(pack, Pack) and pack.units == ("a/b .. c",)
    assert "/" not in pack.name
    planner.done(pack, fake.train(pack, job))
    assert ("plate", "a/b .. c") in winners(tmp_path)


def test_a_fixed_planner_hands_out_each_pack_once() -> None:
    packs = [Pack(f"w{i}", "plate", ()) for i in range(2)]
    planner = FixedPlanner(packs)
    assert [planner.next(), planner.next(), planner.next()] == [*packs, None]
    for pack in packs:
        planner.done(pack, [])
    assert planner.next() is DONE
    assert set(planner.results) == {"w0", "w1"}


def test_a_sampler_sees_the_best_and_the_latest_of_many_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "WINDOW", 6)
    job = fake.job(trials=12, round=12, pack=12)
    planner = _planner(tmp_path, job, units=("music",), structure=lambda options: (0, ()))
    pack = planner.next()
    assert isinstance(pack, Pack)
    values = [0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4, 0.5, 0.45, 0.44, 0.43]
    planner.done(pack, [dataclasses.replace(r, best=v) for r, v in zip(fake.train(pack, job), values, strict=True)])
    storage = sampling.Window(Journal(tmp_path))
    study = storage.get_study_id_from_name("plate/music")
    assert len(storage.get_all_trials(study)) == 12
    with storage.window("tpe"):
        assert [t.number for t in storage.get_all_trials(study)] == [0, 2, 4, 9, 10, 11]
    with storage.window("nsga2"):
        assert len(storage.get_all_trials(study)) == 12


def test_tpe_that_is_told_the_space_proposes_what_optunas_own_proposes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = fake.job(trials=24, round=6, pack=6)
    _work(_planner(tmp_path / "ours", job), job, _first)
    theirs = optuna.samplers.TPESampler
    monkeypatch.setattr(sampling, "KnownSpaceTPE", lambda space, seed: theirs(seed=seed, n_startup_trials=1))
    _work(_planner(tmp_path / "theirs", job), job, _first)
    assert _facts(tmp_path / "ours") == _facts(tmp_path / "theirs")


def test_conditional_options_are_searched_by_every_sampler(tmp_path: Path) -> None:
    deep = Dimension("backbone.layers", "choice", choices=(1, 2))
    width = Dimension("backbone.dropout", "float", 0.0, 0.5, when=(("backbone.layers", (2,)),))
    space = Space((deep, width, Dimension("training.lr.default", "float", 1e-4, 1e-1, log=True)))
    for sampler in ("tpe", "random", "grid", "gp", "qmc", "nsga2"):
        job = fake.job(sampler=sampler, trials=20, round=10, pack=10)
        study = Studies(tmp_path / sampler, job).open(Search("plate", "music", space, fake.alike))
        for _ in range(2):
            study.tell([LaneResult(n, 0, "complete", float(n), 0, (), (), 1, 0.0, 1) for n in (x.trial for x in study.ask(10))])
        for trial in trials(tmp_path / sampler):
            assert ("backbone.dropout" in trial["options"]) == (trial["options"]["backbone.layers"] == 2)
        assert len(trials(tmp_path / sampler)) == 20
