"""As `test_yardstick`, of PROMO: both losses included, with the product's negatives and strangers, borrowed feedback among it."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.sweep import promo
from benchmarks.sweep.case import configuration
from benchmarks.sweep.plain_promo import Training
from raytune_rec.schema.contract import MEMBER
from raytune_rec.schema.prepared import ById, DataSchema, Feedback, Field, Items, Table, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.task import Task
from raytune_rec.tensors import pad
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import settings
from tests.training.conftest import AS_HISTORIES, job

FIELDS = (
    Field("user", "categorical", "user", 41),
    Field("item", "categorical", "item", 31),
    Field("domain", "categorical", "domain", 2),
    Field("gender", "categorical", "user", 4),
    Field("genre", "categorical", "item", 5),
)
SCHEMA = DataSchema(FIELDS, ("movies",), "0" * 16, task=Task("lists", 6))
BACKBONE = {"name": "dssm", "options": {"width": 8, "heads": 2, "inner": 12, "dropout": 0.0}}
TRAINING = {"objective": "next_bce", "metric": "ndcg@10", "batch_size": 8, "epochs": 3, "lr": {"default": 0.01}}
JOB = job(data=AS_HISTORIES, backbone=BACKBONE, training=TRAINING)
ROW = Method("own", Strategy("own", "scratch", ("prompt",), "on"), "dssm", "promo")
LANES = [
    {"prompt.feedback": 2, "prompt.width": 5, "prompt.feedback_weight": 1.0, "training.lr.prompt": 0.03},
    {"prompt.feedback": 9, "prompt.fusion_width": 7, "prompt.fairness_weight": 2.0, "training.weight_decay.prompt": 0.01},
]
MEMBERS = np.array([26, 27, 28, 29, 30])


def world() -> UnitData:
    """Items that four users took, the last of which are new; a row of training for each of their events."""
    draw = np.random.default_rng(3)
    users = np.concatenate([draw.permutation(np.arange(1, 41))[:4] for _ in range(30)])
    times = np.sort(draw.integers(0, 1000, (30, 4)), axis=1).reshape(-1)
    start = np.concatenate([[0, 0], np.arange(4, 124, 4)])
    stay, value = draw.random(120).astype(np.float32), draw.integers(1, 6, 120).astype(np.float32)
    items = Items({"genre": draw.integers(0, 5, 31)}, np.diff(start), Feedback(start, users, times, value, stay, times))
    genders = draw.integers(0, 4, 41)
    by_id = ById(items, {"user": np.arange(41), "gender": genders}, MEMBERS)
    places = np.concatenate([np.arange(start[i], start[i + 1]) for i in MEMBERS])
    length = draw.integers(0, 7, len(places))
    target = np.zeros((len(places), 7), np.int64)
    target[np.arange(len(places)), length] = np.repeat(MEMBERS, 4)
    train = _table(users[places], genders, length, draw, {"target": target})
    valid = {"candidates": np.stack([draw.permutation(np.arange(1, 31))[:12] for _ in range(60)])}
    own = np.concatenate([[0], MEMBERS])
    rows = _table(draw.integers(1, 41, 60), genders, draw.integers(0, 7, 60), draw, valid)
    return UnitData("movies", train, rows, {MEMBER: own}, {MEMBER: own > 0}, by_id)


def _table(
    user: np.ndarray, genders: np.ndarray, length: np.ndarray, draw: np.random.Generator, more: dict[str, np.ndarray]
) -> Table:
    history = draw.integers(1, 31, (len(user), 6)) * (np.arange(6) < length[:, None])
    columns = {"user": user, "gender": genders[user], "domain": np.ones(len(user), np.int64), "history": history}
    return Table({**columns, **more}, np.ones(len(user), np.float32))


def product(data: UnitData) -> Trainer:
    """Two lanes in one pack, with values at which every part of model and prompt matters."""
    pack = Pack("p", "own", tuple(Lane(i, 0, options, "movies") for i, options in enumerate(LANES)))
    units, of_lanes = {"movies": data}, [settings(JOB, ROW, lane) for lane in pack.lanes]
    trainer = train_with(JOB, pack, ROW, of_lanes, SCHEMA, units, table_feed(JOB, pack, units, 8))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in {**trainer.model.fixed, **trainer.model.trained}.items():
            shapes = [own.get(name, tensor.shape[1:]) for own in trainer.model.shapes]
            tensor += 0.3 * pad([torch.randn(shape, generator=draw) for shape in shapes[: len(tensor)]])
            if name in ("backbone.item", "backbone.user") or name.startswith("backbone.of."):
                tensor[:, 0] = 0
    trainer.model.held = None
    trainer.model = trainer.model.holding()
    return trainer


def yardsticks(trainer: Trainer, data: UnitData) -> list[Training]:
    weights = {name: tensor[0] for name, tensor in trainer.model.fixed.items()}
    rows = promo.plain_rows(SCHEMA, data, weights, promo.given(iter([trainer]), 2)).load()
    lanes = (Lane(i, 0, options) for i, options in enumerate(LANES))
    return [rows.training(configuration(promo, settings(JOB, ROW, lane)), lane.trial) for lane in lanes]


@torch.no_grad()
def scores(training: Training, user: np.ndarray) -> torch.Tensor:
    """In the order of the product's validation: by user."""
    return training.model.eval().scores(training.states)[user.argsort(kind="stable")]


def test_the_same_weights_give_the_same_scores_before_and_after_an_epoch() -> None:
    data = world()
    trainer, user = product(data), data.valid.columns["user"]
    plain = yardsticks(trainer, data)
    told = zip(plain[0].data.best_of_rows.tolist(), plain[0].data.took.tolist(), strict=True)
    assert any(not {*best} <= {*took} for best, took in told), "no row's item borrows"
    ours = trainer.validation["movies"].scores(trainer.model)
    for lane, training in enumerate(plain):
        torch.testing.assert_close(scores(training, user), ours[lane], atol=1e-4, rtol=0)
    for _ in range(2):
        trainer.epoch()
        after = trainer.validation["movies"].scores(trainer.model)
        assert (after - ours).abs().amax((1, 2)).min() > 0.05
        for lane, training in enumerate(plain):
            training.epoch()
            torch.testing.assert_close(scores(training, user), after[lane], atol=1e-4, rtol=0)
            assert abs(training.best - trainer.results()[lane].best) < 1e-3
