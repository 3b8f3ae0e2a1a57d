"""What a way gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.many.curves import Point


@dataclass(frozen=True)
class Measured:
    """One search over many domains.

    Args:
        seconds: wall clock from its begin to its end; the start of Ray stands before it.
        points: what was told when.
        trials, epochs: all that it spent.
        firsts: of ours, domain -> options of its first trial, and its validation AUC before training.
    """

    seconds: float
    points: Sequence[Point]
    trials: int
    epochs: int
    firsts: Mapping[str, Any] = field(default_factory=dict)
