"""Models with parts of each domain's own against their formulas in numpy, and as lanes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.backbones._domains import by_domain
from raytune_rec.components import component
from raytune_rec.schema.prepared import DOMAIN
from raytune_rec.tensors import Step
from raytune_rec.training.feed import TableFeed
from tests.training import ctr_oracle, domain_oracle
from tests.training.conftest import FIELDS, SCHEMA, Make, job, table
from tests.training.test_ctr import NO_DROPOUT, drawn, plain
from tests.training.test_lanes import same

DOMAINS: list[tuple[str, dict[str, Any]]] = [
    ("shared_bottom", {}), ("mmoe", {"experts": 3}), ("omoe", {"numbers": "none"}), ("ple", {"levels": 1, "shared_experts": 3}),
    ("ple", {"levels": 3, "own_experts": 2}), ("aitm", {"numbers": "discretize"}), ("star", {}), ("pepnet", {}),
    ("pepnet", {"gates": "embedding"}), ("pepnet", {"gates": "layers", "numbers": "none"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "chosen"), DOMAINS, ids=str)
def test_a_logit_is_what_the_formula_makes_of_the_fields_and_the_domain(name: str, chosen: dict[str, Any]) -> None:
    made = component("backbones", name)
    backbone = made(made.Options(width=4, hidden=(6, 5), tower=(3,), **chosen), SCHEMA, {})
    params, weights = drawn(backbone), plain(drawn(backbone))
    batch = next(iter(TableFeed(table(40, 3), [(1,)], 40, 40).epoch(1)))
    batch = replace(batch, columns={**batch.columns, DOMAIN: torch.arange(40).unsqueeze(0) % 2 + 1})
    found = backbone.forward(params, backbone.encode(params, batch), batch, {}, NO_DROPOUT, Step(False))["logit"][0]
    for i in range(40):
        row = {n: c[0, i].numpy() for n, c in batch.columns.items()}
        vectors, raw, first = ctr_oracle.fields(weights, FIELDS, row, chosen.get("numbers", "field"))
        x = np.concatenate([*vectors, raw])
        expected = first + weights["linear.bias"][0] + getattr(domain_oracle, name)(weights, x, int(row[DOMAIN]))
        assert float(found[i]) == pytest.approx(expected, rel=1e-6, abs=1e-6)  # numbers come in float32


@pytest.mark.parametrize("name", sorted({name for name, _ in DOMAINS}))
def test_lanes_equal_their_solo_runs(make: Make, name: str) -> None:
    options = {"width": 4, "hidden": [6], "tower": [5]}
    own = job(backbone={"name": name, "options": options}, methods={"single": {"strategy": "single"}}, pretrainings={})
    lanes = [{"training.lr.default": rate, "backbone.dropout": 20 * rate, "trial": i} for i, rate in enumerate((0.003, 0.02))]
    packed = make("single", lanes, of=own)
    packed.run()
    for i in range(2):
        solo = make("single", [lanes[i]], of=own)
        same(packed.results()[i], solo.run()[0], 1e-9)


def test_rows_go_through_the_weights_of_their_domain_in_lanes_of_one_unit_and_of_several() -> None:
    draw = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(*s, generator=draw, dtype=torch.float64) for s in ((2, 9, 4), (2, 3, 4, 5), (2, 3, 5)))
    for domain in (torch.arange(9).unsqueeze(0) % 3, torch.stack([torch.arange(9) % 3, torch.full((9,), 1)])):
        found = by_domain(x, domain, weight, bias)
        for t in range(2):
            for i in range(9):
                d = int(domain[t if len(domain) > 1 else 0, i])
                torch.testing.assert_close(found[t, i], x[t, i] @ weight[t, d] + bias[t, d])
