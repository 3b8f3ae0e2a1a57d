"""Early stopping: stopped trials are told and drawn as such, and are nowhere taken for complete ones."""

import json
import re
from pathlib import Path

import pytest

from raytune_rec.report.pictures import panels, stopping
from raytune_rec.report.run import Run, read
from raytune_rec.report.trials import Trial

JOB = """
name = "x"
[training]
epochs = 9
[tune.stop]
rule = "halving"
[methods.single]
strategy = "single"
[methods.long.options]
"training.epochs" = 20
"""


def _trial(row: str, number: int, state: str, epochs: int, **options: int) -> Trial:
    nothing = float("nan")
    return Trial(row, "music", number, state, 0.7 if state == "complete" else nothing, options, epochs=epochs,
                 curve=(0.5, 0.62, 0.61)[: epochs + 1])  # fmt: skip


TRIALS = (
    _trial("single", 0, "complete", 8),
    _trial("single", 1, "pruned", 1),
    _trial("single", 2, "failed", 2),
    _trial("single", 3, "running", 0),
    _trial("long", 0, "pruned", 3),
    _trial("long", 1, "pruned", 4, **{"training.epochs": 5}),
    _trial("untuned", 0, "complete", 0),
    _trial("pretrain.plain", 0, "pruned", 1),
)


def _run(job: str = JOB, trials: tuple[Trial, ...] = TRIALS) -> Run:
    rows = {name: {"tuned_parameters": n} for name, n in (("single", 10), ("long", 10), ("untuned", 0))}
    return Run(Path("x"), job, {"methods": rows, "units": {"music": {}}, "protocol": {}}, trials)


def test_the_epochs_of_all_trials_stand_beside_the_most_they_could_be() -> None:
    """The job's epochs, a row's and a trial's own; a row that trains nothing has none, and a pre-training is no row."""
    assert stopping.saved(_run()) == (
        "Of 6 trials 3 were stopped early (rule halving); all together trained 18 epochs, 34.6 % of the 52 that full training of "
        "every trial would have been at most, patience aside."
    )


def test_without_the_jobs_epochs_only_those_trained_are_told() -> None:
    assert stopping.saved(_run('name = "x"')).endswith("Of 6 trials 3 were stopped early; all together trained 18 epochs.")


def test_nothing_is_said_where_no_trial_was_stopped() -> None:
    assert stopping.saved(_run(trials=TRIALS[:1])) == ""


def test_a_stopped_trial_is_drawn_at_the_best_value_that_it_reached() -> None:
    stopped = [Trial("single", "music", 7, "pruned", float("nan"), curve=(0.5, 0.62, float("nan"), 0.61))]
    assert stopping.reached(stopped, higher=True) == [(7, 0.62)] and stopping.reached(stopped, higher=False) == [(7, 0.5)]
    assert stopping.reached([Trial("single", "music", 7, "pruned", float("nan"))], higher=True) == []


@pytest.fixture
def halved(folder: Path, content: dict) -> Path:
    """Odd trials of one row were stopped before they could be told, two of them at a value that no complete trial has."""
    trials = [
        t | {"state": "pruned", "value": None, "curve": [0.5, 0.99], "epochs": 1}
        if t["method"] == "soft_prompt" and t["number"] % 2
        else t
        for t in content["trials"]
    ]
    (folder / "trials.json").write_text(json.dumps(trials))
    return folder


def test_stopped_trials_are_not_searched_ones(halved: Path) -> None:
    run = read(halved)
    assert [t.number for t in run.searched("soft_prompt", "book")] == list(range(0, 16, 2))
    assert len(stopping.stopped(run, "book")) == 8


def test_the_search_panel_tells_and_draws_them(halved: Path) -> None:
    run = read(halved)
    group = panels.search(run, panels.method_colours(run))
    assert group is not None and re.search(
        r"Of \d+ trials 1 failed \(not shown\) and 25 were stopped early \(grey ticks", group.caption
    )
    book = next(str(p) for p in group.panels if "Search in book" in p)
    assert "of 8 trials; soft_prompt_linear" in book and "best 0.99" not in book and "; stopped early: 8 trials" in book


def test_the_costs_tell_them(halved: Path) -> None:
    run = read(halved)
    group = panels.costs(run, panels.method_colours(run))
    assert group is not None and re.search(
        r"Of \d+ trials 25 were stopped early; all together trained [\d\u202f]+ epochs", group.caption
    )
    assert "stopped ones counted too" in group.caption
