"""A log whose rows of a user have one time, and whose items are random: nothing can be learned from it, and nothing is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from raytune_rec import config, pipeline
from raytune_rec.storage.files import read_json
from tests.pipeline.here import without_ray

JOB = """
name = "one_time"
[data]
source = "tabular"
split = { kind = "leave_one_out" }
sequences = { length = 10, negatives = 20 }
[data.options]
files = "log.csv"
domain = "x"
columns = { user = "user", item = "item", timestamp = "time" }
[backbone]
name = "sasrec"
options = { width = 8, blocks = 1, heads = 1, inner = 8 }
[training]
objective = "softmax"
metric = "ndcg@10"
epochs = 12
batch_size = 16
lr = { default = 0.01 }
[tune]
trials = 1
[methods.popularity]
strategy = "single"
backbone = "popularity"
[methods.sasrec]
strategy = "single"
[evaluate]
replicates = 1
bootstrap = 100
"""


def test_models_of_order_and_of_popularity_are_at_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ties by item id an order in time that no user has gives .73 and .11."""
    draw = random.Random(0)
    rows = [f"u{u},i{i:02d},{u}" for u in range(500) for i in draw.sample(range(60), 8)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,time", *rows]) + "\n")
    (tmp_path / "job.toml").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    without_ray(monkeypatch)
    pipeline.run(config.read(Path("job.toml")), tmp_path / "run", until="evaluate", say=lambda line: None)
    methods = read_json(tmp_path / "run" / "results.json")["methods"]
    auc = {name: method["mean"]["auc"]["mean"] for name, method in methods.items()}
    assert auc == pytest.approx({"popularity": 0.5, "sasrec": 0.5}, abs=0.05), "chance, give or take .013"
