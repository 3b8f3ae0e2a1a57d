"""Where the width of packs is measured: in this process, or where a pack would train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from raytune_rec.config import Job
from raytune_rec.machine.hardware import cpus
from raytune_rec.machine.threads import threads
from raytune_rec.training.settings import Resolved
from raytune_rec.tuning.packs.packing import Width
from raytune_rec.tuning.packs.study_groups import Measure
from raytune_rec.tuning.packs.width import measure
from raytune_rec.tuning.run.cluster import away
from raytune_rec.tuning.search.studies import Search


def measurer(job: Job, methods: Mapping[str, Resolved], store: Path, backbones: Mapping[str, Path]) -> Measure:
    """Measures in this process; packs on GPUs that it does not have are measured on the cluster."""

    def local(search: Search) -> Width:
        device = "cuda" if job.tune.gpus else "cpu"
        packs = job.tune.concurrent or max(1, int(cpus() / job.tune.cpus))
        with threads(job.tune.threads):
            return measure(methods[search.method], search, store, backbones, packs, device)

    def remote(search: Search) -> Width:
        return away(job, local, search)

    return remote if job.tune.gpus and not torch.cuda.is_available() else local
