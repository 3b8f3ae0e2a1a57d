"""Earlier runs: their best configurations are tried first, and nothing of their values is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from raytune_rec.errors import JobError
from raytune_rec.schema.work import LaneResult, Pack
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.search import warmstart
from raytune_rec.tuning.search.records import trials
from raytune_rec.tuning.search.space import Dimension, Space
from raytune_rec.tuning.search.studies import Studies
from tests.tuning import fake

RATE = "training.lr.default"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A finished run on two domains."""
    job = fake.job()
    planner = SearchPlanner.of(Studies(tmp_path / "run" / "journal", job), fake.searches())
    while isinstance(pack := planner.next(), Pack):
        planner.done(pack, fake.train(pack, job))
    return tmp_path / "run"


def test_the_best_of_the_same_row_and_domain_come_first_best_first(earlier: Path) -> None:
    past = warmstart.read([str(earlier)], metric="auc")
    space = warmstart.warmed(fake.SPACE, past, "plate", "music", 3)
    own = [t for t in trials(earlier / "journal") if (t["method"], t["unit"]) == ("plate", "music")]
    best = sorted(own, key=lambda t: -t["value"])[:3]
    assert [dict(p.values) for p in space.first[:3]] == [t["options"] for t in best]
    assert space.first[-1] == fake.SPACE.first[0]  # the space's own point is still tried
    assert not any(p.outside for p in space.first)


def test_a_new_domain_starts_with_the_best_of_each_other(earlier: Path) -> None:
    past = warmstart.read([str(earlier)], metric="auc")
    space = warmstart.warmed(fake.SPACE, past, "single", "film", 4)
    bests = [
        max((t for t in trials(earlier / "journal") if (t["method"], t["unit"]) == ("single", unit)), key=lambda t: t["value"])
        for unit in ("music", "book")
    ]
    assert {tuple(p.values.items()) for p in space.first[:-1]} == {tuple(b["options"].items()) for b in bests}
    assert warmstart.warmed(fake.SPACE, past, "other", "film", 4) == fake.SPACE


def test_what_is_not_searched_any_more_is_left_out_and_what_left_its_range_is_marked(earlier: Path) -> None:
    past = warmstart.read([str(earlier)], metric="auc")
    narrow = Space((Dimension(RATE, "float", 1e-9, 1e-8, log=True),))
    (point, *_) = warmstart.warmed(narrow, past, "plate", "music", 1).first
    assert set(point.values) == {RATE} and point.outside


def test_the_first_trials_are_those_configurations(earlier: Path, tmp_path: Path) -> None:
    past = warmstart.read([str(earlier)], metric="auc")
    space = warmstart.warmed(fake.SPACE, past, "plate", "music", 2)
    study = Studies(tmp_path / "new", fake.job()).open(fake.searches(("music",), space)[0])
    assert [dict(lane.options) for lane in study.ask(2)] == [dict(p.values) for p in space.first[:2]]


def test_a_folder_without_a_journal_is_refused_by_name(tmp_path: Path, earlier: Path) -> None:
    with pytest.raises(JobError, match=r"tune\.warm_start: .*nothing holds no journal; name the folder of a run"):
        warmstart.read([str(tmp_path / "nothing")], metric="auc")
    assert warmstart.read([str(earlier)], metric="auc")


@pytest.mark.parametrize("metric", ["auc", "logloss"])
def test_a_new_domain_takes_the_best_units_first_by_the_metric_that_both_runs_have(tmp_path: Path, metric: str) -> None:
    """Three units of very different values: with room for two points the worst unit's stays out."""
    job = fake.job(trials=2, round=2)
    job = job.model_copy(update={"training": job.training.model_copy(update={"metric": metric})})
    searches = [s for s in fake.searches(("low", "high", "middle")) if s.method == "plate"]
    worth = {"low": 0.1, "middle": 0.5, "high": 0.9}
    opened = {s.unit: Studies(tmp_path / "journal", job).open(s) for s in searches}
    for unit, study in opened.items():
        study.tell([LaneResult(x.trial, 0, "complete", worth[unit] + x.trial / 100, 0, (), (), 1, 0.0, 1) for x in study.ask(2)])
    past = warmstart.read([str(tmp_path)], metric)
    points = warmstart.warmed(Space(fake.SPACE.dimensions), past, "plate", "new", 2).first
    best = {"auc": [("high", 1), ("middle", 1)], "logloss": [("low", 0), ("middle", 0)]}[metric]
    assert [dict(p.values) for p in points] == [dict(opened[unit].lanes([trial])[trial].options) for unit, trial in best]


def test_a_run_that_went_by_another_metric_is_refused_with_both(earlier: Path) -> None:
    with pytest.raises(
        JobError, match=r"tune\.warm_start: .*run: its searches went by 'auc', and this job goes by 'logloss'; name"
    ):
        warmstart.read([str(earlier)], "logloss")
    assert warmstart.read([str(earlier)], "auc") and not warmstart.read([], "logloss")  # the remedies
