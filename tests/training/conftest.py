"""A small world in memory: two domains, users with a profile, items with tags and a price. No store, no cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.components import component
from raytune_rec.config import Job, parse
from raytune_rec.schema.contract import MEMBER
from raytune_rec.schema.prepared import ById, DataSchema, Feedback, Field, Items, Phrases, Table, UnitData
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.task import Task
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import method_of, settings

OWN = Path(__file__).parents[1] / "components"
"""Components that show what the seams carry; they keep to every contract."""

FIELDS = (
    Field("user", "categorical", "user", 41),
    Field("item", "categorical", "item", 31),
    Field("domain", "categorical", "domain", 3),
    Field("gender", "categorical", "user", 4),
    Field("tags", "multi", "item", 8, length=3),
    Field("price", "numerical", "item", 4, mean=2.0, std=1.5, edges=(1.0, 3.0)),
)
SCHEMA = DataSchema(FIELDS, ("music", "book"), "0" * 16)


def table(rows: int, seed: int) -> Table:
    draw = np.random.default_rng(seed)
    user, item = draw.integers(1, 41, rows), draw.integers(1, 31, rows)
    tags = draw.integers(1, 8, (rows, 3))
    tags[draw.random((rows, 3)) < 0.4] = 0
    price = draw.normal(2, 1.5, rows).astype(np.float32)
    price[draw.random(rows) < 0.1] = np.nan
    logit = np.sin(user) + np.cos(item) + 0.5 * np.nan_to_num(price)
    label = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    columns = {
        "user": user,
        "item": item,
        "domain": np.ones(rows, dtype=np.int64),
        "gender": user % 3 + 1,
        "tags": tags,
        "price": price,
    }
    return Table(columns, label)


AGE = Field("age", "numerical", "user", 4, mean=3.0, std=1.5, edges=(1.0, 3.0))
TASTE = Field("taste", "vector", "user", 0, length=3, means=(0.0, 0.0, 2.0), stds=(0.7, 0.7, 0.8))
TITLE = Field("title", "text", "item", 12, length=5)
MEANING = Field("meaning", "vector", "item", 0, length=9)
PHRASES = Phrases((2, 3), (4,), (5, 6), (9, 8, 7), 0, 1, 2)
HISTORIES = DataSchema(
    (*FIELDS[:5], AGE, TASTE), ("movies",), "0" * 16, task=Task("lists", 6), texts=(TITLE,), phrases=PHRASES, vectors=(MEANING,)
)
"""Rows that are users with histories."""


def histories(rows: int, seed: int) -> Table:
    """Users who go round the items, two steps at a time or three, as their gender says: the next item is known."""
    draw = np.random.default_rng(seed)
    user, length = draw.integers(1, 41, rows), draw.integers(0, 7, rows)
    gender = user % 3 + 1
    place = draw.integers(0, 30, rows)[:, None] + np.arange(7) * (1 + gender[:, None])
    events = place % 30 + 1
    history = events[:, :6] * (np.arange(6) < length[:, None])
    target = np.where((np.arange(7) <= length[:, None]) & (np.arange(7) > 0), events, 0)
    target[length == 0, 0] = events[length == 0, 0]
    positive = events[np.arange(rows), length]
    others = np.stack([draw.permutation(np.setdiff1d(np.arange(1, 31), [p]))[:9] for p in positive])
    age = draw.normal(3, 1.5, rows).astype(np.float32)
    age[draw.random(rows) < 0.1] = np.nan
    taste = np.stack([np.sin(user), np.cos(user), gender], 1).astype(np.float32)
    taste[user % 10 == 0] = np.nan
    columns = {
        "user": user,
        "domain": np.ones(rows, dtype=np.int64),
        "gender": gender,
        "age": age,
        "taste": taste,
        "history": history,
        "target": target,
        "candidates": np.concatenate([positive[:, None], others], axis=1),
    }
    return Table(columns, np.ones(rows, np.float32))


AS_HISTORIES = {"source": "tabular", "split": {"kind": "leave_one_out"}, "sequences": {"length": 6}}
"""What a job says of such rows."""


def world_of(backbone: str) -> tuple[DataSchema, Callable[[int, int], Table]]:
    """The data on which a backbone can be tried."""
    return (SCHEMA, table) if "rows" in component("backbones", backbone, [OWN]).tasks else (HISTORIES, histories)


def _items() -> Items:
    """Tags, a text of up to five tokens, and a price; the last items are cold, and of each of them some users are fans."""
    draw = np.random.default_rng(5)
    tags, title = draw.integers(0, 8, (31, 3)), draw.integers(0, 12, (31, 5))
    tags[0] = title[0] = 0
    fans = [0, *[2] * 27, 4, 1, 0]
    start = np.cumsum([0, *fans])
    events = int(start[-1])
    one = np.ones(events, np.float32)
    place = np.arange(events)
    feedback = Feedback(start, draw.integers(1, 41, events), place, one, one * place % 3, place)
    price = np.where(np.arange(31) % 9 == 4, np.nan, np.arange(31) / 8).astype(np.float32)
    meaning = draw.normal(size=(31, 9)).astype(np.float32)
    return Items({"tags": tags, "title": title, "price": price, "meaning": meaning}, np.array(fans), feedback)


ITEMS = _items()
_NUMBERS = np.arange(41)
USERS = {
    "user": _NUMBERS,
    "gender": _NUMBERS % 3 + 1,
    "age": (_NUMBERS % 7).astype(np.float32),
    "taste": np.stack([np.sin(_NUMBERS), np.cos(_NUMBERS), _NUMBERS % 3 + 1], 1).astype(np.float32),
}


def unit_of(unit: str, train: Table, valid: Table, members: Sequence[int] = (28, 29, 30)) -> UnitData:
    """A unit in this world, whose own items are cold ones."""
    own = np.array([0, *members])
    return UnitData(unit, train, valid, {MEMBER: own}, {MEMBER: own > 0}, ById(ITEMS, USERS, own[1:]))


def objective(backbone: str) -> str:
    """One that the backbone can be trained with."""
    returns = component("backbones", backbone, [OWN]).returns
    if "text" in returns:
        return "masked_text"
    return "bce" if "logit" in returns else "bpr" if "state" in returns else "masked_item"


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "name": "small",
        "seed": 3,
        "components": [str(OWN)],
        "data": {"source": "synthetic"},
        "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [8, 6], "dropout": 0.3}},
        "training": {"batch_size": 64, "epochs": 3, "lr": {"default": 0.01}},
        "pretrainings": {"plain": {}, "plate": {"prompt": "plate"}, "pte": {"prompt": "plate", "learn_prompt": False}},
        "methods": {
            "single": {"strategy": "single"},
            "linear": {"strategy": "single", "backbone": "linear"},
            "finetune": {"strategy": "finetune_all", "pretraining": "plain"},
            "prompt": {"strategy": "prompt", "prompt": "plate", "pretraining": "plate"},
            "prompt_linear": {"strategy": "prompt_linear", "prompt": "plate", "pretraining": "plate"},
        },
    }
    return parse(values | changes)


@pytest.fixture(scope="session")
def world() -> UnitData:
    return UnitData("music", table(700, 1), table(300, 2))


Make = Callable[..., Trainer]


@pytest.fixture
def make(world: UnitData) -> Make:
    """A trainer for lanes of a row that starts from scratch."""

    def build(
        row: str,
        lanes: Sequence[Mapping[str, Any]],
        dtype: torch.dtype = torch.float64,
        of: Job | None = None,
        data: UnitData | None = None,
    ) -> Trainer:
        own, data = of or job(), data or world
        names = tuple(
            Lane(i, options.get("replicate", 0), {k: v for k, v in options.items() if "." in k}, data.unit)
            for i, options in lanes_of(lanes)
        )
        pack = Pack("p", row, names)
        found = method_of(own, row)
        of_lanes = [settings(own, found, lane) for lane in names]
        units = {data.unit: data}
        feed = table_feed(own, pack, units, of_lanes[0].training.batch_size)
        return train_with(own, pack, found, of_lanes, SCHEMA, units, feed, dtype=dtype)

    return build


def lanes_of(lanes: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """A lane's trial number is its own (`trial`), or its place."""
    return [(options.get("trial", i), options) for i, options in enumerate(lanes)]
