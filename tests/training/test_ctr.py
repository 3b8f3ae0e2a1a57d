"""CTR models against their formulas in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_rec.components import component
from raytune_rec.schema.contract import Site, SiteShape
from raytune_rec.tensors import Step
from raytune_rec.training.feed import TableFeed
from tests.training import ctr_oracle
from tests.training.conftest import FIELDS, SCHEMA, Make, job, table
from tests.training.test_lanes import same

CTR = ("deepfm", "dcn", "dcnv2", "xdeepfm", "wide_deep", "fnn")
NO_DROPOUT = {"dropout": torch.zeros(1)}


def drawn(backbone: object, seed: int = 1) -> dict[str, Tensor]:
    """Parameters (1, ...) none of which is zero, in float64; row 0 of a table says nothing."""
    draw = torch.Generator().manual_seed(seed)
    values = {}
    for p in (*backbone.parameters(), *backbone.buffers()):  # type: ignore[attr-defined]
        values[p.name] = 0.4 * torch.randn(1, *p.shape, generator=draw, dtype=torch.float64)
        if p.name.endswith(".var"):
            values[p.name].abs_()
        if p.rows:
            values[p.name][0, 0] = 0
    return values


def plain(params: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: value[0].numpy() for name, value in params.items()}


FORMULAS = [(name, {"numbers": kind}, n) for name in CTR for kind in ("field", "none", "discretize") for n in (0, 2)]
FORMULAS += [("dcnv2", {"rank": 3}, 2), ("xdeepfm", {"maps": (5, 3, 2)}, 2)]


@pytest.mark.parametrize(("name", "chosen", "prompts"), FORMULAS, ids=str)
def test_a_logit_is_what_the_formula_makes_of_the_fields(name: str, chosen: dict[str, Any], prompts: int) -> None:
    """All kinds of fields, missing numbers and empty lists among them, with prompt fields and without."""
    made, treatment = component("backbones", name), chosen.get("numbers", "field")
    sites = {Site.FIELDS: SiteShape(prompts, 4)} if prompts else {}
    backbone = made(made.Options(width=4, hidden=(6, 5), **chosen), SCHEMA, sites)
    params = drawn(backbone)
    batch = next(iter(TableFeed(table(40, 3), [(1,)], 40, 40).epoch(1)))
    prompt = torch.randn(1, 40, prompts, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    written = {Site.FIELDS: prompt} if prompts else {}
    found = backbone.forward(params, backbone.encode(params, batch), batch, written, NO_DROPOUT, Step(False))["logit"][0]
    weights = plain(params)
    for i in range(40):
        row = {n: c[0, i].numpy() for n, c in batch.columns.items()}
        expected = getattr(ctr_oracle, name)(weights, FIELDS, row, treatment, prompt[0, i].numpy())
        assert float(found[i]) == pytest.approx(expected, rel=1e-6, abs=1e-6)  # numbers come in float32


@pytest.mark.parametrize("treatment", ["field", "none", "discretize"])
@pytest.mark.parametrize("name", CTR)
def test_lanes_equal_their_solo_runs_whatever_becomes_of_numbers(make: Make, name: str, treatment: str) -> None:
    options = {"width": 4, "hidden": [6], "numbers": treatment, "batch_norm": treatment == "none"}
    own = job(backbone={"name": name, "options": options})
    lanes = [
        {"training.lr.default": rate, "backbone.dropout": 5 * rate, "prompt.temperature": 0.5, "trial": i}
        for i, rate in enumerate((0.003, 0.02))
    ]
    packed = make("pretrain.plate", lanes, of=own)
    packed.run()
    for i in range(2):
        solo = make("pretrain.plate", [lanes[i]], of=own)
        same(packed.results()[i], solo.run()[0], 1e-9)
        for tensor, other in zip(packed.best(i).values(), solo.best(0).values(), strict=True):
            torch.testing.assert_close(tensor, other, atol=1e-9, rtol=0)


def test_lanes_that_are_computed_one_after_the_other_equal_their_solo_runs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a wide pack of xDeepFM are, whose pairs of fields would fill more memory than is kept."""
    own = job(backbone={"name": "xdeepfm", "options": {"width": 4, "hidden": [6]}})
    lanes = [{"training.lr.default": rate, "prompt.temperature": 0.5, "trial": i} for i, rate in enumerate((0.003, 0.01, 0.02))]
    together = make("pretrain.plate", lanes, of=own).run()
    monkeypatch.setattr("raytune_rec.backbones.xdeepfm.KEPT", 1)
    apart = make("pretrain.plate", lanes, of=own).run()
    for one, other, options in zip(together, apart, lanes, strict=True):
        same(one, other, 1e-9)
        same(other, make("pretrain.plate", [options], of=own).run()[0], 1e-9)
