"""The benchmarks of what PLATE's prompt adds: on made-up logs, and of a winner with a part of its prompts taken away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import one_prompt, taste
from benchmarks.mistakes import told
from raytune_rec import pipeline
from raytune_rec.config import read
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, JobError
from raytune_rec.storage.files import read_json
from raytune_rec.strategies.aliases import strategy
from tests.pipeline.here import without_ray

SMALL = ["pretrain.trials=0", "pretrain.workers=0", "pretrain.training.epochs=2", "tune.trials=2", "training.epochs=2"]
SMALL += ["data.options.interactions={feed=1500,search=900}", "data.options.users=60", "data.options.items=40"]


def _run(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr("sys.argv", ["taste", *words.split()])
    with told():
        taste.main()


def test_each_world_is_a_run_and_each_step_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_ray(monkeypatch)
    _run(monkeypatch, f"--out {tmp_path} --tastes 2 --worlds 1 2 {' '.join(f'--set {change}' for change in SMALL)}")
    assert read(tmp_path / "taste-2-world-2" / "job.toml").data.options["users"] == 60, "what --set says of the log counts"
    (worlds,) = read_json(tmp_path / "taste.json").values()
    for number, reached in enumerate(worlds, 1):
        methods = read_json(tmp_path / f"taste-2-world-{number}" / "results.json")["methods"]
        assert reached["plate"] == methods["plate"]["mean"]["auc"]["mean"]
        assert all(value < reached["truth"] < 1 for name, value in reached.items() if name != "truth")
    gain = np.mean([reached["plate"] - reached["plate_fixed"] for reached in worlds])
    assert f"{gain:+.4f} (" in capsys.readouterr().out and worlds[0] != worlds[1]

    run = tmp_path / "taste-2-world-1"
    rows = Store.open(run / "data").load("feed", "valid")
    whole, taken = one_prompt.taken_away(run / "artifacts" / "feed", rows)
    assert list(taken) == list(one_prompt.TAKEN) and any(value != whole for value in taken.values())
    with pytest.raises(ArtifactError, match=r"it has no prompt\.domain, prompt\.user\.out\.weight; name a run that exported"):
        pipeline.run(taste.job_of(2, 1, [*SMALL, "evaluate.export=linear_part"]), tmp_path / "other")
        one_prompt.taken_away(tmp_path / "other" / "artifacts" / "feed", rows)


def test_a_strategy_lists_the_groups_it_trains_beside_a_prompt_that_stays() -> None:
    found = strategy("fixed_prompt_finetune:linear+output")
    assert (found.train, found.prompt, found.start) == (("linear", "output"), "on", "backbone")
    with pytest.raises(JobError, match=r"there is no 'prompt:linear'; .*finetune_partial:GROUP\+GROUP and fixed_prompt_fine"):
        strategy("prompt:linear")
