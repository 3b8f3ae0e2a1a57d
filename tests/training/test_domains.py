"""Models with parts of each domain's own against their formulas in numpy, and as lanes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.backbones._domains import Place, by_domain, by_domains, moved
from raytune_rec.components import component
from raytune_rec.schema.contract import Batch
from raytune_rec.schema.prepared import DOMAIN, UnitData
from raytune_rec.scoring.tuned import cut, scoring_model, whole
from raytune_rec.tensors import Noise, Step
from raytune_rec.training.feed import TableFeed
from tests.training import ctr_oracle, domain_oracle
from tests.training.conftest import FIELDS, SCHEMA, Make, job, table
from tests.training.test_ctr import NO_DROPOUT, drawn, plain
from tests.training.test_lanes import same

NORMED: tuple[str, dict[str, Any]] = ("star", {"partitioned_norm": True})
DOMAINS: list[tuple[str, dict[str, Any]]] = [
    ("shared_bottom", {}), ("mmoe", {"experts": 3}), ("omoe", {"numbers": "none"}), ("ple", {"levels": 1, "shared_experts": 3}),
    ("ple", {"levels": 3, "own_experts": 2}), ("aitm", {"numbers": "discretize"}), ("star", {}), NORMED, ("pepnet", {}),
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


@pytest.mark.parametrize(("name", "chosen"), [*((name, {}) for name in sorted({n for n, _ in DOMAINS})), NORMED], ids=str)
def test_lanes_equal_their_solo_runs(make: Make, name: str, chosen: dict[str, Any]) -> None:
    options = {"width": 4, "hidden": [6], "tower": [5], **chosen}
    own = job(backbone={"name": name, "options": options}, methods={"single": {"strategy": "single"}}, pretrainings={})
    lanes = [{"training.lr.default": rate, "backbone.dropout": 20 * rate, "trial": i} for i, rate in enumerate((0.003, 0.02))]
    packed = make("single", lanes, of=own)
    packed.run()
    for i in range(2):
        solo = make("single", [lanes[i]], of=own)
        same(packed.results()[i], solo.run()[0], 1e-9)
        for tensor, other in zip(packed.best(i).values(), solo.best(0).values(), strict=True):
            torch.testing.assert_close(tensor, other, atol=1e-9, rtol=0)


def test_rows_of_mixed_domains_train_as_if_they_came_in_order() -> None:
    """Sorting them once is not seen: outputs, noise and gradients are those of each row."""
    for name in sorted({n for n, _ in DOMAINS}):
        made = component("backbones", name)
        backbone = made(made.Options(width=4, hidden=(6,), tower=(3,)), SCHEMA, {})
        params = {n: t.requires_grad_() for n, t in drawn(backbone).items()}
        batch = _mixed(40, torch.arange(40) % 2 + 1)
        order = batch.columns[DOMAIN][0].argsort(stable=True)
        found = []
        for rows in (batch, _taken(batch, order)):
            step = Step(True, frozenset(backbone.groups), Noise((7,), rows.index))
            logit = backbone.forward(params, backbone.encode(params, rows), rows, {}, {"dropout": torch.full((1,), 0.4)}, step)
            of = torch.autograd.grad(logit["logit"].square().sum(), [*params.values()], allow_unused=True)
            found.append((logit["logit"], of))
        torch.testing.assert_close(found[0][0][:, order], found[1][0], atol=1e-12, rtol=0)
        for a, b in zip(found[0][1], found[1][1], strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


def _mixed(rows: int, domain: torch.Tensor) -> Batch:
    batch = next(iter(TableFeed(table(rows, 3), [(1,)], rows, rows).epoch(1)))
    return replace(batch, columns={**batch.columns, DOMAIN: domain.unsqueeze(0)})


def _taken(batch: Batch, places: torch.Tensor) -> Batch:
    columns = {n: c[:, places] for n, c in batch.columns.items()}
    return Batch(columns, batch.label[:, places], batch.weight[:, places], batch.index[:, places])


def test_a_step_normalises_each_domain_by_its_own_rows_and_moves_its_averages() -> None:
    """Domain 1 has 30 real rows; domain 2 has 4, too few for statistics of their own. Padding counts for nothing."""
    star = component("backbones", "star")
    backbone = star(star.Options(width=4, hidden=(6,), tower=(3,), numbers="none", partitioned_norm=True), SCHEMA, {})
    params, weights = drawn(backbone), plain(drawn(backbone))
    domain = torch.tensor([1, 2] * 4 + [1] * 26 + [2] * 6)
    batch = _mixed(40, domain)
    batch = replace(batch, weight=(torch.arange(40) < 34).double().unsqueeze(0))
    fields = backbone.encode(params, batch)["fields"]
    x, real = fields[0].numpy(), batch.weight[0].numpy() > 0
    step = Step(True, frozenset({"domain"}))
    found = backbone.forward(params, {"fields": fields}, batch, {}, NO_DROPOUT, step)["logit"][0]
    linear = backbone.layer.linear(params, batch.columns)[0]
    few = x[real & (domain.numpy() == 2)]
    many = x[real & (domain.numpy() == 1)]
    assert (len(many), len(few)) == (30, 4)
    used = {1: (many.mean(0), many.var(0)), 2: (weights["norm.mean"][2], weights["norm.var"][2])}
    for i in np.flatnonzero(real):
        d = int(domain[i])
        as_stored = {**weights, "norm.mean": np.stack([used[d][0]] * 3), "norm.var": np.stack([used[d][1]] * 3)}
        assert float(found[i] - linear[i]) == pytest.approx(domain_oracle.star(as_stored, x[i], d), rel=1e-6, abs=1e-6)
    of_few = few.mean(0), ((few - used[2][0]) ** 2).mean(0)
    for d, (mean, var), momentum in ((1, used[1], 0.1), (2, of_few, 0.1 * 4 / 16)):
        for name, value in (("norm.mean", mean), ("norm.var", var)):
            moved = weights[name][d] + momentum * (value - weights[name][d])
            np.testing.assert_allclose(step.updates[name][0, d].numpy(), moved, rtol=1e-9, atol=1e-12)
    assert not step.updates["norm.mean"][0, 0].any() and not step.updates["norm.var"][0, 0].any(), "nobody is of domain 0"
    frozen = Step(True, frozenset({"interaction"}))
    backbone.forward(params, {"fields": fields}, batch, {}, NO_DROPOUT, frozen)
    assert not frozen.updates, "statistics move where what domains own trains"


def test_what_a_normalised_domain_tuned_is_served_with_its_own_statistics(make: Make, world: UnitData) -> None:
    """An artifact holds its domain's rows of gains, shifts, means and variances."""
    options = {"width": 4, "hidden": [6], "tower": [5], "partitioned_norm": True}
    own = job(backbone={"name": "star", "options": options}, methods={"single": {"strategy": "single"}}, pretrainings={})
    unit = replace(world, rows={DOMAIN: np.array([0, 2])}, seen={DOMAIN: np.array([False, True])})
    trainer = make("single", [{}], of=own, data=unit, dtype=torch.float32)
    trainer.run()
    declared = trainer.model.parts.declared()
    tuned = cut(trainer.best(0), declared, unit)
    full = whole(tuned, {}, declared)
    assert full["backbone.norm.var"].shape[0] == 3 and bool((full["backbone.norm.var"][2] > 0).all())
    assert not full["backbone.norm.var"][1].any()
    torch.testing.assert_close(full["backbone.norm.mean"][2], trainer.best(0)["backbone.norm.mean"][1])
    served = scoring_model(trainer.model.parts, [tuned], {})
    batch = _mixed(30, torch.full((30,), 2))
    local = replace(batch, columns={**batch.columns, DOMAIN: torch.ones(1, 30, dtype=torch.long)})
    best = {name: tensor.unsqueeze(0) for name, tensor in trainer.best(0).items()}
    trained = replace(trainer.model, trained=best, buffers={})
    with torch.no_grad():
        here = served.forward(batch, served.encode(batch), Step(False))["logit"]
        there = trained.forward(local, trained.encode(local), Step(False))["logit"]
    torch.testing.assert_close(here, there)


def test_rows_go_through_the_weights_of_their_domain_in_lanes_of_one_unit_and_of_several() -> None:
    draw = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(*s, generator=draw, dtype=torch.float64) for s in ((2, 9, 4), (2, 3, 4, 5), (2, 3, 5)))
    for domain in (torch.arange(9).unsqueeze(0) % 3, torch.stack([torch.arange(9) % 3, torch.full((9,), 1)])):
        order = by_domains(domain)
        assert order is not None and by_domains(domain[-1:] * 0) is None
        at = Place({}, moved(domain, order), torch.ones(1, 9), torch.zeros(1), Step(False))
        found = moved(by_domain(moved(x, order), at.spans, weight, bias), order.argsort(1))
        for t in range(2):
            for i in range(9):
                d = int(domain[t if len(domain) > 1 else 0, i])
                torch.testing.assert_close(found[t, i], x[t, i] @ weight[t, d] + bias[t, d])
