"""The product's own search of all domains: what the stage `tune` does."""

from __future__ import annotations

import time
from pathlib import Path

import ray

from benchmarks.many.case import METHOD, Case, job_of
from benchmarks.many.measured import Measured
from raytune_rec.artifacts import backbone
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.run import ray_tune, runner, trainable
from raytune_rec.tuning.run.cluster import connect
from raytune_rec.tuning.search.plan import plan, searches
from raytune_rec.tuning.search.records import RESULT, studies
from raytune_rec.tuning.search.studies import Studies

_LOADED = (ray_tune, trainable)  # the runner loads them late; what a driver imports is in no way's clock


def run(case: Case) -> Measured:
    job, store, backbones = job_of(case), case.store(), case.backbones()
    made = plan(job, store.schema).checked().with_backbones({name: backbone.read(path) for name, path in backbones.items()})
    chosen = [search for search in searches(made, made.methods) if search.unit in case.domains]
    journal = Path(case.scratch) / "journal"
    connect(1)
    begin = time.time()
    planner = SearchPlanner.of(Studies(journal, job), chosen)
    runner.run(job, made.resolved, planner, Path(case.scratch), store.path, backbones, title="tune", say=lambda line: None)
    seconds = time.time() - begin
    ray.shutdown()
    points, epochs, firsts = [], 0, {}
    for method, unit, study in studies(journal):
        assert method == METHOD
        for trial in study.get_trials(deepcopy=False):
            result = trial.user_attrs.get(RESULT, {})
            epochs += result.get("epochs", 0)
            if trial.datetime_complete is not None and result.get("best") is not None:
                points.append((unit, trial.datetime_complete.timestamp() - begin, result["best"]))
            if trial.number == 0 and result.get("curve"):
                firsts[unit] = {"options": dict(trial.params), "start": result["curve"][0]}
    return Measured(seconds, points, len(points), epochs, firsts)
