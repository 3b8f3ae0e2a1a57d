"""A job without data, and a trainer whose curve is known by construction: best are learning rate 1e-2 and dropout 0.2."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from raytune_rec import config
from raytune_rec.schema.work import LaneResult, Pack
from raytune_rec.tensors import mix
from raytune_rec.tuning.packs.packing import Structure
from raytune_rec.tuning.search.space import Dimension, Point, Space
from raytune_rec.tuning.search.studies import Search

SPACE = Space(
    (
        Dimension("training.lr.default", "float", 1e-4, 1e-1, log=True),
        Dimension("backbone.dropout", "float", 0.0, 0.5),
        Dimension("backbone.layers", "choice", choices=(1, 2)),
    ),
    (Point({"training.lr.default": 5e-2}),),
)

EPOCHS = 4


def alike(options: Any) -> Any:
    """Lanes of equal depth share a pack, and nothing is padded."""
    return options.get("backbone.layers"), ()


def job(**tune: Any) -> config.Job:
    return config.parse(
        {
            "name": "fake",
            "seed": 7,
            "data": {"source": "none"},
            "backbone": {"name": "none"},
            "training": {"epochs": EPOCHS},
            "tune": {"trials": 12, "round": 4, "pack": 3, "sampler": "tpe", **tune},
            "methods": {"plate": {"strategy": "prompt"}, "single": {"strategy": "single"}},
        }
    )


def methods(job: config.Job) -> Any:
    """Its methods, resolved as far as the trainer asks."""
    return dict.fromkeys(("plate", "single"), SimpleNamespace(job=job))


def searches(units: tuple[str, ...] = ("music", "book"), space: Space = SPACE, structure: Structure = alike) -> list[Search]:
    return [Search(row, unit, space, structure, epochs=EPOCHS) for row in ("plate", "single") for unit in units]


def value(pack: Pack, i: int, epoch: int) -> float:
    """The metric of a lane after an epoch: a function of unit and options alone, at its best after three epochs."""
    options = pack.lanes[i].options
    far = abs(math.log10(float(options["training.lr.default"])) + 2) + abs(float(options["backbone.dropout"]) - 0.2)
    return 0.8 - 0.1 * far - 0.01 * abs(epoch - 3) + mix(pack.lanes[i].unit) % 7 * 0.001


class FakeTrainer:
    """Trains by adding: its state is the sum of what it has seen, so that a lost epoch shows."""

    def __init__(self, job: config.Job, pack: Pack, pause: float) -> None:
        self.job, self.pack, self.pause = job, pack, pause
        self.sums = torch.zeros(len(pack.lanes), dtype=torch.float64)
        self.done = 0
        self.end = min(pack.until or 10**6, job.training.epochs)

    @property
    def finished(self) -> bool:
        return self.done >= self.end

    def epoch(self) -> None:
        time.sleep(self.pause)
        self.done += 1
        self.sums += torch.tensor([value(self.pack, i, self.done) for i in range(len(self.pack.lanes))], dtype=torch.float64)

    def results(self) -> list[LaneResult]:
        return [self._result(i) for i in range(len(self.pack.lanes))]

    def _result(self, i: int) -> LaneResult:
        lane, curve = self.pack.lanes[i], tuple(value(self.pack, i, e) for e in range(self.done + 1))
        best = max(curve)
        losses = (float(self.sums[i]),)
        status: Any = "complete" if self.done >= self.job.training.epochs else "paused"
        return LaneResult(lane.trial, lane.replicate, status, best, curve.index(best), curve, losses, self.done, 0.1, 5)

    def best(self, i: int) -> dict[str, torch.Tensor]:
        return {"prompt.x": self.sums[i : i + 1].clone()}

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return {f"{i}.sum": x for i, x in enumerate(self.sums)}, {"lanes": [{"done": self.done}] * len(self.sums)}

    def restore(self, tensors: Any, facts: Any) -> None:
        self.sums = torch.stack([tensors[f"{i}.sum"] for i in range(len(self.sums))])
        (self.done,) = {lane["done"] for lane in facts["lanes"]}  # lanes that go on together are equally far


def build(resolved: SimpleNamespace, pack: Pack, store: Any, backbones: Any, device: str) -> FakeTrainer:
    note(store, f"built {pack.name}")
    return FakeTrainer(resolved.job, pack, 0.0)


def slow(resolved: SimpleNamespace, pack: Pack, store: Any, backbones: Any, device: str) -> FakeTrainer:
    note(store, f"built {pack.name}")
    return FakeTrainer(resolved.job, pack, 0.08)


def note(store: Any, line: str) -> None:
    """Processes leave their traces in files: the store of a fake run is a folder."""
    with (Path(store) / f"{os.getpid()}.txt").open("a") as file:
        file.write(line + "\n")


def notes(store: Path) -> list[str]:
    return sorted(line for path in Path(store).glob("*.txt") for line in path.read_text().splitlines())


def open_store(path: Path) -> Path:
    note(path, "opened")
    return path


def train(pack: Pack, job: config.Job) -> list[LaneResult]:
    """The results of a pack, without any process, from its lanes' first epoch on."""
    trainer = FakeTrainer(job, pack, 0.0)
    while not trainer.finished:
        trainer.epoch()
    return trainer.results()
