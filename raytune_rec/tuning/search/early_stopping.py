"""Early stopping: which trials meet after how many epochs, and which of them go on.

A bracket is logical: its members are trials of one study and one round, fixed before they are packed. A rung is decided when all
members have reported, from their validation curves alone; so neither packs nor processes nor crashes change who goes on.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from raytune_rec.job.tuning import StopOptions

Ladder = tuple[int, ...]
"""Epochs after which the members of a bracket meet, ascending; whoever is left then trains to its own end."""


@dataclass(frozen=True)
class Member:
    """What one trial of a bracket has reached.

    Args:
        trial: its number.
        curve: validation metric before training and after each epoch.
        best: the best of it; NaN for a failed trial.
    """

    trial: int
    curve: Sequence[float]
    best: float


def ladders(stop: StopOptions, epochs: int) -> list[tuple[Ladder, float]]:
    """The ladders of a search, each with the share of the rounds that climb it.

    Successive halving (Jamieson and Talwalkar, 2016) has one; Hyperband (Li et al., JMLR 2018, Algorithm 1) one for each first
    rung, from `min_epochs` to no rung at all, and shares in proportion to its numbers of configurations. Differs from the paper:
    rungs are whole epochs, and a bracket is a round, whatever its size (`turn`).
    """
    if stop.rule == "none":
        return [((), 1.0)]
    if stop.rule == "median":
        return [(tuple(range(stop.min_epochs, epochs, stop.min_epochs)), 1.0)]
    longest = _climb(stop.min_epochs, stop.factor, epochs)
    if stop.rule == "halving":
        return [(longest, 1.0)]
    count = len(longest) + 1
    sizes = [math.ceil(count / (s + 1) * stop.factor**s) for s in range(count)]
    return [(longest[count - 1 - s :], sizes[s] / sum(sizes)) for s in reversed(range(count))]


def turn(shares: Sequence[float], number: int) -> int:
    """Which ladder a round climbs: the one whose share is most behind after that many rounds, of equals the first.

    All trials of a round climb one. Shared out, its brackets were so small that few were stopped, and filled packs as small.

    Args:
        number: of the round, from 0.
    """
    taken = [0] * len(shares)
    for done in range(1, number + 2):
        ladder = max(range(len(shares)), key=lambda i: shares[i] * done - taken[i])
        taken[ladder] += 1
    return ladder


def survivors(
    stop: StopOptions, rung: int, members: Sequence[Member], earlier: Sequence[Sequence[float]], higher: bool
) -> set[int]:
    """The trials of a bracket that may go on after a rung.

    Halving keeps the best 1/factor, at least one; equals the lower number. The median rule (Golovin et al., KDD 2017) keeps who
    is at its best no worse than the median of the running averages up to this epoch, over the bracket and the study's earlier
    rounds.

    Args:
        rung: epochs trained.
        members: everyone who entered the rung, those too who have ended by themselves since.
        earlier: curves of the trials of earlier rounds.
        higher: whether a higher metric is better.
    """
    sign = -1.0 if higher else 1.0
    alive = [m for m in members if math.isfinite(m.best)]
    if stop.rule == "median":
        averages = [a for c in (*earlier, *(m.curve for m in alive)) if (a := _average(c, rung)) is not None]
        return {m.trial for m in alive if sign * m.best <= sign * statistics.median(averages)}
    ranked = sorted(alive, key=lambda m: (sign * m.best, m.trial))
    return {m.trial for m in ranked[: max(1, len(members) // stop.factor)]}


def _climb(first: int, factor: int, epochs: int) -> Ladder:
    """Rungs below the whole number of epochs."""
    rungs = []
    while first < epochs:
        rungs.append(first)
        first *= factor
    return tuple(rungs)


def _average(curve: Sequence[float], rung: int) -> float | None:
    """Of a curve up to an epoch; None where it ended before."""
    values = list(curve[: rung + 1])
    return statistics.fmean(values) if len(values) > rung and all(map(math.isfinite, values)) else None
