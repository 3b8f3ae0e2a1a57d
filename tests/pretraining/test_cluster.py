"""Pre-training on Ray Train equals the loop without it, on one worker and on two, and after a worker was killed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from raytune_rec.artifacts import backbone
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError, RunFailed
from raytune_rec.machine import ray_address, ray_start
from raytune_rec.pretraining.pretraining import Pretraining
from raytune_rec.pretraining.train import pretrain
from raytune_rec.training.loop import Trainer
from raytune_rec.tuning.run.cluster import connect
from tests.pretraining.conftest import job, recipe_in

ray = pytest.importorskip("ray")
cluster = pytest.importorskip("raytune_rec.pretraining.workers")

ROWS = 3176
LINUX = sys.platform.startswith("linux")


@pytest.fixture(scope="module", autouse=True)
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Ray that a run starts, tokens on and with no home to write to; the token's file."""
    path = tmp_path_factory.mktemp("auth") / "new" / "token"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", "/proc/nohome")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
        patch.setattr("raytune_rec.tuning.run.cluster.cpus", lambda: 2)
        before = os.umask(0o777)
        try:
            ray_start.provide_token(os.environ)
        finally:
            os.umask(before)
        connect(1)
        yield path
        ray.shutdown()
        patch.setenv("RAY_AUTH_MODE", "disabled")  # Ray has set it
    ray._raylet.Config.initialize("")  # what it has kept of the environment
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


class Listening:
    """Writes down, while it trains, where every process of this test's Ray listens."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, os.getpid()

    def __call__(self, trainer: Trainer) -> None:
        if LINUX:
            (self.folder / f"{os.getpid()}.json").write_text(json.dumps(listeners(self.root)))


def listeners(root: int) -> dict[str, str]:
    """Local address in hexadecimal digits, as /proc has it -> the process of `root` and its descendants that listens there."""
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A":
                sockets[f"socket:[{columns[9]}]"] = columns[1]
    heard = {}
    for pid in {root} | descendants(root):
        with suppress(OSError):
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if (address := sockets.get(os.readlink(handle))) is not None:
                        heard[address] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return heard


def descendants(root: int) -> set[int]:
    """The processes that a process has started, and those that these have."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    ours = {root}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return ours - {root}


def beyond(heard: dict[str, str]) -> dict[str, str]:
    """Those that another machine could reach."""
    near = ("0100007F:", "0000000000000000FFFF00000100007F:", "00000000000000000000000001000000:")
    return {address: process for address, process in heard.items() if not address.startswith(near)}


class KillOnce:
    """Ends its process after an epoch has been trained and before it is reported, the first time it gets there."""

    def __init__(self, flag: Path, epoch: int) -> None:
        self.flag, self.epoch = flag, epoch

    def __call__(self, trainer: Trainer) -> None:
        if trainer.done == self.epoch and not self.flag.exists():
            self.flag.write_text(str(trainer.records[0].losses))
            os._exit(1)


class KillAlways:
    def __call__(self, trainer: Trainer) -> None:
        raise RuntimeError("no space left on the device")


def test_a_killed_worker_changes_nothing(store: Store, plan: Callable[..., Pretraining], tmp_path: Path) -> None:
    """One worker, killed in its third epoch: the curve and every weight are those of the loop without Ray, bit for bit."""
    here = pretrain(recipe_in(job(0), "plate"), {}, 0, store.path, tmp_path / "here", tmp_path)
    told: list[int] = []
    there = cluster.train(plan(job(1)), store, lambda facts: told.append(facts["epochs"]), KillOnce(tmp_path / "killed", 3))
    assert (tmp_path / "killed").exists(), "the worker was killed"
    assert there["curve"] == here["curve"] and there["losses"] == here["losses"]
    own, other = (backbone.load(tmp_path / folder)[1] for folder in ("backbone", "here"))
    assert own.keys() == other.keys() and all(torch.equal(own[n], other[n]) for n in own)
    assert there["fingerprint"] == here["fingerprint"]
    assert told == sorted(told) and told[-1] == len(there["losses"])
    assert not list((tmp_path / "train").iterdir()), "what a pre-training goes on from is removed when it is done"


def test_the_token_is_its_owners_alone(token: Path) -> None:
    assert len(token.read_text()) == 64 and token.stat().st_mode & 0o777 == 0o600
    ray_start.provide_token(environment := {"RAY_AUTH_TOKEN_PATH": str(token)})
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(token) and list(token.parent.iterdir()) == [token]


def test_a_cluster_is_asked_with_the_token(token: Path) -> None:
    """A cluster whose token this process lacks is told as that; the remedies lead in."""
    given = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    given.pop("RAY_AUTH_TOKEN_PATH")
    given["RAY_AUTH_MODE"] = "disabled"
    without = ray_address.look(given)
    assert without.state == "wrong" and "asks for a token" in without.text and "unset RAY_ADDRESS" in without.text
    wrong = ray_address.look({**given, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "another"})
    assert wrong.state == "wrong" and "asks for a token" in wrong.text
    mended = {**given, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    assert "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH" in without.text
    assert [f.state for f in ray_start.findings(mended)] == ["ok", "ok"]


def test_two_workers_agree_with_one(store: Store, plan: Callable[..., Pretraining], tmp_path: Path) -> None:
    """A last batch of one row leaves the second worker idle. Without batch norm only rounding differs (and PLATE's temperature of
    1e-5 would make much of it)."""
    size = next(s for s in range(100, 200) if ROWS % s == 1)
    deepfm = {"name": "deepfm", "options": {"width": 4, "hidden": [8, 6], "dropout": 0.3}}
    here = pretrain(recipe_in(job(0, size, backbone=deepfm), "plain"), {}, 0, store.path, tmp_path / "here", tmp_path)
    (tmp_path / "heard").mkdir()
    there = cluster.train(plan(job(2, size, backbone=deepfm), "plain"), store, lambda facts: None, Listening(tmp_path / "heard"))
    assert there["losses"] == pytest.approx(here["losses"], abs=1e-4)
    assert there["curve"] == pytest.approx(here["curve"], abs=1e-3)
    if LINUX:  # no other system tells who listens where
        heard = [json.loads(path.read_text()) for path in (tmp_path / "heard").glob("*.json")]
        for name in ("gcs_server", "raylet", "RayTrainWorker", "Agent"):
            assert any(name in process for process in heard[-1].values()), heard
        assert [beyond(each) for each in heard] == [{}, {}], "nothing listens beyond this machine"


def test_too_many_failures_end_the_run(store: Store, plan: Callable[..., Pretraining]) -> None:
    own = job(1, pretrain={"workers": 1, "max_failures": 0, "training": {"epochs": 2}}, pretrainings={"plain": {}})
    with pytest.raises(RunFailed, match=r"max_failures = 0.*no space left"):
        cluster.train(plan(own, "plain"), store, lambda facts: None, KillAlways())


def test_what_a_model_refuses_is_told_at_once(
    store: Store, plan: Callable[..., Pretraining], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that do not fit, say: a worker that raised would be started again and again."""
    attempts: list[int] = []

    def refuse(self: Pretraining, *args: object) -> Trainer:
        attempts.append(1)
        raise DataError(["backbone.weights = 'x': has no config.json; name another folder.", "width = 3, and 8 there."])

    class Here:
        """Ray Train's trainer with its one worker in this process."""

        def __init__(self, function: Callable[..., object], train_loop_config: dict[str, object], **kept: object) -> None:
            self.fit = lambda: SimpleNamespace(return_value=function(train_loop_config))

    monkeypatch.setattr(Pretraining, "trainer", refuse)
    monkeypatch.setattr(cluster, "TorchTrainer", Here)
    monkeypatch.setattr("ray.train.get_context", lambda: SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1))
    monkeypatch.setattr("ray.train.torch.get_device", lambda: torch.device("cpu"))
    with pytest.raises(DataError, match=r"has no config\.json(.|\n)*width = 3"):
        cluster.train(plan(job(1), "plain"), store, lambda facts: None)
    assert attempts == [1]
