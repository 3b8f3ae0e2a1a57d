"""Ray starts beside what comes before training, and its processes wait for packs with what a pack needs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import tomli_w
from ray.tune.execution import class_cache

from raytune_rec import cli
from raytune_rec.errors import MachineError, RunFailed
from raytune_rec.tuning.run import cluster
from raytune_rec.tuning.run.cluster import begin, connect, processes_at_hand, started_here
from tests.pretraining.test_cluster import LINUX, beyond, descendants, listeners
from tests.tracking.conftest import SMALL


@pytest.fixture(autouse=True)
def _ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not ray.is_initialized()
    yield
    ray.shutdown()


class Pack:
    """An actor as Ray Tune makes it of a trainable."""

    def seen(self) -> tuple[int, set[str], dict[str, str]]:
        return os.getpid(), set(sys.modules), dict(os.environ)


def waiting() -> set[int]:
    """The processes that wait for work, once there are some."""
    for _ in range(600):
        if found := {p for p in descendants(os.getpid()) if b"ray::IDLE" in _read(Path(f"/proc/{p}/cmdline"))}:
            return found
        time.sleep(0.1)
    raise AssertionError("no process waits for work")


@pytest.mark.skipif(not LINUX, reason="looks for processes in /proc")
def test_processes_wait_with_what_a_pack_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "cpus", lambda: 2)
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "1")
    names = ("OMP_NUM_THREADS", "RAY_CHDIR_TO_TRIAL_DIR", "RAY_preload_python_modules", "RAY_TRAIN_V2_ENABLED")
    before, meanwhile, start = [os.environ.get(name) for name in names], list[Any](), ray.init

    def init(**how: Any) -> None:
        meanwhile.extend(os.environ.get(name) for name in names)
        start(**how)

    monkeypatch.setattr(ray, "init", init)
    begin(3)
    begin(5)  # the first stands
    connect(3)
    assert started_here() and before == meanwhile == [os.environ.get(name) for name in names], (
        "PyTorch may be loaded here meanwhile, and takes its threads from the environment"
    )
    known, settings = waiting(), (class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE)
    with processes_at_hand():
        pack = class_cache._ActorClassCache().get(Pack).remote()
    process, modules, variables = ray.get(pack.seen.remote())
    assert process in known and {"torch", "raytune_rec.tuning.run.trainable"} <= modules
    assert variables["OMP_NUM_THREADS"] == "3" and variables["RAY_CHDIR_TO_TRIAL_DIR"] == "0"
    assert settings == (class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE) and settings[0]
    assert ray._private.worker._global_node.dashboard_agent_listen_port != 52365, "which another Ray of this machine may have"
    assert beyond(listeners(os.getpid())) == {}, "nothing listens beyond this machine"


def test_where_ray_is_anothers_it_is_left_as_it_is() -> None:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    begin(1)
    connect(1)
    assert not started_here()
    with processes_at_hand():
        assert class_cache.DEFAULT_ENV_VARS, "its processes lack what packs need of the environment"


def test_what_goes_wrong_is_told_by_who_needs_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**how: Any) -> None:
        raise RuntimeError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(ray, "init", init)
        begin(1)
        with pytest.raises(RunFailed, match="Ray did not start: no room"):
            connect(1)
        patch.setenv("RAY_TMPDIR", "/proc/x")
        begin(1)
        with pytest.raises(MachineError, match="/proc/x"):
            connect(1)
    connect(1)
    assert ray.is_initialized(), "the next one tries anew"


def test_only_a_new_run_begins_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is finished, or whose job is refused, starts no Ray."""
    begun: list[int] = []
    monkeypatch.setattr(cluster, "begin", begun.append)
    job = SMALL | {"tune": {**SMALL["tune"], "threads": 2}, "data": {**SMALL["data"], "options": {"interactions": {"home": -1}}}}
    (tmp_path / "small.toml").write_text(tomli_w.dumps(job))
    (tmp_path / "old").mkdir()
    for folder, words in (("new", []), ("old", []), ("other", ["--set", "data.nothing=1"])):
        assert cli.main(["run", str(tmp_path / "small.toml"), "--out", str(tmp_path / folder), *words]) == 2
    assert cli.main(["prepare", str(tmp_path / "small.toml"), "--out", str(tmp_path / "third")]) == 2
    assert begun == [2]


@pytest.mark.skipif(not LINUX, reason="looks for processes in /proc")
def test_a_run_that_is_refused_meanwhile_ends_without_more_words_or_processes(tmp_path: Path) -> None:
    words = ["run", "plate_douban", "--set", "data.options.path=nowhere", "--out", str(tmp_path / "run")]
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        environment = {**os.environ, "RAY_TMPDIR": root}
        done = subprocess.run([sys.executable, "-m", "raytune_rec", *words], capture_output=True, text=True, env=environment)
        lines = done.stderr.splitlines()
        assert done.returncode == 2 and lines and all(line.startswith("raytune-rec: nowhere/") for line in lines), done.stderr
        assert list(Path(root).glob("ray/session_*")), "Ray was starting"
        left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if root.encode() in _read(p)]
        for _ in range(50):  # Ray's processes are told to end, and take a moment
            if not (left := [p for p in left if root.encode() in _read(p)]):
                break
            time.sleep(0.2)
        assert not left


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
