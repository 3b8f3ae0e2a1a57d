"""A finished run of cold items, made once in this process: what came after it, and what is left of it, is asked of copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raytune_rec import config, pipeline
from tests.pipeline.here import without_ray

COLD = """[data]
source = "tabular"
split = { kind = "cold_items", cold = 0.4, cold_least = 12, cold_kept = 4, cold_held = 8 }
sequences = { length = 6, negatives = 5 }
[data.options]
files = "taken.csv"
domain = "shop"
columns = { user = "user", item = "item", timestamp = "time" }
[data.options.features]
tags = { role = "item", kind = "multi", separator = " " }
"""
"""Data of a job whose log says who took what when, and whose items have tags."""
JOB = (
    f'name = "grows"\nseed = 2\n{COLD}'
    """price = { role = "item", kind = "numerical" }
[backbone]
name = "dssm"
options = { width = 8, blocks = 1, heads = 1, inner = 8 }
[training]
objective = "next_bce"
metric = "ndcg@10"
batch_size = 32
epochs = 2
lr = { default = 0.02 }
[pretrain]
workers = 0
[pretrainings.plain]
[tune]
trials = 2
[methods.popularity]
strategy = "single"
backbone = "popularity"
baseline = true
[methods.finetune]
strategy = "finetune_all"
pretraining = "plain"
space = ["sequence"]
[methods.promo]
strategy = "prompt"
prompt = "promo"
pretraining = "plain"
options = { "prompt.feedback" = 3, "prompt.width" = 5, "training.lr.prompt" = 0.05, "training.patience" = 9 }
[evaluate]
replicates = 2
bootstrap = 100
compare = ["promo"]
export = "promo"
"""
)


def log(path: Path, items: int, users: int = 50) -> None:
    """What users took of 30 items, and of the first so many that came later; those who came later took some of all."""
    draw = np.random.default_rng(3)
    lines = [(user, item) for user in range(50) for item in draw.choice(30, 14, replace=False)]
    lines += [(user, 30 + item) for item in range(6) for user in draw.choice(50, 16, replace=False)]
    lines = [line for line in lines if line[1] < 30 + items]
    lines += [(user, item) for user in range(50, users) for item in draw.choice(30 + items, 8, replace=False)]
    taken = pd.DataFrame(lines, columns=["user", "item"])
    taken["time"] = 10**9 + np.random.default_rng(1).permutation(2000)[: len(taken)] + 5000 * (taken["item"] >= 30)
    taken["tags"] = [f"t{i % 4} t{i % 7} {'unmet' * (i == 31)}" for i in taken["item"]]
    taken["price"] = taken["item"] ** 2.0
    taken[["user", "item"]] = "n" + taken[["user", "item"]].astype(str)
    taken.to_csv(path, index=False)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grows")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        without_ray(patch)
        log(folder / "taken.csv", 0)
        (folder / "job.toml").write_text(JOB)
        pipeline.run(config.read(folder / "job.toml"), folder / "run", say=lambda line: None)
    return folder


@pytest.fixture
def here(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(finished)
    without_ray(monkeypatch)
    return finished
