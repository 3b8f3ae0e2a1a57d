"""A run that is killed at any moment ends as if nothing had happened. The full version is `python -m benchmarks.kills`."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kills import compare, damage, job
from benchmarks.kills.moments import Moment
from benchmarks.kills.processes import Command
from benchmarks.kills.sweep import Strike, Sweep
from raytune_rec import cli, config, pipeline
from tests.pipeline.here import without_ray


@pytest.fixture
def temporary() -> Iterator[Path]:
    """For Ray: short, for its sockets' paths are limited."""
    path = Path(tempfile.mkdtemp(prefix="kills-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The job, prepared and pre-trained in this process."""
    folder = tmp_path / "base"
    folder.mkdir()
    pipeline.run(config.read(job.write(job.tiny(), tmp_path / "job.toml")), folder, until="pretrain")
    return folder


ATTEMPTS = [  # tests/tuning/test_runner.py kills a driver in the midst of its search
    [Strike("worker", Moment("result", 1)), Strike("driver", Moment("winner's result", 1))],
    [Strike("driver", Moment("merged journal", 1))],  # the winners are kept, and their checkpoints have gone
    [],
]


@pytest.mark.slow
def test_kills_in_search_and_export_change_nothing(
    base: Path, tmp_path: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, whole, run = tmp_path / "job.toml", tmp_path / "A", tmp_path / "B"
    for folder in (whole, run):
        shutil.copytree(base, folder)
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        assert cli.main(["run", str(path), "--out", str(whole)]) == 0
    sweep = Sweep(run, path, tmp_path / "logs", temporary)
    ended = [sweep.attempt(strikes) for strikes in ATTEMPTS]
    assert not sweep.missed, "the run ended before the kill: the job is too small for this test"
    assert ended == [False, False, True] and sweep.attempts[-1].code == 0, sweep.log.read_text()
    struck = [(k["target"], k["phase"]) for k in sweep.kills]
    assert struck == [("worker", "tune"), ("driver", "export"), ("driver", "export")]
    assert compare.differences(whole, run) == []
    assert compare.leftovers(whole, run) == []
    assert sweep.trained_again() == []

    for finished in (True, False):
        copy = tmp_path / f"damaged-{finished}"
        segment = damage.damaged(whole, copy, "a byte of a record", random.Random(0), finished)
        capsys.readouterr()
        code = cli.main(["run", str(path), "--out", str(copy)])
        assert damage.wrong(segment, code, *capsys.readouterr()) == []


@pytest.mark.slow
def test_a_pretraining_that_is_told_to_end_says_so_and_goes_on(tmp_path: Path, temporary: Path) -> None:
    """SIGTERM (`ray job stop`, a lost machine): a word and code 143, no stack; the same command has the undisturbed curve."""
    path, run, log = tmp_path / "job.toml", tmp_path / "run", tmp_path / "log"
    pretrain = {**job.tiny()["pretrain"], "replicates": 1, "training": {"epochs": 12}}
    job.write(job.tiny() | {"pretrain": {**pretrain, "workers": 1}}, path)
    words = ["pretrain", str(path), "--out", str(run)]
    assert cli.main(["prepare", *words[1:]]) == 0
    command = Command(words, log, temporary)
    try:
        while not list((run / "train").glob("*.json")) and command.code is None:
            time.sleep(0.02)
        command.terminate()
        assert command.wait() == 143
        assert "Ended by SIGTERM. The same command goes on where this one stopped." in log.read_text()
        assert "***" not in log.read_text() and not (run / "pretrain.json").exists()
        command = Command(words, log, temporary)
        assert command.wait() == 0, log.read_text()
    finally:
        command.kill()
        command.clear(0.0)
    job.write(job.tiny() | {"pretrain": pretrain}, path)
    for stage in ("prepare", "pretrain"):
        assert cli.main([stage, str(path), "--out", str(tmp_path / "whole")]) == 0
    curves = [json.loads((folder / "pretrain.json").read_text())["plate"]["curve"] for folder in (run, tmp_path / "whole")]
    assert curves[0] == curves[1] and len(curves[0]) > 3
