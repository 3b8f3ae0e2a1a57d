"""The faults that a script of Ray Tune alone may meet: what is done from outside, or within its trials."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from benchmarks.faults.classes import node, within
from benchmarks.faults.cluster import Nodes
from benchmarks.faults.fault import Class, Drawn
from benchmarks.kills.moments import Moment, draw
from benchmarks.kills.sweep import Strike

SECONDS = "plain"
"""What the undisturbed run takes, among the seconds of stages."""
_EPOCHS = 60
"""Most epochs of trials that are waited for: 8 trials have 8 each."""
_MOST = {"tune's checkpoint": 60, "tune's state": 20}
"""Most files of a kind that are awaited."""


def _none(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
    """No fault: whether a second undisturbed run is like the first."""
    return Drawn()


def _worker(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
    return Drawn((Strike("worker", draw(chance, seconds[SECONDS], _MOST)),))


def _driver(target: str) -> Callable[..., Drawn]:
    """At any second, as the product's driver in any second of its stages."""

    def drawn(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
        moment = Moment("time", 0, chance.uniform(0.0, seconds[SECONDS]))
        return Drawn((Strike(target, moment, chance.random() < 1 / 2),))

    return drawn


def _in_search(chance: random.Random) -> Moment:
    kind = chance.choice(list(_MOST))
    return Moment(kind, chance.randint(1, _MOST[kind] // 2), chance.uniform(0.0, 1.0))


CLASSES: Mapping[str, Class] = {
    "none": Class(_none),
    "trial_exception": Class(within("exception", 1, _EPOCHS)),
    "nan_loss": Class(within("nan", 1, _EPOCHS)),
    "worker_killed": Class(_worker),
    "driver_killed": Class(_driver("driver")),
    "driver_sigterm": Class(_driver("sigterm")),
    "killed_in_checkpoint": Class(within("killed at copy", 1, _EPOCHS)),
    "raylet_crash": Class(node("crash", _in_search)),
    "node_replaced": Class(node("replace", _in_search)),
    "head_lost": Class(node("lose_head", _in_search)),
}
