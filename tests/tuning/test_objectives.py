"""Several objectives: every trial has a value for each, the first chooses the winner, and the front is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from raytune_rec.errors import JobError
from raytune_rec.schema.work import LaneResult, Pack
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.search.records import studies, trials, winners
from raytune_rec.tuning.search.studies import Studies
from tests.tuning import fake


def _costed(pack: Pack, results: list[LaneResult]) -> list[LaneResult]:
    """The larger the learning rate, the more parameters; log loss falls as AUC grows."""
    costs = [int(1e5 * float(lane.options["training.lr.default"])) for lane in pack.lanes]
    return [dataclasses.replace(r, parameters=c, measures={"logloss": 1 - r.best}) for r, c in zip(results, costs, strict=True)]


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random", "qmc"])
def test_the_front_holds_what_nothing_beats_in_everything(tmp_path: Path, sampler: str) -> None:
    job = fake.job(sampler=sampler, objectives=["parameters", "logloss"], trials=24, round=8, pack=8)
    planner = SearchPlanner.of(Studies(tmp_path, job), fake.searches(("music",)))
    while isinstance(pack := planner.next(), Pack):
        planner.done(pack, _costed(pack, fake.train(pack, job)))
    of_study = [t for t in trials(tmp_path) if t["method"] == "plate"]
    points = {t["number"]: (-t["value"], t["parameters"], t["measures"]["logloss"]) for t in of_study}
    beaten = {a for a, p in points.items() for q in points.values() if q != p and all(y <= x for x, y in zip(p, q, strict=True))}
    assert {t["number"] for t in of_study if t["front"]} == set(points) - beaten
    winner = winners(tmp_path)["plate", "music"]
    assert winner.value == max(t["value"] for t in of_study)


def test_nsga2_breeds_generations_of_a_round(tmp_path: Path) -> None:
    job = fake.job(sampler="nsga2", objectives=["parameters"], trials=32, round=8, pack=8)
    planner = SearchPlanner.of(Studies(tmp_path, job), fake.searches(("music",)))
    while isinstance(pack := planner.next(), Pack):
        planner.done(pack, _costed(pack, fake.train(pack, job)))
    study = next(study for row, _, study in studies(tmp_path) if row == "plate")
    generations = [t.system_attrs.get("NSGAIISampler:generation") for t in study.get_trials()]
    assert generations == sorted(generations) and max(generations) >= 3
    cheap = [t["parameters"] for t in trials(tmp_path) if t["method"] == "plate"]
    assert sum(cheap[-8:]) < sum(cheap[:8])


def test_an_objective_without_a_value_is_a_failed_trial(tmp_path: Path) -> None:
    job = fake.job(objectives=["logloss"], trials=4)
    planner = SearchPlanner.of(Studies(tmp_path, job), fake.searches(("music",)))
    while isinstance(pack := planner.next(), Pack):
        planner.done(pack, [dataclasses.replace(r, measures={"logloss": float("nan")}) for r in fake.train(pack, job)])
    assert {t["state"] for t in trials(tmp_path)} == {"fail"}


def test_the_metric_that_chooses_is_no_further_objective_and_stopping_compares_by_one() -> None:
    with pytest.raises(JobError, match=r"tune\.objectives: 'auc' is training\.metric already; leave it out"):
        fake.job(objectives=["auc"])
    with pytest.raises(JobError, match=r"tune\.stop\.rule = 'halving' compares trials by one objective; leave it out"):
        fake.job(objectives=["parameters"], stop={"rule": "halving"})
