"""The product's own search: packs through Ray Tune, configurations from a study, results in its journal."""

from __future__ import annotations

import time
from pathlib import Path

import ray

from benchmarks.sweep.case import Case, planner_of, resolved_of, searched
from benchmarks.sweep.measured import Measured
from raytune_rec.tuning.run import ray_tune, runner, trainable
from raytune_rec.tuning.run.cluster import connect
from raytune_rec.tuning.search.records import trials

_LOADED = (ray_tune, trainable)  # the runner loads them late; what a driver imports is in no yardstick's clock


def run(case: Case) -> Measured:
    folder = Path(case.scratch) / "run"
    begin = time.perf_counter()
    connect(1)
    start = time.perf_counter() - begin
    begin = time.perf_counter()
    search(case, folder)
    seconds = time.perf_counter() - begin
    ray.shutdown()
    return Measured(seconds, start, {t["number"]: t["value"] for t in trials(folder / "journal")})


def search(case: Case, folder: Path) -> None:
    """What the stage `tune` does, on one unit."""
    planner = planner_of(case, folder / "journal")
    job = searched(case)
    runner.run(job, resolved_of(case, job), planner, folder, case.store, case.backbones(), title="tune", say=lambda line: None)
