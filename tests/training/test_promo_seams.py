"""PROMO inside a model: what a row's item may know, what starts at zero, what stays as it is, and lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from raytune_rec.schema.contract import Batch, Site
from raytune_rec.schema.work import Lane, Method, Strategy
from raytune_rec.scoring.tuned import events, with_events
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Step
from raytune_rec.training.beside import Beside
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.model import Model
from tests.training.conftest import table, unit_of, world_of
from tests.training.promo_oracle import Event, Solo, World
from tests.training.test_contract import model_of, parts
from tests.training.test_lanes import same
from tests.training.test_promo import ITEMS, UNITS, USERS, batch_of, lane, losses, rows_of, tensors, world, written
from tests.training.test_seams import trainer

MEMBERS = (28, 29, 30)
"""Of the unit in memory."""


def changed(own: World, item: int, place: int, event: Event | None) -> World:
    """With another event at a place, or none."""
    events = list(own.events[item])
    events[place : place + 1] = [event] if event else []
    return replace(own, events={**own.events, item: events})


def moved(own: World, other: World, one: Solo, rows: Sequence[tuple[int, Event]]) -> Tensor:
    """(B,) whether what stands for each row's item is another."""
    before, after = (written(each, [one], [rows])[Site.TARGET][0] for each in (own, other))
    return (before - after).abs().sum(-1) > 1e-9


@pytest.mark.parametrize("clocks", [True, False], ids=["clocks", "no clocks"])
def test_a_rows_item_knows_who_took_it_before_and_neither_the_row_nor_what_came_later(clocks: bool) -> None:
    """Each event of a unit's items goes, or is another user's. Without clocks everybody but the row's own user is known."""
    own, one = world(clocks), lane(UNITS[1], 1, feedback=30, recent=30, least=0)
    rows = [(item, event) for item in one.members for event in own.events[item]]
    known = unknown = 0
    for item, place in ((i, p) for i in one.members for p in range(len(own.events[i]))):
        event = own.events[item][place]
        stranger = next(u for u in range(1, USERS) if u not in {e.user for e in own.events[item]})
        for other in (None, replace(event, user=stranger)):
            found = moved(own, changed(own, item, place, other), one, rows)
            for (of, row), is_another in zip(rows, found.tolist(), strict=True):
                if (of, row) == (item, event):
                    assert clocks or other or not is_another
                    continue
                knows = of == item and (not clocks or event.time < row.time)
                assert is_another == knows
                known, unknown = known + knows, unknown + (of == item and not knows)
    assert known and bool(unknown) == clocks


@pytest.mark.parametrize("clocks", [True, False], ids=["clocks", "no clocks"])
def test_the_value_of_a_rows_own_event_says_nothing_of_its_item(clocks: bool) -> None:
    own, one = world(clocks), lane(UNITS[1], 1, feedback=2, least=2)
    rows, known = [(item, event) for item in one.members for event in own.events[item]], 0
    for item, place in ((i, p) for i in one.members for p in range(len(own.events[i]))):
        event = own.events[item][place]
        found = moved(own, changed(own, item, place, replace(event, value=9.0)), one, rows)
        assert not found[rows.index((item, event))]
        known += int(found.sum())
    assert known


def test_what_an_item_borrows_is_of_before_the_row_too() -> None:
    own, one = world(), lane(UNITS[1], 1, feedback=30, recent=30, least=30, popular=0.4)
    rows = [(item, event) for item in one.members for event in own.events[item]]
    known = later = 0
    for item in (i for i in range(ITEMS) if i not in one.members):
        for place, event in enumerate(own.events[item]):
            stranger = next(u for u in range(1, USERS) if u not in {e.user for e in own.events[item]})
            found = moved(own, changed(own, item, place, replace(event, user=stranger)), one, rows)
            for (_, row), is_another in zip(rows, found.tolist(), strict=True):
                assert not is_another or event.time < row.time
                known, later = known + is_another, later + (event.time >= row.time)
    assert known and later


@pytest.mark.parametrize("network", ["personal", "shared"])
def test_a_row_trains_the_network_of_its_own_item_alone(network: str) -> None:
    own, one = world(), lane(UNITS[1], 1, network=network)
    rows = [(12, own.events[12][-1]), (14, own.events[14][-1]), (3, own.events[3][-1])]
    prompt, params, readings, options = tensors(own, [one])
    batch = batch_of(own, [one], [rows])
    names = [name for name in params if name.startswith("net.")] + (["own"] if network == "personal" else [])
    for p in params.values():
        p.requires_grad_()
    target = prompt.write(params, readings, batch, options, Step(True))[Site.TARGET]
    for place, (item, _) in enumerate(rows):
        trained = [params[name] for name in names]
        grads = torch.autograd.grad(target[0, place].sum(), trained, retain_graph=True, materialize_grads=True, allow_unused=True)
        for grad in grads:
            touched = (
                grad[0].flatten(1).any(1).nonzero().flatten().tolist() if network == "personal" else [*range(int(grad.any()))]
            )
            assert touched == ([] if item not in one.members else [1 + one.members.index(item) if network == "personal" else 0])


def of_backbone(backbone: str, prompt: bool) -> Model:
    made: Model = model_of(parts(backbone, *(("promo", ALIASES["pretrain_prompt"]) if prompt else ("none", ALIASES["single"]))))
    return made


def rows_in(backbone: str) -> Batch:
    """Rows of whose items some are the unit's own."""
    made = world_of(backbone)[1](120, 3)
    return next(iter(TableFeed(made, [(1,)], 120, 120).epoch(1)))


@pytest.mark.parametrize("backbone", ["dssm", "two_towers"])
def test_an_untuned_prompt_leaves_everything_as_it_is_and_a_tuned_one_all_but_its_units_items(backbone: str) -> None:
    rows, tuned, plain = rows_in(backbone), of_backbone(backbone, True), of_backbone(backbone, False)
    plain.trained = {name: tuned.trained[name] for name in plain.trained}
    for step in (Step(False), Step(True)):
        ours, theirs = tuned.forward(rows, {}, step), plain.forward(rows, {}, step)
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], atol=0, rtol=0)
        assert ("target" in ours) == (backbone == "dssm" and step.training)
    draw = torch.Generator().manual_seed(1)
    tuned.trained["prompt.fuse.out"] = torch.randn(tuned.trained["prompt.fuse.out"].shape, generator=draw)
    ours, theirs = (each.forward(rows, {}, Step(False)) for each in (tuned, plain))
    asked = rows.columns["candidates" if "candidates" in rows.columns else "item"]
    mine = torch.isin(asked, torch.tensor(MEMBERS))
    assert mine.any() and not mine.all()
    assert torch.equal(ours["logit"] != theirs["logit"], mine)
    if backbone == "dssm":
        assert (ours["items"] != theirs["items"]).any(-1)[0].nonzero().flatten().tolist() == [*MEMBERS], "padding stays too"


def test_lanes_of_units_with_items_of_their_own_equal_their_solo_runs() -> None:
    """Units of unlike sizes, which borrow from as many items as they would alone."""
    rows = world_of("dssm")[1]
    units = {
        name: unit_of(name, rows(many, many), rows(60, many + 1), members)
        for name, many, members in (("cold.1", 90, (28, 29)), ("cold.2", 60, (3, 5, 9, 12, 29, 30)))
    }
    row = Method("own", Strategy("own", "scratch", ("all", "prompt"), "on"), "dssm", "promo")
    common = {"prompt.least": 3, "prompt.popular": 0.5, "backbone.blocks": 1, "backbone.heads": 1, "backbone.width": 4}
    apart = [{"prompt.feedback": 2, "prompt.width": 3}, {"prompt.feedback_weight": 1.0}, {"prompt.fusion_width": 3}]
    lanes = [
        Lane(i, 0, {"training.lr.default": 0.02, "training.epochs": 2, **common, **apart[i]}, unit)
        for i, unit in enumerate(("cold.1", "cold.2", "cold.2"))
    ]
    packed = trainer(row, lanes, units)
    packed.run()
    for i, one in enumerate(lanes):
        solo = trainer(row, [one], {one.unit: units[one.unit]})
        same(packed.results()[i], solo.run()[0], 1e-9)
        for name, tensor in solo.best(0).items():
            torch.testing.assert_close(packed.best(i)[name], tensor, atol=1e-9, rtol=0)


def test_without_items_of_its_own_a_unit_is_the_backbones() -> None:
    own, one = world(), lane(UNITS[1], 1)
    prompt, params, readings, options = tensors(own, [one])
    batch = replace(batch_of(own, [one], rows_of(own, [one])), members=None)
    assert prompt.write(params, readings, batch, options, Step(True)) == {} == losses(own, [one], batch, {})


@pytest.mark.parametrize("least", [0, 1, 3, 30])
def test_an_artifact_keeps_of_who_took_items_what_scores_need(least: int) -> None:
    """Whoever lends included: with the events of an artifact alone all scores are the same."""
    made = parts("dssm", "promo", ALIASES["pretrain_prompt"], {"least": least, "popular": 0.5})
    by_id = unit_of("", table(1, 1), table(1, 2)).by_id
    assert by_id is not None
    model = model_of(made)
    draw = torch.Generator().manual_seed(1)
    model.trained["prompt.fuse.out"] = torch.randn(model.trained["prompt.fuse.out"].shape, generator=draw)
    kept = events(by_id, model.lenders())
    bare = replace(by_id, items=replace(by_id.items, feedback=None))
    served = replace(model, beside=Beside.of([with_events(bare, kept)]))
    rows = rows_in("dssm")
    wanted = model.forward(rows, {}, Step(False))["logit"]
    assert torch.equal(served.forward(rows, {}, Step(False))["logit"], wanted)
    own = replace(model, beside=Beside.of([with_events(bare, events(by_id, ()))]))
    assert torch.equal(own.forward(rows, {}, Step(False))["logit"], wanted) == (not model.lenders()) == (least == 0)
