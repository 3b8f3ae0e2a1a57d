"""The product's packs without Ray, study and journal: what of its time is training."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from benchmarks.sweep.case import Case, job_of, packs_of, resolved_of
from benchmarks.sweep.measured import Measured
from benchmarks.sweep.method import method
from raytune_rec.schema.work import Pack


def train(case: Case, pack: Pack) -> dict[int, float]:
    from raytune_rec.data.stored.store import Store
    from raytune_rec.training.build import build

    torch.set_num_threads(1)
    dtype = torch.float64 if case.our_noise and method(case.prompt).DOUBLE else torch.float32
    resolved = resolved_of(case, job_of(case))[pack.method]
    trainer = build(resolved, pack, Store.open(case.store), case.backbones(), dtype=dtype)
    return {result.trial: result.best for result in trainer.run()}


def run(case: Case) -> Measured:
    packs = packs_of(case)
    begin = time.perf_counter()
    with ProcessPoolExecutor(case.cores, get_context("spawn")) as pool:
        waiting = [pool.submit(train, case, pack) for pack in packs]
        best = {trial: value for result in waiting for trial, value in result.result().items()}
    return Measured(time.perf_counter() - begin, 0.0, best)
