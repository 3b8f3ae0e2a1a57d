"""`run --dashboard`: Ray's dashboard answers where the run says so, to this machine alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from raytune_rec import pipeline
from raytune_rec.config import parse
from raytune_rec.errors import RunFailed
from raytune_rec.machine import dashboard
from raytune_rec.stages import prepare
from raytune_rec.stages.context import Context
from raytune_rec.tuning.run import cluster
from tests.pretraining.test_cluster import LINUX, beyond, listeners
from tests.tracking.conftest import SMALL


@pytest.fixture(autouse=True)
def _ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not ray.is_initialized()
    yield
    ray.shutdown()


def test_its_address_is_told_and_it_answers_this_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.connect(1, dashboard=True)
    told = cluster.dashboard().removeprefix("dashboard ")
    assert told.startswith("http://127.0.0.1:")
    dashboard.check(told, "")  # these tests have no token
    assert not LINUX or beyond(listeners(os.getpid())) == {}, "nothing listens beyond this machine"
    (tmp_path / "token").write_text("a" * 64)
    for name, value in (("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))):
        monkeypatch.setenv(name, value)
    assert cluster.dashboard() == f"dashboard {told}, which asks for the token in {tmp_path / 'token'}"


def test_it_is_told_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    pipeline.run(parse(SMALL), tmp_path / "first", until="prepare", say=said.append, dashboard=True)
    assert said[0] == "no dashboard: nothing is left that Ray is needed for" and not ray.is_initialized()

    def stop(context: Context) -> None:
        raise RunFailed("far enough")

    said.clear()
    monkeypatch.setattr(prepare, "run", stop)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with pytest.raises(RunFailed, match="far enough"):
        pipeline.run(parse(SMALL), tmp_path / "second", say=said.append, dashboard=True)
    assert said == ["no dashboard: the Ray that this process has was started without one"]
