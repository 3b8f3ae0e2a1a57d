"""Plain Ray Tune: a function trainable, and a process of its own for every configuration, which is Ray Tune's default.

Imports what its trial processes need, and no more: they load this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from ray import tune

if TYPE_CHECKING:
    from benchmarks.sweep.case import Case
    from benchmarks.sweep.measured import Measured
    from benchmarks.sweep.method import Rows


def train(config: Mapping[str, Any], rows: Rows, epochs: int) -> None:
    """One configuration; a report for each epoch."""
    torch.set_num_threads(1)
    training = rows.load().training(config["of"]["configuration"], config["of"]["trial"])
    for _ in range(epochs):
        tune.report({"value": training.epoch()})


def run(case: Case) -> Measured:
    from benchmarks.sweep.on_ray import search

    return search(case, train, reuse_actors=False)
