"""Pre-training on Ray Train equals the loop without it, on one worker and on two, and after a worker was killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from raytune_rec.artifacts import backbone
from raytune_rec.data.store import Store
from raytune_rec.errors import RunFailed
from raytune_rec.pretraining.plan import Plan
from raytune_rec.pretraining.train import pretrain
from raytune_rec.training.loop import Trainer
from tests.pretraining.conftest import job

ray = pytest.importorskip("ray")
cluster = pytest.importorskip("raytune_rec.pretraining.cluster")

ROWS = 3176


@pytest.fixture(scope="module", autouse=True)
def two_cpus() -> Iterator[None]:
    before = os.environ.get("RAY_AUTH_MODE")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=200 * 2**20)
    yield
    ray.shutdown()
    os.environ.pop("RAY_AUTH_MODE") if before is None else os.environ.update(RAY_AUTH_MODE=before)


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


def test_a_killed_worker_changes_nothing(store: Store, plan: Callable[..., Plan], tmp_path: Path) -> None:
    """One worker, killed in its third epoch: the curve and every weight are those of the loop without Ray, bit for bit."""
    here = pretrain(job(0), "plate", {}, 0, store.path, tmp_path / "here", tmp_path)
    told: list[int] = []
    there = cluster.train(plan(job(1)), store, lambda facts: told.append(facts["epochs"]), KillOnce(tmp_path / "killed", 3))
    assert (tmp_path / "killed").exists(), "the worker was killed"
    assert there["curve"] == here["curve"] and there["losses"] == here["losses"]
    own, other = (backbone.load(tmp_path / folder)[1] for folder in ("backbone", "here"))
    assert own.keys() == other.keys() and all(torch.equal(own[n], other[n]) for n in own)
    assert there["fingerprint"] == here["fingerprint"]
    assert told == sorted(told) and told[-1] == len(there["losses"])
    assert not list((tmp_path / "train").iterdir()), "what a pre-training goes on from is removed when it is done"


def test_two_workers_agree_with_one(store: Store, plan: Callable[..., Plan], tmp_path: Path) -> None:
    """A last batch of one row leaves the second worker idle. Without batch norm only rounding differs (and PLATE's temperature of
    1e-5 would make much of it)."""
    size = next(s for s in range(100, 200) if ROWS % s == 1)
    deepfm = {"name": "deepfm", "options": {"width": 4, "hidden": [8, 6], "dropout": 0.3}}
    here = pretrain(job(0, size, backbone=deepfm), "plain", {}, 0, store.path, tmp_path / "here", tmp_path)
    there = cluster.train(plan(job(2, size, backbone=deepfm), "plain"), store, lambda facts: None)
    assert there["losses"] == pytest.approx(here["losses"], abs=1e-4)
    assert there["curve"] == pytest.approx(here["curve"], abs=1e-3)


def test_too_many_failures_end_the_run(store: Store, plan: Callable[..., Plan]) -> None:
    own = job(1, pretrain={"variants": {"plain": {}}, "workers": 1, "max_failures": 0, "training": {"epochs": 2}})
    with pytest.raises(RunFailed, match=r"max_failures = 0.*no space left"):
        cluster.train(plan(own, "plain"), store, lambda facts: None, KillAlways())
