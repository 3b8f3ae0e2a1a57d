"""The jobs of UPSR in small, one after the other: a language model is pre-trained on domains as text and taken to a new one."""

from __future__ import annotations

import re
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raytune_rec import pipeline
from raytune_rec.artifacts.backbone import of_run
from raytune_rec.config import parse
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError
from raytune_rec.scoring import load_prompt
from raytune_rec.storage.files import read_json
from tests.pipeline.here import served_ndcg, without_ray

JOBS = Path(__file__).parents[2] / "jobs"
KINDS = ("red pen", "blue ink", "green card", "grey tape", "white glue", "black brush")
COLUMNS = {name: name for name in ("domain", "user", "item", "label", "position")}
SMALL = {"length": 64, "width": 16, "heads": 2, "head_width": 8, "inner": 32, "blocks": 1, "decoder_blocks": 1, "dropout": 0.0}


def write_log(folder: Path, domains: tuple[str, ...], users: int = 60) -> dict[str, Any]:
    """Users keep to items of one kind, which their titles name, in each domain with other items: options of the source."""
    rows, items, draw = ["domain,user,item,label,position"], ["domain,item,category,title"], np.random.default_rng(5)
    for domain in domains:
        for i in range(36):
            items.append(f"{domain},{domain[0]}{i},{KINDS[i % 6].split()[1]},{KINDS[i % 6]} no {i // 6}")
        for user in range(users):
            taken = draw.permutation(6)[:5] * 6 + user % 6
            rows += [f"{domain},{domain}{user},{domain[0]}{item},1,{place}" for place, item in enumerate(taken)]
    name = "-".join(domains)
    (folder / f"{name}.csv").write_text("\n".join(rows))
    (folder / f"{name}-items.csv").write_text("\n".join(items))
    return {
        "files": str(folder / f"{name}.csv"), "columns": COLUMNS, "items": {"files": [str(folder / f"{name}-items.csv")]},
        "features": {text: {"role": "item", "kind": "text"} for text in ("category", "title")},
    }  # fmt: skip


def small(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """A shipped job on a made-up log, with two trials and few steps."""
    values = tomllib.loads((JOBS / f"{name}.toml").read_text())
    values["data"] |= {"source": "tabular", "options": options, "sequences": {"length": 6, "negatives": 9, "full": False}}
    values["data"]["text"]["length"] = 8
    values["data"]["text"]["vectors"]["meaning"]["width"] = 6
    for pretraining in values["pretrainings"].values():
        pretraining.get("options", {}).pop("training.epochs", None)
    values["backbone"]["options"] |= SMALL
    values["backbones"] = {b: {"width": 8, "inner": 8, "blocks": 1} for b in ("sasrec", "bert4rec", "unisrec")}
    values["training"] |= {"epochs": 2, "batch_size": 16}
    values["tune"] = {"trials": 2}
    values["evaluate"] |= {"bootstrap": 100}
    for method in values["methods"].values():
        method.get("options", {}).pop("training.epochs", None)
    return values


def refused_and_mended(new: dict[str, Any], folder: Path) -> None:
    """With tokens and vectors of as many numbers, made otherwise, a backbone is not taken; what the refusals name mends it."""
    own = deepcopy(new)
    text = own["data"]["text"]
    meaning = text["vectors"]["meaning"]
    text |= {"tokenizer": "unigram", "vocabulary": 300}
    meaning["encoder"] = "words"
    for read, where, key in (("tokens", text, "tokenizer"), ("vectors", meaning, "encoder")):
        with pytest.raises(ArtifactError, match=rf"reads {read} of another .*; set data\.text.*\.{key} = '") as refused:
            pipeline.run(parse(own), folder / read, until="pretrain", say=lambda line: None)
        (where[key],) = re.findall("= '(.*)'", str(refused.value))
    pipeline.run(parse(own), folder / "mended", until="pretrain", say=lambda line: None)


def test_a_language_model_is_pre_trained_on_domains_and_ranks_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    monkeypatch.chdir(tmp_path)
    first = small("upsr_pretrain", write_log(tmp_path, ("office", "tools")))
    first["data"]["text"]["vocabulary"] = 300
    first["pretrain"] = {"workers": 0, "training": {"epochs": 12, "lr.default": 5e-3}}
    first["methods"] = {name: first["methods"][name] for name in ("popularity", "tfidf", "transitions", "pretrained")}
    first["evaluate"] = {"replicates": 1, "bootstrap": 100, "compare": ["pretrained"]}
    out = tmp_path / "runs" / "upsr_pretrain"
    pipeline.run(parse(first), out, say=lambda line: None)
    losses = read_json(out / "pretrain.json")["t5"]["losses"]
    assert losses[-1] < 0.8 * losses[0]
    areas = {name: row["mean"]["auc"]["mean"] for name, row in read_json(out / "results.json")["methods"].items()}
    assert areas["pretrained"] > 0.6, "titles name the kinds"
    assert areas["transitions"] > 0.8 > areas["popularity"], "what was taken next is of the kind"
    new = small("upsr_amazon", write_log(tmp_path, ("beauty",), 30))
    new["tune"] = {"trials": 1}
    new["methods"] = {name: new["methods"][name] for name in ("pretrained", "upsr", "soft_prompt", "unisrec_pretrained")}
    new["data"]["sequences"]["users"] = 25
    new["evaluate"] |= {"compare": ["upsr", "soft_prompt"], "shuffled": True, "retriever": "upsr", "rerank": [50]}
    refused_and_mended(new, tmp_path)
    run = tmp_path / "runs" / "upsr_amazon"
    pipeline.run(parse(new), run, say=lambda line: None)
    results = read_json(run / "results.json")
    values = {name: row["units"]["beauty"]["auc"]["mean"] for name, row in results["methods"].items()}
    assert {*values} == {*new["methods"]} and not any(row.get("failed") for row in results["methods"].values())
    assert values["unisrec_pretrained"] > 0.6, "vectors of another domain's titles mean the same"
    beauty, said = results["units"]["beauty"], results["protocol"]
    assert 10 < beauty["n"] <= 25 and "at most 25 users of a domain, by a hash (seed 0)" in said["cohort"]
    assert beauty["best 50_found"] == 1 and beauty["best 50_candidates"][1] <= 32, "all but the history of 4, of 36"
    assert "that method upsr (first replicate) ranks first" in said["best"] and "seed 1" in said["shuffled"]
    for row in results["methods"].values():
        of = row["units"]["beauty"]
        assert 0 <= of["shuffled.ndcg@10"]["low"] <= of["shuffled.ndcg@10"]["mean"] and of["best 50.ndcg@10"]["mean"] > 0
    store = Store.open(run / "data")
    served = load_prompt(run / "artifacts" / "beauty", of_run(run)["t5"])
    best = read_json(run / "winners" / "soft_prompt" / "beauty" / "winner.json")["replicates"][0]["best"]
    assert served_ndcg(served, store, store.schema.unit("beauty")) == pytest.approx(best, abs=1e-5)
