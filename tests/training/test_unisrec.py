"""UniSRec's items against plain loops, its sequences against SASRec with the same items, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.components import component
from raytune_rec.errors import AssemblyError
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Step
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.parts import meet
from tests.training.conftest import HISTORIES, ITEMS, histories
from tests.training.test_contract import model_of

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
