"""What a job asks for and the machine or the cluster does not have is told before anything runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import cli, config
from raytune_rec.errors import JobError, MachineError, RunFailed
from raytune_rec.tuning.run import resources
from raytune_rec.tuning.run.resources import Node, concurrency, lacking, needs
from tests.tuning import fake

SMALL = {"CPU": 2.0, "GPU": 0.0}


def _job(tune: dict[str, Any] | None = None, **pretrain: Any) -> config.Job:
    return fake.job(**(tune or {})).model_copy(update={"pretrain": config.PretrainOptions(**pretrain)})


def _lacks(job: config.Job, *machines: Node) -> list[str]:
    return lacking(needs(job, packs=True, workers=True), machines)


def test_what_is_there_is_not_lacking() -> None:
    assert _lacks(_job(), SMALL) == []
    assert _lacks(_job({"cpus": 0.5, "threads": 2}, workers=1), SMALL) == []
    assert _lacks(_job({"gpus": 0.25}, workers=3, gpu=True), SMALL, {"CPU": 4.0, "GPU": 4.0}) == []
    assert _lacks(_job(workers=0, gpu=True), SMALL) == []  # in this process


_BOTH = "tune.cpus = 4 and tune.gpus = 1: no machine has both for a pack (8 CPUs and 0 GPUs, 2 CPUs and 1 GPUs); lower one"


@pytest.mark.parametrize(
    ("tune", "workers", "machines", "rule", "mended"),
    [
        ({"cpus": 8}, 0, [SMALL], "tune.cpus = 8: a pack@2 CPUs; set tune.cpus to at most 2.", {"cpus": 2}),
        ({"cpus": 3}, 0, [SMALL] * 9, "tune.cpus = 3: a pack@2 CPUs; set tune.cpus to at most 2.", {"cpus": 2}),
        ({"gpus": 1}, 0, [SMALL], "tune.gpus = 1: a pack@0 GPUs; set tune.gpus = 0, or use", {"gpus": 0}),
        ({"gpus": 4}, 0, [{"CPU": 1, "GPU": 2}] * 2, "tune.gpus = 4: a pack@2 GPUs; set tune.gpus to at most 2.", {"gpus": 2}),
        ({"cpus": 4, "gpus": 1}, 0, [{"CPU": 8}, {"CPU": 2, "GPU": 1}], _BOTH, {"cpus": 2, "gpus": 1}),
        ({"threads": 4}, 1, [SMALL], "tune.threads = 4: a worker@2 CPUs; set tune.threads to at most 2.", {"threads": 2}),
    ],
)
def test_what_is_lacking_is_told_with_what_there_is(
    tune: dict[str, Any], workers: int, machines: list[Node], rule: str, mended: dict[str, Any]
) -> None:
    (problem,) = _lacks(_job(tune, workers=workers), *machines)
    assert problem.startswith(rule.replace("@", " runs on one machine, and the largest has "))
    assert _lacks(_job(mended, workers=workers), *machines) == []  # the remedy


def test_workers_of_a_pre_training_must_have_room_all_at_once() -> None:
    (problem,) = _lacks(_job(workers=100), SMALL, SMALL)
    assert problem.startswith("pretrain.workers = 100: there is room for 4 (2 CPUs and 0 GPUs, 2 CPUs and 0 GPUs);")
    assert problem.endswith("set pretrain.workers to at most 4.")
    assert _lacks(_job(workers=4), SMALL, SMALL) == []
    (problem,) = _lacks(_job(workers=1, gpu=True), SMALL)
    assert problem.endswith("the largest has 0 GPUs; set pretrain.gpu = false.")


def test_everything_that_is_lacking_comes_at_once_and_only_for_what_is_left_to_do() -> None:
    job = _job({"cpus": 9, "gpus": 1}, workers=9)
    assert len(_lacks(job, SMALL)) == 3
    assert len(lacking(needs(job, packs=False, workers=True), [SMALL])) == 1
    assert lacking(needs(job, packs=False, workers=False), [SMALL]) == []


def test_packs_side_by_side_are_counted_machine_by_machine() -> None:
    tune = config.TuneOptions(cpus=3)
    assert concurrency(tune, [{"CPU": 4.0}, {"CPU": 4.0}]) == 2
    assert concurrency(config.TuneOptions(cpus=0.1), [{"CPU": 0.3}]) == 3
    assert concurrency(config.TuneOptions(gpus=0.25), [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}]) == 8
    assert concurrency(tune, [{"CPU": 1.0}]) == 1


@pytest.mark.parametrize("gpus", [1.5, 0.001, 2.25])
def test_parts_of_gpus_that_ray_cannot_give_are_refused(gpus: float) -> None:
    with pytest.raises(JobError, match=r"tune\.gpus: GPUs come whole, or as a part of one that is at least 0\.01"):
        fake.job(gpus=gpus)


def test_a_run_refuses_before_it_prepares_and_starts_no_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(resources, "_connected", lambda: False)
    monkeypatch.setattr("raytune_rec.tuning.run.cluster.connect", lambda threads: pytest.fail("Ray was started"))
    out = tmp_path / "run"
    words = ["run", "quickstart", "--out", str(out)]
    settings = ["tune.cpus=5000", "tune.gpus=500", "pretrain.workers=9999"]
    assert cli.main([*words, *(word for s in settings for word in ("--set", s))]) == 2
    heard = capsys.readouterr().err.splitlines()
    assert len(heard) == 3 and all(line.startswith("raytune-rec: ") for line in heard)
    assert not (out / "data").exists() and not (out / "stages").exists()


def _growing(monkeypatch: pytest.MonkeyPatch, sizes: list[float]) -> tuple[list[str], list[int]]:
    """A cluster whose one machine has so many CPUs, look by look; time passes by sleeping. Lines, and what was requested."""
    now, said, requested = [0.0], list[str](), list[int]()
    monkeypatch.setattr(resources, "nodes", lambda threads: [{"CPU": sizes.pop(0) if len(sizes) > 1 else sizes[0]}])
    monkeypatch.setattr(resources, "_grows", lambda: True)
    monkeypatch.setattr(resources, "_request", lambda wanted: requested.append(len(wanted)))
    monkeypatch.setattr(resources.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(resources.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return said, requested


def test_a_cluster_that_grows_is_awaited_and_told_every_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    said, requested = _growing(monkeypatch, [2.0] * 15 + [8.0])
    resources.ask(_job({"cpus": 8}, workers=0), said.append, packs=True, workers=True)
    assert len(said) == 3 and requested == [1, 0]
    assert said[1].startswith("waiting for the cluster to grow, 0.5 of 15 minutes: tune.cpus = 8: a pack runs on one machine")


def test_a_cluster_that_does_not_grow_in_time_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    said, requested = _growing(monkeypatch, [2.0])
    with pytest.raises(RunFailed, match=r"waited 2 minutes \(tune\.wait_minutes\) .* has not\. tune\.cpus = 8: .* at most 2\."):
        resources.ask(_job({"cpus": 8, "wait_minutes": 2}, workers=0), said.append, packs=True, workers=True)
    assert len(said) == 4 and requested == [1, 0]


def test_a_cluster_that_cannot_grow_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    said, _ = _growing(monkeypatch, [2.0])
    monkeypatch.setattr(resources, "_grows", lambda: False)
    with pytest.raises(MachineError, match=r"the largest has 2 CPUs"):
        resources.ask(_job({"cpus": 8}), said.append, packs=True, workers=True)
    assert said == []


_WAITS = """
import os, signal, sys
from raytune_rec.tuning.run import resources
from raytune_rec import config
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
resources.nodes = lambda threads: [{"CPU": 1.0}]
resources._grows = lambda: True
resources._request = lambda wanted: None
resources.time.sleep = lambda seconds: os.kill(os.getpid(), int(sys.argv[1]))
job = {"name": "x", "data": {"source": "none"}, "backbone": {"name": "none"}, "tune": {"cpus": 64}, "methods": {}}
resources.ask(config.parse(job), print, packs=True, workers=False)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_signal_ends_a_run_that_waits(number: signal.Signals, code: int) -> None:
    words = [sys.executable, "-c", _WAITS, str(int(number))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == code
    assert "waiting for the cluster to grow" in done.stdout
    assert ("Ended by SIGTERM" if number == signal.SIGTERM else "KeyboardInterrupt") in done.stderr
