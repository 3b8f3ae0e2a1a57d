"""Whoever waits for a pre-training is told where it is, and Ray Train how it is to look after its workers."""

import os
from pathlib import Path

import pytest

from raytune_rec.data.stored.store import Store
from raytune_rec.pretraining import progress as follow
from raytune_rec.pretraining import workers
from raytune_rec.pretraining.train import pretrain
from tests.pretraining.conftest import job, recipe_in


def test_epochs_are_told_with_their_values(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_BETWEEN", 0.0)
    told: list[str] = []
    facts = pretrain(recipe_in(job(), "plain"), {}, 0, store.path, tmp_path / "a", tmp_path, tell=follow.saying(told.append, 9))
    assert len(told) == facts["epochs"] > 1
    assert told[-1] == (
        f"pretrain plain: {facts['epochs']} of 9 epochs, loss {facts['losses'][-1]:.4f}, "
        f"validation {facts['metric']} {facts['curve'][-1]:.4f}, best {facts['best']:.4f}"
    )


def test_lines_keep_their_distance() -> None:
    told: list[str] = []
    tell = follow.saying(told.append, 9)
    for _ in range(3):
        tell({})
    assert told == []


@pytest.mark.parametrize(("address", "seen"), [("", "0"), ("ray-head:6379", None)])
def test_only_a_ray_of_our_own_goes_without_notices_of_preemption(
    address: str, seen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster may have one machine when a pre-training begins, and get spot nodes for it."""
    name = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.delenv(name, raising=False)
    with workers.controlled():
        assert os.environ.get(name) == seen
    assert name not in os.environ
    monkeypatch.setenv(name, "1")
    with workers.controlled():
        assert os.environ[name] == "1", "a user's own value stands"
