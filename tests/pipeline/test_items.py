"""A whole job of a backbone that makes items of their features, by id: the store gives them to every stage, and to the scorer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from raytune_rec import config, pipeline
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.data.stored.store import Store
from raytune_rec.scoring import load_prompts
from raytune_rec.storage.files import read_json
from tests.pipeline.here import without_ray
from tests.training.conftest import OWN

JOB = """name = "items"
components = ["{own}"]
[data]
source = "tabular"
[data.options]
files = "log.csv"
columns = {{ domain = "site", user = "user", item = "item", label = "label" }}
shared_items = true
[data.options.features]
tags = {{ role = "item", kind = "multi", separator = " " }}
[backbone]
name = "two_towers"
[training]
batch_size = 64
epochs = 3
lr = {{ default = 0.05 }}
[pretrain]
workers = 0
[pretrainings.plain]
[tune]
trials = 2
[methods.all]
strategy = "finetune_all"
pretraining = "plain"
[evaluate]
replicates = 2
bootstrap = 100
export = "all"
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Two sites that share users and items; who likes what follows from an item's tags."""
    draw = np.random.default_rng(3)
    rows = pd.DataFrame(
        {"site": np.repeat(["shop", "fair"], 400), "user": draw.integers(0, 30, 800), "item": draw.integers(0, 40, 800)}
    )
    tags = [f"t{i % 4} t{i % 7}" for i in range(40)]
    rows["label"] = ((rows["user"] + rows["item"]) % 4 < 2).astype(int)
    rows["tags"] = [tags[i] for i in rows["item"]]
    rows = rows.drop_duplicates(["site", "user", "item"])
    rows[["user", "item"]] = "n" + rows[["user", "item"]].astype(str)
    rows.to_csv(tmp_path / "log.csv", index=False)
    monkeypatch.chdir(tmp_path)
    without_ray(monkeypatch)
    return rows


def test_a_backbone_of_items_runs_as_a_job_and_its_artifacts_serve_together(log: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "items.toml").write_text(JOB.format(own=OWN))
    out = tmp_path / "run"
    pipeline.run(config.read(tmp_path / "items.toml"), out, say=lambda line: None)
    store, results = Store.open(out / "data"), read_json(out / "results.json")
    artifacts = [out / "artifacts" / site for site in ("shop", "fair")]
    winners = [read_json(out / "winners" / "all" / site / "winner.json") for site in ("shop", "fair")]
    served = load_prompts(artifacts, backbone_artifact.of_run(out)["plain"], components=[OWN])
    names = {name: np.array(["", *store.vocabulary(name)["raw"].to_pylist()]) for name in ("user", "item")}
    for site, winner in zip(("shop", "fair"), winners, strict=True):
        rows = store.load(site, "valid")
        raw = {name: names[name][rows.columns[name]].tolist() for name in names}
        best = max(replicate["best"] for replicate in winner["replicates"])
        area = roc_auc_score(rows.label, np.asarray(served.score({**raw, "unit": [site] * len(rows)})))
        assert area == pytest.approx(best, abs=1e-6)
        assert results["methods"]["all"]["units"][site]["auc"]["mean"] > 0.6
