"""What a yardstick gives, and how it is measured in a process of its own."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.fresh import fresh
from benchmarks.sweep.case import Case

YARDSTICKS = {
    "ours": "packs of lanes on Ray Tune (this product)",
    "ray_processes": "plain Ray Tune, a process for each configuration",
    "ray_actors": "Ray Tune with reuse_actors",
    "loops": "PyTorch loops, a process for each core",
    "lanes": "the same packs without Ray",
}
"""Module here -> what it is, in the order of the table. Each has `run(case) -> Measured`."""


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Args:
        seconds: wall clock from the search's begin to its last result, the start of its worker processes included.
        start: seconds to start Ray before that; 0 where there is none.
        best: trial -> best value of the validation metric.
    """

    seconds: float
    start: float = 0.0
    best: dict[int, float] = field(default_factory=dict)


def measure(name: str, case: Case) -> dict[str, Any]:
    """What a module here gives in a process of its own."""
    return fresh(f"benchmarks.sweep.{name}", case)


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}
