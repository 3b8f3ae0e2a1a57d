"""One domain's trials for Ray Tune with `reuse_actors=True`: a process loads torch and the rows once and then resets.

Imports what its processes need, and no more: they load this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from ray import tune

if TYPE_CHECKING:
    from benchmarks.sweep.plain import Rows


class Trial(tune.Trainable):
    """One configuration after the other; a step is an epoch."""

    def setup(self, config: dict[str, Any], rows: Rows, batch_size: int, epochs: int, patience: int) -> None:  # type: ignore[override]  # `with_parameters`
        torch.set_num_threads(1)
        self.data, self.batch_size, self.epochs, self.patience = rows.load(), batch_size, epochs, patience
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.training = self.data.training({**new_config, "batch_size": self.batch_size}, new_config["seed"])
        self.reached, self.risen = self.training.best, 0
        return True

    def step(self) -> dict[str, Any]:
        value = self.training.epoch()
        if value > self.reached:
            self.reached, self.risen = value, self.training.done
        ended = self.training.done - self.risen >= self.patience or self.training.done >= self.epochs
        return {"value": value, "done": ended}
