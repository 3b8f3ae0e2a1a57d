"""What `check` says of time: how the counted work follows from what steps take. No test depends on how fast this machine is."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from raytune_rec.backbones.deepfm import DeepFM
from raytune_rec.config import Job, parse
from raytune_rec.data.sources.synthetic import Synthetic
from raytune_rec.data.stored.store import Store
from raytune_rec.stages.checks import estimate
from raytune_rec.stages.checks.check import told
from raytune_rec.stages.checks.estimate import Cost
from raytune_rec.stages.prepare import make
from raytune_rec.tuning.search.plan import plan

JOB: dict[str, Any] = {
    "name": "timed",
    "data": {"source": "synthetic", "options": {"interactions": {"feed": 900, "search": 300}, "users": 40, "items": 30}},
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [8]}},
    "training": {"batch_size": 64, "epochs": 20, "patience": 5},
    "pretrain": {"workers": 1, "trials": 0},
    "tune": {"trials": 16, "pack": 4, "concurrent": 1, "share_rows": 0},
    "methods": {"single": {"strategy": "single", "baseline": True}},
    "evaluate": {"replicates": 3},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("timed") / "data"
    job = parse(JOB)
    make(job.data, "auc", Synthetic(Synthetic.Options(**job.data.options)), folder, lambda line: None, lambda doing: None)
    return folder


def _told(job: Job, store: Path) -> list[str]:
    return estimate.lines(plan(job, Store.open(store).schema), store)


def _seconds(line: str, name: str) -> tuple[float, float]:
    """Of a part that takes no minutes."""
    found = re.search(rf"{name} ([\d.]+) s to ([\d.]+) s", line)
    assert found, line
    return float(found[1]), float(found[2])


def test_what_is_told_is_steps_times_what_they_take(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 trials of a domain are 4 rounds of a pack of 4; each winner is one pack of 3 more. All packs cost the same here."""
    monkeypatch.setattr(estimate, "_cost", lambda planned, pack, *where: Cost(0.0, 0.02, 0.0))
    schema = Store.open(store).schema
    steps = {unit: math.ceil(schema.rows[unit, "train"] / 64) for unit in ("feed", "search")}
    (line,) = _told(parse(JOB), store)
    for name, packs in (("search", 4), ("winners", 1)):
        every = packs * sum(steps.values()) * 0.02
        least, most = _seconds(line, name)
        assert (least, most) == (pytest.approx(every * 5, rel=0.06), pytest.approx(every * 20, rel=0.06)), line
    assert "pre-training" not in line and "on this machine, 1 at a time" in line
    (both,) = _told(parse({**JOB, "tune": {**JOB["tune"], "concurrent": 2}}), store)
    share = max(steps.values()) / sum(steps.values())  # of two domains side by side the longer one decides
    assert _seconds(both, "search")[0] == pytest.approx(_seconds(line, "search")[0] * share, rel=0.06)


def test_a_larger_pack_costs_what_two_timed_ones_tell() -> None:
    kind = estimate.Kind(None, {2: Cost(1.0, 0.2, 0.3), 16: Cost(1.0, 0.9, 1.0)}, 1000)  # type: ignore[arg-type]
    wide = kind.cost(30, 500)
    assert (wide.begin, wide.step, wide.valid) == pytest.approx((0.5, 1.6, 0.85))  # half as many rows to validate on
    alone = estimate.Kind(None, {2: Cost(1.0, 0.2, 0.3)}, 1000).cost(4, 1000)  # type: ignore[arg-type]
    assert alone.step == pytest.approx(0.4)  # one timed pack: as if nothing were shared


def test_early_stopping_lowers_the_least_alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_cost", lambda planned, pack, *where: Cost(0.0, 0.02, 0.0))
    (line,) = _told(parse(JOB), store)
    stopping = {**JOB["tune"], "stop": {"rule": "halving", "min_epochs": 1, "factor": 3}}
    (stopped,) = _told(parse({**JOB, "tune": stopping}), store)
    assert _seconds(stopped, "search")[1] == _seconds(line, "search")[1]
    assert _seconds(stopped, "search")[0] == pytest.approx(_seconds(line, "search")[0] / 5, rel=0.06)
    assert _seconds(stopped, "winners") == _seconds(line, "winners")  # which no rule stops


def test_check_times_packs_of_methods_that_start_from_what_is_not_there_yet(tmp_path: Path) -> None:
    """Prompts on a backbone that no run has pre-trained, and recipes; nothing is written."""
    from rich.console import Console

    changes = {
        "pretrain": {"trials": 4},
        "pretrainings": {"plain": {}, "plate": {"prompt": "plate", "space": ["training", "plate"]}},
        "methods": {
            "finetune": {"strategy": "finetune_all", "pretraining": "plain"},
            "pretrained": {"strategy": "pretrained", "pretraining": "plain"},
            "plate": {"strategy": "prompt_linear", "prompt": "plate", "pretraining": "plate", "space": ["training", "plate"]},
        },
    }
    console = Console(width=2000, record=True, file=(tmp_path / "out").open("w"))
    console.print(told(parse({**JOB, **changes}), tmp_path / "run"))
    said = console.export_text()
    assert "Time to train, from a few steps of each kind of pack on this machine" in said and "not timed" not in said
    assert all(f"{part} " in said for part in ("(pre-training", "search", "winners")) and not (tmp_path / "run").exists()


def test_what_is_not_timed_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = {**JOB, "methods": {**JOB["methods"], "logistic": {"strategy": "single", "backbone": "linear"}}}
    with monkeypatch.context() as patch:
        patch.setattr(DeepFM, "most_rows", 64, raising=False)  # as of a language model: a step of it is no matter of a moment
        (line,) = _told(parse(two), store)
        assert line.endswith("Without single, which was not timed.")
    with monkeypatch.context() as patch:
        patch.setattr(estimate, "SECONDS", -1.0)
        assert _told(parse(two), store) == ["Time is not told: single and logistic take too long for a few steps in passing."]
    monkeypatch.setattr(estimate.torch.cuda, "is_available", lambda: False)
    (line,) = _told(parse({**JOB, "tune": {**JOB["tune"], "gpus": 1}}), store)
    assert line == "Time is not told: packs train on GPUs (tune.gpus), and this machine has none."
