"""What a run took of the machines, told by stage and by domain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raytune_rec.report.page.render import build
from raytune_rec.report.run import read
from raytune_rec.report.tables import cost

_JOB = """name = "invented"
[tune]
cpus = 2.0
gpus = 0.25
threads = 2
[pretrain]
workers = 4
gpu = true
"""


def _trial(method: str, unit: str, seconds: float) -> dict:
    return {"method": method, "unit": unit, "number": 0, "state": "complete", "value": 0.7, "seconds": seconds}


@pytest.fixture
def spent(folder: Path) -> Path:
    """Hours that are known: by hand, 3600 s times what a process holds."""
    (folder / "job.toml").write_text(_JOB)
    trials = [_trial("pretrain.plain", "all", 1800), _trial("plate", "music", 3600), _trial("single", "music", 7200)]
    (folder / "trials.json").write_text(json.dumps([*trials, _trial("plate", "book", 3600)]))
    (folder / "pretrain.json").write_text(json.dumps({"plain": {"seconds": 900}, "plain#1": {"seconds": 900}}))
    for unit, seconds in {"music": 360, "book": 720}.items():
        place = folder / "winners" / "plate" / unit / "winner.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({"unit": unit, "replicates": [{"seconds": seconds / 2}] * 2}))
    return folder


def test_hours_are_told_by_stage_and_by_domain(spent: Path) -> None:
    table = cost.table(read(spent))
    assert table is not None
    told = [(line.note, line.name, *(cell.text for cell in line.cells)) for line in table.lines]
    assert told == [
        ("", "recipes of pre-trainings", "1", "0.12"),
        ("", "pre-trainings", "4", "2"),  # half an hour of four workers with two threads and a GPU each
        ("", "search", "8", "1"),
        ("search", "music", "6", "0.75"),
        ("search", "book", "2", "0.25"),
        ("", "winners, with replicates", "0.6", "0.075"),
        ("winners, with replicates", "book", "0.4", "0.05"),
        ("winners, with replicates", "music", "0.2", "0.025"),
        ("", "all of it", "13.6", "3.2"),
    ]


def test_what_packs_saved_is_told_where_it_was_measured(spent: Path) -> None:
    (before,) = [table.caption for table in [cost.table(read(spent))] if table]
    place = spent / "stages" / "tune" / "_complete.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"facts": {"saved": {"told": "what packs saved: much."}}}))
    (after,) = [table.caption for table in [cost.table(read(spent))] if table]
    assert after == f"{before} What packs saved: much."


def test_domains_beyond_a_few_are_told_together(spent: Path) -> None:
    trials = [_trial("plate", f"d{i:03}", 3600.0 * (i + 1)) for i in range(100)]
    (spent / "trials.json").write_text(json.dumps(trials))
    table = cost.table(read(spent))
    assert table is not None
    search = [line for line in table.lines if line.note == "search"]
    assert [line.name for line in search] == [f"d{i:03}" for i in range(99, 79, -1)] + ["80 more"]
    assert search[-1].cells[0].text == "6\N{NARROW NO-BREAK SPACE}480.0"  # as all thousands, so that the page sorts it


def test_a_pretraining_in_the_driver_takes_a_processor_and_no_gpu(spent: Path) -> None:
    (spent / "job.toml").write_text(_JOB.replace("workers = 4", "workers = 0"))
    (own,) = [stage for stage in cost.stages(read(spent)) if stage.name == "pre-trainings"]
    assert (own.cores, own.gpus) == (1.0, 0.0)


def test_the_page_shows_them(spent: Path) -> None:
    page = build(spent).read_text(encoding="utf-8")
    assert "core hours" in page and ">13.6<" in page.replace(" ", "").replace("\n", "")


def test_a_run_without_trainings_has_no_such_table(folder: Path) -> None:
    (folder / "trials.json").write_text("[]")
    (folder / "pretrain.json").unlink()
    assert cost.table(read(folder)) is None
