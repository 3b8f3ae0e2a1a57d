"""A model with parts of each domain's own, pre-trained on all, tuned on each and served as one bank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from raytune_rec import pipeline
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.config import parse
from raytune_rec.data.stored.distances import distances
from raytune_rec.data.stored.store import Store
from raytune_rec.scoring.load import load_prompts
from raytune_rec.storage.files import read_json
from tests.pipeline.here import without_ray
from tests.pipeline.test_best import JOB

SIZES = {"a": 900, "b": 600, "c": 200, "d": 200, "e": 200, "f": 200}
STAR = {
    "data": {"source": "synthetic", "options": {"interactions": SIZES, "users": 60, "items": 40, "cold": 0}},  # nobody is unknown
    "backbone": {"name": "star", "options": {"width": 8, "hidden": [8], "tower": [4], "partitioned_norm": True}},
    "methods": {
        "domain": {"strategy": "finetune_partial:domain", "pretraining": "plain"},
        "all": {"strategy": "finetune_all", "pretraining": "plain", "baseline": True},
    },
    "evaluate": {"replicates": 1, "bootstrap": 100, "export": "domain"},
}


def test_statistics_of_domains_are_pretrained_tuned_and_served_and_distances_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ray(monkeypatch)
    out = tmp_path / "run"
    pipeline.run(parse({**JOB, **STAR}), out, say=lambda line: None)
    backbone = backbone_artifact.of_run(out)["plain"]
    sizes = read_json(out / "results.json")["sizes"]
    assert sizes["distances"] == distances(Store.open(out / "data").lookup) and set(sizes["distances"]) == set(SIZES)
    assert {u for units in sizes["nearness"].values() for u in units} == set(SIZES)
    pretrained = backbone_artifact.load(backbone)[1]["backbone.norm.var"]
    assert pretrained.shape == (7, 48) and not pretrained[0].any() and bool((pretrained[1:] != 1).all())
    folders = [out / "artifacts" / unit for unit in ("a", "b")]
    bank, store = load_prompts(folders, backbone), Store.open(out / "data")
    users, items = (np.array(["", *store.vocabulary(name)["raw"].to_pylist()]) for name in ("user", "item"))
    for folder in folders:
        test = store.load(folder.name, "test")
        rows = {"user": users[test.columns["user"]].tolist(), "item": items[test.columns["item"]].tolist()}
        assert test.columns["user"].all() and test.columns["item"].all()
        scores, reached = bank.score({"unit": [folder.name] * len(test), **rows}), prompt_artifact.read(folder).test
        assert reached is not None and roc_auc_score(test.label, scores) == pytest.approx(reached["auc"], abs=1e-6)
