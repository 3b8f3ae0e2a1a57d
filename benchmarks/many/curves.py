"""How good a search over many domains is by when: the mean over domains of the best value so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

Point = tuple[str, float, float]
"""Domain, seconds since the search began, validation metric that was told then."""


def curve(points: Iterable[Point], starts: Mapping[str, float]) -> list[tuple[float, float]]:
    """(seconds, mean over the domains of the best so far), one for each time at which it rose; first the start at 0 seconds.

    Args:
        starts: domain -> its value before anything is tuned, which counts until a better one is told.
    """
    best = dict(starts)
    total = math.fsum(best.values())
    found = [(0.0, total / len(best))]
    for domain, seconds, value in sorted(points, key=lambda point: point[1]):
        if value > best[domain]:
            best[domain] = value
            found.append((seconds, math.fsum(best.values()) / len(best)))
    return found


def seconds_to(curve: Iterable[tuple[float, float]], value: float) -> float:
    """When a curve has reached a value; infinity where it never does."""
    return next((seconds for seconds, reached in curve if reached >= value), math.inf)
