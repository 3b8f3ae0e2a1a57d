"""Components of the user's own as whole jobs: what the tutorial shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_rec import cli, config, pipeline
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.components import files_of
from raytune_rec.errors import ArtifactError
from raytune_rec.scoring import load_prompt
from raytune_rec.storage.files import read_json
from raytune_rec.storage.objects import store
from tests.pages import PAGES, block
from tests.pipeline.here import without_ray


def _the_run_answers_by_itself(out: Path, scores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what the job named is gone, as with what a submitted job brought, and on a machine that has nothing but a URI."""
    Path("mine").rename("gone")
    artifact, lines = out / "artifacts" / "feed", list[str]()
    kept = config.read(out / "job.toml")
    (copy,) = map(Path, kept.components)
    assert copy.parent == out / "components"
    pipeline.run(kept, out, until="evaluate", say=lines.append)
    assert lines == [], "the same components, and nothing is done again"
    rows = {"user": ["u1", "u2"], "item": ["i1", "i2"], "domain": ["feed", "feed"]}
    pq.write_table(pa.table(rows), "rows.parquet")
    assert cli.main(["score", str(out), "--input", "rows.parquet", "--output", "scores.parquet"]) == 0
    for file in out.rglob("*"):
        if file.is_file():
            store("memory").pipe_file(f"own/{file.relative_to(out).as_posix()}", file.read_bytes())
    monkeypatch.setenv("RAYTUNE_REC_CACHE", str(out.parent / "cache"))
    assert cli.main(["score", "memory://own", "--input", "rows.parquet", "--output", "there.parquet"]) == 0
    both = [pq.read_table(name)["score"].to_numpy() for name in ("scores.parquet", "there.parquet")]
    np.testing.assert_allclose(both, [scores] * 2, rtol=1e-6)
    for run in (str(out), "memory://own"):
        with pytest.raises(ArtifactError, match=r"prompts/nudge\.py.*components=\['.*/components/\w{16}'\]") as told:
            load_prompt(f"{run}/artifacts/feed")
        named = str(told.value).partition("components=['")[2].partition("']")[0]
        load_prompt(f"{run}/artifacts/feed", components=[named])  # the remedy
    away = shutil.copytree(artifact, "away")
    with pytest.raises(ArtifactError, match=r"components=\[FOLDER\]"):
        load_prompt(away, next((out / "backbones").iterdir()))


def write_the_pages_files(folder: Path) -> None:
    """The files of the tutorial, where it says that they lie."""
    page = PAGES["docs/tutorials/own_method.md"]
    for name, language in re.findall(r"`((?:mine|own)[\w/]*\.\w+)`[^`\n]*:\n\n```(\w+)\n", page):
        code = re.search(rf"`{re.escape(name)}`[^`\n]*:\n\n```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        assert code
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code[1], encoding="utf-8")


def test_a_virtual_environment_beside_own_components_is_no_part_of_them(tmp_path: Path) -> None:
    """With `components = ["."]` all of its packages would be read at each start, and copied into each run."""
    for name in ("prompts/nudge.py", "shared.py", ".venv/pyvenv.cfg", ".venv/lib/torch/nn.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert set(files_of(tmp_path)) == {"prompts/nudge.py", "shared.py"}


def test_the_tutorials_method_runs_as_a_job_and_its_artifact_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_the_pages_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    without_ray(monkeypatch)
    out = tmp_path / "runs" / "own"
    pipeline.run(config.read(Path("own.toml")), out, until="evaluate", say=lambda line: None)
    trials = read_json(out / "trials.json")
    assert len(trials) == 6 and all(t["state"] == "complete" and "prompt.scale" in t["options"] for t in trials)
    assert read_json(out / "results.json")["methods"]["nudge"]["mean"]["auc"]["mean"] > 0
    artifact = out / "artifacts" / "feed"
    backbone = out / "backbones" / prompt_artifact.read(artifact).backbone_fingerprint
    names: dict[str, Any] = {}
    exec(block("python", 'load_prompt("runs/own'), names)
    served = load_prompt(artifact, backbone, components=[tmp_path / "mine"])
    rows = {"user": ["u1", "u2"], "item": ["i1", "i2"]}
    assert np.isfinite(np.asarray(served.score(rows))).all()
    assert np.array_equal(np.asarray(names["prompt"].score(rows)), np.asarray(served.score(rows)))
    _the_run_answers_by_itself(out, names["prompt"].score(rows), monkeypatch)
    card = (artifact / "README.md").read_text()
    assert "components=" in card and "`prompts/nudge.py` is no part of raytune_rec" in card
