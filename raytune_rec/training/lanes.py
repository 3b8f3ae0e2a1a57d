"""What each lane of a pack has reached: its curve, its best epoch with the weights of that epoch, and why it stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from torch import Tensor

from raytune_rec.schema.work import Lane, LaneResult


@dataclass
class LaneRecord:
    """Progress of one lane.

    Args:
        lane: who.
        higher: whether a higher metric is better.
        patience: epochs without a better one before it stops.
        epochs: most epochs.
        parameters: how many it tunes.
    """

    lane: Lane
    higher: bool
    patience: int
    epochs: int
    parameters: int
    curve: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: float = math.nan
    best_epoch: int = 0
    status: Literal["running", "complete", "failed"] = "running"
    error: str = ""
    seconds: float = 0.0
    measures: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def observe(self, value: float, measures: Mapping[str, float] | None = None) -> bool:
        """Record the metric after an epoch, and further ones; True if it is the best so far."""
        self.curve.append(value)
        epoch = len(self.curve) - 1
        if not math.isfinite(value):
            return self._fail(f"the validation metric after epoch {epoch} is {value}")
        better = math.isnan(self.best) or (value > self.best if self.higher else value < self.best)
        if better:
            self.best, self.best_epoch, self.measures = value, epoch, dict(measures or {})
        if epoch >= self.epochs or epoch - self.best_epoch >= self.patience:
            self.status = "complete"
        return better

    def trained(self, loss: float) -> None:
        """Record the mean training loss of an epoch."""
        self.losses.append(loss)
        if not math.isfinite(loss):
            self._fail(f"the training loss of epoch {len(self.losses)} is {loss}: the lane diverged")

    def _fail(self, reason: str) -> bool:
        self.status, self.error = "failed", reason
        return False

    def result(self) -> LaneResult:
        """What it has reached; a lane that has not ended is paused."""
        status: Literal["complete", "failed", "paused"] = "paused" if self.status == "running" else self.status
        return LaneResult(
            self.lane.trial, self.lane.replicate, status, self.best, self.best_epoch, tuple(self.curve), tuple(self.losses),
            len(self.losses), self.seconds, self.parameters, self.error, self.measures,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """All but the weights, for a checkpoint. JSON has no NaN, so that `best` before a first value is None."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"lane", "weights"}}
        numbers = {k: [_plain(x) for x in facts[k]] for k in ("curve", "losses")}
        return facts | numbers | {"best": _plain(self.best)}

    def restore(self, facts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        for name, value in facts.items():
            setattr(self, name, value)
        self.curve, self.losses = ([math.nan if x is None else x for x in values] for values in (self.curve, self.losses))
        self.best = math.nan if self.best is None else self.best
        self.weights = dict(weights)


def _plain(x: float) -> float | None:
    return x if math.isfinite(x) else None
