"""No Ray and no packs: a pool of as many processes as cores, each trains one configuration after the other.

Imports what the pool's processes need, and no more: they load this file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from benchmarks.sweep.case import Case
    from benchmarks.sweep.measured import Measured
    from benchmarks.sweep.method import Data, Rows

_HERE: list[Data] = []
"""The rows of this process."""


def load(rows: Rows) -> None:
    torch.set_num_threads(1)
    _HERE[:] = [rows.load()]


def train(trial: int, configuration: Mapping[str, Any], epochs: int) -> float:
    training = _HERE[0].training(configuration, trial)
    for _ in range(epochs):
        training.epoch()
    return training.best


def run(case: Case) -> Measured:
    from benchmarks.sweep.case import configurations_of, packs_of
    from benchmarks.sweep.measured import Measured
    from benchmarks.sweep.rows import rows_of

    configurations = configurations_of(case, [lane for pack in packs_of(case) for lane in pack.lanes])
    begin = time.perf_counter()
    with ProcessPoolExecutor(case.cores, get_context("spawn"), load, (rows_of(case),)) as pool:
        waiting = {n: pool.submit(train, n, c, case.epochs) for n, c in configurations.items()}
        best = {n: result.result() for n, result in waiting.items()}
    return Measured(time.perf_counter() - begin, 0.0, best)
