"""The Ray that a run works on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import ray
from ray._common.utils import get_system_memory
from ray._private import ray_constants

from raytune_rec.config import Job
from raytune_rec.errors import RunFailed
from raytune_rec.machine import ray_address, ray_start
from raytune_rec.machine.hardware import MIB, cpus, memory_mib

A = TypeVar("A")
B = TypeVar("B")

_SMALLEST_STORE = 80 * MIB
"""Of Ray's object store, in bytes."""


def away(job: Job, function: Callable[[A], B], argument: A) -> B:
    """Call a function once where a pack would train."""
    connect(job.tune.threads)
    task = ray.remote(num_cpus=job.tune.cpus, num_gpus=job.tune.gpus)(function)
    result: B = ray.get(task.remote(argument))
    return result


def connect(threads: int, dashboard: bool = False) -> None:
    """Connect to the cluster that RAY_ADDRESS names (as under `ray job submit`), else start Ray on this machine, for it alone.

    Args:
        threads: of a worker, as many as the job allows a pack: more would fight over the cores.
        dashboard: start Ray's too, where Ray is started.

    Raises:
        MachineError: Ray cannot be started or reached from here.
        RunFailed: it was, and did not answer.
    """
    if ray.is_initialized():
        return
    ray_start.check(os.environ)
    common: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads), "RAY_TRAIN_V2_ENABLED": "1"}},
    }
    local = ray_address.is_local(os.environ)
    ours = signal.getsignal(signal.SIGTERM)
    try:
        if local:
            ray_start.provide_token(os.environ)
            with _on_localhost():
                ray.init(address="local", num_cpus=cpus(), include_dashboard=dashboard, **_memory(), **common)
        else:
            ray.init(**common)
    except Exception as error:  # Ray raises every kind, ValueError, RuntimeError and OSError among them
        where = "did not start" if local else f"cannot be joined at RAY_ADDRESS = {os.environ['RAY_ADDRESS']!r}"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise RunFailed(f"Ray {where}: {reason}. `raytune-rec doctor --start-ray` looks for the cause.") from error
    if callable(ours) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ours)  # Ray puts one of its own in its place, which ends without a word


def described() -> str:
    """The cluster that this process is connected to, and where it is watched."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = (sum(machine.get(kind, 0.0) for machine in machines) for kind in ("CPU", "GPU"))
    counted = f"cluster of {len(machines)} machine{'s' * (len(machines) != 1)} with {cpus:g} CPUs and {gpus:g} GPUs"
    return f"{counted}; {watched}" if (watched := dashboard()) else counted


def dashboard() -> str:
    """Where Ray's dashboard is, and where the token lies that it asks for; empty where it has none."""
    node: Any = ray._private.worker._global_node
    if not node.webui_url:
        return ""
    where = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else ray_start.token_path(os.environ)
    asks = f", which asks for the token in {where}" if ray_start.token(os.environ) and ray_address.is_local(os.environ) else ""
    return f"dashboard http://{node.webui_url}{asks}"


@contextmanager
def _on_localhost() -> Iterator[None]:
    """What is started inside listens to this machine alone.

    Ray has one switch for that, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, and reads it when it is imported, which may be long ago.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _memory() -> dict[str, Any]:
    """Ray's own shares of the memory, where a cgroup that it does not read allows less than it sees."""
    limit = int(memory_mib() * MIB)
    if limit >= get_system_memory():
        return {}
    return {"object_store_memory": max(limit * 3 // 10, _SMALLEST_STORE), "_memory": limit * 6 // 10}
