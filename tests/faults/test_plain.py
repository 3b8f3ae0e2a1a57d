"""The yardstick under faults: as good as Ray lets a script be, and judged by what it leaves."""

from __future__ import annotations

import json
import runpy
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.faults.fault import Drawn
from benchmarks.faults.plain import script
from benchmarks.faults.plain.subject import PLAIN
from benchmarks.kills.sweep import Attempt, Sweep
from benchmarks.sweep.plain import Rows
from tests import test_yardstick
from tests.tuning.test_runner import ROOT

CONFIG = {
    **{f"{kind}.{group}": 1e-3 for kind in ("lr", "weight_decay") for group in ("prompt", "linear")},
    **{"dropout": 0.3, "temperature": 1.0, "meta_prompts": 5, "batch_size": 64, "seed": 3},
}


def made_up() -> Rows:
    data = test_yardstick.world()
    return replace(test_yardstick.yardstick(test_yardstick.product(data), data, 0).data.rows, orders=None)


def test_a_trial_goes_on_from_its_checkpoint_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Otherwise the table would blame Ray Tune for what its user forgot."""
    rows = made_up()
    whole = script.build(rows, CONFIG)
    values = [whole.epoch() for _ in range(4)]
    half = script.build(rows, CONFIG)
    assert [half.epoch(), half.epoch()] == values[:2]
    script.save(half, tmp_path / script.STATE)
    rest = script.build(rows, CONFIG)
    torch.manual_seed(99)  # another process, at another place
    script.load(rest, tmp_path / script.STATE)
    assert [rest.epoch(), rest.epoch()] == values[2:] and rest.done == 4
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, rest.model.state_dict()[name]), name
    for name, weight in whole.best_weights.items():
        assert torch.equal(weight, rest.best_weights[name]), name


def test_it_searches_the_products_space() -> None:
    ours: dict[str, Any] = {}
    for name in ("training", "plate"):
        ours |= tomllib.loads((ROOT / "search_spaces" / f"{name}.toml").read_text())["space"]
    for name, domain in script.SPACE.items():
        (own,) = (dimension for key, dimension in ours.items() if key.partition(".")[2] == name)
        whole = own["type"] == "int"  # `randint` leaves out its upper end
        assert (domain.lower, domain.upper - whole) == (own["low"], own["high"]), name


def test_of_a_layer_that_reads_all_fields_the_rows_of_some_are_taken() -> None:
    weight = torch.arange(12.0).view(6, 2)  # three fields of two rows each
    assert torch.equal(script._of(["b", "c"], ["a", "b", "c"], weight), weight[2:])


def _run(folder: Path, trials: Mapping[str, float], reports: Mapping[str, list[int]]) -> Path:
    """A folder as the script leaves it: of one domain, with the value of each trial, and the epochs that Tune noted."""
    for place, (name, epochs) in enumerate(reports.items()):
        (path := folder / "plain" / "feed" / f"train_{place}").mkdir(parents=True)
        lines = [json.dumps({"config": {"lr": name[0]}, "epoch": epoch}) for epoch in epochs]
        (path / "result.json").write_text("\n".join(lines) + "\n")
    told = [{"config": {"lr": name}, "value": value, "epoch": 2} for name, value in trials.items()]
    (folder / "plain").mkdir(parents=True, exist_ok=True)
    (folder / "plain" / "results.json").write_text(json.dumps({"feed": told}))
    return folder


def test_what_a_script_has_lost_and_been_told_twice_is_counted(tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole", {"a": 0.7, "b": 0.8}, {"a": [1, 2], "b": [1, 2]})
    assert PLAIN.results(whole, whole) == {"lost": 0, "twice": 0}
    again = _run(tmp_path / "again", {"a": 0.7}, {"a": [1, 1, 2], "a again": [2], "b": [1]})
    assert PLAIN.results(again, whole) == {"lost": 1, "twice": 1}
    (again / "plain" / "results.json").unlink()
    with (again / "plain" / "feed" / "train_2" / "result.json").open("a") as file:
        file.write('{"config": {"lr": "b"}, "epoch": 2')  # a kill has cut it
    assert PLAIN.results(again, whole) == {"lost": 1, "twice": 1}, "of a script that never came to its end"


def test_a_script_is_wrong_by_its_proposals_and_by_their_results(tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole", {"a": 0.7, "b": 0.8}, {})
    run = _run(tmp_path / "run", {"a": 0.75, "c": 0.8}, {})
    sweep = Sweep(run, tmp_path / "job.toml", tmp_path, tmp_path, attempts=[Attempt(tmp_path / "notes", set(), set(), code=0)])
    assert PLAIN.wrong(sweep, Drawn(), True, whole) == [
        'feed {"lr": "b"} is missing',
        'feed {"lr": "c"} is only here',
        'feed {"lr": "a"} came to (0.75, 2), not (0.7, 2)',
    ]
    assert PLAIN.wrong(replace(sweep, run=whole), Drawn(), True, whole) == []
    sweep.attempts[0].code, sweep.attempts[0].said = 1, "exit code 1"
    assert PLAIN.wrong(sweep, Drawn(), True, whole) == ["exit code 1"]


@pytest.mark.parametrize(("words", "told"), [("--only straggler --plain", "with --plain"), ("--only none", "without --plain")])
def test_a_class_that_a_subject_does_not_meet_is_refused(
    words: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["faults", *words.split()])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("benchmarks.faults", run_name="__main__")
    said = capsys.readouterr().err
    assert ended.value.code == 2 and told in said and "worker_killed" in said
