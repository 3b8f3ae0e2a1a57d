"""As `test_yardstick`, of soft prompts of a T5, in float64: masked items, ragged rows, more masked items than sentinels."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.sweep import upsr
from benchmarks.sweep.case import configuration
from benchmarks.sweep.plain_upsr import Training
from raytune_rec.schema.prepared import ById, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import settings
from tests.training.conftest import AS_HISTORIES, HISTORIES, ITEMS, USERS, histories, job

BACKBONE = {"name": "t5", "options": {"width": 8, "heads": 2, "head_width": 6, "inner": 12, "dropout": 0.0, "length": 256}}
TRAINING = {"objective": "masked_text", "metric": "ndcg@10", "batch_size": 32, "epochs": 3, "lr": {"default": 0.01}}
JOB = job(data=AS_HISTORIES, backbone=BACKBONE, training=TRAINING)
ROW = Method("own", Strategy("own", "scratch", ("prompt",), "on"), "t5", "soft_prompt")
LANES = [
    {"prompt.tokens": 3, "objective.last": 0.4, "training.lr.prompt": 0.1},
    {"prompt.tokens": 5, "objective.mask": 0.3, "training.weight_decay.prompt": 0.01},
]


def world() -> UnitData:
    return UnitData("movies", histories(70, 1), histories(40, 2), by_id=ById(ITEMS, USERS))


def product(data: UnitData) -> Trainer:
    """Two lanes in one pack, with values at which every part of model and prompt matters."""
    pack = Pack("p", "own", tuple(Lane(i, 0, options, "movies") for i, options in enumerate(LANES)))
    units, of_lanes = {"movies": data}, [settings(JOB, ROW, lane) for lane in pack.lanes]
    trainer = train_with(JOB, pack, ROW, of_lanes, HISTORIES, units, table_feed(JOB, pack, units, 32), dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*trainer.model.fixed.values(), *trainer.model.trained.values()):
            tensor += 0.3 * torch.randn(tensor.shape, generator=draw)
    return trainer


def yardsticks(trainer: Trainer, data: UnitData) -> list[Training]:
    weights = {name: tensor[0] for name, tensor in trainer.model.fixed.items()}
    rows = upsr.plain_rows(HISTORIES, data, weights, upsr.given(iter([trainer]), 2)).load()
    lanes = (Lane(i, 0, options) for i, options in enumerate(LANES))
    return [rows.training(configuration(upsr, settings(JOB, ROW, lane)), lane.trial) for lane in lanes]


@torch.no_grad()
def scores(training: Training, user: np.ndarray) -> torch.Tensor:
    """In the order of the product's validation: by user."""
    return training.scores()[user.argsort(kind="stable")]


def test_the_same_weights_give_the_same_scores_before_and_after_an_epoch() -> None:
    data = world()
    trainer, user = product(data), data.valid.columns["user"]
    plain = yardsticks(trainer, data)
    ours = trainer.validation["movies"].scores(trainer.model)
    for lane, training in enumerate(plain):
        torch.testing.assert_close(scores(training, user), ours[lane], atol=1e-9, rtol=0)
    for _ in range(2):
        trainer.epoch()
        after = trainer.validation["movies"].scores(trainer.model)
        assert (after - ours).abs().amax((1, 2)).min() > 0.01
        for lane, training in enumerate(plain):
            training.epoch()
            torch.testing.assert_close(scores(training, user), after[lane], atol=1e-9, rtol=0)
            assert abs(training.best - trainer.results()[lane].best) < 1e-6
