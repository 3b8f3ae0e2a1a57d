"""What fails is recorded and told, and the rest is finished. Everything trains in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import pipeline
from raytune_rec.artifacts.prompt import read as prompt_of
from raytune_rec.config import parse
from raytune_rec.errors import RunFailed
from raytune_rec.report import missing
from raytune_rec.scoring import load_prompt
from raytune_rec.storage.files import read_json
from raytune_rec.training.lanes import LaneRecord
from tests.pipeline.here import without_ray

HUGE = {"training.lr.default": {"type": "float", "low": 1e29, "high": 1e30, "log": True}}
JOB: dict[str, Any] = {
    "name": "fails",
    "data": {"source": "synthetic", "options": {"interactions": {"feed": 500, "search": 400}, "users": 40, "items": 30}},
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [8]}},
    "training": {"batch_size": 128, "epochs": 2},
    "pretrain": {"workers": 0},
    "pretrainings": {"plain": {}, "plate": {"prompt": "plate"}},
    "prompts": {"plate": {"temperature": 1.0, "hidden_width": 4, "meta_prompts": 2}},
    "tune": {"trials": 2},
    "methods": {
        "linear": {"strategy": "single", "backbone": "linear", "baseline": True},
        "finetune": {"strategy": "finetune_all", "pretraining": "plain", "baseline": True},
        "plate": {"strategy": "prompt", "prompt": "plate", "pretraining": "plate"},
    },
    "spaces": {"huge": {"space": HUGE}},
    "evaluate": {"replicates": 3, "bootstrap": 100, "compare": ["plate"]},
}
Run = Callable[..., tuple[str, Path]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a job that fails in part: what it ends with, and the folder."""
    without_ray(monkeypatch)

    def go(until: str = "evaluate", **changes: Any) -> tuple[str, Path]:
        with pytest.raises(RunFailed) as ended:
            pipeline.run(parse(JOB | changes), tmp_path / "run", until=until, say=lambda line: None)
        return str(ended.value), tmp_path / "run"

    return go


def diverging(patch: pytest.MonkeyPatch, wanted: Callable[[Any], bool], curve: int = 1) -> None:
    """Lanes that fail after an epoch, as if their loss (or, at 0, the metric of their start values) were not finite."""
    trained, observe = LaneRecord.trained, LaneRecord.observe

    def losing(self: LaneRecord, loss: float) -> None:
        trained(self, float("nan") if curve and wanted(self.lane) else loss)

    def seeing(self: LaneRecord, value: float, measures: Any = None) -> bool:
        return observe(self, float("nan") if not curve and wanted(self.lane) else value, measures)

    patch.setattr(LaneRecord, "trained", losing)
    patch.setattr(LaneRecord, "observe", seeing)


def test_a_pretraining_none_of_whose_recipes_trains_is_missing_and_so_are_its_rows(run: Run) -> None:
    trying = {
        "pretrain": {"workers": 0, "trials": 2},
        "pretrainings": {"plain": {"space": ["huge"]}, "plate": {"prompt": "plate"}},
    }
    told, out = run(**trying)
    assert "every trial failed for pretrain.plain (2 trials; the first: the training loss of epoch 1" in told
    assert "finetune is not searched: the pre-training 'plain' that it starts from failed" in told
    known = read_json(out / "pretrain.json")
    assert known["plain"]["status"] == "failed" and known["plain"]["trials"] == 2 and "fingerprint" not in known["plain"]
    results = read_json(out / "results.json")
    assert results["methods"]["finetune"]["units"] == {} and set(results["methods"]["plate"]["units"]) == {"feed", "search"}
    assert {c["baseline"] for c in results["comparisons"]} == {"linear"}
    assert [m["method"] for m in results["missing"]] == ["pretrain.plain", "finetune"]
    assert (out / "artifacts" / "feed" / "prompt.json").exists()
    before = (out / "results.json").read_bytes()
    assert run(**trying)[0] == told and (out / "results.json").read_bytes() == before
    assert run(**trying, until="report")[0] == told
    assert "every trial failed for pretrain.plain" in (out / "report" / "index.html").read_text()


def test_nothing_can_be_done_without_a_backbone_that_all_rows_need(run: Run) -> None:
    told, out = run(
        until="report",
        pretrain={"workers": 0, "trials": 2},
        pretrainings={"plain": {"space": ["huge"]}},
        methods={"finetune": JOB["methods"]["finetune"]},
        evaluate={"compare": []},
    )
    assert "pretrain.plain" in told and "finetune" in told and not (out / "results.json").exists()


def test_a_pretraining_that_diverges_after_its_search_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging(monkeypatch, lambda lane: lane.unit == "all")
    told, out = run(pretrain={"workers": 0}, pretrainings={"plain": {}},
                    methods={n: JOB["methods"][n] for n in ("linear", "finetune")},
                    evaluate={"replicates": 1, "bootstrap": 100})  # fmt: skip
    assert "pre-training 'plain' failed: the training loss of epoch 1 is nan" in told and "another --out folder" in told
    assert set(read_json(out / "results.json")["methods"]["linear"]["units"]) == {"feed", "search"}


def test_a_further_pretraining_that_diverges_is_missing_and_the_first_serves(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging(monkeypatch, lambda lane: lane.unit == "all" and lane.replicate == 1)
    told, out = run(pretrain={"workers": 0, "replicates": 3})
    assert "pre-training 'plain#1' failed" in told and "pre-training 'plate#1' failed" in told
    known = read_json(out / "pretrain.json")
    assert {name for name, facts in known.items() if facts["status"] == "failed"} == {"plain#1", "plate#1"}
    winner = read_json(out / "winners" / "plate" / "feed" / "winner.json")
    assert {replicate["pretraining"] for replicate in winner["replicates"]} == {0, 2}
    assert set(read_json(out / "results.json")["methods"]["plate"]["units"]) == {"feed", "search"}
    assert load_prompt(out / "artifacts" / "feed", out / "backbones" / known["plate"]["fingerprint"])


def test_a_replicate_that_diverges_is_told_and_the_others_are_evaluated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging(monkeypatch, lambda lane: lane.replicate == 1 and lane.unit == "feed")
    told, out = run()
    assert "plate on feed: 2 of 3 replicates; replicate 1 failed: the training loss of epoch 1 is nan" in told
    results = read_json(out / "results.json")
    plate = results["methods"]["plate"]
    assert len(plate["units"]["feed"]["auc"]["replicates"]) == 2 and len(plate["units"]["search"]["auc"]["replicates"]) == 3
    facts = prompt_of(out / "artifacts" / "feed")
    assert facts.replicate in (2, 3) and facts.test["auc"] == plate["units"]["feed"]["auc"]["replicates"][facts.replicate - 2]
    winner = read_json(out / "winners" / "plate" / "feed" / "winner.json")
    assert [r["replicate"] for r in winner["replicates"]] == [2, 3] and winner["failed"][0]["replicate"] == 1
    load_prompt(out / "artifacts" / "feed", out / "backbones" / facts.backbone_fingerprint)


KEY = "training.weight_decay.prompt"
OF_PLATE: dict[str, Any] = {
    "methods": {"linear": JOB["methods"]["linear"], "plate": {**JOB["methods"]["plate"], "space": ["own"]}},
    "spaces": {"own": {"space": {KEY: {"type": "float", "low": 0.001, "high": 0.01}}}},
}
"""A job of two rows, in which a lane tells by its options whose it is."""


def test_a_row_whose_trials_all_fail_on_a_domain_is_missing_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging(monkeypatch, lambda lane: lane.unit == "feed" and lane.trial < 2 and KEY in lane.options, 0)
    told, out = run(**OF_PLATE)
    assert "every trial failed for plate on feed (2 trials; the first: the" in told and "Raise tune.trials" in told
    assert "no artifact in artifacts/feed" in told
    results = read_json(out / "results.json")
    assert set(results["methods"]["plate"]["units"]) == {"search"} and "mean" not in results["methods"]["plate"]
    assert {c["unit"] for c in results["comparisons"]} == {"search"}
    assert not (out / "artifacts" / "feed").exists() and (out / "artifacts" / "search").exists()
    assert any("every trial failed for plate on feed" in line and "no mean" in line for line in missing.lines(results))
    more = parse(JOB | OF_PLATE | {"tune": {"trials": 3}})  # the remedy
    pipeline.run(more, out, until="evaluate", say=lambda line: None)
    results = read_json(out / "results.json")
    assert set(results["methods"]["plate"]["units"]) == {"feed", "search"} and "missing" not in results
    assert (out / "artifacts" / "feed" / "prompt.json").exists()


def test_a_winner_none_of_whose_replicates_trains_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging(monkeypatch, lambda lane: lane.replicate > 0 and lane.unit == "feed" and KEY in lane.options)
    told, out = run(**OF_PLATE)
    assert "plate on feed: no replicate of its winner could be trained; replicate 1 failed" in told
    assert set(read_json(out / "results.json")["methods"]["plate"]["units"]) == {"search"}
    assert not (out / "artifacts" / "feed").exists() and (out / "artifacts" / "search" / "prompt.json").exists()


def test_a_domain_on_which_no_row_could_be_trained_is_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging(monkeypatch, lambda lane: lane.unit == "feed")
    told, out = run(**OF_PLATE)
    assert "every trial failed for linear on feed" in told and "plate on feed" in told
    assert set(read_json(out / "results.json")["units"]) == {"search"}
