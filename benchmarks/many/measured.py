"""What a way gives, and how good it is by when: the mean over domains of the best value so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Point = tuple[str, float, float]
"""Domain, seconds since the search began, validation metric that was told then."""


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


def curve(points: Iterable[Point], starts: Mapping[str, float]) -> list[tuple[float, float]]:
    """(seconds, mean over the domains of the best so far), one for each time at which it rose; first the start at 0 seconds.

    Args:
        starts: domain -> its value before anything is tuned, which counts until a better one is told.
    """
    best = dict(starts)
    risen = [(0.0, math.fsum(best.values()) / len(best))]
    for domain, seconds, value in sorted(points, key=lambda point: point[1]):
        if value > best[domain]:
            best[domain] = value
            risen.append((seconds, math.fsum(best.values()) / len(best)))
    return risen


def seconds_to(curve: Iterable[tuple[float, float]], value: float) -> float:
    """When a curve has reached a value; infinity where it never does."""
    return next((seconds for seconds, reached in curve if reached >= value), math.inf)
