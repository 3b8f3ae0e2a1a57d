"""The driver of both yardsticks on Ray Tune."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

from benchmarks.sweep.case import Case, configurations_of, packs_of
from benchmarks.sweep.measured import Measured
from benchmarks.sweep.rows import rows_of
from raytune_rec.tuning.run.cluster import connect


def search(case: Case, trainable: Any, reuse_actors: bool) -> Measured:
    """Every configuration as a trial, as many at a time as there are cores.

    Rows and weights are read once and travel through the object store. As in the product, no file is written for a report and no
    checkpoint at the end.
    """
    configurations = configurations_of(case, [lane for pack in packs_of(case) for lane in pack.lanes])
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    begin = time.perf_counter()
    connect(1)
    start = time.perf_counter() - begin
    begin = time.perf_counter()
    trials = [{"trial": n, "configuration": dict(c)} for n, c in configurations.items()]
    with_rows = tune.with_parameters(trainable, rows=rows_of(case), epochs=case.epochs)
    tuner = tune.Tuner(
        tune.with_resources(with_rows, {"cpu": 1}),
        param_space={"of": tune.grid_search(trials)},
        tune_config=tune.TuneConfig(max_concurrent_trials=case.cores, reuse_actors=reuse_actors),
        run_config=tune.RunConfig(
            name="plain",
            storage_path=str(Path(case.scratch) / "tune"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    found = tuner.fit()
    seconds = time.perf_counter() - begin
    ray.shutdown()
    if found.errors:
        raise found.errors[0]
    ends = [found[i].metrics or {} for i in range(len(found))]  # the last report of each: its best value
    return Measured(seconds, start, {end["config"]["of"]["trial"]: end["value"] for end in ends})
