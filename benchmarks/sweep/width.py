"""One pack in one process with one thread, without Ray: seconds of an epoch, and the peak of the process's memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.sweep.case import Case, job_of, resolved_of
from raytune_rec.data.stored.store import Store
from raytune_rec.training.build import build
from raytune_rec.tuning.packs import packing

PACK = "pack.json"
"""In the scratch folder: the pack to train."""


@dataclass(frozen=True)
class Width:
    """Args:
    lanes: of the pack.
    seconds: of each epoch after the first.
    peak_mib: most resident memory of the process.
    """

    lanes: int
    seconds: list[float]
    peak_mib: float


def run(case: Case) -> Width:
    """The first epoch counts as warm-up (it validates the start values too)."""
    torch.set_num_threads(1)
    pack = packing.from_text((Path(case.scratch) / PACK).read_text())
    trainer = build(resolved_of(case, job_of(case))[pack.method], pack, Store.open(case.store), case.backbones())
    seconds = []
    for _ in range(case.epochs):
        begin = time.perf_counter()
        trainer.epoch()
        seconds.append(time.perf_counter() - begin)
    return Width(len(pack.lanes), seconds[1:], _peak())


def _peak() -> float:
    """MiB. Not `getrusage`: its peak begins with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
