"""The page on a log of one's own: its job runs, and becomes one of histories by its words, or by what the refusal says."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import cli, config, pipeline
from raytune_rec.components import component, names
from raytune_rec.errors import UserError
from raytune_rec.storage.files import read_json
from raytune_rec.tuning.search import space_files as catalogue
from tests.pages import block
from tests.pipeline.here import without_ray

FEW = ["pretrain.trials=0", "pretrain.workers=0", "tune.trials=1", "training.epochs=1", "evaluate.bootstrap=100"]


def log() -> list[str]:
    draw = random.Random(4)
    rows = ["site,user_id,item_id,clicked,time,age,tags"]
    for site in ("north", "south"):
        for u in range(50):
            taken = draw.sample(range(90), 7)
            rows += [f"{site},u{u},i{i},{int(k != 2)},{1700000000 + 60 * k + u},{20 + u},a|b" for k, i in enumerate(taken)]
    return rows


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, Any]:
    """The page's job of an own log, with one log file, a time, and what the page says of histories."""
    (tmp_path / "log.csv").write_text("\n".join(log()) + "\n")
    job = tomllib.loads(block("toml", 'name = "shop"'))
    options = {k: v for k, v in job["data"]["options"].items() if k not in ("train", "valid", "test")}
    options |= {"files": str(tmp_path / "log.csv"), "columns": {**options["columns"], "timestamp": "time"}}
    changes = tomllib.loads(block("toml", "sequences = { length = 50 }"))
    return {**job, **changes, "data": {**job["data"], **changes["data"], "options": options}}


def test_the_pages_job_runs_on_a_log_that_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, but for how much is trained."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").mkdir()
    header, *rows = log()
    for name, rest in {"train": (0, 1, 2, 3, 4), "valid": (5,), "test": (6,)}.items():
        of = [row for place, row in enumerate(rows) if place % 7 in rest]
        flipped = [row.replace(",1,17", f",{n % 2},17") for n, row in enumerate(of)]
        (tmp_path / "log" / f"{name}.csv").write_text("\n".join([header, *flipped]) + "\n")
    (tmp_path / "shop.toml").write_text(block("toml", 'name = "shop"'))
    assert cli.main(["check", "shop.toml"]) == 0
    without_ray(monkeypatch)
    out = tmp_path / "runs" / "shop"
    pipeline.run(config.read(Path("shop.toml"), [*FEW, "evaluate.replicates=1"]), out, until="evaluate", say=lambda line: None)
    assert set(read_json(out / "results.json")["methods"]) == {"logistic", "finetune", "plate"}
    assert sorted(path.name for path in (out / "artifacts").iterdir()) == ["north", "south"]


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
