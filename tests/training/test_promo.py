"""PROMO: what tells an item, what stands for it and for a row's own item, and both losses, against plain loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_rec.components import component, kinds
from raytune_rec.schema.contract import Batch, Entities, Reading, Site
from raytune_rec.schema.prepared import DataSchema, Feedback, Field
from raytune_rec.tensors import Noise, Step, pad
from tests.training.promo_oracle import Event, Solo, World, loss_of_feedback, loss_of_popularity, represented

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
        stays = draw.choice([0.0, 0.5, 2.0], many)
        rows = zip(users, times, values, stays, strict=True)
        events[item] = [Event(int(u), int(t), float(v), float(s)) for u, t, v, s in rows]
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
    columns = ([getattr(event, name) for event in flat] for name in ("user", "time", "value", "stay", "time"))
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
    apart = [{**own, "staying": alpha, "interaction": beta} for own, alpha, beta in zip(apart, (1, 0, 4), (1, 2, 0), strict=True)]
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


def losses(own: World, lanes: Sequence[Solo], batch: Batch, outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    prompt, params, readings, options = tensors(own, lanes)
    found: Mapping[str, Tensor] = prompt.losses(params, readings, batch, options, noisy(batch), lambda *_: outputs)
    return found


def noisy(batch: Batch) -> Step:
    return replace(TRAINING, noise=Noise(tuple(range(7, 7 + len(batch.index))), batch.index))


def weighed(units: str, **options: Any) -> list[Solo]:
    """Lanes whose losses weigh unlike."""
    weights = [{"feedback_weight": 0.3, "fairness_weight": 2.0}, {"fairness_weight": 0.1}, {"feedback_weight": 5.0}]
    return [
        replace(one, options=one.options.model_copy(update=own))
        for one, own in zip(packs(units, **options), weights, strict=True)
    ]


@pytest.mark.parametrize("units", ["one", "two"])
@pytest.mark.parametrize("case", ["as published", "borrowing", "few events", "one for all", "no network", "printed"])
def test_the_best_users_of_an_item_are_parted_from_others_as_plain_sums_say(case: str, units: str) -> None:
    own, lanes = world(), weighed(units, **CASES[case])
    rows = rows_of(own, lanes[:1] if units == "one" else lanes)
    rows = [[(item, event) for item, event in each if item in UNITS[0] + UNITS[1]] for each in rows]
    rows = [each[: min(map(len, rows))] for each in rows]
    batch = batch_of(own, lanes, rows)
    found = losses(own, lanes, batch, {"logit": batch.label})["feedback"]
    assert found.shape == (3, len(rows[0])) and bool((found == 0).any()) and bool((found > 0).any())
    drawn = noisy(batch).noise.uniform("promo.others", min(6, lanes[0].options.recent)).double()  # type: ignore[union-attr]
    for i, one in enumerate(lanes):
        of = i if units == "two" else 0
        for place, (item, event) in enumerate(rows[of]):
            if item in one.members:
                users = (1 + (drawn[of, place] * (USERS - 1)).long()).tolist()
                wanted = loss_of_feedback(own, one, item, event, users)
                assert found[i, place].item() == pytest.approx(wanted, rel=1e-9, abs=0)


@pytest.mark.parametrize("printed", [False, True])
@pytest.mark.parametrize("units", ["one", "two"])
def test_cold_positives_are_lifted_above_warm_negatives_of_the_batch_as_plain_sums_say(units: str, printed: bool) -> None:
    """Rows with labels; what pads a batch counts for nothing."""
    own, lanes = world(), weighed(units, printed=printed)
    rows, draw = rows_of(own, lanes[:1] if units == "one" else lanes), torch.Generator().manual_seed(6)
    batch = batch_of(own, lanes, rows)
    label, weight = ((torch.rand(batch.label.shape, generator=draw) < share).double() for share in (0.5, 0.8))
    logit = torch.randn(3, batch.label.shape[1], generator=draw, dtype=torch.float64) / (20 if printed else 1)
    batch = replace(batch, label=label, weight=weight)
    found = losses(own, lanes, batch, {"logit": logit})["fairness"]
    for i, one in enumerate(lanes):
        of = i if units == "two" else 0
        real = [(p, item in one.members, label[of, p].item()) for p, (item, _) in enumerate(rows[of]) if weight[of, p]]
        cold, warm = ([logit[i, p].item() for p, *kind in real if kind == wanted] for wanted in ([True, 1], [False, 0]))
        assert len(cold) > 1 and len(warm) > 1
        np.testing.assert_allclose(found[i], loss_of_popularity(one, cold, warm), rtol=1e-9)
    other = torch.where(weight > 0, logit, 99.0)
    torch.testing.assert_close(losses(own, lanes, batch, {"logit": other})["fairness"], found, atol=0, rtol=0)
    for nothing in (replace(batch, label=1 - 0 * label), replace(batch, label=0 * label)):
        assert not losses(own, lanes, nothing, {"logit": logit})["fairness"].any(), "no warm negative, or no cold positive"


@pytest.mark.parametrize("printed", [False, True])
@pytest.mark.parametrize("units", ["one", "two"])
def test_rows_with_histories_draw_a_warm_item_each(units: str, printed: bool) -> None:
    """None that the row holds; the state is the one in front of the target. What a user declined is no positive."""
    own, lanes = world(), weighed(units, printed=printed)
    rows, draw = rows_of(own, lanes[:1] if units == "one" else lanes), torch.Generator().manual_seed(4)
    batch = batch_of(own, lanes, rows)
    shape = batch.label.shape
    history, at = torch.randint(0, ITEMS, (*shape, 4), generator=draw), torch.randint(0, 5, shape, generator=draw)
    target = torch.zeros((*shape, 5), dtype=torch.int64).scatter(2, at.unsqueeze(-1), batch.columns["item"].unsqueeze(-1))
    batch = replace(batch, columns={"user": batch.columns["user"], "history": history, "target": target})
    weight, label = ((torch.rand(shape, generator=draw) < share).double() for share in (0.8, 0.7))
    batch = replace(batch, weight=weight, label=label)
    state, items, own_item = (
        torch.randn(3, *size, 4, generator=draw, dtype=torch.float64) / (6 if printed else 1)
        for size in ((shape[1], 5), (ITEMS,), (shape[1],))
    )
    found = losses(own, lanes, batch, {"state": state, "items": items, "target": own_item})["fairness"]
    drawn = (1 + (noisy(batch).noise.uniform("promo.warm", 1).double() * (ITEMS - 1)).long()).squeeze(-1)  # type: ignore[union-attr]
    for i, one in enumerate(lanes):
        of, cold, warm, held = i if units == "two" else 0, [], [], 0
        for place, (item, _) in enumerate(rows[of]):
            if not batch.weight[of, place]:
                continue
            before, other = state[i, place, at[of, place]], int(drawn[of, place])
            if item in one.members and label[of, place]:
                cold.append(float(before @ own_item[i, place]))
            taken = other == item or other in history[of, place].tolist()
            held += taken
            if other not in one.members and not taken:
                warm.append(float(before @ items[i, other]))
        assert held and len(cold) > 1 and len(warm) > 1
        np.testing.assert_allclose(found[i], loss_of_popularity(one, cold, warm), rtol=1e-9)


def test_a_loss_of_no_weight_or_without_feedback_is_none() -> None:
    own = world()
    for options, names in (
        ({}, {"feedback", "fairness"}),
        ({"feedback_weight": 0.0}, {"fairness"}),
        ({"fairness_weight": 0.0}, {"feedback"}),
        ({"information": "id"}, {"fairness"}),
    ):
        one = lane(UNITS[1], 1, **options)
        rows = rows_of(own, [one])
        batch = batch_of(own, [one], rows)
        assert set(losses(own, [one], batch, {"logit": batch.label})) == names


def test_an_item_without_users_that_nobody_lends_to_is_told_by_itself_alone() -> None:
    """All that was taken in training is an item of the unit, by the user of the rows: popular ones have nobody either."""
    full, one, only = world(), lane(UNITS[1], 1), Event(2, 3, 1.0, 1.0)
    own = replace(full, events={item: [only] * (item == one.members[0]) for item in full.events})
    rows = [[(item, only) for item in one.members]]
    base = np.asarray(full.readings["item_vector"])[list(one.members)]
    hidden = base @ one.params["fuse.item"] + one.params["own"][1:] @ one.params["fuse.own"] + one.params["fuse.bias"]
    expected = base + np.maximum(hidden, 0) @ one.params["fuse.out"]
    sites = written(own, [one], rows)
    np.testing.assert_allclose(sites[Site.TARGET][0].numpy(), expected, rtol=1e-9)
    np.testing.assert_allclose(sites[Site.ITEM][0, 1:].numpy(), expected[1:], rtol=1e-9)
