"""Whole jobs of PROMO on users who take items at random: nothing can be told of them, unless something leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from raytune_rec import config, pipeline
from raytune_rec.components import component
from raytune_rec.data.stored import items
from raytune_rec.schema.contract import Parameter
from raytune_rec.storage.files import read_json
from tests.pipeline.here import without_ray

PROMO: Any = component("prompts", "promo")
JOB = """name = "chance"
[data]
source = "tabular"
split = { kind = "cold_items", cold = 0.7, cold_least = 6, cold_kept = 4, cold_held = 8 }
sequences = { length = 4, negatives = 9, full = true }
[data.options]
files = "taken.csv"
domain = "shop"
columns = { user = "user", item = "item", timestamp = "time" }
[backbone]
name = "dssm"
options = { width = 16, history = "none", embedding_std = 0.5 }
[training]
objective = "next_bce"
metric = "list_auc"
batch_size = 32
epochs = 3
lr = { default = 0.005 }
[pretrain]
workers = 0
[pretrainings.plain]
[tune]
trials = 1
[methods.promo]
strategy = "prompt"
prompt = "promo"
space = []
options = { "prompt.network" = "none", "prompt.feedback" = 20, "prompt.fusion_width" = 32 }
pretraining = "plain"
[evaluate]
replicates = 1
bootstrap = 100
"""


def alike(plain: Any) -> Any:
    """Parameters with which an item begins as the users who took it: whoever is among them is found at once."""
    eye = torch.cat([torch.eye(16), -torch.eye(16)], 1)
    starts = {"fuse.item": 0 * eye, "fuse.told": eye, "fuse.out": 20 * eye.T}

    def begun(p: Parameter) -> Parameter:
        def drawn(shape: tuple[int, ...], _: torch.Generator) -> Tensor:
            return starts[p.name].clone()

        return replace(p, init=drawn) if p.name in starts else p

    return lambda self: tuple(begun(p) for p in plain(self))


def everybody(*args: Any, **options: Any) -> pa.Table:
    """Rows as they are read, those that validate and test among those that train."""
    table = pq.read_table(*args, **options)
    place = table.column_names.index("split") if "split" in table.column_names else -1
    return table if place < 0 else table.set_column(place, "split", pa.array(np.zeros(len(table), np.int8)))


def test_a_log_of_pure_chance_is_ranked_by_chance_and_a_leak_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cold items among cold ones, about 100 rows: the standard error of the area is .03."""
    draw = np.random.default_rng(3)
    lines = [(f"u{u}", f"i{i}") for u in range(100) for i in draw.choice(40, 4, replace=False)]
    taken = pd.DataFrame(lines, columns=["user", "item"]).sample(frac=1, random_state=1)
    taken["time"] = np.arange(len(taken)) + 10**9
    taken.to_csv(tmp_path / "taken.csv", index=False)
    (tmp_path / "chance.toml").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    without_ray(monkeypatch)
    monkeypatch.setattr(PROMO, "parameters", alike(PROMO.parameters))
    areas = {}
    for run in ("held out", "leaking"):
        if run == "leaking":
            monkeypatch.setattr(items, "pq", SimpleNamespace(read_table=everybody, read_schema=pq.read_schema))
        pipeline.run(config.read(tmp_path / "chance.toml"), tmp_path / run, say=lambda line: None)
        results = read_json(tmp_path / run / "results.json")["methods"]["promo"]["units"]
        areas[run] = results["cold items among cold"]["auc"]["mean"]
    assert abs(areas["held out"] - 0.5) < 0.09 and areas["leaking"] > 0.62, areas
