"""The Ray that a run works on."""

from __future__ import annotations

import os
from typing import Any

import ray


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
        ray.init(address="local", num_cpus=os.cpu_count(), include_dashboard=False, **common)
