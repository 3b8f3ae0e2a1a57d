"""A small job with a tracker of the user's own, that writes into a file what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import pipeline
from raytune_rec.config import Job, parse
from tests.pipeline.here import without_ray

OWN = '''
"""Writes a line for each word."""

import json
import time
from pathlib import Path

from raytune_rec import components
from raytune_rec.components import structural


class Lines:
    """A file."""

    needs = {}

    class Options(components.Options):
        file: str = structural("", "that is written")
        fails: str = structural("", "a file: while it is there, nobody answers")
        hangs: bool = structural(False, "never answers")

    def __init__(self, options):
        self.options = options

    def _write(self, **facts):
        if self.options.hangs:
            time.sleep(10**6)
        if self.options.fails and Path(self.options.fails).exists():
            raise ConnectionError("no answer from https://me:secret-word@tracker.example/api")
        with open(self.options.file, "a") as file:
            file.write(json.dumps(facts) + "\\n")

    def begin(self, run):
        self._write(begin=run.key, facts=dict(run.facts))
        return ()

    def tell(self, trial):
        self._write(trial=trial.key, state=trial.state, value=trial.value, options=dict(trial.options))

    def end(self, state, measures):
        self._write(end=state, measures=dict(measures))
        return self.options.file
'''
SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 5,
    "data": {"source": "synthetic", "options": {"interactions": {"feed": 500, "search": 300}, "users": 40, "items": 30}},
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [8]}},
    "training": {"batch_size": 128, "epochs": 4, "patience": 4, "lr": {"default": 0.005}},
    "pretrain": {"workers": 0},
    "pretrainings": {"plain": {}},
    "tune": {"trials": 4, "round": 4, "pack": 4, "stop": {"rule": "halving", "factor": 2}},
    "methods": {
        "logistic": {"strategy": "single", "backbone": "linear", "baseline": True},
        "finetune": {"strategy": "finetune_all", "pretraining": "plain"},
    },
    "evaluate": {"replicates": 2, "compare": ["finetune"], "bootstrap": 100},
}


@pytest.fixture(scope="session")
def components(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "trackers").mkdir()
    (folder / "trackers" / "lines.py").write_text(OWN)
    return folder


@pytest.fixture
def job(components: Path) -> Callable[..., Job]:
    """The job with trackers: name -> options."""

    def made(trackers: dict[str, Any], **changes: Any) -> Job:
        return parse({**SMALL, "components": [str(components)], "trackers": trackers, **changes})

    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Job, Path], list[str]]:
    """Runs a job in this process; returns what was said."""
    without_ray(monkeypatch)

    def ran(job: Job, out: Path) -> list[str]:
        said: list[str] = []
        pipeline.run(job, out, say=said.append)
        return said

    return ran


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def settled(run: Path) -> set[str]:
    """Keys of a run's trials that have ended."""
    trials = json.loads((run / "trials.json").read_text())
    return {f"{t['method']}/{t['unit']}/{t['number']}" for t in trials}
