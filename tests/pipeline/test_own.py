"""Components of the user's own as whole jobs: what README shows, and every family in one folder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from raytune_rec import config, pipeline
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.errors import ArtifactError
from raytune_rec.scoring import load_prompt
from raytune_rec.storage.files import read_json
from tests.pipeline.here import without_ray

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
JOB = """name = "own"
{components}
[data]
source = "synthetic"
options = {{ interactions = {{ feed = 500, search = 400 }}, users = 40, items = 30 }}
[backbone]
name = "deepfm"
options = {{ width = 4, hidden = [8] }}
[training]
batch_size = 128
epochs = 2
[pretrain]
workers = 0
[pretrainings.nudge]
{prompt}
[tune]
trials = 3
[methods.nudge]
strategy = "prompt_linear"
{prompt}
{space}
[evaluate]
replicates = 1
bootstrap = 100
"""


def only(pattern: str) -> str:
    (found,) = set(re.findall(pattern, README, re.DOTALL | re.MULTILINE))
    return str(found)


def write_readmes_files(folder: Path) -> str:
    """The files of README's section where it says that they lie; the job that names them, with the lines that it names."""
    prompt, space = only(r"`(mine/prompts/\w+\.py)`"), only(r"`(mine/search_spaces/\w+\.toml)`")
    blocks = {prompt: r"^```python\n((?:(?!```).)*class Nudge.*?)^```", space: r"^```toml\n((?:(?!```).)*prompt\.scale.*?)^```"}
    for name, block in blocks.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(only(block), encoding="utf-8")
    lines = {
        "components": r'(components = \["mine"\])',
        "prompt": r'(prompt = "nudge")',
        "space": r'(space = \["training", "nudge"\])',
    }
    return JOB.format(**{name: only(line) for name, line in lines.items()})


def test_readmes_method_runs_as_a_job_and_its_artifact_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.toml").write_text(write_readmes_files(tmp_path))
    without_ray(monkeypatch)
    out = tmp_path / "run"
    pipeline.run(config.read(tmp_path / "own.toml"), out, until="evaluate", say=lambda line: None)
    trials = read_json(out / "trials.json")
    assert len(trials) == 6 and all(t["state"] == "complete" and "prompt.scale" in t["options"] for t in trials)
    assert read_json(out / "results.json")["methods"]["nudge"]["mean"]["auc"]["mean"] > 0
    artifact = out / "artifacts" / "feed"
    backbone = out / "backbones" / prompt_artifact.read(artifact).backbone_fingerprint
    served = load_prompt(artifact, backbone, components=[tmp_path / "mine"])
    assert np.isfinite(np.asarray(served.score({"user": ["u1", "u2"], "item": ["i1", "i2"]}))).all()
    with pytest.raises(ArtifactError, match=r"prompts/nudge\.py.*components=\[FOLDER\]"):
        load_prompt(artifact, backbone)
    card = (artifact / "README.md").read_text()
    assert "components=" in card and "`prompts/nudge.py` is no part of raytune_rec" in card
