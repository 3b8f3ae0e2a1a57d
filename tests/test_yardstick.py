"""The benchmark's model in plain PyTorch is the product's: otherwise their wall clocks compare two different things."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from benchmarks.sweep.plain import Training
from benchmarks.sweep.plate import plain_rows
from raytune_rec.schema.prepared import DataSchema, Table, UnitData
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.tensors import crop
from raytune_rec.training.build import train_with
from raytune_rec.training.feed import TableFeed, permutation
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import method_of, settings
from tests.training.conftest import FIELDS, job, table

SCHEMA = DataSchema(tuple(f for f in FIELDS if f.kind == "categorical"), ("music", "book"), "0" * 16)
LANES = [
    {"prompt.meta_prompts": 3, "prompt.temperature": 0.5, "training.lr.prompt": 0.02, "training.weight_decay.linear": 1e-3},
    {"prompt.meta_prompts": 8, "prompt.temperature": 2.0, "training.lr.linear": 0.03, "training.weight_decay.prompt": 1e-3},
]


def world() -> UnitData:
    """The users behind the thirtieth occur in the validation rows alone."""
    train, valid = (Table({f.name: t.columns[f.name] for f in SCHEMA.fields}, t.label) for t in (table(700, 1), table(300, 2)))
    known = train.columns["user"] <= 30
    train = Table({n: c[known] for n, c in train.columns.items()}, train.label[known])
    rows = {f.name: np.arange(f.size) for f in SCHEMA.fields}
    seen = {n: (ids >= 1) & (ids <= train.columns[n].max()) for n, ids in rows.items()}
    return UnitData("music", train, valid, rows, seen)


def product(data: UnitData) -> Trainer:
    """Two lanes in one pack, with start values at which every part of the prompt matters."""
    own = job(backbone={"name": "deepfm", "options": {"width": 4, "hidden": [8, 6], "dropout": 0.0}})
    row, lanes = method_of(own, "prompt_linear"), tuple(Lane(0, 0, options, "music") for options in LANES)
    feed = TableFeed(data.train, [(own.seed, "music", 0)], 64, 65536)
    of_lanes = [settings(own, row, lane) for lane in lanes]
    trainer = train_with(own, Pack("p", row.name, lanes), row, of_lanes, SCHEMA, {"music": data}, feed)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in trainer.model.trained.values():
            tensor += 0.3 * torch.randn(tensor.shape, generator=draw)
    return trainer


def yardstick(trainer: Trainer, data: UnitData, lane: int) -> Training:
    model = trainer.model
    tuned = {n: crop(t[lane].detach(), model.shapes[lane][n]).clone() for n, t in model.trained.items()}
    rows = plain_rows(SCHEMA, data, tuned | {n: t[0] for n, t in model.fixed.items()})
    orders = permutation(len(data.train), trainer.feed.keys[0], 1, 0).unsqueeze(0).numpy()
    options, training = LANES[lane], settings(job(), method_of(job(), "prompt_linear"), Lane(0, 0, LANES[lane])).training
    configuration = {
        **{f"lr.{g}": training.group_rate("lr", g) for g in ("prompt", "linear")},
        **{f"weight_decay.{g}": training.group_rate("weight_decay", g) for g in ("prompt", "linear")},
        **{"dropout": 0.0, "batch_size": 64},
        **{name: options[f"prompt.{name}"] for name in ("meta_prompts", "temperature")},
    }
    return replace(rows, orders=orders).load().training(configuration, 0)


@torch.no_grad()
def scores(training: Training) -> torch.Tensor:
    """In the order of the product's validation: by user."""
    return training.model.eval()(training.data.valid)[world().valid.columns["user"].argsort(kind="stable")]


def test_the_same_weights_give_the_same_scores_before_and_after_an_epoch() -> None:
    data = world()
    trainer = product(data)
    plain = [yardstick(trainer, data, lane) for lane in range(len(LANES))]
    ours = trainer.validation["music"].scores(trainer.model)
    for lane, training in enumerate(plain):
        torch.testing.assert_close(scores(training), ours[lane], atol=1e-5, rtol=0)
    trainer.epoch()
    after = trainer.validation["music"].scores(trainer.model)
    assert (after - ours).abs().max() > 0.1
    for lane, training in enumerate(plain):
        training.epoch()
        torch.testing.assert_close(scores(training), after[lane], atol=1e-4, rtol=0)
        assert abs(training.best - trainer.results()[lane].best) < 1e-3
