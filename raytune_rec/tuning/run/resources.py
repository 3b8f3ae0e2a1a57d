"""What a job may take: the CPUs and GPUs of the machine, or of the cluster that a run works on, asked before anything runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from raytune_rec.config import Job
from raytune_rec.errors import MachineError, RunFailed
from raytune_rec.job.tuning import TuneOptions
from raytune_rec.machine.hardware import cpus
from raytune_rec.machine.ray_address import is_local
from raytune_rec.machine.signals import ends_on_sigterm

Node = Mapping[str, float]
"""CPUs and GPUs of one machine, as `CPU` and `GPU`."""

TOLD = 30.0
"""Seconds between two lines of a run that waits."""

_LOOK = 5.0
"""Seconds between two looks at a cluster that grows."""


@dataclass(frozen=True)
class Need:
    """What must have room at a time.

    Args:
        count: of parts, each on one machine.
        part: what one of them takes.
        options: option of the job -> its value: what is asked for, by `CPU`, `GPU` or the count.
    """

    count: int
    part: Node
    options: Mapping[str, str]


def ask(job: Job, say: Callable[[str], None], *, packs: bool, workers: bool) -> None:
    """Refuse a job that asks for what there is not. A cluster with an autoscaler has `tune.wait_minutes` to bring it.

    Args:
        packs: whether packs are to be trained.
        workers: whether Ray Train pre-trains.
        say: takes a line while the run waits.

    Raises:
        MachineError: every option that asks for too much.
        RunFailed: the cluster might have grown, and did not in time.
    """
    wanted = needs(job, packs=packs, workers=workers)
    problems = lacking(wanted, nodes(job.tune.threads))
    if not problems:
        return
    if not _grows():
        raise MachineError(problems)
    _wait(wanted, job, say)


def needs(job: Job, *, packs: bool, workers: bool) -> list[Need]:
    """One pack, and all workers of a pre-training."""
    tune, pretrain, wanted = job.tune, job.pretrain, list[Need]()
    if packs:
        part = {"CPU": tune.cpus, "GPU": tune.gpus}
        wanted.append(Need(1, part, {"CPU": f"tune.cpus = {tune.cpus:g}", "GPU": f"tune.gpus = {tune.gpus:g}"}))
    if workers and pretrain.workers:
        part = {"CPU": float(tune.threads), "GPU": float(pretrain.gpu)}
        options = {"CPU": f"tune.threads = {tune.threads}", "GPU": "pretrain.gpu = true"}
        wanted.append(Need(pretrain.workers, part, options | {"count": f"pretrain.workers = {pretrain.workers}"}))
    return wanted


def lacking(wanted: Sequence[Need], machines: Sequence[Node]) -> list[str]:
    """Sentences on what has no room, each with what there is."""
    return [problem for need in wanted for problem in _problems(need, machines)]


def nodes(threads: int) -> list[Node]:
    """The machines of the cluster that RAY_ADDRESS names, or this process is connected to; else this one, without starting Ray.

    Args:
        threads: of a pack, for a cluster that is connected to.
    """
    if not is_local(os.environ) or _connected():
        import ray

        from raytune_rec.tuning.run.cluster import connect

        connect(threads)
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]
    import torch

    return [{"CPU": cpus(), "GPU": torch.cuda.device_count()}]


def slots(job: Job) -> int:
    """Packs that train at a time."""
    return job.tune.concurrent or concurrency(job.tune, nodes(job.tune.threads))


def concurrency(options: TuneOptions, machines: Sequence[Node]) -> int:
    """As many packs as the machines hold, at least one."""
    return max(1, _room({"CPU": options.cpus, "GPU": options.gpus}, machines))


def _room(part: Node, machines: Sequence[Node]) -> int:
    """How many such parts the machines hold, each on one of them."""
    return sum(min(int(m.get(kind, 0.0) / amount + 1e-9) for kind, amount in part.items() if amount) for m in machines)


def _problems(need: Need, machines: Sequence[Node]) -> list[str]:
    if (room := _room(need.part, machines)) >= need.count:
        return []
    most = {kind: max((m.get(kind, 0.0) for m in machines), default=0.0) for kind in need.part}
    what = "a worker" if "count" in need.options else "a pack"
    over = [
        f"{need.options[kind]}: {what} runs on one machine, and the largest has {most[kind]:g} {kind}s; "
        + (f"set {need.options[kind].partition(' ')[0]} to at most {most[kind]:g}." if most[kind] else _without(need, kind))
        for kind, amount in need.part.items()
        if amount > most[kind]
    ]
    if over:
        return over
    if not room:
        both = " and ".join(need.options[kind] for kind in ("CPU", "GPU"))
        return [f"{both}: no machine has both for {what} ({_told(machines)}); lower one of them."]
    return [f"{need.options['count']}: there is room for {room} ({_told(machines)}); set pretrain.workers to at most {room}."]


def _without(need: Need, kind: str) -> str:
    return "set pretrain.gpu = false." if "count" in need.options else f"set tune.{kind.lower()}s = 0, or use a machine with one."


def _told(machines: Sequence[Node]) -> str:
    return ", ".join(f"{m.get('CPU', 0.0):g} CPUs and {m.get('GPU', 0.0):g} GPUs" for m in machines) or "no machine"


def _wait(wanted: Sequence[Need], job: Job, say: Callable[[str], None]) -> None:
    """Until the cluster has grown, with a line every half minute; Ctrl-C and SIGTERM end it with a word.

    Raises:
        RunFailed: it has not in time.
    """
    begun, told = time.monotonic(), -TOLD
    _request(wanted)
    try:
        with ends_on_sigterm():
            while problems := lacking(wanted, nodes(job.tune.threads)):
                waited = time.monotonic() - begun
                if waited >= 60 * job.tune.wait_minutes:
                    limit = f"waited {job.tune.wait_minutes:g} minutes (tune.wait_minutes) for the cluster to grow"
                    raise RunFailed(" ".join([f"{limit}, and it has not.", *problems]))
                if waited - told >= TOLD:
                    say(f"waiting for the cluster to grow, {waited / 60:.1f} of {job.tune.wait_minutes:g} minutes: {problems[0]}")
                    told = waited
                time.sleep(_LOOK)
    finally:
        _request([])


def _request(wanted: Sequence[Need]) -> None:
    """Tell the autoscaler what is needed; it grows for what is asked alone."""
    from ray.autoscaler.sdk import request_resources

    bundles = [{kind: amount for kind, amount in need.part.items() if amount} for need in wanted for _ in range(need.count)]
    request_resources(bundles=bundles)


def _grows() -> bool:
    """Whether an autoscaler rules the cluster: it has said which machines it may add."""
    if not _connected():
        return False
    from ray._private.state import state

    return bool(state.get_max_resources_from_cluster_config())


def _connected() -> bool:
    """Ray is loaded only where something uses it."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())
