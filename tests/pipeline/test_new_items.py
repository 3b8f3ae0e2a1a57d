"""Whole jobs of cold items that no pre-training knows, and what is served of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raytune_rec import config, pipeline
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.data.stored.store import Store
from raytune_rec.job import shipped
from raytune_rec.scoring import load_prompts
from raytune_rec.storage.files import read_json
from tests.pipeline.here import served_ndcg, without_ray

JOB = """name = "new"
seed = 2
[data]
source = "tabular"
split = { kind = "cold_items", cold = 0.4, cold_least = 12, cold_kept = 0, cold_from = 4, cold_held = 8 }
sequences = { length = 6, negatives = 5, full = true }
[data.options]
files = "taken.csv"
domain = "shop"
columns = { user = "user", item = "item", timestamp = "time" }
[data.options.features]
tags = { role = "item", kind = "multi", separator = " " }
[backbone]
name = "dssm"
options = { width = 8, history = "none" }
[backbones.sasrec]
width = 8
[training]
objective = "next_bce"
metric = "ndcg@10"
batch_size = 32
epochs = 3
lr = { default = 0.02 }
[pretrain]
workers = 0
[pretrain.training]
epochs = 12
"lr.default" = 0.03
[pretrainings.plain]
[pretrainings.sasrec]
backbone = "sasrec"
[tune]
trials = 2
[methods.popularity]
strategy = "single"
backbone = "popularity"
[methods.pretrained]
strategy = "pretrained"
pretraining = "plain"
[methods.finetune]
strategy = "finetune_all"
pretraining = "plain"
[methods.sasrec]
strategy = "pretrained"
pretraining = "sasrec"
[methods.promo]
strategy = "prompt"
prompt = "promo"
pretraining = "plain"
[methods.feedback_mean]
strategy = "tuning_free"
prompt = "feedback_mean"
pretraining = "plain"
[evaluate]
replicates = 1
bootstrap = 100
export = "feedback_mean"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """30 items with two tags each; who takes one follows from these."""
    draw = np.random.default_rng(3)
    tags = np.array([[i % 4, i % 7] for i in range(30)])
    lines = []
    for user in range(50):
        liked = np.where((tags == [user % 4, user % 7]).any(1), 30.0, 1.0)
        lines += [(user, i) for i in draw.choice(30, 14, replace=False, p=liked / liked.sum())]
    taken = pd.DataFrame(lines, columns=["user", "item"]).sample(frac=1, random_state=1)
    taken["time"] = np.arange(len(taken)) + 10**9
    taken["tags"] = [f"t{tags[i][0]} s{tags[i][1]}" for i in taken["item"]]
    taken[["user", "item"]] = "n" + taken[["user", "item"]].astype(str)
    taken.to_csv(tmp_path / "taken.csv", index=False)
    monkeypatch.chdir(tmp_path)
    without_ray(monkeypatch)
    return tmp_path


def test_items_that_no_pretraining_knows_are_ranked_and_served_by_what_is_known_of_them(here: Path) -> None:
    (here / "new.toml").write_text(JOB)
    out, said = here / "run", list[str]()
    pipeline.run(config.read(here / "new.toml"), out, say=lambda line: said.append(str(line)))
    store, results = Store.open(out / "data"), read_json(out / "results.json")["methods"]
    (unit,), known = store.schema.units, store.schema.field("item").known
    assert store.schema.rows[unit.name, "train"] == 0 and min(unit.members) == known
    assert any("no pre-training knows them, and what a method would train on them stays as it begins" in line for line in said)
    backbones = backbone_artifact.of_run(out)
    for folder in backbones.values():
        assert backbone_artifact.read(folder).parameters["backbone.item"].shape[0] == known
    for method in ("promo", "finetune"):  # no row trains: the first values are the winner's
        (made,) = read_json(out / "winners" / method / unit.name / "winner.json")["replicates"]
        assert len(made["curve"]) == 1 and made["status"] == "complete"
        alike, other = (results[name]["units"]["all items"] for name in (method, "pretrained"))
        assert alike["auc"] == other["auc"] and alike["ndcg@10"] == other["ndcg@10"]
    among = {name: of_method["units"]["cold items among cold"]["auc"]["mean"] for name, of_method in results.items()}
    assert among["sasrec"] == among["popularity"] == 0.5, "by their ids alone they are all the same"
    assert min(among[name] for name in ("pretrained", "feedback_mean")) > 0.6, "their tags tell them"

    served = load_prompts([out / "artifacts" / unit.name], backbones["plain"])
    (winner,) = read_json(out / "winners" / "feedback_mean" / unit.name / "winner.json")["replicates"]
    assert served_ndcg(served, store, unit) == pytest.approx(winner["best"], abs=1e-5)
    items = store.lookup.catalogue[0]
    new, old = items[unit.members[0]], items[1:4].tolist()
    whole, without = (served.recommend({"user": ["n1"], "history": [past]}, k=40) for past in ([new, *old], old))
    assert whole.unknown["history"].tolist() == [True] and "history" not in without.unknown
    assert [pair for pair in without[0] if pair[0] != new] == list(whole[0]), (
        "what nobody knows is not read, nor recommended again"
    )
    assert {name for name, _ in without[0]} == set(items.tolist()) - {"", *old}


def test_each_run_of_the_curve_keeps_other_rows_and_tests_the_same() -> None:
    path = shipped.folder("jobs") / "promo_curve.toml"
    commands = [line.split() for line in path.read_text().splitlines() if line.startswith("#   raytune-rec run")]
    given = [[words[i + 1] for i, word in enumerate(words) if word == "--set"] for words in commands]
    splits = [config.read(path, settings).data.split for settings in given]
    assert [split.cold_kept for split in splits] == [0, 5, 10, 20] and {split.cold_first for split in splits} == {20}
    assert len({words[-1] for words in commands}) == 4, "each in a folder of its own"
