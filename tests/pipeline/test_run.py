"""A whole run, small: what a user relies on when a job ends, is repeated, goes on, or is changed."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raytune_rec import pipeline
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.config import Job, parse
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, MachineError, RunFailed, UserError
from raytune_rec.schema.prepared import Table
from raytune_rec.scoring import load_prompt
from raytune_rec.stages import outcomes
from raytune_rec.tuning.run import cluster as cluster_module
from raytune_rec.tuning.run import sharing
from tests.pipeline.here import without_ray

SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 5,
    "data": {"source": "synthetic", "options": {"interactions": {"feed": 1500, "search": 900}, "users": 80, "items": 60}},
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [8]}},
    "training": {"batch_size": 128, "epochs": 3, "patience": 2, "lr": {"default": 0.005}},
    "pretrain": {"trials": 2},
    "pretrainings": {
        "plain": {},
        "plate": {
            "prompt": "plate",
            "space": ["training", "plate"],
            "options": {"prompt.meta_prompts": 24, "prompt.elastic": True},
        },
    },
    "prompts": {"plate": {"temperature": 1.0, "hidden_width": 8}},
    "tune": {"trials": 4, "round": 2, "pack": 2},
    "methods": {
        "logistic": {"strategy": "single", "backbone": "linear", "baseline": True},
        "pretrained": {"strategy": "pretrained", "pretraining": "plain", "baseline": True},
        "finetune_all": {"strategy": "finetune_all", "pretraining": "plain", "baseline": True},
        "untuned": {"strategy": "prompt_untuned", "prompt": "plate", "pretraining": "plate"},
        "plate": {"strategy": "prompt_linear", "prompt": "plate", "pretraining": "plate", "space": ["training", "plate"]},
    },
    "evaluate": {"replicates": 2, "compare": ["plate"], "export": "plate", "bootstrap": 200},
}


def job(**changes: Any) -> Job:
    return parse(SMALL | changes)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "small"
    out.mkdir()
    pipeline.run(job(), out)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_run_folder_holds_what_was_promised(done: Path) -> None:
    results = json.loads((done / "results.json").read_text())
    assert set(results["methods"]) == set(SMALL["methods"]) and set(results["units"]) == {"feed", "search"}
    plate = results["methods"]["plate"]["units"]["feed"]["auc"]
    assert len(plate["replicates"]) == 2 and plate["low"] <= plate["mean"] <= plate["high"]
    assert {c["baseline"] for c in results["comparisons"]} == {"logistic", "pretrained", "finetune_all"}
    assert results["methods"]["plate"]["trials"] == results["methods"]["finetune_all"]["trials"] == 8
    recipes = {name: of["recipes"] for name, of in results["methods"].items()}
    assert recipes == {"logistic": 0, "pretrained": 2, "finetune_all": 2, "untuned": 2, "plate": 2}, "what was searched for all"
    assert {p.name for p in (done / "artifacts").iterdir()} == {"feed", "search"}
    assert "<small>2 recipes</small>" in (done / "report" / "index.html").read_text()
    assert not list((done / "checkpoints").glob("*")), "checkpoints are of unfinished packs only"
    assert any((done / "tensorboard").rglob("events.*"))
    trials = json.loads((done / "trials.json").read_text())
    assert sum(t["method"] == "plate" for t in trials) == 8 and {t["state"] for t in trials} <= {"complete", "fail"}


def test_the_second_run_changes_nothing(done: Path) -> None:
    before = contents(done)
    pipeline.run(job(), done)
    assert contents(done) == before


def test_a_finished_run_needs_no_ray(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "http://nobody")
    pipeline.run(job(), done)
    pipeline.run(job(), done, only="report")


def test_a_changed_option_is_refused_with_the_difference(done: Path) -> None:
    before = contents(done)
    with pytest.raises(UserError, match=r"training\.patience was 2 .* is 1 now"):
        pipeline.run(job(training={**SMALL["training"], "patience": 1}), done)
    with pytest.raises(UserError, match=r"interactions\.feed"):
        pipeline.run(
            job(
                data={"source": "synthetic", "options": {"interactions": {"feed": 1600, "search": 900}, "users": 80, "items": 60}}
            ),
            done,
        )
    assert contents(done) == before, "a refused job leaves the folder as it was, its job.toml included"


def test_the_same_job_elsewhere_gives_bit_identical_artifacts(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All packs one after the other in this process, and pre-training in it too."""
    without_ray(monkeypatch)
    one_by_one = job(tune={**SMALL["tune"], "concurrent": 1}, pretrain={**SMALL["pretrain"], "workers": 0})
    pipeline.run(one_by_one, tmp_path, until="evaluate")
    ours, theirs = contents(done / "artifacts"), contents(tmp_path / "artifacts")
    assert ours == theirs
    names = [p.name for p in (done / "backbones").iterdir()]
    assert names and sorted(names) == sorted(p.name for p in (tmp_path / "backbones").iterdir())
    keep = ("study", "number", "state", "value", "options", "curve", "losses", "best_epoch")
    runs = [[{k: t[k] for k in keep} for t in json.loads((out / "trials.json").read_text())] for out in (done, tmp_path)]
    assert runs[0] == runs[1]


def test_the_cluster_scores_winners_as_this_process_does(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scoring takes long, the cluster takes over."""
    again = not_evaluated(done, tmp_path / "again")
    taken: list[Any] = []
    spread = cluster_module.spread
    monkeypatch.setattr(cluster_module, "spread", lambda job, work, given: spread(job, work, taken.extend(given) or given))
    monkeypatch.setattr(outcomes, "ALONE", 0.0)
    pipeline.run(job(), again, only="evaluate")
    assert len(taken) == 9, "five methods on two domains, but for the first"
    assert contents(again)["results.json"] == contents(done)["results.json"]
    assert contents(again / "artifacts") == contents(done / "artifacts")


def test_winners_are_scored_here_where_no_cluster_reads_their_folder(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be done by one process, as before."""

    def refuse(folder: Path, job: Job) -> None:
        raise MachineError(f"{folder}: the machines of the cluster do not share it.")

    again, said = not_evaluated(done, tmp_path / "again"), list[str]()
    monkeypatch.setattr(sharing, "check", refuse)
    monkeypatch.setattr(outcomes, "ALONE", 0.0)
    pipeline.run(job(), again, only="evaluate", say=said.append)
    assert sum("winners are scored here, one after the other" in line and str(again) in line for line in said) == 1
    assert contents(again)["results.json"] == contents(done)["results.json"]


def not_evaluated(run: Path, to: Path) -> Path:
    """A copy of a run that has been evaluated."""
    shutil.copytree(run, to)
    shutil.rmtree(to / "stages" / "evaluate")
    (to / "results.json").unlink()
    return to


def test_what_a_process_of_the_cluster_raises_is_raised_here() -> None:
    with pytest.raises(UserError, match="the rule, the value"):
        list(cluster_module.spread(job(), _refuse, ["the rule", "the value"]))
    with pytest.raises(RunFailed, match="ended before it had answered"):
        list(cluster_module.spread(job(), _end, [0]))


def _zeros(count: int) -> np.ndarray:
    return np.zeros(count)


def test_arrays_that_the_cluster_makes_are_as_those_of_this_process() -> None:
    """Ray gives its own memory, which PyTorch warns of in the run's log."""
    (made,) = cluster_module.spread(job(), _zeros, [10])
    assert made.flags.writeable and not made.any()


def _refuse(word: str) -> None:
    if word == "the value":
        raise UserError("the rule, the value, the remedy")


def _end(code: int) -> None:
    os._exit(code)


def test_an_exported_prompt_scores_raw_rows_without_ray(done: Path) -> None:
    backbone = done / "backbones" / prompt_artifact.read(done / "artifacts" / "feed").backbone_fingerprint
    scorer = load_prompt(done / "artifacts" / "feed", backbone)
    store = Store.open(done / "data")
    test = store.load("feed", "test")
    users, items = (store.vocabulary(name)["raw"].to_pylist() for name in ("user", "item"))
    known = (test.columns["user"] > 0) & (test.columns["item"] > 0)
    rows = {name: [raw[i - 1] for i in test.columns[name][known]] for name, raw in (("user", users), ("item", items))}
    given = scorer.score(rows)
    logits = scorer.logits(Table({n: c[known] for n, c in test.columns.items()}, test.label[known]))
    np.testing.assert_allclose(given, 1 / (1 + np.exp(-logits)), rtol=1e-6)
    assert np.isfinite(scorer.score({"user": ["never seen"], "item": ["nor this"]})).all()


def test_the_artifact_scores_as_it_was_evaluated(done: Path) -> None:
    from sklearn.metrics import roc_auc_score

    facts = prompt_artifact.read(done / "artifacts" / "search")
    scorer = load_prompt(done / "artifacts" / "search", done / "backbones" / facts.backbone_fingerprint)
    store = Store.open(done / "data")
    for split, expected in (("test", facts.test["auc"] if facts.test else None), ("valid", facts.valid["auc"])):
        table = store.load("search", split)  # type: ignore[arg-type]
        assert roc_auc_score(table.label, scorer.logits(table)) == pytest.approx(expected, abs=1e-6)


def test_a_prompt_refuses_a_foreign_backbone(done: Path) -> None:
    own = prompt_artifact.read(done / "artifacts" / "feed").backbone_fingerprint
    other = next(p for p in (done / "backbones").iterdir() if p.name != own)
    with pytest.raises(ArtifactError, match=f"{own}.*{other.name}"):
        load_prompt(done / "artifacts" / "feed", other)


def test_raising_the_trials_goes_on_where_the_search_was(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    shutil.copytree(done, tmp_path / "run")
    pipeline.run(job(tune={**SMALL["tune"], "trials": 6}), tmp_path / "run", until="evaluate")
    before, after = (json.loads((out / "trials.json").read_text()) for out in (done, tmp_path / "run"))
    plate = [[t for t in run if t["study"] == "plate/feed"] for run in (before, after)]
    assert len(plate[1]) == 6 and plate[1][:4] == plate[0]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["methods"]["plate"]["trials"] == 12
    with pytest.raises(UserError, match="raised, not lowered"):
        pipeline.run(job(), tmp_path / "run")


DOMAINS = ("\u66f8" * 90, "[bold]..y % =1")
"""Too long for a folder, and what neither a path nor the markup of a console may read."""


def own_split(folder: Path, test_seed: int) -> Job:
    """A job on the user's own CSV files. Train and valid are always the same; the test file is another one for each seed."""
    for name, count in (("train", 1200), ("valid", 200), ("test", 200)):
        draw = np.random.default_rng(test_seed if name == "test" else count)
        with (folder / f"{name}.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["domain", "user", "item", "label"])
            for _ in range(count):
                user, item = draw.integers(0, 50), draw.integers(0, 40)
                label = draw.random() < 0.2 + 0.6 * (user % 2)
                out.writerow([DOMAINS[draw.random() > 0.6], f"u{user}", f"i{item}", int(label)])
    options = {name: str(folder / f"{name}.csv") for name in ("train", "valid", "test")}
    data = {"source": "tabular", "options": options, "split": {"kind": "given"}}
    rows = {name: SMALL["methods"][name] for name in ("logistic", "finetune_all", "plate")}
    pretrain = {**SMALL["pretrain"], "trials": 0, "workers": 0}
    return job(name="own", data=data, methods=rows, tune={"trials": 2}, pretrain=pretrain)


@pytest.fixture(scope="module")
def own_splits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ in the test file alone; the first has a report."""
    folders = [tmp_path_factory.mktemp("own") for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        for seed, (folder, until) in enumerate(zip(folders, ("report", "evaluate"), strict=True), 1):
            pipeline.run(own_split(folder, seed), folder / "run", until=until)
    return [folder / "run" for folder in folders]


def test_users_bring_their_own_split(own_splits: list[Path]) -> None:
    results = json.loads((own_splits[0] / "results.json").read_text())
    assert sum(unit["n"] for unit in results["units"].values()) == 200 and set(results["units"]) == set(DOMAINS)
    assert results["methods"]["logistic"]["mean"]["auc"]["mean"] > 0.6


def test_names_of_domains_stand_inside_what_is_written(own_splits: list[Path]) -> None:
    """A slug and a hash outside, the true name in the facts, the card and the page."""
    run = own_splits[0]
    folders = sorted((run / "artifacts").iterdir())
    assert {prompt_artifact.read(folder).unit.name for folder in folders} == set(DOMAINS)
    assert max(len(part) for path in run.rglob("*") for part in path.relative_to(run).parts) < 160
    winners = [json.loads(path.read_text()) for path in run.glob("winners/*/*/winner.json")]
    assert {(w["method"], w["unit"]) for w in winners} == {(row, domain) for row in results_rows(run) for domain in DOMAINS}


def results_rows(run: Path) -> set[str]:
    return set(json.loads((run / "results.json").read_text())["methods"])


def test_nothing_that_is_trained_or_chosen_depends_on_the_test_rows(own_splits: list[Path]) -> None:
    """Another test file, the same training and validation: the same trials, winners and weights to the last bit."""
    found = []
    for run in own_splits:
        trials = json.loads((run / "trials.json").read_text())
        weights = {n: b for n, b in contents(run / "winners").items() if n.endswith(".safetensors")}
        scores = json.loads((run / "results.json").read_text())["methods"]["plate"]["mean"]["auc"]["mean"]
        found.append(([{k: v for k, v in t.items() if k != "seconds"} for t in trials], weights, scores))
    assert found[0][:2] == found[1][:2]
    assert found[0][2] != found[1][2], "the two test files are really different"
