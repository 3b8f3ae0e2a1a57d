"""A whole run in an object store ends as the same run on a disk, and goes on after its driver was killed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from raytune_rec import config, runs
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.pipeline import run
from raytune_rec.pretraining.finished import sources_of
from raytune_rec.scoring import load_backbone, load_prompt
from raytune_rec.scoring.base import beside
from raytune_rec.scoring.whole import prompts_of
from raytune_rec.stages.checks.prepared import prepared
from raytune_rec.storage import files as storage_files
from raytune_rec.storage.objects import store
from raytune_rec.storage.places import located
from tests.pipeline.here import without_ray

BUCKET = "bucket"
_JOB = {
    "name": "small",
    "data": {"source": "synthetic", "options": {"users": 40, "items": 30, "interactions": {"a": 500, "b": 400}}},
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [8]}},
    "training": {"batch_size": 128, "epochs": 2},
    "pretrain": {"workers": 0},
    "pretrainings": {"plate": {"prompt": "plate", "options": {"prompt.meta_prompts": 24, "prompt.elastic": True}}},
    "tune": {"trials": 4, "pack": 2, "concurrent": 1},
    "methods": {"prompt": {"strategy": "prompt", "prompt": "plate", "space": ["training", "plate"]}},
    "evaluate": {"replicates": 1, "bootstrap": 100},
}


class _Killed(BaseException):
    """As SIGKILL: nothing that follows runs."""


def test_a_run_in_an_object_store_is_the_run_on_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_ray(monkeypatch)
    monkeypatch.setenv("RAYTUNE_REC_CACHE", str(tmp_path / "cache"))
    job = config.parse(_JOB)
    run(job, tmp_path / "disk", say=lambda line: None)
    out = located(f"memory://{BUCKET}/runs/one")
    real = storage_files.STORAGE.put_if_absent
    left = [5]

    def put_if_absent(path: Path, content: bytes) -> bool:
        if path.parent.name == "journal":
            left[0] -= 1
            if not left[0]:
                raise _Killed
        return real(path, content)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(storage_files.STORAGE, "put_if_absent", put_if_absent)
        run(job, out, say=lambda line: None)
    monkeypatch.setenv("RAYTUNE_REC_CACHE", str(tmp_path / "another"))  # another machine, that has nothing
    lines: list[str] = []
    out = located(f"memory://{BUCKET}/runs/one")
    run(job, out, say=lines.append)
    assert any(f"memory://{BUCKET}/runs/one/report/index.html" in line for line in lines)
    assert not any("objects" in line for line in lines), lines
    there = {
        key.removeprefix(f"/{BUCKET}/runs/one/"): store("memory").cat_file(key)
        for key in store("memory").find(f"{BUCKET}/runs/one")
    }
    here = {p.relative_to(tmp_path / "disk").as_posix(): p for p in (tmp_path / "disk").rglob("*") if p.is_file()}
    page, uri = there["report/index.html"].decode(), f"memory://{BUCKET}/runs/one"
    assert f"raytune-rec run {uri}/job.toml --out {uri}-again" in page
    same = [name for name in here if name.startswith(("artifacts/", "backbones/", "winners/")) and "_complete" not in name]
    assert (
        len(same) > 8 and [n for n in same if n.endswith(".safetensors") and _sha(there[n]) != _sha(here[n].read_bytes())] == []
    )
    assert {n for n in here if not n.startswith(("lock", "tensorboard"))} - set(there) == set()
    monkeypatch.setenv("RAYTUNE_REC_CACHE", str(tmp_path / "third"))
    _readers(job, tmp_path / "disk")
    monkeypatch.setenv("RAYTUNE_REC_CACHE", str(tmp_path / "fourth"))
    taking = config.parse({**_JOB, "pretrainings": {"plate": {**_JOB["pretrainings"]["plate"], "from": uri}}})
    (source,) = sources_of(taking, "plate")
    fetched = {file.relative_to(located(uri)).parts[0] for file in located(uri).rglob("*") if file.is_file()}
    assert fetched == {"backbones"} and source.parent == located(uri) / "backbones", "of a run that is taken, its backbones alone"


def _readers(job: config.Job, disk: Path) -> None:
    """Whoever takes a run, on a machine that has nothing of it."""
    uri = f"memory://{BUCKET}/runs/one"
    assert runs.found(Path(f"memory://{BUCKET}/runs"))[0][1] == ["prepare", "pretrain", "tune", "export", "evaluate", "report"]
    there, here = runs.open(uri), runs.open(disk)
    assert runs.compare([there, here]).drop_duplicates().notna().all(axis=None) and repr(there) == f"Run({uri!r})"
    assert prepared(job, located(uri)) == prepared(job, disk)
    rows = {"user": ["1", "nobody"], "item": ["2", "2"], "domain": ["a", "a"]}
    scores = [load_backbone(beside(run.artifacts["a"], _base(run))).score(rows) for run in (there, here)]
    assert scores[0].tolist() == scores[1].tolist()
    assert load_prompt(f"{uri}/artifacts/a").score(rows).tolist() == load_prompt(disk / "artifacts" / "a").score(rows).tolist()
    prompts, _ = prompts_of(located(uri), [])
    assert prompts.names == ("a", "b")


def _base(run: runs.Run) -> str:
    return prompt_artifact.read(run.artifacts["a"]).backbone_fingerprint


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
