"""UniSRec's items against plain loops, its sequences against SASRec with the same items, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.components import component
from raytune_rec.errors import AssemblyError
from raytune_rec.schema.prepared import ById, UnitData
from raytune_rec.schema.work import Lane, Method, Pack
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Noise, Step
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.loop import Trainer
from raytune_rec.training.parts import meet
from raytune_rec.training.settings import settings
from tests.training.conftest import AS_HISTORIES, HISTORIES, ITEMS, USERS, histories, job
from tests.training.test_contract import model_of
from tests.training.test_lanes import same

VECTORS = ITEMS.columns["meaning"].astype(np.float64)


def made(name: str = "unisrec", lanes: int = 1, schema: Any = HISTORIES, **options: Any) -> Any:
    parts = component("backbones", name), component("prompts", "none")
    options = {"width": 6, "heads": 2, "inner": 8, "blocks": 1, **options}
    chosen = {"backbone": [parts[0].Options(**options)] * lanes, "prompt": [parts[1].Options()] * lanes}
    model = model_of(meet(*parts, ALIASES["tuning_free"], chosen, schema, None))
    model.place("cpu", torch.float64)
    return model


def scores(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    batch = next(iter(TableFeed(histories(12, 4), [(1,)], 12, 12).epoch(1)))
    return model.holding().held["meaning"][0], model.scores(batch, model.encode(batch), Step(False, last=True))


def test_an_item_is_what_gated_experts_make_of_its_vector() -> None:
    model = made(experts=3)
    draw = torch.Generator().manual_seed(2)
    for name in ("gate", "mean", "map"):
        key = f"backbone.adapter.{name}"
        model.fixed[key] = torch.randn(model.fixed[key].shape, generator=draw, dtype=torch.float64)
    gate, mean, map_ = (model.fixed[f"backbone.adapter.{name}"][0].numpy() for name in ("gate", "mean", "map"))
    found, _ = scores(model)
    for item in range(31):
        x = VECTORS[item]
        weight = np.exp(x @ gate) / np.exp(x @ gate).sum()
        wanted = sum(weight[g] * (x - mean[g]) @ map_[g] for g in range(3))
        np.testing.assert_allclose(found[item].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("experts", [0, 2])
def test_a_sequence_of_such_items_is_sasrec_over_them(experts: int) -> None:
    """With vectors of their own, which begin at zero; without experts these are SASRec's, begun at the encoder's vectors."""
    model, plain = made(experts=experts, own=True), made("sasrec")
    assert not model.fixed["backbone.item"].any()
    model.fixed["backbone.item"] = torch.randn(model.fixed["backbone.item"].shape, dtype=torch.float64) * 0.1
    item, found = scores(model)
    if not experts:
        np.testing.assert_allclose(item.numpy(), VECTORS[:, :6] * 0.02)
    plain.fixed = {n: t.clone() for n, t in model.fixed.items() if "adapter" not in n}
    plain.fixed["backbone.item"] = item[None] + model.fixed["backbone.item"]
    batch = next(iter(TableFeed(histories(12, 4), [(1,)], 12, 12).epoch(1)))
    torch.testing.assert_close(found, plain.scores(batch, plain.encode(batch), Step(False, last=True)))


def test_items_of_another_domain_need_no_parameter() -> None:
    assert "item" not in {p.rows for p in made(experts=2).parts.backbone.parameters()}
    assert {p.group for p in made(experts=2).parts.backbone.parameters()} == {"adapter", "embedding", "encoder"}


@pytest.mark.parametrize(
    ("schema", "options", "says"),
    [
        (HISTORIES, {"vector": "taste"}, "'taste': is no vector of the items; there are meaning"),
        (replace(HISTORIES, vectors=()), {}, "there are none; set data.text.vectors"),
        (HISTORIES, {"experts": 0, "width": 10}, "width = 10: vectors 'meaning' have 9 numbers.*lower width, raise data.text"),
    ],
)
def test_what_lacks_vectors_is_refused(schema: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(AssemblyError, match=says):
        made(schema=schema, **options)


def trainer(*lanes: tuple[int, dict[str, Any]], **options: Any) -> Trainer:
    """Packs of UniSRec from scratch, with a noisy gate."""
    own = {"width": 6, "heads": 2, "inner": 8, "blocks": 1, "experts": 3, "noisy": True, "dropout": 0.2, **options}
    training = {"objective": "softmax", "metric": "ndcg@10", "batch_size": 16, "lr": {"default": 0.01}, "patience": 9}
    of = job(data=AS_HISTORIES, backbone={"name": "unisrec", "options": own}, training=training)
    row = Method("own", ALIASES["single"], "unisrec", "none")
    pack = Pack("p", "own", tuple(Lane(place, 0, values, "movies") for place, values in lanes))
    units = {"movies": UnitData("movies", histories(60, 1), histories(30, 2), by_id=ById(ITEMS, USERS))}
    of_lanes = [settings(of, row, lane) for lane in pack.lanes]
    feed = table_feed(of, pack, units, 16)
    return train_with(of, pack, row, of_lanes, HISTORIES, units, feed, dtype=torch.float64)


def test_a_noisy_gate_adds_what_is_drawn_for_each_item_while_its_adaptors_train() -> None:
    own = trainer((0, {}))
    model, batch = own.model, next(iter(own.feed.epoch(1)))
    for name in ("gate", "noise", "mean", "map"):
        model.trained[f"backbone.adapter.{name}"].data.normal_(generator=torch.Generator().manual_seed(len(name)))
    gate, noise, mean, map_ = (
        model.trained[f"backbone.adapter.{n}"][0].detach().numpy() for n in ("gate", "noise", "mean", "map")
    )
    step = Step(True, frozenset({"adapter"}), Noise((77,), batch.index))
    uniform = Noise((77,), torch.arange(31)[None]).uniform("unisrec.gate", 3)[0].double().numpy()
    wanted = np.zeros((31, 6))
    for item in range(31):
        drawn = [NormalDist().inv_cdf(u + 2**-25) for u in uniform[item]]
        score = VECTORS[item] @ gate + drawn * (np.log1p(np.exp(VECTORS[item] @ noise)) + 0.01)
        weight = np.exp(score) / np.exp(score).sum()
        wanted[item] = sum(weight[g] * (VECTORS[item] - mean[g]) @ map_[g] for g in range(3))

    def items(of: Step) -> np.ndarray:
        return model.forward(batch, model.encode(batch), of)["items"][0].detach().numpy()

    np.testing.assert_allclose(items(step), wanted, atol=1e-9)
    calm = items(Step(False))
    assert np.abs(calm - wanted).max() > 0.01
    np.testing.assert_array_equal(items(replace(step, trained=frozenset({"encoder"}))), calm)


def test_a_lane_with_a_noisy_gate_is_its_solo_run() -> None:
    lanes = [(3, {"training.lr.default": 0.03}), (5, {"training.lr.adapter": 0.001, "backbone.dropout": 0.0})]
    packed = trainer(*lanes).run()
    for lane, found in zip(lanes, packed, strict=True):
        (alone,) = trainer(lane).run()
        same(found, alone, 1e-9)
        (calm,) = trainer(lane, noisy=False).run()
        assert abs(alone.losses[0] - calm.losses[0]) > 1e-4


def test_noise_without_a_gate_is_refused_and_either_remedy_helps() -> None:
    options = component("backbones", "unisrec").Options
    with pytest.raises(
        ValueError, match="noisy = true adds noise to the gate of the experts, and experts = 0; set one of the two anew"
    ):
        options(noisy=True, experts=0)
    assert options(noisy=True, experts=1).noisy and not options(noisy=False, experts=0).experts
