"""A lane equals its solo run, whatever the pack, its order, its neighbours' failure or early exit."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from raytune_rec.schema.contract import Batch
from raytune_rec.schema.work import LaneResult
from raytune_rec.tensors import Step
from raytune_rec.training.model import Model
from tests.training.conftest import Make, job

NUMERIC = {
    "prompt.temperature": st.floats(0.01, 10),
    "training.lr.prompt": st.floats(1e-4, 0.05),
    "training.lr.linear": st.floats(1e-4, 0.05),
    "training.weight_decay.default": st.floats(0, 0.01),
    "backbone.dropout": st.sampled_from([0.0, 0.1, 0.5]),
    "training.beta1": st.floats(0.5, 0.95),
    "training.patience": st.integers(1, 3),
}
PADDED = {"prompt.meta_prompts": st.integers(1, 9), "prompt.hidden_width": st.integers(2, 12)}
VARIANT = st.sampled_from(["fusion", "generative"])
LANE = st.fixed_dictionaries(NUMERIC | PADDED)


def same(a: LaneResult, b: LaneResult, tolerance: float) -> None:
    assert (a.trial, a.status, a.best_epoch, a.epochs, a.parameters) == (b.trial, b.status, b.best_epoch, b.epochs, b.parameters)
    assert a.losses == pytest.approx(b.losses, abs=tolerance)
    assert a.curve == pytest.approx(b.curve, abs=max(tolerance, 1e-9))


@hypothesis_settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(lanes=st.lists(LANE, min_size=2, max_size=4), variant=VARIANT)
def test_any_mix_of_configurations_equals_the_solo_runs(make: Make, lanes: list[dict[str, Any]], variant: str) -> None:
    own = [lane | {"trial": i, "prompt.variant": variant} for i, lane in enumerate(lanes)]
    packed = make("pretrain.plate", own)
    packed.run()
    for i, lane in enumerate(own):
        solo = make("pretrain.plate", [lane])
        solo.run()
        same(packed.results()[i], solo.results()[0], 1e-9)
        ours, theirs = packed.best(i), solo.best(0)
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-9, rtol=0)


@pytest.mark.parametrize("row", ["prompt", "prompt_linear"])
def test_prompts_beside_a_frozen_backbone_equal_their_solo_runs(make: Make, row: str) -> None:
    lanes = [
        {"training.lr.prompt": rate, "prompt.temperature": 0.5, "prompt.meta_prompts": r, "trial": 0}  # one frozen backbone
        for rate, r in ((0.02, 3), (0.01, 8), (0.005, 3))
    ]
    packed = make(row, lanes)
    packed.run()
    for i in range(3):
        solo = make(row, [lanes[i]])
        same(packed.results()[i], solo.run()[0], 1e-9)
        for name, tensor in solo.best(0).items():
            torch.testing.assert_close(packed.best(i)[name], tensor, atol=1e-9, rtol=0)


@pytest.mark.parametrize("row", ["single", "linear", "pretrain.pte"])
def test_every_scratch_row_packs(make: Make, row: str) -> None:
    lanes = [{"training.lr.default": rate, "trial": i} for i, rate in enumerate((0.003, 0.01, 0.03))]
    packed = make(row, lanes).run()
    for i in (2, 0):
        same(packed[i], make(row, [lanes[i]]).run()[0], 1e-9)


def test_batch_norm_keeps_lanes_apart(make: Make) -> None:
    own = job(backbone={"name": "deepfm", "options": {"width": 4, "hidden": [8, 6], "batch_norm": True, "numbers": "discretize"}})
    lanes = [{"training.lr.default": rate, "trial": i} for i, rate in enumerate((0.003, 0.02))]
    packed = make("single", lanes, of=own)
    packed.run()
    for i in range(2):
        solo = make("single", [lanes[i]], of=own)
        same(packed.results()[i], solo.run()[0], 1e-9)
        for name in ("backbone.norm.0.mean", "backbone.norm.1.var"):
            torch.testing.assert_close(packed.best(i)[name], solo.best(0)[name], atol=1e-9, rtol=0)


def test_float32_lanes_stay_close_to_the_solo_run(make: Make) -> None:
    lanes = [{"prompt.temperature": t, "prompt.meta_prompts": r, "trial": i} for i, (t, r) in enumerate(((0.01, 3), (1.0, 8)))]
    packed = make("pretrain.plate", lanes, dtype=torch.float32).run()
    for i in range(2):
        solo = make("pretrain.plate", [lanes[i]], dtype=torch.float32).run()[0]
        assert packed[i].losses[:2] == pytest.approx(solo.losses[:2], abs=1e-4)
        assert packed[i].curve[:3] == pytest.approx(solo.curve[:3], abs=1e-3)


def test_a_lane_that_diverges_is_failed_and_harms_nobody(make: Make) -> None:
    good = {"training.lr.default": 0.01, "trial": 0}
    bad = {"training.lr.default": 1e38, "trial": 1}
    packed = make("single", [bad, good], dtype=torch.float32).run()
    assert packed[0].status == "failed" and "epoch 1" in packed[0].error
    solo = make("single", [good], dtype=torch.float32).run()[0]
    assert packed[1].status == "complete"
    assert packed[1].losses == pytest.approx(solo.losses, abs=1e-4)


def test_order_in_the_pack_does_not_matter(make: Make) -> None:
    lanes = [
        {"training.lr.default": rate, "backbone.dropout": rate * 10, "trial": i} for i, rate in enumerate((0.003, 0.01, 0.03))
    ]
    forward, backward = make("single", lanes).run(), make("single", lanes[::-1]).run()
    for a, b in zip(forward, backward[::-1], strict=True):
        same(a, b, 1e-9)


def test_replicates_differ_in_order_and_noise_and_equal_their_solo_runs(make: Make) -> None:
    lanes = [{"replicate": r, "trial": 4} for r in (1, 2, 3)]
    packed = make("single", lanes).run()
    assert len({r.losses for r in packed}) == 3
    for i in range(3):
        same(packed[i], make("single", [lanes[i]]).run()[0], 1e-9)


def test_a_restored_trainer_goes_on_bit_identically(make: Make) -> None:
    lanes = [
        {"training.patience": p, "training.lr.default": 0.05, "training.epochs": 4, "trial": i} for i, p in enumerate((1, 3))
    ]
    whole = make("single", lanes, dtype=torch.float32)
    whole.run()
    half = make("single", lanes, dtype=torch.float32)
    half.epoch()
    half.epoch()
    tensors, facts = half.state()
    later = make("single", lanes, dtype=torch.float32)
    later.restore({n: t.clone() for n, t in tensors.items()}, facts)
    while not later.finished:
        later.epoch()
    for i in range(2):
        assert whole.results()[i].curve == later.results()[i].curve
        for name, tensor in whole.best(i).items():
            assert torch.equal(tensor, later.best(i)[name])


def test_a_step_on_a_gpu_is_timed_until_it_is_done(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a step returns when it is queued; here each is queued for a second."""
    trainer, clock, queued = make("single", [{}]), [0.0], [0.0]

    def step(*_: Any) -> None:
        queued[0] += 1

    def wait(device: str) -> None:
        clock[0], queued[0] = clock[0] + queued[0], 0.0

    monkeypatch.setattr(trainer, "_step", step)
    monkeypatch.setattr(trainer, "device", "cuda:0")
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert trainer.timed(1.5) == (1.0, 0.0), "nor is the step before part of the validation's time"


def test_who_measures_a_pack_waits_for_one_pass_of_its_validation(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a language model on all its rows took minutes, and need no more memory than the largest of them."""
    own = job(training={"batch_size": 64, "epochs": 3, "lr": {"default": 0.01}, "valid_batch_size": 128})
    trainer, passes, scores = make("single", [{}], of=own), list[tuple[bool, int]](), Model.scores

    def counted(model: Model, batch: Batch, known: Any, step: Step) -> torch.Tensor:
        passes.append((step.training, batch.index.shape[1]))
        return scores(model, batch, known, step)

    monkeypatch.setattr(Model, "scores", counted)
    trainer.rehearse()
    assert passes == [(False, 128)]
    passes.clear()
    trainer._observe()
    assert passes == [(False, 128), (False, 128), (False, 44)]
