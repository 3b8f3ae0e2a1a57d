"""As `test_yardstick`, of PPR(light): both contrastive losses included, with the product's negatives and masks."""

from __future__ import annotations

import torch

from benchmarks.sweep import ppr
from benchmarks.sweep.case import configuration
from benchmarks.sweep.plain_ppr import Training
from raytune_rec.schema.prepared import DataSchema, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.task import Task
from raytune_rec.tensors import pad
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import settings
from tests.training.conftest import AS_HISTORIES, FIELDS, histories, job

SCHEMA = DataSchema(FIELDS[:4], ("movies",), "0" * 16, task=Task("lists", 6))
BACKBONE = {"name": "sasrec", "options": {"width": 8, "inner": 12, "dropout": 0.0}}
TRAINING = {"objective": "sampled_softmax", "metric": "ndcg@10", "batch_size": 64, "epochs": 3, "lr": {"default": 0.01}}
JOB = job(data=AS_HISTORIES, backbone=BACKBONE, training=TRAINING, objectives={"sampled_softmax": {"negatives": 12}})
ROW = Method("own", Strategy("own", "scratch", ("prompt",), "on"), "sasrec", "ppr")
LANES = [
    {"prompt.tokens": 3, "prompt.hidden_width": 8, "prompt.weight": 1.0, "prompt.temperature": 0.3, "training.lr.prompt": 0.02},
    {"prompt.tokens": 5, "prompt.item_mask": 0.6, "prompt.profile_mask": 0.5, "training.weight_decay.profile": 0.01},
]


def world() -> UnitData:
    return UnitData("movies", histories(150, 1), histories(200, 2))


def product(data: UnitData) -> Trainer:
    """Two lanes in one pack, with values at which every part of model and prompt matters."""
    pack = Pack("p", "own", tuple(Lane(i, 0, options, "movies") for i, options in enumerate(LANES)))
    units, of_lanes = {"movies": data}, [settings(JOB, ROW, lane) for lane in pack.lanes]
    trainer = train_with(JOB, pack, ROW, of_lanes, SCHEMA, units, table_feed(JOB, pack, units, 64))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in {**trainer.model.fixed, **trainer.model.trained}.items():
            shapes = [own.get(name, tensor.shape[1:]) for own in trainer.model.shapes]
            tensor += 0.3 * pad([torch.randn(shape, generator=draw) for shape in shapes[: len(tensor)]])
            if name == "backbone.item" or name.startswith("prompt.of."):
                tensor[:, 0] = 0
    return trainer


def yardsticks(trainer: Trainer, data: UnitData) -> list[Training]:
    weights = {name: tensor[0] for name, tensor in trainer.model.fixed.items()}
    rows = ppr.plain_rows(SCHEMA, data, weights, ppr.given(iter([trainer]), 2)).load()
    lanes = (Lane(i, 0, options) for i, options in enumerate(LANES))
    return [rows.training(configuration(ppr, settings(JOB, ROW, lane)), lane.trial) for lane in lanes]


@torch.no_grad()
def scores(training: Training) -> torch.Tensor:
    """In the order of the product's validation: by user."""
    return training.model.eval().scores(training.data.valid)[world().valid.columns["user"].argsort(kind="stable")]


def test_the_same_weights_give_the_same_scores_before_and_after_an_epoch() -> None:
    data = world()
    trainer = product(data)
    plain = yardsticks(trainer, data)
    ours = trainer.validation["movies"].scores(trainer.model)
    for lane, training in enumerate(plain):
        torch.testing.assert_close(scores(training), ours[lane], atol=1e-4, rtol=0)
    for _ in range(2):
        trainer.epoch()
        after = trainer.validation["movies"].scores(trainer.model)
        assert (after - ours).abs().amax((1, 2)).min() > 0.1
        for lane, training in enumerate(plain):
            training.epoch()
            torch.testing.assert_close(scores(training), after[lane], atol=1e-4, rtol=0)
            assert abs(training.best - trainer.results()[lane].best) < 1e-3
