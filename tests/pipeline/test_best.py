"""`evaluate.export = "best"`: validation chooses for each domain which method's winner becomes the artifact."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from raytune_rec import pipeline
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.config import parse
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import JobError, UserError
from raytune_rec.report.page.render import build
from raytune_rec.report.run import read
from raytune_rec.report.tables import choice as choice_table
from raytune_rec.report.tables import web
from raytune_rec.scoring.load import load_prompts
from raytune_rec.stages import evaluate
from raytune_rec.stages.context import Context
from raytune_rec.stages.winners import choice
from raytune_rec.storage.files import read_json, write_json
from tests.pipeline.here import without_ray
from tests.pipeline.test_plan import _said

FEW = {"strategy": "prompt", "prompt": "adapter", "pretraining": "plain"}
JOB: dict[str, Any] = {
    "name": "small",
    "seed": 5,
    "data": {"source": "synthetic", "options": {"interactions": {"a": 900, "b": 600}, "users": 60, "items": 40}},
    "backbone": {"name": "deepfm", "options": {"width": 8, "hidden": [8]}},
    "training": {"batch_size": 128, "epochs": 3, "lr": {"default": 0.02}},
    "pretrain": {"workers": 0},
    "pretrainings": {"plain": {}},
    "tune": {"trials": 1, "pack": 1},
    "methods": {
        "pretrained": {"strategy": "pretrained", "pretraining": "plain"},
        "everything": {"strategy": "finetune_all", "pretraining": "plain", "baseline": True},
        "linear": {"strategy": "finetune_partial:linear", "pretraining": "plain"},
        "adapter": {**FEW, "options": {"prompt.rank": 1}},
    },
    "evaluate": {"replicates": 2, "bootstrap": 100, "export": "best", "compare": ["best"]},
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("best") / "run"
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        patch.setattr(Store, "tests", None)  # nothing is tested before the choice is made
        patch.setattr(Store, "load", _untested(Store.load))
        pipeline.run(parse(JOB), out, until="export", say=lambda line: None)
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        pipeline.run(parse(JOB), out, until="evaluate", say=lambda line: None)
    return out


def _untested(load: Any) -> Any:
    def checked(self: Store, unit: str, split: Any) -> Any:
        assert split != "test"
        return load(self, unit, split)

    return checked


def test_validation_chooses_among_small_artifacts(done: Path) -> None:
    results = read_json(done / "results.json")
    for unit in ("a", "b"):
        winners = {m: read_json(done / "winners" / m / unit / "winner.json") for m in ("linear", "adapter")}
        valid = {m: np.mean([r["best"] for r in w["replicates"]]) for m, w in winners.items()}
        told, facts = results["choice"]["units"][unit], prompt_artifact.read(done / "artifacts" / unit)
        best = max(valid, key=lambda m: valid[m])
        assert told["method"] == facts.method == best
        assert told["valid"] == facts.candidates == pytest.approx(valid)
        assert results["methods"]["best"]["units"][unit]["auc"] == results["methods"][best]["units"][unit]["auc"]
        assert f"{best} {valid[best]:.4f}" in (done / "artifacts" / unit / "README.md").read_text()
    line = results["methods"]["best"]
    assert line["among"] == ["linear", "adapter"] and line["trials"] == 4
    assert results["costs"]["trials"] == sum(m["trials"] for name, m in results["methods"].items() if name != "best")
    assert {(c["method"], c["baseline"], c["unit"]) for c in results["comparisons"]} == {
        ("best", "everything", unit) for unit in ("a", "b", "mean")
    }


def _edited(done: Path, to: Path, values: dict[tuple[str, str], float]) -> Context:
    """The same run with other validation values of winners, (method, unit) -> value."""
    shutil.copytree(done, to)
    for (method, unit), value in values.items():
        path = to / "winners" / method / unit / "winner.json"
        facts = read_json(path)
        write_json(path, facts | {"replicates": [r | {"best": value} for r in facts["replicates"]]})
    return Context(parse(JOB), to, print, {"plain": backbone_artifact.of_run(to)["plain"]})


def test_each_unit_has_a_choice_of_its_own_and_a_metric_its_direction(done: Path, tmp_path: Path) -> None:
    values = {("linear", "a"): 0.7, ("adapter", "a"): 0.8, ("linear", "b"): 0.6, ("adapter", "b"): 0.5}
    context = _edited(done, tmp_path / "run", values)
    chosen = choice(context)
    assert chosen is not None and chosen.methods == {"a": "adapter", "b": "linear"} and chosen.means == {"plain": 0.7}
    context.job = context.job.model_copy(update={"training": context.job.training.model_copy(update={"metric": "logloss"})})
    chosen = choice(context)
    assert chosen is not None and chosen.methods == {"a": "linear", "b": "adapter"}


def test_a_winner_that_is_not_small_does_not_compete(done: Path, tmp_path: Path) -> None:
    context = _edited(done, tmp_path / "run", {("linear", "a"): 0.7, ("adapter", "a"): 0.8})
    path = tmp_path / "run" / "winners" / "adapter" / "a" / "winner.json"
    write_json(path, read_json(path) | {"options": {"prompt.rank": 8}})  # of embeddings of width 8
    chosen = choice(context)
    assert chosen is not None and chosen.methods["a"] == "linear" and set(chosen.valid["a"]) == {"linear"}
    assert set(chosen.valid["b"]) == {"linear", "adapter"}


def test_of_equals_the_first_of_the_job_is_chosen_and_a_method_without_a_winner_is_passed_over(
    done: Path, tmp_path: Path
) -> None:
    equal = {(method, unit): 0.7 for method in ("linear", "adapter") for unit in ("a", "b")}
    context = _edited(done, tmp_path / "run", equal)
    chosen = choice(context)
    assert chosen is not None and chosen.methods == {"a": "linear", "b": "linear"}
    (tmp_path / "run" / "winners" / "linear" / "a" / "winner.json").unlink()
    shutil.rmtree(tmp_path / "run" / "artifacts")  # of other validation values
    chosen = choice(context)
    assert chosen is not None and chosen.methods == {"a": "adapter", "b": "linear"} and set(chosen.valid["a"]) == {"adapter"}
    evaluate.run(context)
    results = read_json(tmp_path / "run" / "results.json")
    best, every = results["methods"]["best"], results["methods"]
    for unit, method in chosen.methods.items():
        assert best["units"][unit]["auc"] == every[method]["units"][unit]["auc"]
    assert "a" not in every["linear"]["units"] and best["mean"]["auc"] and "mean" not in every["linear"]


def test_where_no_small_winner_is_left_the_other_methods_are_evaluated_and_the_page_is_made(done: Path, tmp_path: Path) -> None:
    context = _edited(done, tmp_path / "run", {})
    for path in [path for m in ("linear", "adapter") for path in (tmp_path / "run" / "winners" / m).glob("*/winner.json")]:
        path.unlink()
    shutil.rmtree(tmp_path / "run" / "artifacts")
    chosen = choice(context)
    assert chosen is not None and not chosen.methods
    evaluate.run(context)
    results = read_json(tmp_path / "run" / "results.json")
    assert "choice" not in results and list(results["method_order"]) == list(JOB["methods"])
    assert results["methods"]["everything"]["mean"]["auc"] and not results["comparisons"]
    assert {(c["method"], c["baseline"]) for c in results["not_compared"]} == {("best", "everything")}
    assert "Not compared: best with everything in a" in build(tmp_path / "run").read_text(encoding="utf-8")


def test_the_page_shows_the_choice(done: Path) -> None:
    run = read(done)
    shown = choice_table.table(run)
    assert shown is not None and shown.head == ["domain", "linear", "adapter"]
    bold = {line.name: shown.head[1:][[cell.best for cell in line.cells].index(True)] for line in shown.lines}
    assert bold == {unit: of_unit["method"] for unit, of_unit in run.results["choice"]["units"].items()}
    notes = {line.name: line.note for line in web.main(run, dict.fromkeys(run.methods, "")).lines}
    assert notes["best"] == "by validation, of linear and adapter"


def test_the_artifacts_are_one_bank_over_one_backbone(done: Path) -> None:
    folders = [done / "artifacts" / unit for unit in ("a", "b")]
    bank, store = load_prompts(folders, backbone_artifact.of_run(done)["plain"]), Store.open(done / "data")
    users, items = (np.array(["", *store.vocabulary(name)["raw"].to_pylist()]) for name in ("user", "item"))
    for folder in folders:
        test = store.load(folder.name, "test")
        rows = {"user": users[test.columns["user"]].tolist(), "item": items[test.columns["item"]].tolist()}
        scores = bank.score({"unit": [folder.name] * len(test), **rows})
        reached = prompt_artifact.read(folder).test
        assert reached is not None and roc_auc_score(test.label, scores) == pytest.approx(reached["auc"], abs=1e-6)


def test_check_says_who_competes() -> None:
    said = " ".join(_said(parse(JOB)).split())
    assert (
        "the artifact of each unit among linear, adapter on pre-training plain; all stand on one backbone, and a winner" in said
    )
    assert "Not among them: pretrained trains nothing; everything trains 100% of what its backbone has." in said


def test_a_choice_among_none_is_refused_and_the_remedy_helps() -> None:
    methods = {name: JOB["methods"][name] for name in ("pretrained", "everything")} | {"single": {"strategy": "single"}}
    with pytest.raises(UserError, match=r"no method makes one \(pretrained trains nothing; everything .*single starts from"):
        pipeline.check(parse({**JOB, "methods": methods}))
    _said(parse({**JOB, "methods": methods | {"linear": JOB["methods"]["linear"]}}))


def test_no_method_is_called_best_beside_the_choice() -> None:
    with pytest.raises(JobError, match=r"methods.best: evaluate.export = 'best' makes a line of this name"):
        parse({**JOB, "methods": {"best": JOB["methods"]["linear"]}})
    assert parse({**JOB, "methods": {"best": JOB["methods"]["linear"]}, "evaluate": {}})
