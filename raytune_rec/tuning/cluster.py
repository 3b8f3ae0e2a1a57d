"""The Ray that a run works on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import ray

from raytune_rec.config import Job
from raytune_rec.machine import cpus

A = TypeVar("A")
B = TypeVar("B")


def away(job: Job, function: Callable[[A], B], argument: A) -> B:
    """Call a function once where a pack would train."""
    connect(job.tune.threads)
    task = ray.remote(num_cpus=job.tune.cpus, num_gpus=job.tune.gpus)(function)
    result: B = ray.get(task.remote(argument))
    return result


def connect(threads: int) -> None:
    """Connect to the cluster that RAY_ADDRESS names (as under `ray job submit`), else start Ray on this machine.

    Workers get as many threads as the job allows a pack: more would fight over the cores.
    """
    if ray.is_initialized():
        return
    common: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads), "RAY_TRAIN_V2_ENABLED": "1"}},
    }
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**common)
    else:
        ray.init(address="local", num_cpus=cpus(), include_dashboard=False, **common)
