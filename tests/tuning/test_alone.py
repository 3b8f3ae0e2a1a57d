"""What packs save is measured, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import config, pipeline
from raytune_rec.errors import RunFailed
from raytune_rec.schema.work import Pack
from raytune_rec.storage import marker
from raytune_rec.storage.files import read_json
from raytune_rec.tuning.packs.planner import FixedPlanner
from raytune_rec.tuning.run import alone, runner
from tests.pipeline.here import without_ray

JOB: dict[str, Any] = {
    "name": "a",
    "data": {"source": "synthetic", "options": {"interactions": {"x": 400, "y": 300}, "users": 60, "items": 30}},
    "backbone": {"name": "linear"},
    "training": {"epochs": 4, "batch_size": 64},
    "tune": {"trials": 4, "stop": {"rule": "halving", "min_epochs": 1}},
    "methods": {"m": {"strategy": "single"}},
}


def searched(out: Path, patch: pytest.MonkeyPatch, **tune: object) -> list[str]:
    without_ray(patch)
    said: list[str] = []
    job = {**JOB, "tune": {**JOB["tune"], **tune}}
    pipeline.run(config.parse(job), out, until="tune", say=said.append)
    return said


def test_some_trials_are_trained_by_themselves_and_nothing_else_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched(tmp_path / "plain", monkeypatch)
    trained: list[tuple[str, int, int]] = []
    run = runner.run

    def watched(job: config.Job, methods: object, planner: alone.Timed, *rest: object, **more: object) -> None:
        run(job, methods, planner, *rest, **more)  # type: ignore[arg-type]
        if more.get("title") == "by themselves":
            packs = planner._planner.results  # type: ignore[attr-defined]
            trained.extend((name, len(lanes), lanes[0].epochs) for name, lanes in packs.items())
            assert not job.tune.reuse_actors

    monkeypatch.setattr(runner, "run", watched)
    said = searched(tmp_path / "measured", monkeypatch, alone=3)
    trials = read_json(tmp_path / "measured" / "trials.json")
    strip = [{name: value for name, value in trial.items() if name != "seconds"} for trial in trials]
    assert strip == [{n: v for n, v in t.items() if n != "seconds"} for t in read_json(tmp_path / "plain" / "trials.json")]
    job = config.parse({**JOB, "tune": {**JOB["tune"], "alone": 3}})
    some = alone.drawn(alone.trained(trials, job), job)
    assert [(1, t["epochs"]) for t in some] == [(lanes, epochs) for _, lanes, epochs in trained] and len(some) == 3
    (line,) = [line for line in said if "what packs saved: 8 trials took" in line]
    saved = marker.read(tmp_path / "measured" / "stages" / "tune")["facts"]["saved"]
    assert saved["told"] == line and (saved["trials"], saved["alone"]) == (8, 3)
    assert min(saved["seconds"], saved["alone_seconds"]) > 0
    assert not list((tmp_path / "measured" / "checkpoints").glob("*alone*"))
    assert not searched(tmp_path / "measured", monkeypatch), "asked or not, the search is the same and finished"


def test_a_trial_that_cannot_be_trained_by_itself_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runner.run

    def failing(*args: object, **more: object) -> None:
        if more.get("title") == "by themselves":
            raise RunFailed("lost")
        run(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "run", failing)
    said = searched(tmp_path / "run", monkeypatch, alone=2)
    assert "what packs saved is not told: a trial could not be trained by itself" in said
    assert marker.complete(tmp_path / "run" / "stages" / "tune")


def test_the_sentence_scales_a_few_trials_to_all() -> None:
    said = str(alone.Saved(trials=240, seconds=60.0, alone=6, alone_seconds=15.0))
    assert "6 of them" in said and "about 600 s, 10.0 times as long" in said


def test_trials_that_never_trained_are_not_drawn() -> None:
    known = {"method": "m", "state": "complete", "study": "m/x", "unit": "x", "options": {}}
    trials = [{**known, "number": i, "epochs": i % 2} for i in range(8)]
    trials.append({**known, "state": "failed", "number": 9, "epochs": 3})
    fit = alone.trained(trials, config.parse(JOB))
    assert [t["number"] for t in fit] == [1, 3, 5, 7]
    assert len(alone.drawn(fit, config.parse({**JOB, "tune": {"alone": 50}}))) == 4, "no more than there are"


def test_the_start_of_ray_tune_is_in_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner asks for one pack before it starts Tune, which then asks for as many as train at a time."""
    clock: Iterator[float] = iter(())
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    packs = [Pack(f"p{i}", "m", ()) for i in range(3)]
    for since, seconds in ((None, 13.0 - 7.0), (-1.0, 14.0)):
        clock = iter([0.0, 7.0, 9.0, 12.0, 13.0] if since is None else [9.0, 12.0, 13.0])
        planner = alone.Timed(FixedPlanner(packs), since)
        assert planner.seconds == 0.0
        first, second = planner.next(), planner.next()  # before Tune, and by it
        assert isinstance(first, Pack) and isinstance(second, Pack)
        planner.done(first, ())
        third = planner.next()
        assert isinstance(third, Pack)
        for pack in (second, third):
            planner.done(pack, ())
        assert planner.seconds == seconds
