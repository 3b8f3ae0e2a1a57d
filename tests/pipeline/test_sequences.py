"""A whole run over histories: pre-training on warm users, prompts for cold ones in folds, and a table for each task."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from raytune_rec import pipeline
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts.backbone import of_run
from raytune_rec.config import Job, parse
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.scoring import load_prompt
from raytune_rec.tasks.base import Further
from raytune_rec.tasks.kinds import kind_of
from tests.pipeline.here import without_ray

USERS, ITEMS = 160, 30
COLUMNS = {name: name for name in ("domain", "user", "item", "label", "position")}


def log() -> list[str]:
    """Users of a colour start at their own place and go on by their own step: the colour alone tells the first item, nearly."""
    draw = np.random.default_rng(3)
    rows = ["domain,user,item,label,position,colour"]
    for u in range(USERS):
        colour = u % 3
        start = 10 * colour + draw.integers(0, 3)
        for k in range(int(draw.integers(8, 14))):
            rows.append(f"shop,u{u},i{(start + k * (1 + colour)) % ITEMS},1,{k},c{colour}")
    return rows


def job(path: Path) -> Job:
    features = {"colour": {"role": "user"}}
    fixed = {"prompt.prefix": False}
    values: dict[str, Any] = {
        "name": "histories",
        "seed": 2,
        "data": {
            "source": "tabular",
            "options": {"files": str(path), "columns": COLUMNS, "features": features},
            "split": {"kind": "cold_users", "cold": 0.4},
            "sequences": {
                "length": 8, "windows": "all", "negatives": 9, "tasks": ["few", "joint"], "events": 4, "folds": 2, "valid": 0.3,
            },
        },
        "backbone": {"name": "sasrec", "options": {"width": 16, "inner": 16, "dropout": 0.0}},
        "training": {
            "objective": "softmax", "metric": "ndcg@10", "batch_size": 16, "epochs": 20, "patience": 20, "lr": {"default": 0.01},
        },
        "pretrain": {"workers": 0, "training": {"epochs": 10, "batch_size": 64}}, "pretrainings": {"sasrec": {}},
        "tune": {"trials": 2, "round": 2},
        "methods": {
            "popularity": {"strategy": "single", "backbone": "popularity", "baseline": True},
            "pretrained": {"strategy": "pretrained", "pretraining": "sasrec", "baseline": True},
            "finetune": {
                "strategy": "prompt_backbone", "prompt": "ppr", "pretraining": "sasrec", "space": ["profile"], "options": fixed,
            },
            "light": {"strategy": "prompt", "prompt": "ppr", "pretraining": "sasrec", "space": ["profile", "ppr"]},
        },
        "evaluate": {"replicates": 2, "compare": ["light"], "export": "light", "bootstrap": 200},
    }  # fmt: skip
    return parse(values)


@pytest.fixture(scope="module", autouse=True)
def here() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    folder = tmp_path_factory.mktemp("run")
    (folder / "log.csv").write_text("\n".join(log()) + "\n")
    own, out = job(folder / "log.csv"), folder / "run"
    out.mkdir()
    pipeline.run(own, out)
    return own, out


def test_each_task_has_its_table_and_every_cold_user_is_tested_once(done: tuple[Job, Path]) -> None:
    _, out = done
    results = json.loads((out / "results.json").read_text())
    assert results["unit_order"] == ["few", "joint few", "joint zero"]
    assert results["tables"]["joint few"] == ["joint.1", "joint.2"]
    cold = results["units"]["joint zero"]["n"]
    assert cold == results["units"]["joint zero"]["users"] == results["units"]["few"]["users"] > 40
    assert results["units"]["few"]["n"] == 3 * cold, "all but the first of four items"
    assert {unit: facts.get("tied") for unit, facts in results["units"].items()} == {
        "few": None, "joint few": None, "joint zero": ["pretrained"],
    }  # fmt: skip
    for name, row in results["methods"].items():
        assert "mean" not in row, "tasks are not averaged"
        count = 2 if row["tuned_parameters"] else 1
        assert all(len(m["auc"]["replicates"]) == count for m in row["units"].values()), f"{name}: nothing in it is random"
        assert "full.ndcg@10" in row["units"]["few"]


def test_profiles_tell_what_is_known_of_a_user_without_a_history(done: tuple[Job, Path]) -> None:
    _, out = done
    rows = json.loads((out / "results.json").read_text())["methods"]
    auc = {name: row["units"]["joint zero"]["auc"]["mean"] for name, row in rows.items()}
    assert auc["pretrained"] == 0.5, "nothing is known: all items tie"
    assert min(auc["light"], auc["finetune"]) > auc["popularity"] + 0.05 > 0.6
    assert rows["light"]["units"]["few"]["auc"]["mean"] > rows["popularity"]["units"]["few"]["auc"]["mean"]
    assert rows["light"]["tuned_parameters"] < rows["finetune"]["tuned_parameters"]


def test_each_artifact_has_the_test_values_of_its_own_lists(done: tuple[Job, Path]) -> None:
    """Those that it reaches itself; not the table's, which pools the folds."""
    _, out = done
    rows, tests = json.loads((out / "results.json").read_text())["methods"], Store.open(out / "data").tests()
    for table, prefix in (("few", ""), ("joint few", "few."), ("joint zero", "zero.")):
        for unit, lists in tests[table].items():
            facts = prompt_artifact.read(out / "artifacts" / unit)
            served = load_prompt(out / "artifacts" / unit, out / "backbones" / facts.backbone_fingerprint)
            sampled, full, *_ = kind_of(lists.task).test(served.passes, lists, Further(full=True))
            assert facts.test and full and facts.test["protocol"].startswith("9 items that the user never took")
            assert facts.test[prefix + "auc"] == pytest.approx(1 - (sampled.better + sampled.ties / 2).mean() / 9)
            assert facts.test[prefix + "full.hit@5"] == pytest.approx((full.better < 5).mean())
            assert set(facts.test) >= {prefix + name for name in ("hit@10", "ndcg@10", "mrr", "full.auc")}
            assert facts.test[prefix + "auc"] not in rows["light"]["units"][table]["auc"]["replicates"]


def test_an_artifact_serves_what_was_evaluated(done: tuple[Job, Path]) -> None:
    _, out = done
    facts = prompt_artifact.read(out / "artifacts" / "few.2")
    scorer = load_prompt(out / "artifacts" / "few.2", out / "backbones" / facts.backbone_fingerprint)
    store = Store.open(out / "data")
    table = store.tests()["few"]["few.2"]
    names, _ = store.lookup.catalogue
    users = pq.read_table(out / "data" / "users.parquet")["raw"].to_pylist()
    history = [[names[i] for i in row if i] for row in table.columns["seen"]]
    found = scorer.recommend({"user": [users[u] for u in table.owner], "history": history}, k=10)
    hits = [names[p] in dict(row) for p, row in zip(table.columns["positive"], found, strict=True)]
    assert facts.test and np.mean(hits) == pytest.approx(facts.test["full.hit@10"])


def test_each_fold_has_its_artifact_and_a_second_run_changes_nothing(done: tuple[Job, Path]) -> None:
    own, out = done
    assert {p.name for p in (out / "artifacts").iterdir()} == {"few.1", "few.2", "joint.1", "joint.2"}
    facts = prompt_artifact.read(out / "artifacts" / "few.1")
    assert facts.prompt == "ppr" and facts.tuned_parameters > 0 and facts.task.length == 8
    card = (out / "artifacts" / "joint.2" / "README.md").read_text()
    assert "new users with or without a history. It was tuned on the cold users of the other fold, and tested on those of" in card
    before = {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    pipeline.run(own, out)
    assert {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()} == before
    assert "joint zero" in (out / "report" / "index.html").read_text()


@pytest.fixture(scope="module")
def predicted(done: tuple[Job, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same users, whose colour is to be told by their first items."""
    values = done[0].model_dump(by_alias=True)
    sequences = values["data"]["sequences"] | {"tasks": [], "predict": "colour"}
    light = values["methods"]["light"] | {"strategy": "prompt_output"}
    values |= {
        "data": values["data"] | {"sequences": sequences},
        "training": values["training"] | {"metric": "hit@1", "epochs": 8},
        "pretrain": values["pretrain"] | {"training": {"epochs": 3, "batch_size": 64}},
        "tune": values["tune"] | {"trials": 1},
        "evaluate": values["evaluate"] | {"replicates": 1},
        "methods": {"popularity": values["methods"]["popularity"], "light": light},
    }
    # a second attribute, of which profiles can be made
    path = tmp_path_factory.mktemp("predicted")
    lines = Path(values["data"]["options"]["files"]).read_text().splitlines()
    (path / "log.csv").write_text("\n".join([lines[0] + ",size", *(f"{x},s{i % 3}" for i, x in enumerate(lines[1:]))]) + "\n")
    features = {"colour": {"role": "user"}, "size": {"role": "user"}}
    values["data"]["options"] = values["data"]["options"] | {"files": str(path / "log.csv"), "features": features}
    pipeline.run(parse(values), path / "run")
    return path / "run"


def test_an_attribute_is_predicted_evaluated_and_served(predicted: Path) -> None:
    results = json.loads((predicted / "results.json").read_text())
    assert results["kind"] == "classes" and results["tables"] == {"colour": ["colour.1", "colour.2"]}
    accuracy = {row: facts["units"]["colour"]["accuracy"]["mean"] for row, facts in results["methods"].items()}
    assert accuracy["light"] > accuracy["popularity"] + 0.2
    facts = prompt_artifact.read(predicted / "artifacts" / "colour.1")
    served = load_prompt(predicted / "artifacts" / "colour.1", predicted / "backbones" / facts.backbone_fingerprint)
    store = Store.open(predicted / "data")
    table, names = store.tests()["colour"]["colour.1"], store.vocabulary("colour")["raw"].to_pylist()
    items, users = store.lookup.catalogue[0], pq.read_table(predicted / "data" / "users.parquet")["raw"].to_pylist()
    rows: dict[str, list[Any]] = {
        "user": [users[u] for u in table.owner],
        "history": [[items[i] for i in row if i] for row in table.columns["history"]],
    }
    found = served.predict(rows)
    right = [name == names[c - 1] for (name, _), c in zip(found, table.columns["class"], strict=True)]
    assert facts.test and facts.test["accuracy"] == pytest.approx(np.mean(right))
    assert served.predict({**rows, "colour": ["c1"] * len(right)}) == found, "what is predicted is never read"
    assert served.predict({"history": []}) == [] and all(1 / 3 <= chance <= 1 for _, chance in found)
    for asked in (served.score, served.recommend):
        with pytest.raises(DataError, match=r"'colour\.1' predicts colour, and ranks no items; ask `predict`, in Python"):
            asked({**rows, "item": ["i1"] * len(right)})
    card = (predicted / "artifacts" / "colour.1" / "README.md").read_text()
    assert "It tells the colour of new users" in card and "prompt.predict(users)" in card and "prompt.recommend" not in card
    assert "Prediction of colour" in (predicted / "report" / "index.html").read_text()


def test_a_backbone_serves_jobs_of_other_tasks(predicted: Path, tmp_path: Path) -> None:
    """Another attribute, and items, on the backbone of the job that predicts the colour."""
    values = tomllib.loads((predicted / "job.toml").read_text())
    values["pretrainings"]["sasrec"] = {"from": str(predicted)}
    values["training"]["epochs"] = 1
    values["methods"] = {"light": values["methods"]["light"]}
    values["evaluate"] |= {"compare": ["light"]}
    values["data"]["sequences"]["predict"] = "size"
    pipeline.run(parse(values), tmp_path / "size", until="evaluate")
    users = {"history": [["i1", "i2"], []]}
    served = load_prompt(tmp_path / "size" / "artifacts" / "size.1", of_run(tmp_path / "size")["sasrec"])
    assert {name for name, _ in served.predict(users)} <= {"s0", "s1", "s2"}
    values["data"]["sequences"] |= {"predict": "", "tasks": ["few"]}
    values["training"]["metric"], values["methods"]["light"]["strategy"] = "ndcg@10", "prompt"
    pipeline.run(parse(values), tmp_path / "few", until="evaluate")
    served = load_prompt(tmp_path / "few" / "artifacts" / "few.1", of_run(tmp_path / "few")["sasrec"])
    assert all(len(items) == 3 for items in served.recommend(users, 3))


def test_only_what_predicts_is_asked_to(done: tuple[Job, Path]) -> None:
    _, out = done
    facts = prompt_artifact.read(out / "artifacts" / "few.1")
    served = load_prompt(out / "artifacts" / "few.1", out / "backbones" / facts.backbone_fingerprint)
    with pytest.raises(DataError, match="predicts no attribute of users; ask `score` or `recommend`"):
        served.predict({"history": [[]]})
