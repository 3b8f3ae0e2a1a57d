"""A search by Ray Tune and Optuna alone, as safe as Ray lets a user make it. The same command goes on after any end.

    python -m benchmarks.faults.plain.script run JOB --out RUN

RUN has prepared data and a backbone. Each domain is an experiment, one after the other, with the job's trials, epochs, seed and
processes at a time, and the model of `benchmarks.sweep.plain`; `RUN/plain/results.json` has the results. Of Ray it uses

* `Tuner` with `OptunaSearch`: TPE with a seed, in a `ConcurrencyLimiter` that tells whole batches, so that proposals do not
  depend on which of two trials ends first; the seed of a training is part of its configuration;
* a checkpoint with every `tune.report`, once an epoch: weights, best weights, optimiser and random state. The last two are kept,
  for which Tune writes its own state at every second checkpoint of a trial; and besides once a second, not each ten;
* `FailureConfig(max_failures=...)`: a trial that raises, or whose process or node is lost, goes on from its last checkpoint; it
  raises where weights are no numbers any more;
* `Tuner.can_restore` and `Tuner.restore(resume_errored=True)`, with the space given again, which Tune does not keep;
* the end of an experiment on a signal: SIGTERM does what SIGUSR1 does, at which Tune writes its state.

Trial processes load this file: what the driver alone needs is imported there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
import torch
from ray import tune
from torch import Tensor

from benchmarks.sweep.plain import Rows, Training

STATE = "state.pt"
"""File of a checkpoint."""
SPACE: Mapping[str, Any] = {
    "lr.prompt": tune.loguniform(1e-4, 3e-2),
    "lr.linear": tune.loguniform(5e-4, 3e-2),
    "weight_decay.prompt": tune.loguniform(1e-8, 1e-4),
    "weight_decay.linear": tune.loguniform(1e-6, 1e-4),
    "dropout": tune.uniform(0.0, 0.5),
    "temperature": tune.loguniform(1e-2, 10.0),
    "meta_prompts": tune.randint(2, 25),
}
Build = Callable[[Rows, Mapping[str, Any]], Training]


def build(rows: Rows, config: Mapping[str, Any]) -> Training:
    return rows.load().training(config, config["seed"])


def train(config: Mapping[str, Any], rows: Rows, epochs: int, build: Build) -> None:
    """One configuration."""
    training = build(rows, config)
    if (last := tune.get_checkpoint()) is not None:
        with last.as_directory() as folder:
            load(training, Path(folder) / STATE)
    while training.done < epochs:
        value = training.epoch()
        if not all(weight.isfinite().all() for weight in training.model.parameters()):
            raise FloatingPointError(f"epoch {training.done}: weights are no numbers any more")
        with TemporaryDirectory() as folder:
            save(training, Path(folder) / STATE)
            tune.report({"value": value, "epoch": training.done}, checkpoint=tune.Checkpoint.from_directory(folder))


def save(training: Training, path: Path) -> None:
    state = {
        "model": training.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in training.optimizers],
        "best": training.best,
        "best_weights": training.best_weights,
        "done": training.done,
        "random": torch.get_rng_state(),
    }
    torch.save(state, path)


def load(training: Training, path: Path) -> None:
    state = torch.load(path)
    training.model.load_state_dict(state["model"])
    for optimizer, own in zip(training.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(own)
    training.best, training.best_weights, training.done = state["best"], state["best_weights"], state["done"]
    torch.set_rng_state(state["random"])


class Stop:
    """What SIGTERM does: Tune's own handler of SIGUSR1, once it has one, writes the state and ends `fit`."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self)

    def __call__(self, number: int, frame: Any) -> None:
        self.asked = True
        if callable(handler := signal.getsignal(signal.SIGUSR1)):
            handler(number, frame)
        else:
            self.leave()

    def leave(self) -> None:
        if self.asked:
            sys.exit(128 + signal.SIGTERM)


def search(name: str, rows: Rows, job: Mapping[str, Any], storage: Path, build: Build) -> tune.ResultGrid:
    """One domain: begun, gone on with, or read where it has ended."""
    from optuna.samplers import TPESampler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    tuned, training = job["tune"], job["training"]
    trainable = tune.with_resources(tune.with_parameters(train, rows=rows, epochs=training["epochs"], build=build), {"cpu": 1})
    space = {**SPACE, "batch_size": training["batch_size"], "seed": job["seed"]}
    folder = storage / name
    if tune.Tuner.can_restore(str(folder)):
        return tune.Tuner.restore(str(folder), trainable, resume_errored=True, param_space=space).fit()
    sampler = TPESampler(seed=job["seed"], n_startup_trials=max(1, tuned["trials"] // 4))
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="value",
            mode="max",
            search_alg=ConcurrencyLimiter(OptunaSearch(sampler=sampler), max_concurrent=tuned["concurrent"], batch=True),
            num_samples=tuned["trials"],
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=tuned["max_failures"]),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            verbose=0,
        ),
    )
    return tuner.fit()


def rows_of(run: Path) -> Iterator[tuple[str, Rows]]:
    """Each domain with its rows and the pre-trained weights, of the fields that are one id: the plain model embeds no others."""
    from benchmarks.sweep.plate import VARIANT, plain_rows
    from raytune_rec.artifacts import backbone
    from raytune_rec.data.stored.store import Store
    from raytune_rec.data.stored.units import unit_data

    store, made = Store.open(run / "data"), json.loads((run / "pretrain.json").read_text())
    _, tensors = backbone.load(run / "backbones" / made[VARIANT]["fingerprint"], data=False)
    fields = store.schema.fields
    schema = replace(store.schema, fields=tuple(f for f in fields if f.kind == "categorical"))
    weights = {
        **tensors,
        "backbone.deep.0.fields": _of(schema.fields, fields, tensors["backbone.deep.0.fields"]),
        "prompt.user.0.weight": _of(schema.fields, store.schema.with_role("user"), tensors["prompt.user.0.weight"]),
    }
    for domain in schema.domains:
        yield domain, plain_rows(schema, unit_data(store, domain), weights)


def _of(chosen: Collection[Any], fields: Collection[Any], weight: Tensor) -> Tensor:
    """The rows of some fields in a matrix (F * D, H) that all go through side by side."""
    each = weight.unflatten(0, (len(fields), -1))  # (F, D, H)
    return each[torch.tensor([field in chosen for field in fields])].flatten(0, 1)


def main(build: Build = build) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults.plain.script")
    parser.add_argument("verb", choices=["run"])
    parser.add_argument("job", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    job, storage = tomllib.loads(options.job.read_text()), options.out.absolute() / "plain"
    os.environ.update(TUNE_GLOBAL_CHECKPOINT_S="1", TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S="0")
    ray.init(log_to_driver=False, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})
    stop = Stop()  # after Ray, which puts a handler of its own
    found, failed = {}, False
    for domain, rows in rows_of(options.out):
        results = search(domain, rows, job, storage, build)
        trials = [results[i] for i in range(len(results))]
        stop.leave()
        failed |= results.num_errors > 0
        found[domain] = [{"config": of.config, **{m: (of.metrics or {}).get(m) for m in ("value", "epoch")}} for of in trials]
    (storage / "results.json").write_text(json.dumps(found))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
