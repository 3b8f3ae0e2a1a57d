"""Prepared data and a job small enough to pre-train in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raytune_rec.components import component, options_of
from raytune_rec.config import Job, parse
from raytune_rec.data.preparing.preparation import prepare
from raytune_rec.data.stored.store import Store
from raytune_rec.job.data import DataOptions
from raytune_rec.pretraining.pretraining import Pretraining
from raytune_rec.schema.work import Lane, recipe_of
from raytune_rec.training.settings import Resolved, method_of, resolve

# 3176 training rows: three blocks and a part of one
DATA: dict[str, Any] = {
    "source": "synthetic",
    "options": {"interactions": {"feed": 2000, "search": 1300, "banner": 700}, "users": 80, "items": 40},
    "block_rows": 1024,
}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepared(tmp_path_factory.mktemp("data") / "store", DATA)


def prepared(folder: Path, data: dict[str, Any]) -> Store:
    options = DataOptions(**data)
    source = component("data.sources", options.source)(options_of("data.sources", options.source, options.options))
    prepare(options, source, folder)
    return Store.open(folder)


def job(workers: int = 0, batch_size: int = 128, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "name": "small",
        "seed": 3,
        "data": DATA,
        "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [8, 6], "dropout": 0.3, "batch_norm": True}},
        "training": {"batch_size": batch_size, "lr": {"default": 0.01}},
        "pretrain": {"workers": workers, "training": {"epochs": 4}},
        "pretrainings": {"plain": {}, "plate": {"prompt": "plate"}, "pte": {"prompt": "plate", "learn_prompt": False}},
        "methods": {"pretrained": {"strategy": "pretrained", "pretraining": "plain"}},
    }
    return parse(values | changes)


def recipe_in(of: Job, name: str) -> Resolved:
    return resolve(of, method_of(of, recipe_of(name)))


@pytest.fixture
def plan(store: Store, tmp_path: Path) -> Callable[..., Pretraining]:
    def make(of: Job, name: str = "plate", folder: str = "backbone") -> Pretraining:
        return Pretraining(recipe_in(of, name), Lane(0), 0, store.path, tmp_path / folder, tmp_path)

    return make
