"""`tune --only-new`: a finished run whose log has grown gets prompts for the items that it lacks, and nothing else moves."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from raytune_rec import config, pipeline
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts import weights
from raytune_rec.cli import main
from raytune_rec.command import only_new
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import JobError
from raytune_rec.scoring import load_prompts
from raytune_rec.stages import export, tune
from raytune_rec.storage.files import read_json
from tests.pipeline.conftest import JOB, log
from tests.pipeline.here import served_ndcg


def bytes_of(run: Path) -> dict[str, str]:
    """Every file of a run but its page and what was added, with its hash."""
    free = re.compile(r"lock|report/|stages/report/|grown/")
    files = {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if not free.match(name)}


def test_a_run_whose_artifacts_are_of_several_methods_is_refused_and_one_that_exports_one_is_taken(
    here: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(here / "run", tmp_path / "run")
    for stage in ("export", "evaluate", "report"):
        shutil.rmtree(run / "stages" / stage)
    (here / "best.toml").write_text(JOB.replace('export = "promo"', 'export = "best"'))
    best = config.read(here / "best.toml")
    pipeline.run(best, run, until="export", say=lambda line: None)  # nothing is trained again
    with pytest.raises(JobError, match=r"validation chose the artifacts of .*/run among several methods .* exports one method"):
        only_new.run(best, run)
    assert not (run / "grown").exists()
    grown, folder = only_new.planned(config.read(here / "job.toml"), here / "run")
    assert grown.evaluate.export == "promo" and folder == here / "run" / "grown" / "1"


def test_items_that_came_later_get_prompts_and_the_others_keep_their_bytes(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, job = here / "run", config.read(here / "job.toml")
    before, raw = bytes_of(run), {"user": ["n1"] * 30, "history": [["n2", "n3"]] * 30, "item": [f"n{i}" for i in range(30)]}
    old = load_prompts([run / "artifacts" / "cold.1"], backbone_artifact.of_run(run)["plain"]).score(raw)
    log(here / "taken.csv", 4, users=60)
    assert main(["check", "job.toml", "--only-new", "--out", str(run)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"what won in {run} is tuned on 1 group of cold items (cold.2), 2 replicates of each" in told.replace(" ─", "")
    assert "34 items, 4 of them a unit's own" in told and "finetune" not in told and not (run / "grown").exists()
    said: list[str] = []
    with (
        monkeypatch.context() as patch
    ):  # killed while it stores a winner, and again before all artifacts stand beside the others
        patch.setattr(export, "merge", lambda *paths: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            only_new.run(job, run, lambda line: said.append(str(line)))
    assert not (run / "artifacts" / "cold.2").exists()
    with monkeypatch.context() as patch:
        patch.setattr(only_new.marker, "copy", lambda source, target: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            only_new.run(job, run, lambda line: said.append(str(line)))
    only_new.run(job, run, lambda line: said.append(str(line)))
    assert f"not searched: cold.2 takes what won on cold.1 of {run}" in said
    after = bytes_of(run)
    added = {name: after[name] for name in sorted({*after} - {*before})}
    assert {name: after[name] for name in before} == before and all(name.startswith("artifacts/cold.2/") for name in added)

    grown = run / "grown" / "1"
    store, known = Store.open(grown / "data"), Store.open(run / "data")
    ids, items = store.lookup.catalogue[0], known.lookup.catalogue[0]
    (unit,) = store.schema.units
    assert ids[: len(items)].tolist() == items.tolist() and set(ids[list(unit.members)]) == {"n30", "n31", "n32", "n33"}
    for name in ("user", "tags"):
        assert store.vocabulary(name).equals(known.vocabulary(name)), "who came later, and what nobody knew, has no id"
    assert store.schema.field("price") == known.schema.field("price")
    fresh = backbone_artifact.of_run(grown)["plain"]
    assert fresh.name == backbone_artifact.of_run(run)["plain"].name, "the backbone is the same"
    assert (fresh / "backbone.safetensors").read_bytes() == (run / "backbones" / fresh.name / "backbone.safetensors").read_bytes()

    facts = read_json(grown / "winners" / "promo" / "cold.2" / "winner.json")
    lent = read_json(run / "winners" / "promo" / "cold.1" / "winner.json")
    assert facts["options"] == lent["options"] and facts["trials"] == 0 and not read_json(grown / "trials.json")
    for one, other in zip(facts["replicates"], lent["replicates"], strict=True):
        tensors, theirs = (
            weights.read(of / "winners" / "promo" / name / f"replicate-{r['replicate']}.safetensors", r["sha256"])
            for of, name, r in ((grown, "cold.2", one), (run, "cold.1", other))
        )
        for name, tensor in tensors.items():
            if name.startswith("prompt.fuse"):
                assert tensor.equal(theirs[name]), "what items share stays as it was tuned"
        rows = {name: len(tensor) for name, tensor in tensors.items() if name.startswith(("prompt.net", "prompt.own"))}
        assert rows and set(rows.values()) == {1 + len(unit.members)} and theirs["prompt.fuse.out"].any()
        per_item = sum(tensors[name][0].numel() for name in rows)
        assert one["parameters"] == len(unit.members) * per_item
    assert all(len(set(r["losses"])) == 2 for r in facts["replicates"]), "rows of new items are trained"

    served = load_prompts([run / "artifacts" / name for name in ("cold.1", "cold.2")], fresh)
    np.testing.assert_array_equal(served.score({**raw, "unit": ["cold.1"] * 30}), old)
    best = prompt_artifact.read(run / "artifacts" / "cold.2")
    alone = load_prompts([run / "artifacts" / "cold.2"], fresh)
    assert served_ndcg(alone, store, unit) == pytest.approx(best.valid["ndcg@10"], abs=1e-5)
    assert best.test is not None and "cold items.ndcg@10" in best.test
    page = (run / "report" / "index.html").read_text()
    assert "Items added later" in page and "1: promo" in page and "../grown/1/report/index.html" in page
    assert set(read_json(grown / "results.json")["methods"]) == {"popularity", "promo"}, (
        "what trains more than prompts is not run"
    )

    page_of_the_first = bytes_of(grown)
    log(here / "taken.csv", 6, users=60)
    only_new.run(job, run, lambda line: None)
    later, again = Store.open(run / "grown" / "2" / "data"), bytes_of(run)
    (newer,) = later.schema.units
    assert (newer.name, set(later.lookup.catalogue[0][list(newer.members)])) == ("cold.3", {"n34", "n35"})
    assert {name: again[name] for name in after} == after and bytes_of(grown) == page_of_the_first
    for split in ("train", "valid", "test"):
        table = later.load(newer, split)
        assert table.columns["history"].max() < later.schema.field("item").known, "no history shows what no pre-training knows"
        positives = table.columns["target"].max(1) if split == "train" else table.columns["candidates"][:, 0]
        met = set(positives.tolist())
        assert not met & set(unit.members) and (split != "train" or met == set(newer.members))
    every = load_prompts(
        [run / "artifacts" / f"cold.{n}" for n in (1, 2, 3)], backbone_artifact.of_run(run / "grown" / "2")["plain"]
    )
    np.testing.assert_array_equal(every.score({**raw, "unit": ["cold.1"] * 30}), old)
    marks = {path: path.stat().st_mtime_ns for path in (run / "artifacts").rglob("*")}
    only_new.run(job, run, lambda line: None)
    assert not (run / "grown" / "3").exists() and {path: path.stat().st_mtime_ns for path in marks} == marks, "nothing is new"


@pytest.fixture
def run(here: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to which nothing has been added."""
    ignored = shutil.ignore_patterns("grown", "cold.2", "cold.3")
    return Path(shutil.copytree(here / "run", tmp_path / "run", ignore=ignored))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["--out", "nowhere"], "--only-new adds to a finished run; finish it with `raytune-rec run JOB --out"),
        (["--set", "methods.promo.strategy=prompt_backbone"], "trains more than a prompt (strategy 'prompt_backbone')"),
        (["--set", "data.options.features={}"], "its features are tags, price, and the log has none; read both with the same"),
        (["--set", "data.options.features.price.kind=categorical"], "price is a numerical feature of the item there, and a cate"),
        (["--set", "data.options.domain=fair"], "the log names the domain 'fair', and there shop are known"),
        ([], "no item of the log is new: all have ids in data.known (30 items); nothing is to be added."),
    ],
)
def test_what_cannot_be_added_is_told(
    here: Path, run: Path, settings: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log(here / "taken.csv", 0 if not settings else 6)
    settings = settings if "nowhere" in settings else [*settings, "--out", str(run)]
    for verb in ("check", "tune"):
        assert main([verb, "job.toml", "--only-new", *settings]) == 2
        assert said in " ".join(capsys.readouterr().err.split())


def test_a_job_without_the_method_that_the_run_exports_gives_way_to_the_job_of_the_run(
    here: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log(here / "taken.csv", 6)
    start, end = JOB.index("[methods.promo]"), JOB.index("[evaluate]")
    (here / "less.toml").write_text(JOB[:start] + JOB[end:].replace('"promo"', '"finetune"'))
    check = ["--only-new", "--out", str(run)]
    assert main(["check", "less.toml", *check]) == 2
    assert "the job has no 'promo', of which" in capsys.readouterr().err
    assert main(["check", str(run / "job.toml"), *check]) == 0


@pytest.mark.parametrize("damage", ["gone", "altered"])
def test_a_run_that_lost_its_winner_is_made_whole_with_its_own_log_before_anything_is_added(
    damage: str, here: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ["check", "job.toml", "--only-new", "--out", str(run)]
    held = list((run / "winners" / "promo" / "cold.1").glob("replicate-*"))
    for path in held:
        path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-1] + b"!")
    log(here / "taken.csv", 6)
    assert main(add) == main(["tune", *add[1:]]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"has lost {', '.join(sorted(path.relative_to(run).as_posix() for path in held))}, which new items take" in said
    assert not (run / "grown").exists()
    log(here / "taken.csv", 0)
    assert main(["export", "job.toml", "--out", str(run)]) == 0
    log(here / "taken.csv", 6)
    assert main(add) == 0


def test_a_winner_without_a_replicate_on_every_pre_training_is_told_before_anything_is_added(
    here: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where its replicates could not be trained."""
    log(here / "taken.csv", 6)
    monkeypatch.setattr(only_new.failures, "winner", lambda *of: None)
    assert main(["check", "job.toml", "--only-new", "--out", str(run)]) == 2
    assert "promo has no winner on cold.1 that stands on pre-training 0" in capsys.readouterr().err


def test_one_that_was_begun_with_another_log_is_finished_with_that_one_or_deleted(
    here: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = here / "job.toml"
    log(here / "taken.csv", 4)
    with monkeypatch.context() as patch:
        patch.setattr(tune, "run", lambda context: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            only_new.run(config.read(job), run, lambda line: None)
    log(here / "taken.csv", 6)
    assert main(["tune", str(job), "--only-new", "--out", str(run)]) == 2
    assert f"{run / 'grown' / '1'}: is not finished, and the log" in " ".join(capsys.readouterr().err.split())
    shutil.rmtree(run / "grown" / "1")
    only_new.run(config.read(job), run, lambda line: None)
    (unit,) = Store.open(run / "grown" / "1" / "data").schema.units
    assert len(unit.members) == 6 and (run / "artifacts" / "cold.2" / "_complete.json").exists()
