"""Ray Tune with `reuse_actors=True`: a class trainable, whose process loads torch and the rows once and then resets.

Imports what its processes need, and no more: they load this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from ray import tune

if TYPE_CHECKING:
    from benchmarks.sweep.case import Case
    from benchmarks.sweep.measured import Measured
    from benchmarks.sweep.method import Rows


class Trial(tune.Trainable):
    """One configuration after the other; a step is an epoch."""

    def setup(self, config: dict[str, Any], rows: Rows, epochs: int) -> None:  # type: ignore[override]  # `with_parameters`
        torch.set_num_threads(1)
        self.data, self.epochs = rows.load(), epochs
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.training = self.data.training(new_config["of"]["configuration"], new_config["of"]["trial"])
        return True

    def step(self) -> dict[str, Any]:
        value = self.training.epoch()
        return {"value": value, "done": self.training.done >= self.epochs}


def run(case: Case) -> Measured:
    from benchmarks.sweep.on_ray import search

    return search(case, Trial, reuse_actors=True)
