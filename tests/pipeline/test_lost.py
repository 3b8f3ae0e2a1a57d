"""A finished run notices what it lost, and makes that anew: the same files, whatever was damaged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from raytune_rec import pipeline
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.config import Job
from raytune_rec.errors import ArtifactError
from tests.pipeline import test_run
from tests.pipeline.here import without_ray
from tests.pipeline.test_run import SMALL, contents


def job() -> Job:
    interactions = {"interactions": {"feed": 500, "search": 300}, "users": 40, "items": 30}
    return test_run.job(
        data={"source": "synthetic", "options": interactions},
        training={**SMALL["training"], "epochs": 2},
        pretrain={"trials": 0, "workers": 0},
        pretrainings={"plate": SMALL["pretrainings"]["plate"]},
        methods={name: SMALL["methods"][name] for name in ("logistic", "plate")},
        tune={"trials": 1},
        evaluate={**SMALL["evaluate"], "bootstrap": 100},
    )


@pytest.fixture(scope="module", autouse=True)
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as made:
        without_ray(made)
        yield made


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "small"
    pipeline.run(job(), out)
    return out


@pytest.fixture
def lossy(done: Path, tmp_path: Path) -> Path:
    shutil.copytree(done, tmp_path / "run")
    return tmp_path / "run"


def kept(run: Path) -> dict[str, bytes]:
    """All that a user keeps; the logs of TensorBoard are named after process and time."""
    return {n: b for n, b in contents(run).items() if not n.startswith(("tensorboard/", "stages/report/"))}


LOSSES: list[dict[str, bytes | None]] = [
    {"results.json": None, "trials.json": b"[]", "data/vocabulary/item.parquet": None, "artifacts/feed/prompt.safetensors": b"x"},
    {"artifacts/search/prompt.json": b"{}", "report/index.html": None, "job.toml": b"= 3", "data/_complete.json": None},
    {
        **{f"stages/{name}/_complete.json": None for name in ("prepare", "evaluate")},
        **{f"artifacts/feed/{name}": None for name in ("prompt.json", "README.md", "_complete.json")},
        **{"data/users.parquet": b"x", "data/train/part-00000.parquet": b""},
    },
]


@pytest.mark.parametrize("losses", LOSSES, ids=lambda losses: next(iter(losses)))
def test_the_same_command_makes_anew_what_is_lost(lossy: Path, losses: dict[str, bytes | None]) -> None:
    """Nothing is trained again, the test says what it said, and each loss is told."""
    before, said = kept(lossy), list[str]()
    for name, content in losses.items():
        (lossy / name).unlink() if content is None else (lossy / name).write_bytes(content)
    pipeline.run(job(), lossy, say=said.append)
    assert kept(lossy) == before
    assert any("lost or damaged, and made anew" in line or line.startswith("evaluate: done") for line in said)
    pipeline.run(job(), lossy, say=said.append)
    assert kept(lossy) == before


def test_lost_weights_are_trained_again_to_the_last_bit(lossy: Path) -> None:
    """Of a winner, and of the backbone under it: the same files, and the same results."""
    weights = {n: b for n, b in kept(lossy).items() if n.endswith((".safetensors", "results.json", "trials.json"))}
    backbone = prompt_artifact.read(lossy / "artifacts" / "feed").backbone_fingerprint
    flipped = [
        lossy / "winners" / "plate" / "feed" / "replicate-1.safetensors",
        lossy / "backbones" / backbone / "backbone.safetensors",
    ]
    for path in flipped:
        path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    (lossy / "winners" / "logistic" / "search" / "winner.json").unlink()
    (lossy / "pretrain.json").write_text("[]")
    pipeline.run(job(), lossy)
    assert {n: b for n, b in kept(lossy).items() if n in weights} == weights
    pipeline.run(job(), lossy)


def test_large_files_are_known_by_their_size_unless_all_is_read(lossy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raytune_rec.storage.listing.SMALL", 0)
    before, said = kept(lossy), list[str]()
    path = lossy / "artifacts" / "feed" / "prompt.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    pipeline.run(job(), lossy, say=said.append)
    assert [line.partition(":")[0] for line in said] == ["report"]
    pipeline.run(job(), lossy, say=said.append, verify=True)
    assert "export: lost or damaged, and made anew: artifacts/feed/prompt.safetensors" in said and kept(lossy) == before


def test_a_damaged_journal_is_refused_and_names_its_segment(lossy: Path) -> None:
    segments = sorted((lossy / "journal").glob("0*.json"))
    for segment in (segments[-1], segments[2]):  # nobody but the marker misses the last one
        content = segment.read_bytes()
        segment.unlink()
        before = contents(lossy)
        with pytest.raises(ArtifactError, match=f"{segment.name}: this segment .* copy it anew, or start a new run"):
            pipeline.run(job(), lossy)
        assert contents(lossy) == before
        segment.write_bytes(content)
    pipeline.run(job(), lossy)


@pytest.mark.parametrize("damage", [b"[]", None])
def test_what_a_damaged_marker_tells_to_do_helps(lossy: Path, damage: bytes | None) -> None:
    """None: a sound marker in which something was altered."""
    before, marker = kept(lossy), lossy / "stages" / "export" / "_complete.json"
    marker.write_bytes(marker.read_bytes().replace(b'"method": "plate"', b'"method": "plats"') if damage is None else damage)
    with pytest.raises(ArtifactError, match=r"delete (this file|the folder .*stages/export) and run again"):
        pipeline.run(job(), lossy)
    marker.unlink()
    pipeline.run(job(), lossy)
    assert kept(lossy) == before
