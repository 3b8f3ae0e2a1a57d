"""PROMO once more, in plain loops over items, rows and users: what the prompt is compared with. One lane, true shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Vector = np.ndarray


@dataclass(frozen=True)
class Event:
    """Somebody took an item. A training row is one too."""

    user: int
    time: int
    value: float = 1.0
    stay: float = 0.0


@dataclass(frozen=True)
class World:
    """Args:
    events: of each item, in time order. clocks: whether times say anything.
    readings: name -> (V, width) of all items or users.
    """

    events: Mapping[int, Sequence[Event]]
    readings: Mapping[str, np.ndarray]
    clocks: bool = True


@dataclass(frozen=True)
class Solo:
    """One lane: options of the prompt, parameters, and the items of its unit, which are the rows 1 and on of its parameters."""

    options: Any
    params: Mapping[str, np.ndarray]
    members: Sequence[int]

    def own(self, name: str, item: int) -> np.ndarray:
        return self.params[name][1 + list(self.members).index(item)]


def told(world: World, lane: Solo, item: int, row: Event | None = None) -> list[int]:
    """Users who tell an item, the best first. Of a row: without its user, and what is not before it."""
    latest = list(world.events[item])[::-1][: lane.options.recent]
    until = math.inf if not latest else latest[0].time + 1
    if row:
        until = row.time if row in latest else -math.inf  # it is too old to be found

    def may(event: Event) -> bool:
        return not (row and event.user == row.user) and (not world.clocks or event.time < until)

    chosen = [event for event in latest if may(event)]
    if len(chosen) < lane.options.least:
        lent = list(world.events[lender(world, lane, item)])[::-1][: lane.options.recent]
        chosen = [event for event in lent if may(event)]
    alpha, beta = lane.options.staying, lane.options.interaction
    best = sorted(chosen, key=lambda event: -(alpha * event.stay + beta * (0.0 if math.isnan(event.value) else event.value)))
    return [event.user for event in best][: lane.options.feedback]


def lender(world: World, lane: Solo, item: int) -> int:
    """Eq. 5: of the popular items the most similar one."""
    others = [i for i, events in world.events.items() if events and i not in lane.members]
    others.sort(key=lambda i: (-len(world.events[i]), i))
    popular = others[: max(1, math.ceil(lane.options.popular * len(others)))]

    def similarity(other: int) -> float:
        a, b = (world.readings["item_vector"][i] for i in (item, other))
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / (sum(x * x for x in a) + sum(y * y for y in b) - dot)

    return max(popular, key=similarity)


def read(world: World, lane: Solo, item: int, row: Event | None = None) -> list[Vector]:
    """What the networks of an item read."""
    of_item = {"id": ["item_embedding"], "features": ["item_features"], "both": ["item_embedding", "item_features"]}
    if lane.options.information == "feedback":
        return [world.readings["user_vector"][user] for user in told(world, lane, item, row)]
    return [np.concatenate([world.readings[name][item] for name in of_item[lane.options.information]])]


def network(lane: Solo, item: int, vector: Vector) -> Vector:
    """Eq. 7."""
    if lane.options.network == "none":
        return vector
    for n in range(lane.options.layers):
        names = f"net.{n}.weight", f"net.{n}.bias"
        personal = lane.options.network == "personal"
        weight, bias = (lane.own(name, item) if personal else lane.params[name] for name in names)
        vector = np.maximum(vector @ weight + bias, 0)
    return vector


def represented(world: World, lane: Solo, item: int, row: Event | None = None) -> Vector:
    """Eq. 10, added to what the backbone makes of the item."""
    base, p = world.readings["item_vector"][item], lane.params
    if item not in lane.members:
        return base
    vectors = read(world, lane, item, row)
    fused = vectors if lane.options.printed else [network(lane, item, v) for v in vectors]
    mean = sum(fused) / len(fused) if fused else np.zeros(len(p["fuse.told"]))
    hidden = base @ p["fuse.item"] + mean @ p["fuse.told"] + p["fuse.bias"]
    if lane.options.network == "personal":
        hidden = hidden + lane.own("own", item) @ p["fuse.own"]
    return base + np.maximum(hidden, 0) @ p["fuse.out"]


def loss_of_feedback(world: World, lane: Solo, item: int, row: Event, drawn: Sequence[int]) -> float:
    """Eq. 8 and 9. drawn: users, of whom those who took the item are no others."""
    took = [event.user for event in list(world.events[item])[::-1][: lane.options.recent]]
    others = [user for user in drawn[: lane.options.feedback] if user not in took]
    best = [network(lane, item, vector) for vector in read(world, lane, item, row)]
    rest = [network(lane, item, world.readings["user_vector"][user]) for user in others]
    distances = [sum(abs(x - y) for x, y in zip(ours, theirs, strict=True)) for ours in best for theirs in rest]
    if not distances:
        return 0.0
    gap = sum(distances) / (1 if lane.options.printed else len(distances))
    return lane.options.feedback_weight * np.logaddexp(0, -gap)


def loss_of_popularity(lane: Solo, cold: Sequence[float], warm: Sequence[float]) -> float:
    """Eq. 11 and 12. cold, warm: scores of the batch's cold positives and warm negatives."""
    if not cold or not warm:
        return 0.0
    gaps = [up - down for up in cold for down in warm]
    gap = sum(gaps) / (1 if lane.options.printed else len(gaps))
    return lane.options.fairness_weight * np.logaddexp(0, -gap)
