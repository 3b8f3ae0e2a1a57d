"""What is the user's stays the user's: no folder of his is written into, nothing is removed that a run did not write."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_rec import cli
from raytune_rec.storage import claim
from raytune_rec.storage.listing import remove_files
from raytune_rec.tuning.packs import folder

JOB = """
name = "small"
[data]
source = "synthetic"
options = { interactions = { feed = 300, search = 200 }, users = 20, items = 15 }
[backbone]
name = "deepfm"
[methods.single]
strategy = "single"
"""
STAGES = ["pretrain", "tune", "export", "evaluate", "report"]


@pytest.fixture
def job(tmp_path: Path) -> str:
    (tmp_path / "job.toml").write_text(JOB)
    return str(tmp_path / "job.toml")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("verb", ["run", "prepare", "tune", "report"])
@pytest.mark.parametrize(
    "name",
    [
        "thesis.tex",
        "tune/notes.txt",
        "stages/tune/data.csv",
        "data/_begun.json",
        "run.json",
        ".git/config",
        "lock",
        "stages/a/_begun.json",
    ],
)
def test_a_folder_of_the_users_is_refused_before_anything_is_written(
    job: str, tmp_path: Path, verb: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text('["mine"]')
    before = contents(tmp_path / "mine")
    assert cli.main([verb, job, "--out", str(tmp_path / "mine")]) == 2
    heard = capsys.readouterr().err
    assert f"holds '{name.split('/')[0]}' and is no run of raytune-rec" in heard and "name a new or an empty folder" in heard
    assert contents(tmp_path / "mine") == before
    assert cli.main(["prepare", job, "--out", str(tmp_path / "new" / "one")]) == 0, "the remedy"


@pytest.mark.parametrize("out", ["/", ".", "job.toml", "job.toml/x", "/proc/self"])
def test_what_is_no_folder_for_a_run_is_refused(
    job: str, tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["prepare", job, "--out", out]) == 2
    heard = capsys.readouterr().err
    assert "--out" in heard and "name a" in heard and heard.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["job.toml"]


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("methods.single.strategy=nonsense", "there is no 'nonsense'"),
        ("data={source='tabular', options={files='none.csv'}}", "none.csv: no such file"),
    ],
)
def test_a_run_that_is_refused_leaves_nothing(
    job: str, tmp_path: Path, setting: str, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for name in ("runs/one", "mine", "mine/one"):
        assert cli.main(["prepare", job, "--out", str(tmp_path / name), "--set", setting]) == 2
        assert rule in capsys.readouterr().err and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("verb", STAGES)
def test_a_stage_does_not_make_a_run_in_a_mistyped_folder(
    job: str, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([verb, job, "--out", str(tmp_path / "rnu")]) == 2
    heard = capsys.readouterr().err
    assert f"there is no run here, and {verb} goes on with one" in heard and not (tmp_path / "rnu").exists()
    assert f"raytune-rec run JOB --out {tmp_path / 'rnu'}" in heard
    assert f"run `raytune-rec prepare JOB --out {tmp_path / 'rnu'}`" in heard


def test_a_stage_says_what_is_missing_before_it(job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert cli.main(["prepare", job, "--out", str(out)]) == 0
    before = contents(out)
    capsys.readouterr()
    for verb in STAGES[1:]:
        assert cli.main([verb, job, "--out", str(out)]) == 2
        heard = capsys.readouterr().err
        assert f"{verb} needs what pretrain makes, and pretrain is not finished there" in heard
        assert f"run `raytune-rec pretrain JOB --out {out}`" in heard and f"raytune-rec run JOB --out {out}" in heard
    (out / "data" / "vocabulary" / "item.parquet").unlink()
    for verb in STAGES[:2]:
        assert cli.main([verb, job, "--out", str(out)]) == 2
        assert "prepare has lost data/vocabulary/item.parquet there" in capsys.readouterr().err
    assert cli.main(["prepare", job, "--out", str(out)]) == 0
    assert "lost or damaged, and made anew: data/vocabulary/item.parquet" in capsys.readouterr().out
    assert contents(out) == before
    assert cli.main(["pretrain", job, "--out", str(out)]) == 0, "the remedy"


def test_a_lost_store_is_the_same_again_and_what_the_user_laid_beside_it_stays(job: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli.main(["prepare", job, "--out", str(out)]) == 0
    names = ("notes.txt", "data/notes.txt", "data/vocabulary/notes.txt", "tune/x", "tensorboard/events.out.tfevents.1")
    mine = [out / name for name in names]
    elsewhere = tmp_path / "elsewhere"
    for path in (*mine, elsewhere / "part-00000.parquet"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (out / "data" / "train" / "linked").symlink_to(elsewhere)
    before = contents(out)
    for name in ("users.parquet", "_complete.json", "schema.json", "train/part-00000.parquet"):
        (out / "data" / name).write_bytes(b"x") if name != "_complete.json" else (out / "data" / name).unlink()
        assert cli.main(["prepare", job, "--out", str(out)]) == 0
        assert contents(out) == before
    assert (elsewhere / "part-00000.parquet").read_text() == "mine"


def test_an_older_run_is_known_by_its_markers(tmp_path: Path) -> None:
    marker = tmp_path / "stages" / "prepare" / "_complete.json"
    marker.parent.mkdir(parents=True)
    marker.write_text(json.dumps({"stage": "prepare", "format": 2, "inputs": {}}))
    claim.check(tmp_path)
    assert claim.claimed(tmp_path)


def test_only_what_bears_our_mark_is_removed(tmp_path: Path) -> None:
    ours, theirs, linked = tmp_path / "ours", tmp_path / "theirs", tmp_path / "linked"
    for path in (ours, theirs):
        path.mkdir()
        (path / "file").write_text("x")
    claim.begin_scratch(ours)
    claim.begin_scratch(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    for path in (ours, theirs, linked, tmp_path / "none"):
        claim.remove_scratch(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "linked", "theirs"]
    assert (tmp_path / "elsewhere" / claim.SCRATCH).exists()


def test_the_folder_of_a_pack_goes_without_what_is_not_of_the_pack(tmp_path: Path) -> None:
    names = ("state.json", "result.json", "error.json", "state-3.safetensors", "lane-0.safetensors", ".state.json.ab12.tmp")
    for pack in ("a@b@r0", "a@c@r0"):
        for name in names:
            (tmp_path / "checkpoints" / pack).mkdir(parents=True, exist_ok=True)
            (tmp_path / "checkpoints" / pack / name).write_text("x")
    (tmp_path / "checkpoints" / "a@c@r0" / "notes.txt").write_text("mine")
    for pack in ("a@b@r0", "a@c@r0", "a@d@r0"):
        folder.remove(tmp_path, pack)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == ["checkpoints/a@c@r0/notes.txt"]
    (tmp_path / "checkpoints" / "a@e@r0").symlink_to(tmp_path / "checkpoints" / "a@c@r0")
    remove_files(tmp_path / "checkpoints" / "a@e@r0", "*")
    assert (tmp_path / "checkpoints" / "a@c@r0" / "notes.txt").exists()


def test_vectors_do_not_replace_a_file_of_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.parquet").write_text("mine")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "table.parquet")
    for name in ("text.parquet", "table.parquet"):
        before = (tmp_path / name).read_bytes()
        assert cli.main(["vectors", str(tmp_path), "--out", str(tmp_path / name)]) == 2
        assert "is there, and `raytune-rec vectors` did not write it; name another file" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == before
