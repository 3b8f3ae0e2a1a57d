"""Whole jobs of backbones that make items of their features, by id: the store gives them to every stage, and to the scorer."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from raytune_rec import config, pipeline
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.data.stored.store import Store
from raytune_rec.evaluation.measures import cohorts
from raytune_rec.scoring import load_prompts
from raytune_rec.stages import evaluate
from raytune_rec.storage.files import read_json
from raytune_rec.task import Unit
from raytune_rec.training.build import rows_of
from tests.pipeline.here import served_ndcg, without_ray
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


COLD = """name = "cold"
seed = 2
components = ["{own}"]
[data]
source = "tabular"
split = {{ kind = "cold_items", cold = 0.4, cold_least = 12, cold_kept = 4, cold_held = 8 }}
sequences = {{ length = 6, negatives = 5, item_groups = 2, full = true }}
[data.options]
files = "taken.csv"
domain = "shop"
columns = {{ user = "user", item = "item", timestamp = "time" }}
[data.options.features]
tags = {{ role = "item", kind = "multi", separator = " " }}
[backbone]
{backbone}
[training]
objective = "next_bce"
metric = "ndcg@10"
batch_size = 32
epochs = 3
lr = {{ default = 0.02 }}
[pretrain]
workers = 0
[pretrainings.plain]
[tune]
trials = 2
[methods.popularity]
strategy = "single"
backbone = "popularity"
[methods.pretrained]
strategy = "pretrained"
pretraining = "plain"
[methods.promo]
strategy = "prompt"
prompt = "promo"
pretraining = "plain"
options = {{ "prompt.feedback" = 3, "prompt.width" = 5, "training.lr.prompt" = 0.02 }}
[evaluate]
replicates = 1
bootstrap = 100
export = "promo"
"""


BACKBONES = {
    "dssm": 'name = "dssm"\noptions = { width = 8, blocks = 1, heads = 1, inner = 8 }',
    "dcn": 'name = "dcn"\noptions = { width = 8, hidden = [8], cross = 2 }',
}


def _of_no_memory(*of: object) -> None:
    raise MemoryError("too large")


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
def test_groups_of_cold_items_are_tuned_exported_and_served_with_who_took_them(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The winner's best value of validation is the artifact's own, from raw rows: it knows who took its items."""
    draw = np.random.default_rng(3)
    lines = [(u, i) for u in range(50) for i in draw.choice(30, 14, replace=False)]
    taken = pd.DataFrame(lines, columns=["user", "item"]).sample(frac=1, random_state=1)
    taken["time"] = np.arange(len(taken)) + 10**9
    taken["tags"] = [f"t{i % 4} t{i % 7}" for i in taken["item"]]
    taken[["user", "item"]] = "n" + taken[["user", "item"]].astype(str)
    taken.to_csv(tmp_path / "taken.csv", index=False)
    (tmp_path / "cold.toml").write_text(COLD.format(own=OWN, backbone=backbone))
    monkeypatch.chdir(tmp_path)
    without_ray(monkeypatch)
    out, said = tmp_path / "run", list[str]()
    pipeline.run(config.read(tmp_path / "cold.toml"), out, say=lambda line: said.append(str(line)))
    store, results = Store.open(out / "data"), read_json(out / "results.json")
    assert set(results["methods"]["promo"]["units"]) == {
        "cold items",
        "warm items",
        "all items",
        "cold items among cold",
        "warm items among warm",
    }
    assert [unit.name for unit in store.schema.units] == ["cold.1", "cold.2"]
    of_tables = [results["methods"]["promo"]["units"][name] for name in ("cold items", "warm items", "all items")]
    n = [results["units"][name]["n"] for name in ("cold items", "warm items")]
    for metric in ("auc", "ndcg@10", "full.hit@10"):  # all rows are those of both kinds, each scored once
        cold, warm, every = (measures[metric]["mean"] for measures in of_tables)
        assert every == pytest.approx((n[0] * cold + n[1] * warm) / sum(n))
    counts = store.items().count
    for name, measures in zip(("cold items", "warm items"), of_tables, strict=False):
        tables = store.tests()[name].values()
        times = counts[np.concatenate([table.columns["positive"] for table in tables])]
        assert {c: f["n"] for c, f in measures["cohorts"].items()} == {c: int(m.sum()) for c, m in cohorts.taken(times).items()}
        mean = sum(f["n"] * f["ndcg@10"]["mean"] for f in measures["cohorts"].values()) / len(times)
        assert mean == pytest.approx(measures["ndcg@10"]["mean"])
    scores = {method: facts["units"]["cold items"]["scores"] for method, facts in results["methods"].items()}
    assert set(scores) == {"popularity", "pretrained", "promo"} and all("scores" not in m for m in of_tables[1:])
    assert all(sum(told["warm negatives"]["shares"]) == pytest.approx(1, abs=1e-3) for told in scores.values())
    drawn, unit = results["item_map"], store.schema.units[0]
    assert (drawn["unit"], drawn["method"], drawn["cold"]["items"]) == (unit.name, "promo", len(unit.members))
    assert drawn["warm"]["before"] == drawn["warm"]["after"] and drawn["cold"]["before"] != drawn["cold"]["after"]
    monkeypatch.setattr(evaluate, "item_map", _of_no_memory)
    (out / "stages" / "evaluate" / "_complete.json").unlink()
    pipeline.run(config.read(tmp_path / "cold.toml"), out, say=lambda line: said.append(str(line)))
    assert read_json(out / "results.json") == {k: v for k, v in results.items() if k != "item_map"}, "a map costs no result"
    assert f"no map of the items of {unit.name} (too large)" in said
    exported = prompt_artifact.read(out / "artifacts" / "cold.1").test
    assert exported is not None
    ranked = "all cold items, without those that the user had taken before"
    assert "cold items among cold.auc" in exported and f"; cold items among cold: {ranked};" in str(exported["protocol"])
    page = re.sub(r"<(pre|style|script).*?</\1>", "", (out / "report" / "index.html").read_text(), flags=re.DOTALL)
    assert f"; of cold items among cold: {ranked}; of warm items among warm: " in page
    assert "Each table pools 2 groups" in page and not re.search(r"\bfolds?\b", page)
    # neither has the 200 validation rows of a group that is searched: the largest is, and lends its winner
    lender, taker = sorted((u.name for u in store.schema.units), key=lambda name: -store.schema.rows[name, "valid"])
    assert {trial["unit"] for trial in read_json(out / "trials.json")} == {lender}
    lent, own = (read_json(out / "winners" / "promo" / name / "winner.json") for name in (lender, taker))
    assert own["options"] == lent["options"] and own["trials"] == 0 < lent["trials"]
    assert own["value"] == pytest.approx(np.mean([r["best"] for r in own["replicates"]])) and own["value"] != lent["value"]
    assert any(f"not searched, for fewer than 200 validation rows (tune.least_valid): {taker};" in line for line in said)
    first, second = (rows_of(str(out / "data"), unit.name, True, None).by_id for unit in store.schema.units)
    assert first and second and first.items is second.items, "lanes of two units encode all items once"
    pretrained = backbone_artifact.of_run(out)["plain"]
    for unit in store.schema.units:
        winner = read_json(out / "winners" / "promo" / unit.name / "winner.json")
        assert winner["replicates"][0]["best"] >= winner["replicates"][0]["curve"][0]
        served = load_prompts([out / "artifacts" / unit.name], pretrained, components=[OWN])
        assert served_ndcg(served, store, unit) == pytest.approx(winner["replicates"][0]["best"], abs=1e-5)
    facts, tensors = prompt_artifact.load(out / "artifacts" / "cold.1", None)
    assert set(tensors["feedback.item"].tolist()) == set(tensors["rows.member"].tolist()) - {0}
    owned = [name for name, fact in facts.parameters.items() if name != "rows.member" and fact.rows == "member"]
    assert "prompt.net.1.weight" in owned
    left = {name: tensor for name, tensor in tensors.items() if not name.startswith("feedback.")}
    left |= {name: tensors[name][:1].clone() for name in ("rows.member", *owned)}
    about = {name: replace(fact, shape=tuple(left[name].shape)) for name, fact in facts.parameters.items() if name in left}
    prompt_artifact.save(tmp_path / "shop", replace(facts, unit=Unit("shop", domain="shop"), parameters=about), left)
    paths = [out / "artifacts" / "cold.1", tmp_path / "shop", out / "artifacts" / "cold.2"]
    together, rows = load_prompts(paths, pretrained, components=[OWN]), {"user": ["n1"] * 30, "history": [["n2", "n3"]] * 30}
    every = {**rows, "item": [f"n{i}" for i in range(30)]}
    for path, unit in zip(paths, ("cold.1", "shop", "cold.2"), strict=True):
        alone = load_prompts([path], pretrained, components=[OWN]).score(every)
        np.testing.assert_allclose(together.score({**every, "unit": [unit] * 30}), alone, rtol=1e-5)
    units = np.repeat(["cold.1", "shop", "cold.2"], 30).tolist()
    mixed = together.score({**{name: values * 3 for name, values in every.items()}, "unit": units})
    assert len({tuple(np.round(part, 6)) for part in np.split(np.asarray(mixed), 3)}) == 3
