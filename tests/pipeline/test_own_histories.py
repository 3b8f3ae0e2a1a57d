"""From a log of interactions to a job of histories by README's words, or by what the refusal says."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import config, pipeline
from raytune_rec.components import component, names
from raytune_rec.errors import UserError
from raytune_rec.tuning.search import space_files as catalogue

_README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, Any]:
    """README's job of an own log, with one log file, a time, and what README says of histories."""
    draw = random.Random(4)
    rows = ["site,user_id,item_id,clicked,time,age,tags"]
    for site in ("north", "south"):
        for u in range(50):
            taken = draw.sample(range(90), 7)
            rows += [f"{site},u{u},i{i},{int(k != 2)},{1700000000 + 60 * k + u},{20 + u},a|b" for k, i in enumerate(taken)]
    (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")
    text = next(b for b in re.findall(r"^```toml\n(.*?)^```", _README.read_text(), re.DOTALL | re.MULTILINE) if '"shop"' in b)
    job = tomllib.loads(text)
    options = {k: v for k, v in job["data"]["options"].items() if k not in ("train", "valid", "test")}
    options |= {"files": str(tmp_path / "log.csv"), "columns": {**options["columns"], "timestamp": "time"}}
    data = {**job["data"], "options": options, "split": {"kind": "leave_one_out"}, "sequences": {"length": 50}}
    return {**job, "data": data, "backbone": {"name": "sasrec"}, "training": {"metric": "ndcg@10"}}


def mended(shop: dict[str, Any]) -> dict[str, Any]:
    """Every change that the refusal names, and no other."""
    spaces = ["sequence", "ppr", "profile"]
    job = {**shop, "data": {**shop["data"], "sequences": {"length": 6, "negatives": 5}}}
    job["pretrainings"] = {"plain": {"space": ["sequence"]}}
    job["methods"] = {
        "popularity": {"strategy": "single", "backbone": "popularity", "baseline": True, "space": ["sequence"]},
        "finetune": {"strategy": "finetune_all", "pretraining": "plain", "baseline": True, "space": ["sequence"]},
        "plate": {"strategy": "prompt", "prompt": "ppr", "pretraining": "plain", "space": spaces},
    }
    return job


def test_the_refusal_names_every_row_and_all_that_fits(shop: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        pipeline.check(config.parse(shop))
    said = "\n".join(caught.value.problems)
    for part in (
        "pretrainings.plate: prompt Plate",
        "methods.plate: prompt Plate",
        "methods.logistic: backbone Linear does not fit",
    ):
        assert part in said
    assert "objective" not in said.replace(config.OF_HISTORIES[1:], ""), "of histories there is a default that fits"
    (recipe,) = [p for p in caught.value.problems if p.startswith("Histories")]
    assert "ppr" in recipe and "popularity" in recipe and "sequence" in recipe
    with pytest.raises(UserError) as caught:
        config.parse({**shop, "training": {}})
    assert "metric = 'auc', but the rows are histories" in str(caught.value) and config.OF_HISTORIES in str(caught.value)


def test_a_job_that_follows_it_is_prepared_and_pretrained(shop: dict[str, Any], tmp_path: Path) -> None:
    job = mended(shop)
    pipeline.check(config.parse(job))
    small: dict[str, Any] = {"backbone": {"name": "sasrec", "options": {"width": 8, "inner": 8, "blocks": 1}}}
    small["pretrain"] = {"trials": 0, "workers": 0}
    said: list[str] = []
    quick = config.parse({**job, **small, "training": {"metric": "ndcg@10", "epochs": 1}})
    assert quick.training.objective == "softmax"
    pipeline.run(quick, tmp_path / "run", only="prepare", say=said.append)
    pipeline.run(quick, tmp_path / "run", only="pretrain", say=said.append)
    assert any("interactions of label 0, left out" in line for line in said)
    assert len(list((tmp_path / "run" / "backbones").glob("*/backbone.safetensors"))) == 1


def test_the_recipe_names_what_there_is() -> None:
    """Else a new component would be missing from it."""
    words = set(re.findall(r"\w+", config.OF_HISTORIES))
    assert {n for n in names("backbones") if "lists" in component("backbones", n).tasks} <= words
    assert {n for n in names("backbones") if "lists" not in component("backbones", n).tasks} & words == set()
    catalogue.compose(["sequence", "ppr", "profile"])
    fit = component("backbones", "sasrec").returns
    assert component("objectives", "softmax").reads in fit and component("objectives", "sampled_softmax").reads in fit
    assert component("objectives", "masked_item").reads in component("backbones", "bert4rec").returns


def test_an_objective_that_is_named_stays() -> None:
    job = {"name": "x", "backbone": {"name": "sasrec"}, "methods": {}}
    data = {"source": "tabular", "split": {"kind": "leave_one_out"}, "sequences": {}}
    training = {"metric": "mrr", "objective": "next_bce"}
    assert config.parse({**job, "data": data, "training": training}).training.objective == "next_bce"
    assert config.parse({**job, "data": {"source": "tabular"}}).training.objective == "bce"
