"""The Ray that a run works on."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar

import ray
from ray._common.utils import get_system_memory
from ray._private import parameter, ray_constants, services

from raytune_rec.config import Job
from raytune_rec.errors import RunFailed
from raytune_rec.machine import ray_address, ray_start
from raytune_rec.machine.hardware import MIB, cpus, memory_mib
from raytune_rec.storage.places import here

A = TypeVar("A")
B = TypeVar("B")

_SMALLEST_STORE = 80 * MIB
"""Of Ray's object store, in bytes."""
_LOADED = "raytune_rec.tuning.run.trainable"
"""What the processes of a Ray that is started here load before anything is asked of them."""
_begun: Future[None] | None = None
"""The start of Ray that goes on beside this thread, until `connect` has waited for it."""
_node: Any = None
"""The Ray that was started here last."""


def away(job: Job, function: Callable[[A], B], argument: A) -> B:
    """Call a function once where a pack would train."""
    return next(spread(job, function, [argument], job.tune.gpus))


def spread(job: Job, function: Callable[[A], B], arguments: Iterable[A], gpus: float = 0.0) -> Iterator[B]:
    """Call a function for each argument on the cluster, as many at a time as have room, each on as much of a processor as a pack
    has; the results in the order of the arguments.

    Raises:
        RunFailed: a process ended without an answer, and so did those that took its place. What a function raises is raised here.
    """
    connect(job.tune.threads)
    task = ray.remote(num_cpus=job.tune.cpus, num_gpus=gpus)(function)
    for answer in [task.remote(argument) for argument in arguments]:
        try:
            yield deepcopy(ray.get(answer))  # whose arrays lie in Ray's memory, and cannot be written
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RunFailed(
                f"a process of the cluster ended before it had answered: {reason}. The same command goes on."
            ) from error


def begin(threads: int) -> None:
    """Start Ray on this machine while the caller goes on; `connect` waits for it, and raises what went wrong.

    Nothing is begun where this process has a Ray, or RAY_ADDRESS names one.

    Args:
        threads: of a worker.
    """
    global _begun
    if _begun is None and not ray.is_initialized() and ray_address.is_local(os.environ):
        _begun = Future()
        threading.Thread(target=_keep, args=(_begun, threads), name="ray", daemon=True).start()
        atexit.register(_settle)  # before Ray's own, which would find half a Ray to end


def _keep(begun: Future[None], threads: int) -> None:
    try:
        _start(threads, False)
    except BaseException as error:
        begun.set_exception(error)
        return
    begun.set_result(None)
    threading.Event().wait()  # Linux ends the processes of Ray with the thread that has started them


def _settle() -> None:
    if _begun is not None:
        with suppress(KeyboardInterrupt):
            _begun.exception()


def connect(threads: int, dashboard: bool = False) -> None:
    """Connect to the cluster that RAY_ADDRESS names (as under `ray job submit`), else start Ray on this machine, for it alone.

    Args:
        threads: of a worker, as many as the job allows a pack: more would fight over the cores.
        dashboard: start Ray's too, where Ray is started.

    Raises:
        MachineError: Ray cannot be started or reached from here.
        RunFailed: it was, and did not answer.
    """
    global _begun
    if _begun is not None:
        begun, _begun = _begun, None
        begun.result()
    if not ray.is_initialized():
        _start(threads, dashboard)
    with suppress(FileNotFoundError):  # where it is really gone, who needs it says so
        here()


def _start(threads: int, dashboard: bool) -> None:
    global _node
    ray_start.check(os.environ)
    settings = {"OMP_NUM_THREADS": str(threads), "RAY_TRAIN_V2_ENABLED": "1"}
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    local = ray_address.is_local(os.environ)
    ours = signal.getsignal(signal.SIGTERM)
    try:
        if local:
            ray_start.provide_token(os.environ)
            with _for_this_run(settings, dashboard):
                ray.init(address="local", num_cpus=cpus(), include_dashboard=dashboard, **_memory(), **quiet)
            _node = ray._private.worker._global_node
        else:
            ray.init(runtime_env={"env_vars": settings}, **quiet)
    except Exception as error:  # Ray raises every kind, ValueError, RuntimeError and OSError among them
        where = "did not start" if local else f"cannot be joined at RAY_ADDRESS = {os.environ['RAY_ADDRESS']!r}"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise RunFailed(f"Ray {where}: {reason}. `raytune-rec doctor --start-ray` looks for the cause.") from error
    if callable(ours) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ours)  # Ray puts one of its own in its place, which ends without a word


def started_here() -> bool:
    """Whether this process has started the Ray that it is connected to, by `begin` or `connect`."""
    return _node is not None and ray._private.worker._global_node is _node


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
def _for_this_run(settings: Mapping[str, str], dashboard: bool) -> Iterator[None]:
    """What is started inside listens to this machine alone, and starts nothing that one run on one machine has no use for.

    Ray has a switch for the first, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, and reads it when it is imported, maybe long ago.
    It has none for the rest: an agent that tries a port for 3.5 s where another Ray has it; processes that look for machines to
    add, show logs, or serve a dashboard without pages. Where all processes have the same environment, each is good for every
    pack, and those that Ray keeps at hand have loaded what a pack needs. The environment of this process, whose main thread may
    load PyTorch meanwhile, stays as it is: it decides with how many threads PyTorch adds up.

    Args:
        settings: variables of all processes that are started.
        dashboard: is wanted.
    """
    variables = {**settings, "RAY_CHDIR_TO_TRIAL_DIR": "0", "RAY_preload_python_modules": _LOADED}
    less: dict[str, Any] = {"dashboard_agent_listen_port": 0, "no_monitor": True, "include_log_monitor": False}
    patches: list[tuple[Any, str, Any]] = [
        (ray_constants, "ENABLE_RAY_CLUSTER", False),
        (parameter, "RayParams", partial(parameter.RayParams, env_vars=variables, **less)),
    ]
    if not dashboard:
        patches.append((services, "start_api_server", lambda *args, **options: (None, None)))
    with _patched(patches):
        yield


@contextmanager
def processes_at_hand() -> Iterator[None]:
    """Inside, Ray Tune gives its packs to processes that wait already, where Ray was started here.

    It would give them an environment of its own, and so new processes: with variables of the driver, which these have from their
    start, and one for a library that is not used here.
    """
    from ray.tune.execution import class_cache

    none: list[tuple[Any, str, Any]] = [(class_cache, "DEFAULT_ENV_VARS", {}), (class_cache, "ENV_VARS_TO_PROPAGATE", set())]
    with _patched(none if started_here() else []):
        yield


@contextmanager
def _patched(patches: list[tuple[Any, str, Any]]) -> Iterator[None]:
    """Attributes of Ray's modules, inside: (module, name, value)."""
    before = [(module, name, getattr(module, name)) for module, name, _ in patches]
    for patch in patches:
        setattr(*patch)
    try:
        yield
    finally:
        for patch in before:
            setattr(*patch)


def _memory() -> dict[str, Any]:
    """Ray's own shares of the memory, where a cgroup that it does not read allows less than it sees."""
    limit = int(memory_mib() * MIB)
    if limit >= get_system_memory():
        return {}
    return {"object_store_memory": max(limit * 3 // 10, _SMALLEST_STORE), "_memory": limit * 6 // 10}
