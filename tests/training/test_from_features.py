"""CB2CF and MetaEmb, whose networks tell a cold item by its attributes, against plain loops in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_rec.components import component, kinds
from raytune_rec.errors import AssemblyError
from raytune_rec.schema.contract import Batch, Reading, Site
from raytune_rec.schema.work import Lane, Method, Strategy
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Noise, Step, pad
from raytune_rec.training.beside import Beside
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.parts import meet
from tests.training.conftest import HISTORIES, ITEMS, histories, table, unit_of, world_of
from tests.training.test_lanes import same
from tests.training.test_seams import trainer

MEMBERS = (28, 29, 30, 7)
"""Four, one and no user took the first three of them."""
WIDTHS = {"item_vector": 4, "item_content": 4, "item_features": 3, "user_vector": 4}
READINGS = {name: Reading(width, "user" if name == "user_vector" else "item") for name, width in WIDTHS.items()}
APART: Sequence[Mapping[str, Any]] = ({"hidden_width": 2}, {"hidden_width": 5})
FED = TableFeed(histories(12, 3), [(1,)], 12, 12)
NOISE = Noise((9,), torch.arange(12).unsqueeze(0))


class World:
    """Two lanes of unlike width over readings and parameters that are drawn; what plain loops need of them."""

    def __init__(self, name: str, **options: Any) -> None:
        prompt, draw = component("prompts", name), np.random.default_rng(4)
        self.options = [prompt.Options(**{**options, **apart}) for apart in APART]
        made = [prompt(o, HISTORIES, READINGS, {Site.ITEM: 4, Site.TARGET: 4}) for o in self.options]
        self.prompt = made[0]
        self.solo = [{p.name: draw.normal(size=p.shape) for p in one.parameters()} for one in made]
        self.params = {n: pad([torch.tensor(solo[n]) for solo in self.solo]) for n in self.solo[0]}
        sizes = {"item": len(ITEMS), "user": 41}
        self.read = {n: draw.normal(size=(sizes[r.axis], r.width)) for n, r in READINGS.items()}
        self.readings = {n: torch.tensor(v).unsqueeze(0) for n, v in self.read.items() if n in prompt.reads(self.options[0])}
        varied = [n for n, kind in kinds(prompt.Options).items() if kind != "structural"]
        self.of_lanes = {n: torch.tensor([getattr(o, n) for o in self.options], dtype=torch.float64) for n in varied}
        by_id = unit_of("", table(1, 1), table(1, 2), MEMBERS).by_id
        assert by_id is not None
        beside, batch = Beside.of([by_id]), next(iter(FED.epoch(1)))
        target = torch.where(torch.arange(7) == (batch.columns["history"] > 0).sum(-1, keepdim=True), 0, 0)
        own = torch.tensor([28, 29, 30, 7, 3, 28, 29, 30, 7, 28, 28, 5])
        target = target.scatter(2, (batch.columns["history"] > 0).sum(-1, keepdim=True), own.view(1, 12, 1))
        took = torch.as_tensor(np.asarray(ITEMS.feedback.user)[[58 - 4, 58 - 3]]) if ITEMS.feedback else torch.zeros(2)
        users = batch.columns["user"].clone()
        users[0, [0, 5]] = took.to(users.dtype)  # who took an item is the user of its row
        columns = {**batch.columns, "target": target, "user": users}
        label = batch.label.double()
        self.batch = Batch(columns, label, label.clone(), batch.index, beside.items, beside.members)
        self.batch.weight[0, -2:] = 0

    def network(self, lane: int, item: int) -> np.ndarray:
        p = self.solo[lane]
        hidden = np.maximum(self.read["item_features"][item] @ p["net.in.weight"] + p["net.in.bias"], 0)
        return np.asarray(hidden @ p["net.out.weight"] + p["net.out.bias"])

    def wrote(self, step: Step) -> Mapping[Site, Tensor]:
        written: Mapping[Site, Tensor] = self.prompt.write(self.params, self.readings, self.batch, self.of_lanes, step)
        return written

    def lost(self, outputs: Mapping[str, Tensor], key: int = 9) -> Mapping[str, Tensor]:
        step = Step(True, noise=replace(NOISE, keys=(key,)))
        found: Mapping[str, Tensor] = self.prompt.losses(
            self.params, self.readings, self.batch, self.of_lanes, step, lambda *_: outputs
        )
        return found


def took(item: int) -> list[int]:
    """Users, the latest first."""
    feedback = ITEMS.feedback
    assert feedback is not None
    return np.asarray(feedback.user)[feedback.start[item] : feedback.start[item + 1]].tolist()[::-1]


def log_loss(score: float) -> float:
    return float(np.logaddexp(0, -score))


def stepped(own: World, lane: int, item: int, without: int = 0) -> np.ndarray:
    """One step down the slope of the log loss, which is measured and not derived."""
    o, users = own.options[lane], own.read["user_vector"]
    start = own.read["item_content"][item] + own.network(lane, item)
    positive = [u for u in took(item)[: o.users] if u != without]
    others = [1 + k * 40 // min(o.others, 40) for k in range(min(o.others, 40))]

    def loss(v: np.ndarray) -> float:
        ups, downs = [log_loss(users[u] @ v) for u in positive], [log_loss(-users[u] @ v) for u in others]
        return sum(ups) / len(ups) + sum(downs) / len(downs)

    if not positive:
        return np.asarray(start)
    slope = [(loss(start + d) - loss(start - d)) / 2e-6 for d in np.eye(4) * 1e-6]
    return np.asarray(start - o.rate * np.array(slope))


def test_cb2cf_writes_what_its_network_makes_and_learns_from_well_known_items_alone() -> None:
    own = World("cb2cf", known=2, drawn=9)
    seen = set()
    for key in range(20):
        loss = own.lost({}, key)["regression"]
        ids = Noise((key,), NOISE.rows).integers("cb2cf.items", 9, 1, len(ITEMS))[0].tolist()
        known = [i for i in ids if ITEMS.count[i] >= 2 and i not in MEMBERS]
        seen |= set(known)
        for lane in (0, 1):
            squares = [np.mean((own.network(lane, i) - own.read["item_vector"][i]) ** 2) for i in known]
            np.testing.assert_allclose(loss[lane], np.full(12, sum(squares) / max(1, len(squares))), rtol=1e-9)
    assert len(seen) > 20
    own.params = {n: p.requires_grad_() for n, p in own.params.items()}
    for step in (Step(False), Step(True, noise=NOISE)):
        written = own.wrote(step)[Site.ITEM]
        assert not written.requires_grad, "the objective does not train it"
        for lane, (place, item) in ((lane, each) for lane in (0, 1) for each in enumerate(MEMBERS)):
            np.testing.assert_allclose(written[lane, place], own.network(lane, item), rtol=1e-9)


@pytest.mark.parametrize("options", [{"rate": 0.5}, {"rate": 3.0, "users": 2, "others": 7}, {"rate": 0.0}])
def test_meta_emb_starts_from_attributes_and_takes_one_step_without_the_rows_own_user(options: dict[str, Any]) -> None:
    own = World("meta_emb", **options)
    sites = own.wrote(Step(True, noise=NOISE))
    users, targets = own.batch.columns["user"][0].tolist(), own.batch.columns["target"][0].amax(-1).tolist()
    assert any(u in took(i) for u, i in zip(users, targets, strict=True) if i in MEMBERS), "a row's user is among them"
    for lane in (0, 1):
        for place, item in enumerate(MEMBERS):
            np.testing.assert_allclose(sites[Site.ITEM][lane, place], stepped(own, lane, item), atol=1e-6)
        for row, (user, item) in enumerate(zip(users, targets, strict=True)):
            plain = own.read["item_vector"][item]
            wanted = stepped(own, lane, item, user) if item in MEMBERS else plain
            np.testing.assert_allclose(sites[Site.TARGET][lane, row], wanted, atol=1e-6)
    assert Site.TARGET not in own.wrote(Step(False))


@pytest.mark.parametrize("options", [{"at_once": 0.3}, {"at_once": 1.0}, {"items": 2, "at_once": 0.0, "rate": 2.0}])
def test_meta_emb_is_trained_at_once_and_after_the_step_on_items_of_histories(options: dict[str, Any]) -> None:
    own, draw = World("meta_emb", known=2, **options), torch.Generator().manual_seed(5)
    state = torch.randn(2, 12, 7, 4, generator=draw, dtype=torch.float64)
    user = torch.randn(2, 12, 4, generator=draw, dtype=torch.float64)
    loss = own.lost({"state": state, "user": user})["meta"]
    columns = {name: own.batch.columns[name][0].numpy() for name in ("history", "target", "user")}
    drawn = NOISE.uniform("meta_emb.places", 6)[0]
    holds = [{*h.tolist(), *t.tolist()} for h, t in zip(columns["history"], columns["target"], strict=True)]
    for lane, row in ((lane, row) for lane in (0, 1) for row in range(12)):
        history = columns["history"][row]
        fit = [p for p in range(6) if history[p] and ITEMS.count[history[p]] >= 2 and history[p] not in MEMBERS]
        chosen = sorted(fit, key=lambda p, row=row: -drawn[row, p])[: own.options[0].items]
        total = 0.0
        for place in chosen:
            item = int(history[place])
            others = [r for r in range(12) if item not in holds[r] and own.batch.weight[0, r] > 0]
            start = own.read["item_content"][item] + own.network(lane, item)
            end = stepped(own, lane, item, int(columns["user"][row]))
            for share, v in ((own.options[0].at_once, start), (1 - own.options[0].at_once, end)):
                down = sum(log_loss(-float(user[lane, r] @ torch.tensor(v))) for r in others) / max(1, len(others))
                total += share * (log_loss(float(state[lane, row, place] @ torch.tensor(v))) + down) / len(chosen)
        assert loss[lane, row].item() == pytest.approx(total, abs=1e-6)
    assert (loss > 0).any()


def test_meta_embs_gradient_goes_through_its_step() -> None:
    """Against a measured one: to leave the step's own slope out would be another method."""
    own = World("meta_emb", known=2, at_once=0.0, rate=4.0)
    draw = torch.Generator().manual_seed(5)
    outputs = {
        n: torch.randn(s, generator=draw, dtype=torch.float64) for n, s in (("state", (2, 12, 7, 4)), ("user", (2, 12, 4)))
    }
    bias = own.params["net.out.bias"].requires_grad_()
    (gradient,) = torch.autograd.grad(own.lost(outputs)["meta"].sum(), bias)
    for d in range(4):
        ends = []
        for sign in (1, -1):
            own.params["net.out.bias"] = bias.detach() + sign * 1e-5 * torch.eye(4, dtype=torch.float64)[d]
            ends.append(own.lost(outputs)["meta"].sum(1))
        np.testing.assert_allclose(gradient[:, d], (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("prompt", ["cb2cf", "meta_emb"])
def test_lanes_of_units_with_items_of_their_own_equal_their_solo_runs(prompt: str) -> None:
    rows = world_of("dssm")[1]
    units = {
        name: unit_of(name, rows(many, many), rows(60, many + 1), members)
        for name, many, members in (("cold.1", 90, (28, 29)), ("cold.2", 60, (3, 5, 9, 12, 29, 30)))
    }
    row = Method("own", Strategy("own", "scratch", ("all", "prompt"), "on"), "dssm", prompt)
    common = {"prompt.known": 2, "backbone.blocks": 1, "backbone.heads": 1, "backbone.width": 4}
    apart: list[dict[str, Any]] = [{"prompt.hidden_width": 2}, {"prompt.hidden_width": 5}, {"training.lr.default": 0.05}]
    lanes = [
        Lane(1, 0, {"training.lr.default": 0.02, "training.epochs": 2, **common, **apart[i]}, unit)
        for i, unit in enumerate(("cold.1", "cold.2", "cold.2"))
    ]
    packed = trainer(row, lanes, units)
    packed.run()
    for i, one in enumerate(lanes):
        solo = trainer(row, [one], {one.unit: units[one.unit]})
        same(packed.results()[i], solo.run()[0], 1e-9)
        for name, tensor in solo.best(0).items():
            torch.testing.assert_close(packed.best(i)[name], tensor, atol=1e-9, rtol=0)
    fresh = trainer(row, lanes[:1], {"cold.1": units["cold.1"]})
    start = {name: tensor.detach().clone() for name, tensor in fresh.model.trained.items()}
    fresh.epoch()
    assert all(not torch.equal(fresh.model.trained[name], tensor) for name, tensor in start.items()), "it learns"


@pytest.mark.parametrize("prompt", ["cb2cf", "meta_emb"])
def test_items_without_attributes_are_refused_with_what_would_fit(prompt: str) -> None:
    bare = replace(HISTORIES, fields=tuple(f for f in HISTORIES.fields if f.name != "tags"))
    made = component("backbones", "dssm"), component("prompts", prompt)
    options = {"backbone": [made[0].Options()], "prompt": [made[1].Options()]}
    with pytest.raises(
        AssemblyError, match=r"the prompt reads 'item_features', the backbone gives .*; choose another prompt, or"
    ):
        meet(*made, ALIASES["prompt"], options, bare, {})
    meet(*made, ALIASES["prompt"], options, HISTORIES, {})
