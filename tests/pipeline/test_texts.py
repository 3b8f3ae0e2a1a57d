"""The jobs of UPSR in small, one after the other: a language model is pre-trained on domains as text and taken to a new one."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import pipeline
from raytune_rec.artifacts.backbone import of_run
from raytune_rec.config import parse
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError
from raytune_rec.scoring import load_prompt
from raytune_rec.storage.files import read_json
from tests.pipeline.here import served_ndcg, without_ray
from tests.pipeline.text_jobs import small, write_log


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
    first["pretrain"] = {"workers": 0, "training": {"epochs": 12, "lr.default": 5e-3}}
    del first["pretrainings"]["t5"]["options"]  # of so few rows the last items alone say too little
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


def test_console_and_page_say_of_which_users_a_part_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    domains: dict[str, Any] = {}
    for name in ("pens", "cards"):
        lines = [" ".join([f"A{u}", *(f"P{(u + k) % 9}" for k in range(5))]) for u in range(80)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
        (tmp_path / f"{name}.json").write_text("\n".join(json.dumps({"asin": f"P{i}", "title": f"no {i}"}) for i in range(9)))
        domains[name] = {"log": f"{name}.txt", "items": f"{name}.json"}
    domains["pens"]["share"] = 0.45
    values = {
        "name": "part",
        "data": {
            "source": "amazon_text", "options": {"path": str(tmp_path), "domains": domains, "attributes": ["title"]},
            "split": {"kind": "leave_one_out"}, "sequences": {"length": 4, "negatives": 3},
        },
        "backbone": {"name": "popularity"}, "training": {"objective": "softmax", "metric": "ndcg@10"},
        "methods": {"popularity": {"strategy": "single"}}, "evaluate": {"replicates": 1, "bootstrap": 100},
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    run, said, told = Path("run"), list[str](), "of the users in the files a part was read, by a hash: 45 % of pens"
    pipeline.run(parse(values), run, say=said.append)
    assert said[-1] == f"report: {(tmp_path / 'run' / 'report' / 'index.html').as_uri()}", "a folder may be named from here"
    results = read_json(run / "results.json")
    assert 20 < results["units"]["pens"]["users"] < 52 and results["units"]["cards"]["users"] == 80
    assert results["protocol"]["cohort"].startswith("all rows") and results["protocol"]["cohort"].endswith(f"; {told}")
    page = (run / "report" / "index.html").read_text()
    table = page[page.index('<h2 id="results">') : page.index('<h2 id="provenance">')]
    assert told in said and told in table, "beside the first table, not in the job alone"
