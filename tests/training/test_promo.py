"""PROMO: what tells an item, what stands for it and for a row's own item, and both losses, against plain loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_rec.components import component, kinds
from raytune_rec.schema.contract import Batch, Entities, Reading, Site
from raytune_rec.schema.prepared import DataSchema, Feedback, Field
from raytune_rec.tensors import Step, pad
from tests.training.promo_oracle import Event, Solo, World, represented

PROMO: Any = component("prompts", "promo")
USERS, ITEMS = 18, 15
"""Ids, 0 included."""
SCHEMA = DataSchema((Field("user", "categorical", "user", USERS), Field("item", "categorical", "item", ITEMS)), ("a",), "0" * 16)
READINGS = {
    "item_vector": Reading(4, "item"),
    "item_embedding": Reading(3, "item"),
    "item_features": Reading(2, "item"),
    "user_vector": Reading(5, "user"),
}
TRAINING = Step(True, noise=None)
UNITS = ((2, 9), (4, 1, 12, 14, 7, 6))
"""Items of two units: of some nobody knows anything yet."""


def world(clocks: bool = True) -> World:
    """Some items have many events, some few, some none; times meet, and so do values, of which some are missing."""
    draw, events = np.random.default_rng(8), dict[int, list[Event]]()
    for item in range(ITEMS):
        many = {0: 0, 4: 0, 9: 1, 12: 2, 14: 3}.get(item, 4 + item % 7)
        times = np.sort(draw.integers(0, 12, many)) if clocks else np.zeros(many, int)
        users = draw.permutation(np.arange(1, USERS))[:many]
        values = draw.choice([1.0, 3.0, 5.0, np.nan], many)
        events[item] = [Event(int(u), int(t), float(v)) for u, t, v in zip(users, times, values, strict=True)]
    sizes = {"user": USERS, "item": ITEMS}
    return World(events, {name: draw.normal(size=(sizes[r.axis], r.width)) for name, r in READINGS.items()}, clocks)


def lane(members: Sequence[int], seed: int, **options: Any) -> Solo:
    """Every parameter is drawn: nothing is zero."""
    prompt, draw = promo(options), np.random.default_rng(seed)
    shapes = {p.name: (1 + len(members), *p.shape[1:]) if p.rows else p.shape for p in prompt.parameters()}
    return Solo(prompt.options, {name: draw.normal(size=shape) for name, shape in shapes.items()}, members)


def promo(options: Mapping[str, Any]) -> Any:
    own = PROMO.Options(**options)
    return PROMO(own, SCHEMA, {name: READINGS[name] for name in PROMO.reads(own)}, {Site.ITEM: 4, Site.TARGET: 4})


def rows_of(own: World, lanes: Sequence[Solo]) -> list[list[tuple[int, Event]]]:
    """Of each lane all events of its items, and some of others."""
    every = [[(item, event) for item in (*one.members, 3, 5) for event in own.events[item]] for one in lanes]
    return [(rows * 3)[: max(map(len, every))] for rows in every]


def feedback(own: World) -> Feedback:
    events = [own.events[item] for item in range(ITEMS)]
    flat = [event for of_item in events for event in of_item]
    columns = ([getattr(event, name) for event in flat] for name in ("user", "time", "value"))
    return Feedback(*(torch.tensor([c]) for c in (np.cumsum([0, *map(len, events)]).tolist(), *columns)))


def batch_of(own: World, lanes: Sequence[Solo], rows: Sequence[Sequence[tuple[int, Event]]]) -> Batch:
    """Lanes of one unit share rows and items."""
    units = [one.members for one in lanes]
    units = units[:1] if all(unit == units[0] for unit in units) else units
    count = torch.tensor([[len(own.events[item]) for item in range(ITEMS)]])
    took = feedback(own)
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(unit) for unit in units], batch_first=True)
    columns = {
        "user": torch.tensor([[event.user for _, event in each] for each in rows]),
        "item": torch.tensor([[item for item, _ in each] for each in rows]),
    }
    index = torch.arange(columns["user"].numel()).view(columns["user"].shape)
    items = Entities(torch.arange(ITEMS).unsqueeze(0), {}, count, took)
    ones = torch.ones(columns["user"].shape, dtype=torch.float64)
    return Batch(columns, ones, ones, index, items, Entities(ids, {}, feedback=took))


def tensors(own: World, lanes: Sequence[Solo]) -> tuple[Any, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """The prompt of a pack; its parameters, readings and options."""
    prompt = promo(lanes[0].options.model_dump())
    params = {name: pad([torch.tensor(one.params[name]) for one in lanes]) for name in lanes[0].params}
    readings = {name: torch.tensor(own.readings[name]).unsqueeze(0) for name in PROMO.reads(lanes[0].options)}
    padded = [name for name, kind in kinds(PROMO.Options).items() if kind != "structural"]
    options = {n: torch.tensor([getattr(one.options, n) for one in lanes], dtype=torch.float64) for n in padded}
    return prompt, params, readings, options


def written(own: World, lanes: Sequence[Solo], rows: Sequence[Sequence[tuple[int, Event]]]) -> Mapping[Site, Tensor]:
    prompt, params, readings, options = tensors(own, lanes)
    sites: Mapping[Site, Tensor] = prompt.write(params, readings, batch_of(own, lanes, rows), options, TRAINING)
    return sites


def packs(units: str, **options: Any) -> list[Solo]:
    """Three lanes that differ in whatever may differ, of one unit or of two."""
    apart = [{"feedback": 2, "width": 3, "fusion_width": 5}, {"feedback": 6, "width": 7}, {"feedback": 3, "fusion_width": 2}]
    of = UNITS[1:] * 3 if units == "one" else (UNITS[0], UNITS[1], UNITS[1])
    return [lane(of[i], 10 + i, **{**own, **options}) for i, own in enumerate(apart)]


CASES: dict[str, dict[str, Any]] = {
    "as published": {},
    "borrowing": {"least": 3, "popular": 0.4},
    "borrowing of one": {"least": 5, "popular": 0.01, "recent": 4},
    "never borrowing": {"least": 0},
    "few events": {"recent": 3},
    "three layers": {"layers": 3},
    "one for all": {"network": "shared"},
    "no network": {"network": "none"},
    "printed": {"printed": True},
    "printed for all": {"printed": True, "network": "shared"},
    "id": {"information": "id"},
    "features": {"information": "features", "network": "shared"},
    "both": {"information": "both"},
    "both as they are": {"information": "both", "network": "none", "printed": True},
}


@pytest.mark.parametrize("units", ["one", "two"])
@pytest.mark.parametrize("clocks", [True, False], ids=["clocks", "no clocks"])
@pytest.mark.parametrize("case", CASES)
def test_items_and_the_items_of_rows_are_what_plain_loops_make_of_them(case: str, clocks: bool, units: str) -> None:
    own, lanes = world(clocks), packs(units, **CASES[case])
    rows = rows_of(own, lanes[:1] if units == "one" else lanes)
    sites = written(own, lanes, rows)
    for i, one in enumerate(lanes):
        for place, item in enumerate(one.members):
            np.testing.assert_allclose(sites[Site.ITEM][i, place], represented(own, one, item), atol=1e-10, rtol=0)
        for place, (item, event) in enumerate(rows[i if units == "two" else 0]):
            wanted = represented(own, one, item, event)
            np.testing.assert_allclose(sites[Site.TARGET][i, place], wanted, atol=1e-10, rtol=0, err_msg=f"{item} {event}")
