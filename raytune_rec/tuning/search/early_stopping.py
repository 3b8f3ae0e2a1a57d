"""Early stopping: which trials meet after how many epochs, and which of them go on.

A bracket is logical: its members are trials of one study and one round, fixed before they are packed. A rung is decided when all
members have reported, from their validation curves alone; so neither packs nor processes nor crashes change who goes on.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from raytune_rec.job.tuning import StopOptions
from raytune_rec.tensors import mix

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
    """The ladders that the trials of a round climb, each with its share of them.

    Successive halving (Jamieson and Talwalkar, 2016) has one; Hyperband (Li et al., JMLR 2018, Algorithm 1) one for each first
    rung, from `min_epochs` to no rung at all, and shares in proportion to its numbers of configurations. Differs from the paper:
    rungs are whole epochs, and a round of any size is shared out (`assign`).
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


def assign(
    ladders: Sequence[tuple[Ladder, float]], factor: int, trials: Sequence[int], number: int, *key: object
) -> list[list[int]]:
    """The trials of each ladder. A round is shared out in an order that (job seed, study, round) decides, by largest remainder.

    One with fewer than `factor` trials for each ladder is not: most of its brackets would have a trial or two, of which none
    could be stopped, in packs as small. It climbs one ladder whole, the one whose share is most behind after that many rounds.

    Args:
        number: of the round, from 0. key: what else decides the order.
    """
    if len(trials) < factor * len(ladders):
        taken = _turn([share for _, share in ladders], number)
        return [sorted(trials) if ladder == taken else [] for ladder in range(len(ladders))]
    ideal = [share * len(trials) for _, share in ladders]
    counts = [math.floor(x) for x in ideal]
    behind = sorted(range(len(ideal)), key=lambda i: (counts[i] - ideal[i], i))
    for i in behind[: len(trials) - sum(counts)]:
        counts[i] += 1
    order = sorted(trials, key=lambda t: mix(*key, number, t))
    ends = [0, *accumulate(counts)]
    return [sorted(order[a:b]) for a, b in pairwise(ends)]


def _turn(shares: Sequence[float], number: int) -> int:
    """Whose turn a round is, where each whole round goes to who is most behind; of equals the first."""
    taken = [0] * len(shares)
    for done in range(number + 1):
        turn = max(range(len(shares)), key=lambda i: shares[i] * (done + 1) - taken[i])
        taken[turn] += 1
    return turn


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
