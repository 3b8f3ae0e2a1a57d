"""Several pre-trainings of each variant: what stands on which, what results say of it, and what is refused. Without Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raytune_rec import pipeline
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.config import parse
from raytune_rec.errors import JobError
from raytune_rec.storage.files import read_json
from raytune_rec.training.lanes import LaneRecord
from tests.pipeline.here import without_ray

JOB: dict[str, Any] = {
    "name": "again",
    "data": {"source": "synthetic", "options": {"interactions": {"feed": 500, "search": 400}, "users": 40, "items": 30}},
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [8]}},
    "training": {"batch_size": 128, "epochs": 2},
    "pretrain": {"workers": 0, "replicates": 2},
    "pretrainings": {"plain": {}, "plate": {"prompt": "plate"}},
    "prompts": {"plate": {"temperature": 1.0, "hidden_width": 4, "meta_prompts": 2}},
    "tune": {"trials": 2},
    "methods": {
        "linear": {"strategy": "single", "backbone": "linear", "baseline": True},
        "pretrained": {"strategy": "pretrained", "pretraining": "plain", "baseline": True},
        "plate": {"strategy": "prompt", "prompt": "plate", "pretraining": "plate"},
    },
    "evaluate": {"replicates": 3, "bootstrap": 100, "compare": ["plate"]},
}


def _run(out: Path, **changes: Any) -> list[str]:
    said: list[str] = []
    pipeline.run(parse(JOB | changes), out, until="evaluate", say=said.append)
    return said


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("again") / "run"
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        _run(out)
    return out


def _winners(run: Path) -> dict[tuple[str, str], dict[str, Any]]:
    every = [read_json(path) for path in run.glob("winners/*/*/winner.json")]
    return {(w["method"], w["unit"]): w for w in every}


def test_winners_stand_on_the_pretrainings_in_turn(done: Path) -> None:
    told, winners = read_json(done / "pretrain.json"), _winners(done)
    assert set(told) == {"plain", "plain#1", "plate", "plate#1"} and len({f["fingerprint"] for f in told.values()}) == 4
    assert told["plain"]["curve"][0] != told["plain#1"]["curve"][0]  # start values
    for unit in ("feed", "search"):
        stands = {row: [r["pretraining"] for r in winners[row, unit]["replicates"]] for row in JOB["methods"]}
        assert stands == {"linear": [None] * 3, "pretrained": [0, 1], "plate": [0, 1, 0]}
    for number, name in enumerate(("plain", "plain#1")):  # what is not tuned reaches what its pre-training reached
        valid = [winners["pretrained", unit]["replicates"][number]["best"] for unit in ("feed", "search")]
        assert np.mean(valid) == pytest.approx(told[name]["best"], abs=1e-6)


def test_a_fresh_prompt_begins_where_the_backbone_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PTE: before training the model is the backbone as it is, in what it scores and not in its order alone."""
    without_ray(monkeypatch)
    start = {"pretraining": "pte", "prompt": "plate", "strategy": "prompt", "space": ["rates"]}
    methods = {
        "fusion": {**start, "options": {"prompt.temperature": 0.01}},
        "generative": {**start, "options": {"prompt.variant": "generative"}},
    }
    pretrainings = {"pte": {"prompt": "plate", "learn_prompt": False}}
    rates = {"space": {"training.lr.prompt": {"type": "float", "low": 1e-3, "high": 1e-2}}}
    own = {"metric": "logloss"}
    _run(
        tmp_path,
        methods=methods,
        pretrainings=pretrainings,
        spaces={"rates": rates},
        training=JOB["training"] | own,
        tune={"trials": 1},
        pretrain={"workers": 0},
        evaluate={"replicates": 1, "bootstrap": 100},
    )
    reached = read_json(tmp_path / "pretrain.json")["pte"]["best"]
    for method in methods:
        curves = [t["curve"] for t in read_json(tmp_path / "trials.json") if t["method"] == method]
        assert np.mean([curve[0] for curve in curves]) == pytest.approx(reached, abs=1e-6)
        assert all(curve[1] != curve[0] for curve in curves), "and it learns from there"


def test_results_count_each_pretraining_the_same_and_artifacts_share_the_first(done: Path) -> None:
    results, told = read_json(done / "results.json"), read_json(done / "pretrain.json")
    assert {row: facts["pretrainings"] for row, facts in results["methods"].items()} == {"linear": 0, "pretrained": 2, "plate": 2}
    auc = results["methods"]["plate"]["units"]["feed"]["auc"]
    one, two, three = auc["replicates"]
    assert auc["mean"] == pytest.approx(((one + three) / 2 + two) / 2)
    compared = {(c["baseline"], c["unit"]): c for c in results["comparisons"]}
    assert {c["pretrainings"] for c in compared.values()} == {2}
    assert len(compared["pretrained", "mean"]["trainings"]) == 2 and compared["linear", "mean"]["trainings"] is None
    assert compared["pretrained", "mean"]["covers"].endswith("in 2 units; 2 pre-trainings with their replicates")
    artifacts = [prompt_artifact.read(path) for path in (done / "artifacts").iterdir()]
    assert {a.backbone_fingerprint for a in artifacts} == {told["plate"]["fingerprint"]}
    assert {a.replicate for a in artifacts} <= {1, 3}
    for a in artifacts:
        place = [1, 2, 3].index(a.replicate)
        assert a.test and a.test["auc"] == results["methods"]["plate"]["units"][a.unit.name]["auc"]["replicates"][place]


def test_an_interrupted_pretraining_is_gone_on_with_bit_by_bit(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ray(monkeypatch)
    trained = LaneRecord.trained

    def killed(self: LaneRecord, loss: float) -> None:
        if self.lane.replicate == 1 and self.lane.unit == "all":
            raise KeyboardInterrupt
        trained(self, loss)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LaneRecord, "trained", killed)
        _run(tmp_path)
    assert set(read_json(tmp_path / "pretrain.json")) == {"plain", "plate"}
    said = _run(tmp_path)
    assert [line.split(":")[0] for line in said if line.startswith("backbone ")] == ["backbone plain#1", "backbone plate#1"]
    ours, theirs = (read_json(run / "results.json") for run in (tmp_path, done))
    assert ours["comparisons"] == theirs["comparisons"]
    assert all(ours["methods"][row]["units"] == theirs["methods"][row]["units"] for row in JOB["methods"])


def test_from_takes_the_pretrainings_that_there_are_and_says_how_many_stand_under_the_results(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ray(monkeypatch)
    theirs = read_json(done / "pretrain.json")
    folder = done / "backbones" / theirs["plate"]["fingerprint"]
    variants = {"plain": {"from": str(done)}, "plate": {"prompt": "plate", "from": str(folder)}}
    said = _run(tmp_path, pretrain={"replicates": 3}, pretrainings=variants)
    fewer = [line for line in said if "fewer than pretrain.replicates" in line]
    assert "plain.from has 1 fewer" in fewer[0] and "2 pre-trainings stand under its methods" in fewer[0]
    assert "plate.from has 2 fewer" in fewer[1] and "one pre-training stands under its methods" in fewer[1]
    ours = {name: f["fingerprint"] for name, f in read_json(tmp_path / "pretrain.json").items()}
    assert ours == {name: theirs[name]["fingerprint"] for name in ("plain", "plate", "plain#1")}
    results = read_json(tmp_path / "results.json")
    assert {row: f["pretrainings"] for row, f in results["methods"].items()} == {"linear": 0, "pretrained": 2, "plate": 1}
    covers = {c["baseline"]: c["covers"] for c in results["comparisons"] if c["unit"] == "mean"}
    assert all("one pre-training stands under it, whose variance is not in it" in words for words in covers.values())


def test_fewer_replicates_of_winners_than_pretrainings_are_refused_with_the_remedy() -> None:
    with pytest.raises(JobError) as refused:
        parse(JOB | {"evaluate": {"replicates": 1}})
    assert "evaluate.replicates = 1, but each of the pretrain.replicates = 2" in str(refused.value)
    assert "raise it to 2 or a multiple of it" in str(refused.value)
    assert parse(json.loads(json.dumps(JOB)) | {"evaluate": {"replicates": 2}}).pretrain.replicates == 2
