"""Adam per lane against torch's own, and what stays as it was."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.job.training import TrainingOptions
from raytune_rec.schema.prepared import Table, UnitData
from raytune_rec.training.optimizer import Adam
from tests.training.conftest import Make

RATES = [
    ({"a": 1e-2, "b": 1e-3}, {"a": 0.0, "b": 1e-2}, (0.9, 0.999)),
    ({"a": 5e-2, "b": 2e-3}, {"a": 1e-1, "b": 0.0}, (0.8, 0.99)),
]


def test_every_lane_is_torchs_adam_with_its_own_rates() -> None:
    draw = torch.Generator().manual_seed(0)
    start = {"w": torch.randn(2, 5, 3, generator=draw), "v": torch.randn(2, 4, generator=draw)}
    groups = {"w": "a", "v": "b"}
    params = {n: t.clone() for n, t in start.items()}
    ours = Adam(params, groups, [r[0] for r in RATES], [r[1] for r in RATES], [{}, {}], [r[2] for r in RATES])
    grads = [{n: torch.randn(t.shape, generator=draw) for n, t in start.items()} for _ in range(20)]
    for g in grads:
        ours.step(g)
    for t, (lr, decay, betas) in enumerate(RATES):
        own = {n: v[t].clone().requires_grad_() for n, v in start.items()}
        theirs = torch.optim.Adam(
            [{"params": [own[n]], "lr": lr[g], "weight_decay": decay[g], "betas": betas} for n, g in groups.items()]
        )
        for g in grads:
            for n in own:
                own[n].grad = g[n][t].clone()
            theirs.step()
        for n in own:
            torch.testing.assert_close(params[n][t], own[n].detach(), atol=1e-6, rtol=1e-5)


def test_a_gradient_counts_as_it_reads_however_it_lies_in_memory() -> None:
    draw = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(2, 4, 3, generator=draw), torch.randn(2, 4, 3, generator=draw)
    permuted = gradient.permute(1, 0, 2).contiguous().permute(1, 0, 2)
    assert not permuted.is_contiguous() and torch.equal(permuted, gradient)
    found = []
    for g in (gradient, permuted):
        params = {"w": start.clone()}
        adam = Adam(params, {"w": "a"}, [r[0] for r in RATES], [r[1] for r in RATES], [{}, {}], [r[2] for r in RATES])
        adam.step({"w": g})
        found.append(params["w"])
    assert torch.equal(*found)


def test_a_lane_that_leaves_takes_its_moments_along() -> None:
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(2, 6, generator=draw)
    grads = [torch.randn(2, 6, generator=draw) for _ in range(6)]

    def fresh() -> tuple[dict[str, torch.Tensor], Adam]:
        params = {"w": start.clone()}
        return params, Adam(params, {"w": "a"}, [r[0] for r in RATES], [r[1] for r in RATES], [{}, {}], [r[2] for r in RATES])

    whole, adam = fresh()
    for g in grads:
        adam.step({"w": g})
    left, adam = fresh()
    for g in grads[:3]:
        adam.step({"w": g})
    kept = {"w": left["w"][[1]].contiguous()}
    adam.keep([1], kept)
    for g in grads[3:]:
        adam.step({"w": g[[1]]})
    assert torch.equal(kept["w"][0], whole["w"][1])


def test_rows_that_training_never_meets_keep_their_start_value(make: Make, world: UnitData) -> None:
    """With local ids, users of the validation split alone are neither stepped nor decayed; all others are."""
    known = world.train.columns["user"] <= 30
    cut = Table({n: c[known] for n, c in world.train.columns.items()}, world.train.label[known])
    users = np.arange(41)
    unit = replace(world, train=cut, rows={"user": users}, seen={"user": (users >= 1) & (users <= 30)})
    trainer = make("single", [{"training.weight_decay.default": 0.01}], data=unit)
    before = trainer.model.trained["backbone.embedding.user"].detach().clone()
    trainer.epoch()
    after = trainer.model.trained["backbone.embedding.user"].detach()
    assert torch.equal(before[0, 31:], after[0, 31:])
    assert (before[0, 1:31] != after[0, 1:31]).any(dim=1).all()
    everything = sum(torch.Size(s).numel() for s in trainer.shapes[0].values())
    assert trainer.results()[0].parameters == everything - 11 * 5  # 10 users and the padding row, an embedding of 4 and a weight


def test_schedules_fall_to_zero_at_the_last_epoch_and_grow_from_zero_over_the_warmup() -> None:
    def factors(**options: Any) -> list[float]:
        training = TrainingOptions(epochs=8, **options)
        return [training.rate_factor(epoch) for epoch in (0, 1, 4, 8)]

    assert factors() == [1, 1, 1, 1]
    assert factors(schedule="linear") == pytest.approx([1, 7 / 8, 0.5, 0])
    assert factors(schedule="cosine") == pytest.approx([1, (1 + math.cos(math.pi / 8)) / 2, 0.5, 0])
    assert factors(warmup=2) == pytest.approx([0, 0.5, 1, 1])


def test_a_schedule_scales_each_step_of_its_own_lane() -> None:
    gradient, start = torch.ones(2, 3), torch.zeros(2, 3)
    params = {"w": start.clone()}
    rates = [{"a": 0.1}] * 2
    adam = Adam(params, {"w": "a"}, rates, [{"a": 0.0}] * 2, [{}, {}], [(0.9, 0.999)] * 2)
    adam.step({"w": gradient}, factors=[1.0, 0.25])
    torch.testing.assert_close(params["w"], torch.tensor([[-0.1] * 3, [-0.025] * 3]))


def test_a_lane_that_idles_is_left_alone_and_counts_its_own_steps() -> None:
    draw = torch.Generator().manual_seed(0)
    start, grads = torch.randn(2, 4, generator=draw), [torch.randn(2, 4, generator=draw) for _ in range(3)]
    both, alone = {"w": start.clone()}, {"w": start[:1].clone()}
    args = [{"a": 0.1}], [{"a": 0.01}], [{}], [(0.9, 0.999)]
    adam = Adam(both, {"w": "a"}, *(of * 2 for of in args))
    solo = Adam(alone, {"w": "a"}, *args)
    for i, g in enumerate(grads):
        adam.step({"w": g}, idle=[0] if i == 1 else [])
        if i != 1:
            solo.step({"w": g[:1]})
    assert adam.steps == [2, 3]
    assert torch.equal(both["w"][0], alone["w"][0])


@pytest.mark.parametrize("shape", [(3, 2), ()])
def test_a_row_of_an_item_is_torchs_adam_over_the_steps_in_which_it_has_a_gradient(shape: tuple[int, ...]) -> None:
    """Whatever other rows do: each item's way is that of an Adam of its own."""
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(2, 5, *shape, generator=draw, dtype=torch.float64)
    params = {"w": start.clone()}
    ours = Adam(params, {"w": "a"}, [r[0] for r in RATES], [r[1] for r in RATES], [{}, {}], [r[2] for r in RATES], ["w"])
    met = torch.rand(20, 2, 5, generator=draw) < 0.4
    met[:, :, 4] = False
    grads = torch.randn(20, 2, 5, *shape, generator=draw, dtype=torch.float64) * met.view(20, 2, 5, *[1 for _ in shape])
    for g in grads:
        ours.step({"w": g}, factors=(0.5, 2.0))
    for t, (lr, decay, betas) in enumerate(RATES):
        for row in range(5):
            own = start[t, row].clone().requires_grad_()
            theirs = torch.optim.Adam([own], lr=lr["a"] * (0.5, 2.0)[t], weight_decay=decay["a"], betas=betas)
            for g in grads[met[:, t, row], t, row]:
                own.grad = g.clone()
                theirs.step()
            torch.testing.assert_close(params["w"][t, row], own.detach(), atol=1e-12, rtol=1e-12)
    assert torch.equal(params["w"][:, 4], start[:, 4]) and not ours.first["w"][:, 4].any()


def test_rows_of_items_rest_while_their_lane_is_idle_and_leave_with_it() -> None:
    draw = torch.Generator().manual_seed(0)
    start, grads = torch.randn(2, 4, 3, generator=draw), torch.randn(4, 2, 4, 3, generator=draw)
    grads[:2, :, 1] = 0
    rates = [r[0] for r in RATES], [r[1] for r in RATES]

    def adam(params: dict[str, torch.Tensor], lanes: list[int]) -> Adam:
        lr, decay = ([of[i] for i in lanes] for of in rates)
        return Adam(params, {"w": "a"}, lr, decay, [{}] * len(lanes), [RATES[i][2] for i in lanes], ["w"])

    both, alone = {"w": start.clone()}, {"w": start[[1]].contiguous()}
    pack, solo = adam(both, [0, 1]), adam(alone, [1])
    for step in (0, 2):
        pack.step({"w": grads[step]})
        pack.step({"w": grads[step + 1]}, idle=[1])
        solo.step({"w": grads[step][[1]]})
    kept = {"w": both["w"][[1]].contiguous()}
    pack.keep([1], kept)
    for own in (pack, solo):
        own.step({"w": grads[3][[1]]})
    assert torch.equal(kept["w"], alone["w"])
