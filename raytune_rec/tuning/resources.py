"""What packs may take: the CPUs and GPUs of the machine, or of the cluster that a run works on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from raytune_rec.config import Job, TuneOptions
from raytune_rec.machine import cpus

Node = Mapping[str, float]
"""CPUs and GPUs of one machine, as `CPU` and `GPU`."""


def nodes(threads: int) -> list[Node]:
    """The machines of the cluster that RAY_ADDRESS names, or this process is connected to; else this one, without starting Ray.

    Args:
        threads: of a pack, for a cluster that is connected to.
    """
    if os.environ.get("RAY_ADDRESS") or _connected():
        import ray

        from raytune_rec.tuning.cluster import connect

        connect(threads)
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]
    import torch

    return [{"CPU": cpus(), "GPU": torch.cuda.device_count()}]


def slots(job: Job) -> int:
    """Packs that train at a time."""
    return job.tune.concurrent or concurrency(job.tune, nodes(job.tune.threads))


def concurrency(options: TuneOptions, machines: Sequence[Node]) -> int:
    """As many packs as the machines hold, at least one."""
    return max(1, sum(_fits(options, machine) for machine in machines))


def _fits(options: TuneOptions, machine: Node) -> int:
    """Packs on one machine."""
    of_cpus = int(machine.get("CPU", 0) / options.cpus)
    return min(of_cpus, int(machine.get("GPU", 0) / options.gpus)) if options.gpus else of_cpus


def _connected() -> bool:
    """Ray is loaded only where something uses it."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())
