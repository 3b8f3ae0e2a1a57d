"""Plain Ray Tune: for each domain a `Tuner` with `OptunaSearch`, `ASHAScheduler` and reused actors, one after the other."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import ray
from optuna.samplers import TPESampler
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.many.case import SPACE, Case, job_of, rows_of, short
from benchmarks.many.measured import Measured
from benchmarks.many.trial import Trial
from raytune_rec.tuning.run.cluster import connect


class Watch(tune.Callback):
    """Notes each result that comes."""

    def __init__(self) -> None:
        self.domain, self.points, self.epochs = "", list[tuple[str, float, float]](), 0

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.points.append((self.domain, time.time(), result["value"]))
        self.epochs += 1


def run(case: Case) -> Measured:
    job, rows, watch = job_of(case), rows_of(case), Watch()
    training = {"batch_size": job.training.batch_size, "epochs": job.training.epochs, "patience": job.training.patience}
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    connect(1)
    begin, trials = time.time(), 0
    for domain in case.domains:
        watch.domain = domain
        with_rows = tune.with_parameters(Trial, rows=rows[domain], **training)
        tuner = tune.Tuner(
            tune.with_resources(with_rows, {"cpu": 1}),
            param_space={short(key): _drawn(facts) for key, facts in SPACE.items()} | {"seed": case.seed},
            tune_config=tune.TuneConfig(
                metric="value",
                mode="max",
                search_alg=OptunaSearch(sampler=TPESampler(seed=case.seed)),
                scheduler=ASHAScheduler(max_t=job.training.epochs, grace_period=job.tune.stop.min_epochs),
                num_samples=case.trials,
                max_concurrent_trials=case.cores,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="domain",
                storage_path=str(Path(case.scratch) / domain),
                callbacks=[watch],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        results = tuner.fit()
        if results.errors:
            raise results.errors[0]
        trials += len(results)
    seconds = time.time() - begin
    ray.shutdown()
    return Measured(seconds, [(domain, at - begin, value) for domain, at, value in watch.points], trials, watch.epochs)


def _drawn(facts: Any) -> Any:
    """Ray Tune's word for one option of the space."""
    low, high = facts["low"], facts["high"]
    if facts["type"] == "int":
        return tune.randint(low, high + 1)
    return tune.loguniform(low, high) if facts.get("log") else tune.uniform(low, high)
