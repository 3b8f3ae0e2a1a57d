"""The fast ways of the trial axis against the plain ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from raytune_rec.schema.contract import Batch
from raytune_rec.schema.prepared import Field, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.tensors import Noise, Step, dropout, linear, lookup, moments
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.loop import Trainer
from raytune_rec.training.repeats import Repeats, _distinct_rows
from raytune_rec.training.settings import settings
from tests.training.conftest import SCHEMA, job, table

FROZEN = Method("own", Strategy("own", "scratch", ("prompt", "linear"), "on"), "deepfm", "plate")
"""The prompt and the linear part learn beside a backbone that stays as it was drawn."""

LANES: list[dict[str, Any]] = [
    {"prompt.temperature": t, "prompt.meta_prompts": r, "backbone.dropout": d, "training.lr.default": 0.03}
    for t, r, d in ((0.1, 3, 0.0), (1.0, 8, 0.2), (5.0, 5, 0.5), (0.5, 2, 0.1))
]


def frozen(world: UnitData, lanes: Sequence[Mapping[str, Any]], **training: Any) -> Trainer:
    """Every lane is trial 4, so that all stand on one backbone whether they train together or alone."""
    own = job(
        backbone={"name": "deepfm", "options": {"width": 4, "hidden": [8, 6], "embedding_std": 0.5}},
        training={"batch_size": 64, "epochs": 3, **training},
    )
    named = tuple(Lane(4, 0, dict(options), "music") for options in lanes)
    of_lanes = [settings(own, FROZEN, lane) for lane in named]
    feed = TableFeed(world.train, [(own.seed, "music", 0)], 64, 256)
    return train_with(own, Pack("p", "own", named), FROZEN, of_lanes, SCHEMA, {"music": world}, feed, dtype=torch.float64)


def same(a: Trainer, lane: int, b: Trainer, other: int) -> None:
    assert a.results()[lane].losses == pytest.approx(b.results()[other].losses, abs=1e-9)
    assert a.results()[lane].curve == pytest.approx(b.results()[other].curve, abs=1e-9)
    for name, tensor in a.best(lane).items():
        torch.testing.assert_close(tensor, b.best(other)[name], atol=1e-9, rtol=0)


def test_a_prompt_of_distinct_users_is_that_of_all_rows(world: UnitData) -> None:
    fast, plain = frozen(world, LANES), frozen(world, LANES)
    plain.repeats = plain.validation["music"].repeats = Repeats({})
    fast.run(), plain.run()
    rows, count = fast.repeats.known["user_features"]
    assert len(rows) <= 40 and len(count) == 700  # it was asked for, and there are 40 users
    for i in range(len(LANES)):
        same(fast, i, plain, i)


def test_lanes_beside_a_frozen_backbone_equal_their_solo_runs(world: UnitData) -> None:
    packed = frozen(world, LANES)
    packed.run()
    assert len({r.losses for r in packed.results()}) == len(LANES)
    for i, lane in enumerate(LANES):
        solo = frozen(world, [lane])
        solo.run()
        same(packed, i, solo, 0)


def test_the_same_pack_gives_the_same_bits(world: UnitData) -> None:
    once, again = frozen(world, LANES), frozen(world, LANES)
    assert once.run()[1].curve == again.run()[1].curve
    assert all(torch.equal(t, again.best(1)[n]) for n, t in once.best(1).items())


def test_the_rows_of_a_validation_pass_do_not_matter(world: UnitData) -> None:
    whole, parts = frozen(world, LANES), frozen(world, LANES, valid_batch_size=70)
    whole.run(), parts.run()
    for i in range(len(LANES)):
        same(whole, i, parts, i)


def test_the_encoding_is_kept_beside_a_frozen_linear_part_of_a_large_vocabulary() -> None:
    """Its table has one number for each id: 100,000 of them are no width of a row."""
    fields = (Field("user", "categorical", "user", 41), Field("item", "categorical", "item", 100_000), *SCHEMA.fields[2:])
    row = Method("own", Strategy("own", "scratch", ("prompt",), "on"), "deepfm", "plate")
    own = job(training={"batch_size": 64, "epochs": 1, "cache_mib": 1})  # 700 rows of 19 numbers
    pack, units = Pack("p", "own", (Lane(0, unit="music"),)), {"music": UnitData("music", table(700, 1), table(300, 2))}
    options = [settings(own, row, lane) for lane in pack.lanes]
    trainer = train_with(own, pack, row, options, replace(SCHEMA, fields=fields), units, table_feed(own, pack, units, 64))
    assert trainer.encoded["first"].shape == (1, 700, 8)
    assert trainer.validation["music"].encoded is not None


def test_an_encoding_that_does_not_fit_is_made_batch_by_batch_and_gives_the_same(world: UnitData) -> None:
    kept, made = frozen(world, LANES[:1]), frozen(world, LANES[:1], cache_mib=0)
    assert kept.encoded and not made.encoded and made.validation["music"].encoded is None
    kept.run(), made.run()
    same(kept, 0, made, 0)


class Shuffled:
    """An objective that looks at altered rows beside the true ones: everybody's profile is his neighbour's."""

    def __call__(self, run: Any, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        columns = {n: c if n == "domain" else c.roll(1, 1) for n, c in batch.columns.items()}
        outputs = run(replace(batch, columns=columns), "altered")
        return torch.nn.functional.softplus(outputs["logit"]) + torch.nn.functional.softplus(-run(batch)["logit"])


def test_a_view_of_altered_rows_reads_the_altered_rows(world: UnitData) -> None:
    """Whoever makes a batch of another one: what is known of the rows of the first is not known of the second's."""
    fast, plain = frozen(world, LANES), frozen(world, LANES)
    for trainer in (fast, plain):
        trainer.objective = Shuffled()  # type: ignore[assignment]
    plain.repeats = plain.validation["music"].repeats = Repeats({})
    fast.run(), plain.run()
    assert "user_features" in fast.repeats.known
    for i in range(len(LANES)):
        same(fast, i, plain, i)


def test_a_checkpoint_copies_no_weights(world: UnitData, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = frozen(world, LANES)
    trainer.epoch()
    monkeypatch.setattr(Tensor, "__deepcopy__", None)
    monkeypatch.setattr(Tensor, "clone", None)
    tensors, facts = trainer.state()
    kept = {t.untyped_storage().data_ptr() for r in trainer.records for t in r.weights.values()}
    whole = [t for n, t in tensors.items() if ".best." in n and n.endswith("prompt.domain")]
    assert len(whole) == len(LANES) and all(t.untyped_storage().data_ptr() in kept for t in whole)
    assert "weights" not in facts["lanes"][0]["record"] and facts["lanes"][0]["record"]["best_epoch"] in (0, 1)


def test_readings_without_repeats_are_left_alone() -> None:
    batch = next(iter(TableFeed(table(8, 1), [(1,)], 8, 8).epoch(1)))
    readings = torch.arange(24.0).view(1, 8, 3)
    told = Repeats({"user_features": readings}).of(batch)
    assert told.distinct is not None and told.distinct("user_features") is None


def test_rows_that_differ_are_never_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randint(0, 3, (200, 2), generator=torch.Generator().manual_seed(0)).float()
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.ones(2, dtype=torch.float64))  # sums that many rows share
    values, of_row = _distinct_rows(rows)
    assert len(values) == 9 and torch.equal(values[of_row], rows)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_()


def agree(ours: Tensor, theirs: Tensor, leaves: Sequence[Tensor]) -> None:
    """Values, and gradients of a sum in which every place counts differently."""
    torch.testing.assert_close(ours, theirs.expand_as(ours), atol=1e-9, rtol=0)
    weight = torch.linspace(-1, 2, ours.numel(), dtype=ours.dtype).view_as(ours)
    of_ours = torch.autograd.grad((ours * weight).sum(), leaves)
    of_theirs = torch.autograd.grad((theirs * weight).sum(), leaves)
    for a, b in zip(of_ours, of_theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


@pytest.mark.parametrize(("x", "w", "b"), list(itertools.product((1, 3), (1, 3), (0, 1, 3))))
def test_linear_is_a_product_and_a_sum(x: int, w: int, b: int) -> None:
    leaves = [draw(x, 5, 4), draw(w, 4, 2), *([draw(b, 2)] if b else [])]
    plain = torch.einsum("ubk,ukh->ubh", leaves[0].expand(max(x, w), -1, -1), leaves[1].expand(max(x, w), -1, -1))
    agree(linear(*leaves), plain + leaves[2].unsqueeze(1) if b else plain, leaves)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("keys", [1, 3])
@pytest.mark.parametrize("rest", [(), (2,)])
def test_a_lookup_is_an_indexed_row(lanes: int, keys: int, rest: tuple[int, ...]) -> None:
    table, ids = draw(lanes, 6, *rest), torch.randint(0, 6, (keys, 7), generator=torch.Generator().manual_seed(1))
    lane = torch.arange(max(lanes, keys)).unsqueeze(1)
    plain = table[lane % lanes, ids[lane.squeeze(1) % keys]]
    agree(lookup(table, ids), plain, [table])


@pytest.mark.parametrize("of", [(1,), (3,), (1, 3), (3, 3, 3)])
def test_moments_are_sum_and_sum_of_squares(of: tuple[int, ...]) -> None:
    vectors = [draw(lanes, 4, 5) + i for i, lanes in enumerate(of)]
    total, squares = moments(vectors)
    wide = torch.stack([v.expand(max(of), -1, -1) for v in vectors])
    agree(total + squares.unsqueeze(-1), wide.sum(0) + wide.square().sum((0, 3)).unsqueeze(-1), vectors)


def test_dropout_thresholds_shared_noise_and_scales_what_is_kept() -> None:
    x, rate = draw(3, 6, 4), torch.tensor([0.0, 0.3, 0.8])
    noise = Noise((5,), torch.arange(6).unsqueeze(0))
    keep = noise.uniform("deep.0", 4).double() >= rate.double().view(3, 1, 1)
    agree(dropout(x, rate, Step(True, noise=noise), "deep.0"), x * keep / (1 - rate.double().view(3, 1, 1)), [x])
    assert dropout(x, rate, Step(False), "deep.0") is x
