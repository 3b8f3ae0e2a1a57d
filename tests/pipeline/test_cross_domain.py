"""From one domain to another: users' vectors of a source, and its backbone for other ids. No cluster: nothing is searched."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from raytune_rec import cli, pipeline
from raytune_rec.artifacts import backbone
from raytune_rec.config import Job, parse
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, JobError
from raytune_rec.schema.prepared import ALL_DOMAINS
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.scoring import vectors
from raytune_rec.scoring.vectors import user_vectors
from raytune_rec.storage.files import read_json
from raytune_rec.tensors import Step, generator, table
from raytune_rec.training.build import build
from raytune_rec.training.feed import take
from tests.pipeline.here import resolved_on

LEAVE: dict[str, Any] = {"split": {"kind": "leave_one_out"}, "sequences": {"length": 6, "negatives": 5}}
COLD: dict[str, Any] = {
    "split": {"kind": "cold_users", "cold_below": 9},
    "sequences": {
        "length": 6, "windows": "all", "negatives": 5, "tasks": ["few"], "events": 4, "folds": 2, "valid": 0.5, "warm": True,
    },
}  # fmt: skip
SMALL = {"name": "sasrec", "options": {"width": 8, "inner": 8, "dropout": 0.0}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of two categories: 60 users of the one, 50 of the other, 40 of both; items of the same names."""
    path = tmp_path_factory.mktemp("cross")
    draw = np.random.default_rng(1)
    for name, users, items in (("Left", range(60), 25), ("Right", range(20, 70), 18)):
        (path / name).mkdir()
        lines = [" ".join([f"R{u}", *(f"B{i}" for i in draw.integers(0, items, 5 + u % 6))]) for u in users]
        (path / name / "user_sequence.txt").write_text("\n".join(lines) + "\n")
    return path


def job(folder: Path, domain: str, data: dict[str, Any], vectors: bool = False, **changes: Any) -> Job:
    options: dict[str, Any] = {"path": str(folder), "domains": [domain]}
    options |= {"vectors": str(folder / "left.parquet"), "overlap": True} if vectors else {}
    values: dict[str, Any] = {
        "name": domain, "seed": 4, "data": {"source": "amazon", "options": options, **data}, "backbone": SMALL,
        "training": {"objective": "softmax", "metric": "ndcg@10", "batch_size": 16, "epochs": 2, "lr": {"default": 0.01}},
        "pretrain": {"workers": 0}, "pretrainings": {"own": {}},
        "methods": {"pretrained": {"strategy": "pretrained", "pretraining": "own"}},
    }  # fmt: skip
    return parse(values | changes)


def pretrained(own: Job, out: Path) -> Path:
    out.mkdir()
    pipeline.run(own, out, until="pretrain", say=lambda _: None)
    return out


def taken(source: Path, **more: Any) -> dict[str, Any]:
    """A job's section that starts from another run."""
    return {"own": {"from": str(source), **more}}


@pytest.fixture(scope="module")
def left(folder: Path) -> Path:
    return pretrained(job(folder, "Left", LEAVE), folder / "left")


@pytest.fixture(scope="module")
def right(folder: Path, left: Path) -> tuple[Job, Path]:
    """The target's job, with the source's vectors and backbone, up to the pre-training that is none."""
    assert cli.main(["vectors", str(left), "--out", str(folder / "left.parquet")]) == 0
    rows = {"full": {"strategy": "prompt_backbone", "prompt": "ppr", "pretraining": "own"}, "target": {"strategy": "single"}}
    prompts = {"ppr": {"tokens": 2, "hidden_width": 4, "profile_width": 4}}
    own = job(folder, "Right", COLD, True, pretrainings=taken(left, new_ids=True), methods=rows, prompts=prompts)
    return own, pretrained(own, folder / "right")


def test_vectors_say_what_they_read_how_far_they_are_and_what_they_wrote(
    left: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, said, at = tmp_path / "users.parquet", list[str](), list[str]()
    assert cli.main(["vectors", str(left), "--out", str(out)]) == 0
    reading, wrote = capsys.readouterr().out.splitlines()
    assert reading == f"backbone {paths(left)['own'].name} of {left}: reading 60 histories"
    assert wrote == f"{out}: 60 rows written, a user and a vector of 8 numbers each" and pq.read_table(out).num_rows == 60
    monkeypatch.setattr(vectors, "_USERS", 40)
    vectors.write_vectors(left, out, "", said.append, at.append)
    assert said == [reading, wrote] and at == ["0 of 60 histories read", "40 of 60 histories read"]


def test_a_vector_is_what_the_backbone_makes_of_all_that_a_user_took(left: Path, right: tuple[Job, Path]) -> None:
    written = pq.read_table(left.parent / "left.parquet")
    assert written.column_names == ["user", "vector"] and written.equals(user_vectors(left))
    found = dict(zip(written["user"].to_pylist(), written["vector"].to_pylist(), strict=True))
    assert set(found) == {f"R{u}" for u in range(60)} and {len(v) for v in found.values()} == {8}
    own, store = job(left.parent, "Left", LEAVE), Store.open(left / "data")
    model = build(
        resolved_on(own, "pretrained", paths(left)), Pack("p", "pretrained", (Lane(0, unit="Left"),)), store, paths(left)
    ).model
    for line in (left.parent / "Left" / "user_sequence.txt").read_text().splitlines()[:12]:
        user, *items = line.split()
        columns = {n: torch.as_tensor(c)[None] for n, c in store.encode({"history": [items]}).items()}
        batch = take(columns, torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.int64))
        made = model.forward(batch, {}, Step(False, last=True))["user"][0, 0]
        np.testing.assert_allclose(found[user], made.detach().numpy(), atol=1e-6)


def paths(run: Path) -> dict[str, Path]:
    return backbone.of_run(run)


def test_only_shared_users_are_read_and_each_has_his_vector(right: tuple[Job, Path], folder: Path) -> None:
    store, vectors = Store.open(right[1] / "data"), pq.read_table(folder / "left.parquet")
    known = dict(zip(vectors["user"].to_pylist(), vectors["vector"].to_pylist(), strict=True))
    names = pq.read_table(store.path / "users.parquet")["raw"].to_pylist()
    assert set(names[1:]) == {f"R{u}" for u in range(20, 60)}
    for unit, split in (("few.1", "train"), ("few.2", "test"), (ALL_DOMAINS, "train")):
        rows = store.reader.columns(store.schema.unit(unit), split)["user"]  # type: ignore[union-attr]
        found = store.load(unit, split).columns["vector"]
        assert found.shape == (len(rows), 8) and len(rows) > 5
        assert all(v.tolist() == known[names[u]] for u, v in zip(rows, found, strict=True))


def test_new_ids_take_everything_but_what_ids_index(left: Path, right: tuple[Job, Path]) -> None:
    source, tensors = backbone.load(paths(left)["own"])
    facts, found = backbone.load(paths(right[1])["own"])
    assert found.keys() == tensors.keys()
    assert {n for n in found if not torch.equal(found[n], tensors[n])} == {"backbone.item"}
    items = Store.open(right[1] / "data").schema.field("item").size
    drawn = table(0.02)((items, 8), generator(4, ALL_DOMAINS, 0, 0, "backbone.item"))
    assert torch.equal(found["backbone.item"], drawn), "as a pre-training from scratch would begin"
    assert (facts.origin, facts.pretraining, facts.value, facts.curve) == (source.fingerprint, "own", None, ())
    assert facts.data_fingerprint == Store.open(right[1] / "data").schema.fingerprint != source.data_fingerprint
    told = read_json(right[1] / "pretrain.json")["own"]
    assert told["fingerprint"] == facts.fingerprint != source.fingerprint and told["from"] == str(paths(left)["own"])


def test_rows_of_the_target_learn_from_the_vectors(right: tuple[Job, Path]) -> None:
    own, run = right
    store = Store.open(run / "data")
    trainer = build(resolved_on(own, "full", paths(run)), Pack("p", "full", (Lane(0, unit="few.1"),)), store, paths(run))
    before = trainer.model.trained["prompt.of.vector"].clone()
    trainer.run()
    assert trainer.records[0].curve and not torch.equal(before, trainer.model.trained["prompt.of.vector"])
    build(resolved_on(own, "target", paths(run)), Pack("p", "target", (Lane(0, unit="few.1"),)), store, paths(run)).epoch()


def test_what_stands_at_the_source_decides_and_not_where_it_stands(folder: Path, left: Path, tmp_path: Path) -> None:
    def taken_over(source: Path) -> tuple[dict[str, Any], list[str]]:
        said: list[str] = []
        pipeline.run(job(folder, "Left", LEAVE, pretrainings=taken(source)), tmp_path / "run", until="pretrain", say=said.append)
        return read_json(tmp_path / "run" / "pretrain.json")["own"], [line for line in said if line.startswith("backbone")]

    shutil.copytree(left, tmp_path / "source")
    first, said = taken_over(tmp_path / "source")
    assert said and first["origin"] == first["fingerprint"] == read_json(left / "pretrain.json")["own"]["fingerprint"]
    assert taken_over(left) == (first, []), "the same elsewhere"
    shutil.rmtree(tmp_path / "source")
    assert taken_over(tmp_path / "source") == (first, []), "what was taken over serves on"
    pretrained(job(folder, "Left", LEAVE, seed=5), tmp_path / "source")
    with pytest.raises(ArtifactError, match=rf"(?s)pretrainings\.own\.from was '{first['origin']}' .*Use another --out folder"):
        taken_over(tmp_path / "source")


def test_what_has_no_place_is_refused(folder: Path, left: Path, tmp_path: Path) -> None:
    longer = {**LEAVE, "sequences": {**LEAVE["sequences"], "length": 7}}
    with pytest.raises(ArtifactError, match=r"'backbone.position' has the shape \(6, 8\), and this job's data need \(7, 8\)"):
        pretrained(job(folder, "Right", longer, pretrainings=taken(left, new_ids=True)), tmp_path / "a")
    with pytest.raises(ArtifactError, match=r"other ids.* or set new_ids = true"):
        pretrained(job(folder, "Right", LEAVE, pretrainings=taken(left)), tmp_path / "b")
    with pytest.raises(JobError, match="new_ids = true takes all but the ids from a finished backbone; name it as `from`"):
        job(folder, "Right", LEAVE, pretrainings={"own": {"new_ids": True}})


@pytest.fixture(scope="module")
def cold(folder: Path) -> Path:
    return pretrained(job(folder, "Right", COLD), folder / "cold")


@pytest.mark.parametrize(
    "changes",
    [
        {"sequences": {"tasks": ["zero", "joint"]}},
        {"sequences": {"events": 3, "folds": 3, "valid": 0.4}},
        {"sequences": {"negatives": 3, "full": False, "warm": False}},
    ],
)
def test_jobs_that_differ_in_what_cold_users_do_share_a_backbone(
    folder: Path, cold: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    data = {**COLD, "sequences": {**COLD["sequences"], **changes["sequences"]}}
    run = pretrained(job(folder, "Right", data, pretrainings=taken(cold)), tmp_path / "run")
    assert Store.open(run / "data").schema.fingerprint != Store.open(cold / "data").schema.fingerprint
    assert backbone.read(paths(run)["own"]) == backbone.read(paths(cold)["own"])


@pytest.mark.parametrize(
    "changes", [{"split": {"kind": "cold_users", "cold_below": 8}}, {"sequences": {**COLD["sequences"], "windows": "last"}}]
)
def test_another_split_or_other_windows_need_another(folder: Path, cold: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="other ids"):
        pretrained(job(folder, "Right", {**COLD, **changes}, pretrainings=taken(cold)), tmp_path / "run")


def test_a_backbone_of_before_is_compared_as_before(folder: Path, cold: Path, tmp_path: Path) -> None:
    """One without the fingerprint of what training saw."""
    facts, tensors = backbone.load(paths(cold)["own"])
    backbone.save(tmp_path / "old", dataclasses.replace(facts, trained_fingerprint=""), tensors, cold / "data")
    other = {**COLD, "sequences": {**COLD["sequences"], "folds": 3}}
    with pytest.raises(ArtifactError, match="other ids"):
        pretrained(job(folder, "Right", other, pretrainings=taken(tmp_path / "old")), tmp_path / "a")
    pretrained(job(folder, "Right", COLD, pretrainings=taken(tmp_path / "old")), tmp_path / "b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda run: ["vectors", str(run / "nowhere"), "--out", "x.parquet"], "pretrain.json is missing); name a run folder"),
        (
            lambda run: ["vectors", str(run), "--out", "x.parquet", "--pretraining", "two"],
            "no pre-training 'two'; name one of own",
        ),
        (lambda run: ["vectors", str(run), "--out", "x.csv"], "x.csv: vectors are written as Parquet; give a name that ends in"),
    ],
)
def test_vectors_of_nothing_are_refused(
    left: Path, make: Callable[[Path], list[str]], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(make(left)) == 2
    assert message in capsys.readouterr().err


def test_vectors_need_histories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {
        "name": "x", "data": {"source": "synthetic", "options": {"interactions": {"a": 300}, "users": 20, "items": 10}},
        "backbone": {"name": "linear"}, "pretrain": {"workers": 0, "training": {"epochs": 1}}, "pretrainings": {"own": {}},
        "methods": {"pretrained": {"strategy": "pretrained", "pretraining": "own"}},
    }  # fmt: skip
    run = pretrained(parse(values), tmp_path / "run")
    assert cli.main(["vectors", str(run), "--out", str(tmp_path / "x.parquet")]) == 2
    assert "its rows are single interactions; vectors are of a run with data.sequences" in capsys.readouterr().err
