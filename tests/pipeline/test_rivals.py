"""Rivals of PROMO in a whole job, on users who go round the items of one tag: attributes and what follows an item tell them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raytune_rec import config, pipeline
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.data.stored.store import Store
from raytune_rec.scoring.load import load_prompts
from raytune_rec.storage.files import read_json
from tests.pipeline.conftest import COLD
from tests.pipeline.here import served_ndcg, without_ray

JOB = (
    f'name = "rivals"\n{COLD}'
    """[backbone]
name = "dssm"
options = { width = 8, history = "none" }
[training]
objective = "next_bce"
metric = "ndcg@10"
batch_size = 32
epochs = 5
lr = { default = 0.03 }
[pretrain]
workers = 0
[pretrain.training]
epochs = 10
[pretrainings.plain]
[pretrainings.cdn]
options = { "backbone.gate" = true }
[tune]
trials = 1
[methods.popularity]
strategy = "single"
backbone = "popularity"
[methods.transitions]
strategy = "single"
backbone = "transitions"
options = { "backbone.similarity" = 0.5, "backbone.even" = 0.5 }
[methods.cb2cf]
strategy = "prompt"
prompt = "cb2cf"
pretraining = "plain"
options = { "prompt.known" = 10 }
[methods.meta_emb]
strategy = "prompt"
prompt = "meta_emb"
pretraining = "plain"
options = { "prompt.known" = 10 }
[methods.cdn]
strategy = "finetune_all"
pretraining = "cdn"
options = { "backbone.gate" = true }
[evaluate]
replicates = 1
bootstrap = 100
export = "meta_emb"
"""
)


def test_rivals_are_tuned_tested_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    lines = [(u, i) for u in range(60) for i in draw.permutation([i for i in range(48) if i % 4 == u % 4])]
    taken = pd.DataFrame(lines, columns=["user", "item"])
    taken["time"] = np.concatenate([np.sort(draw.permutation(10**6)[:12]) + 10**9 for _ in range(60)])
    taken["tags"] = [f"t{i % 4}" for i in taken["item"]]
    taken[["user", "item"]] = "n" + taken[["user", "item"]].astype(str)
    taken.to_csv(tmp_path / "taken.csv", index=False)
    (tmp_path / "rivals.toml").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    without_ray(monkeypatch)
    out = tmp_path / "run"
    pipeline.run(config.read(tmp_path / "rivals.toml"), out, say=lambda line: None)
    methods = read_json(out / "results.json")["methods"]
    areas = {name: facts["units"]["cold items"]["auc"]["mean"] for name, facts in methods.items()}
    assert min(areas[name] for name in ("transitions", "cb2cf", "meta_emb", "cdn")) > max(0.8, areas["popularity"]), areas
    store = Store.open(out / "data")
    (unit,) = store.schema.units
    best = {name: read_json(out / "winners" / name / unit.name / "winner.json")["replicates"][0] for name in methods}
    assert all(len(set(best[name]["curve"])) > 1 for name in ("cb2cf", "meta_emb", "cdn")), "their curves move"
    served = load_prompts([out / "artifacts" / unit.name], backbone_artifact.of_run(out)["plain"])
    assert served_ndcg(served, store, unit) == pytest.approx(best["meta_emb"]["best"], abs=1e-5), (
        "an artifact knows who took its items"
    )
