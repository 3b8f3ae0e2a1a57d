"""Walks over transitions against plain loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.backbones import transitions
from raytune_rec.components import component
from raytune_rec.errors import AssemblyError
from raytune_rec.schema.prepared import ById, Feedback
from raytune_rec.schema.work import Lane
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Step
from raytune_rec.training.beside import Beside
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.model import Model
from raytune_rec.training.parts import meet
from raytune_rec.training.stack import stack
from tests.training.conftest import HISTORIES, ITEMS, USERS, histories

BATCH = next(iter(TableFeed(histories(20, 4), [(1,)], 20, 20).epoch(1)))
BARE = replace(HISTORIES, fields=tuple(f for f in HISTORIES.fields if f.role != "item" or f.name == "item"))


def taken() -> dict[int, list[tuple[int, int]]]:
    """User -> (time, item); each takes items apart from the last ones of the world, one twice in succession."""
    draw = np.random.default_rng(6)
    events = {u: list(enumerate(draw.integers(1, 29, int(draw.integers(0, 9))).tolist())) for u in range(1, 41)}
    events[3] = [(0, 5), (1, 5), (2, 6)]
    return events


def store(events: Mapping[int, Sequence[tuple[int, int]]]) -> ById:
    flat = sorted((item, time, user) for user, own in events.items() for time, item in own)
    item, time, user = (np.array(each, np.int64) for each in zip(*flat, strict=True))
    count = np.bincount(item, minlength=31)
    one = np.ones(len(item), np.float32)
    feedback = Feedback(np.cumsum([0, *count]), user, np.zeros_like(time), one, one, order=time)
    return ById(replace(ITEMS, count=count, feedback=feedback), USERS, np.array([28, 29, 30]))


def model(*lanes: Mapping[str, Any], events: Mapping[int, Sequence[tuple[int, int]]] | None = None) -> Model:
    made = component("backbones", "transitions"), component("prompts", "none")
    options = {"backbone": [made[0].Options(**own) for own in lanes], "prompt": [made[1].Options() for _ in lanes]}
    found = stack(meet(*made, ALIASES["single"], options, HISTORIES), [Lane(i) for i in range(len(lanes))])
    found.beside = Beside.of([store(taken() if events is None else events)])
    return found


def expected(history: Sequence[int], o: Any, events: Mapping[int, Sequence[tuple[int, int]]]) -> list[float]:
    """The score of every item."""
    follows = np.zeros((31, 31))
    for own in events.values():
        items = [item for _, item in sorted(own)]
        for place, item in enumerate(items):
            for apart in range(1, o.reach + 1):
                if place + apart < len(items) and items[place + apart] != item:
                    follows[item, items[place + apart]] += 1 / apart
    count = np.bincount([i for own in events.values() for _, i in own], minlength=31)
    begin = [i for i in history if i][-o.last :]
    at = {i: begin.count(i) / len(begin) for i in begin}
    total = np.zeros(31)
    for hop in range(o.hops):
        moved = dict[int, float]()
        for item, chance in at.items():
            for other in range(31):
                if follows[item, other]:
                    moved[other] = moved.get(other, 0) + chance * follows[item, other] / follows[item].sum()
        at = moved
        for item, chance in at.items():
            total[item] += o.damping**hop * chance
    tags = [set(row) - {0} for row in ITEMS.columns["tags"].tolist()]
    alike = np.zeros(31)
    for item, tag in ((i, t) for i in range(31) for t in tags[i]):
        having = [other for other in range(31) if tag in tags[other]]
        for other in having:
            alike[other] += total[item] / len(tags[item]) / len(having)
    mixed = (1 - o.similarity) * total + o.similarity * alike
    return (mixed / (1 + count) ** o.even).tolist()


LANES: Sequence[Mapping[str, Any]] = (
    {"hops": 1, "last": 1},
    {"hops": 3, "last": 2, "damping": 0.7, "even": 0.5},
    {"hops": 2, "last": 50, "damping": 1.0, "similarity": 0.4, "even": 1.0},
)


@pytest.mark.parametrize("reach", [1, 3])
def test_every_lane_walks_as_plain_loops_do(reach: int) -> None:
    made = model(*({**own, "reach": reach} for own in LANES))
    columns = {name: c for name, c in BATCH.columns.items() if name != "candidates"}
    every = made.forward(replace(BATCH, columns=columns), {}, Step(False))["logit"]
    ranked = made.forward(BATCH, {}, Step(False))["logit"]
    for lane, one in enumerate(made.parts.options["backbone"]):
        for row, history in enumerate(BATCH.columns["history"][0].tolist()):
            np.testing.assert_allclose(every[lane, row], expected(history, one, taken()), atol=1e-6)
            assert torch.equal(ranked[lane, row], every[lane, row][BATCH.columns["candidates"][0, row]])
    lonely = (BATCH.columns["history"][0] == 0).all(1)
    assert lonely.any() and not every[:, lonely].any(), "who took nothing has all level"


def test_rows_of_one_time_get_one_order_of_the_two() -> None:
    """Neither the id of an item nor its place decides for all users."""
    events = {u: [(7, 1), (7, 2)] for u in range(1, 41)}
    made = model({"hops": 1, "last": 1}, events=events).holding().held
    assert made is not None
    pairs = sorted(zip(made["step_from"][0].tolist(), made["step_to"][0].tolist(), strict=True))
    assert pairs == [(1, 2), (2, 1)]


def test_memory_follows_the_transitions_that_occur_and_not_the_pairs_of_items() -> None:
    """10,000 items: a dense table of pairs would have 10^8 numbers."""
    size, draw = 10_001, np.random.default_rng(1)
    item, user = np.sort(draw.integers(1, size, 60_000)), draw.integers(1, 3000, 60_000)
    start = np.cumsum([0, *np.bincount(item, minlength=size)])
    one = np.ones(60_000, np.float32)
    made, by_id = model({}), store(taken())
    items = replace(
        Beside.of([by_id]).items, feedback=Feedback(*(torch.as_tensor(t)[None] for t in (start, user, item, one, one, item)))
    )
    assert max(t.numel() for t in made.parts.backbone.encode_items({}, items).values()) <= 60_000


def test_a_step_over_attributes_that_are_not_there_is_refused_and_leaving_it_out_helps() -> None:
    made = component("backbones", "transitions")
    with pytest.raises(AssemblyError, match=r"backbone.similarity above 0: .*'backbone.similarity' = 0.0, or choose a source"):
        made(made.Options(similarity=0.1), BARE, {})
    made(made.Options(similarity=0.0), BARE, {})


def test_memory_follows_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walks are over all items: of all rows of a validation at once 10,000 items were gigabytes."""
    made, columns = model(*LANES), {name: c for name, c in BATCH.columns.items() if name != "candidates"}
    batches = (BATCH, replace(BATCH, columns=columns))
    whole = [made.forward(batch, {}, Step(False))["logit"] for batch in batches]
    held, begun = list[int](), transitions._begun

    def counted(history: torch.Tensor, last: int, size: int) -> torch.Tensor:
        held.append(len(history))
        return begun(history, last, size)

    monkeypatch.setattr(transitions, "_begun", counted)
    monkeypatch.setattr(transitions, "_ROWS", 7)
    for batch, logit in zip(batches, whole, strict=True):
        torch.testing.assert_close(made.forward(batch, {}, Step(False))["logit"], logit)
    assert held == [7, 7, 6] * 6
