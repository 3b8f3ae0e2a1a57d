"""Lanes of several units in one pack: each equals its solo run, whatever the sizes of the others."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from raytune_rec.config import Job
from raytune_rec.data.stored.units import unit_data
from raytune_rec.schema.prepared import Table, UnitData
from raytune_rec.schema.work import Lane, LaneResult, Pack
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.loop import Trainer
from raytune_rec.training.parts import parts_of
from raytune_rec.training.settings import method_of, settings
from raytune_rec.training.stack import stack
from tests.training.conftest import SCHEMA, job, table
from tests.training.test_lanes import same

SIZES = {"music": 150, "book": 270, "film": 64, "radio": 100}


class Memory:
    """A store of made-up units: users of one do not meet in another."""

    schema = SCHEMA

    def load(self, unit: str, split: str) -> Table:
        rows = SIZES[unit] if split == "train" else 60
        found = table(rows, len(unit) + 10 * (split == "valid"))
        keep = found.columns["user"] % len(SIZES) <= list(SIZES).index(unit)
        return Table({n: c[keep] for n, c in found.columns.items()}, found.label[keep])


UNITS: dict[str, UnitData] = {unit: unit_data(Memory(), unit) for unit in SIZES}  # type: ignore[arg-type]


def start(own: Job, row: str) -> Any:
    """A pre-trained backbone over the whole vocabulary, as weights; None for a row that starts from scratch."""
    found = method_of(own, row)
    if found.strategy.start != "backbone":
        return None
    before = method_of(own, "pretrain." + found.pretraining)
    s = settings(own, before, Lane(0))
    options = {"backbone": [s.backbone], "prompt": [s.prompt]}
    parts = parts_of(before.backbone, before.prompt, before.strategy, options, SCHEMA)
    model = stack(parts, [Lane(0)], seed=5)
    draw = torch.Generator().manual_seed(2)
    weights = {n: t[0] + 0.1 * torch.randn(t[0].shape, generator=draw) for n, t in {**model.trained, **model.buffers}.items()}
    return SimpleNamespace(sites={site: (shape.count, shape.width) for site, shape in parts.sites.items()}), weights


def trainer(own: Job, row: str, lanes: list[Lane], until: int = 0, dtype: torch.dtype = torch.float64) -> Trainer:
    pack = Pack("p", row, tuple(lanes), until)
    of_lanes = [settings(own, method_of(own, row), lane) for lane in lanes]
    units = {unit: UNITS[unit] for unit in pack.units}
    feed = table_feed(own, pack, units, own.training.batch_size)
    return train_with(own, pack, method_of(own, row), of_lanes, SCHEMA, units, feed, start(own, row), dtype=dtype)


def lanes(row: str) -> list[Lane]:
    rates = (0.003, 0.01, 0.03, 0.02, 0.05, 0.004)
    units = ("book", "book", "music", "film", "radio", "radio")
    options = [{"training.lr.default": r, "training.patience": 1 + i % 3} for i, r in enumerate(rates)]
    if row != "linear":
        options = [o | {"backbone.dropout": 10 * r} for o, r in zip(options, rates, strict=True)]
    if row.startswith("prompt"):  # at the default 1e-5 rounding decides which meta-prompt is taken
        options = [o | {"prompt.temperature": 0.5, "prompt.meta_prompts": 3 + i} for i, o in enumerate(options)]
    return [Lane(i, 0, o, unit) for i, (o, unit) in enumerate(zip(options, units, strict=True))]


def alike(packed: Trainer, i: int, solo: Trainer) -> None:
    same(packed.results()[i], solo.results()[0], 1e-9)
    ours, theirs = packed.best(i), solo.best(0)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-9, rtol=0)


NORMS = {"name": "deepfm", "options": {"width": 4, "hidden": [8, 6], "batch_norm": True, "dropout": 0.3}}


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("single", {}),
        ("single", {"backbone": NORMS}),
        ("linear", {}),
        ("finetune", {}),
        ("prompt", {}),
        ("prompt_linear", {}),
        ("prompt_linear", {"training": {"batch_size": 64, "epochs": 4, "schedule": "cosine", "warmup": 1}}),
    ],
)
def test_lanes_of_several_units_equal_their_solo_runs(row: str, changes: dict[str, Any]) -> None:
    own = job(**changes)
    packed = trainer(own, row, lanes(row))
    packed.run()
    for i, lane in enumerate(lanes(row)):
        solo = trainer(own, row, [lane])
        solo.run()
        alike(packed, i, solo)


@pytest.mark.parametrize("row", ["single", "prompt_linear"])
def test_a_lane_that_pauses_goes_on_in_another_pack_as_if_it_had_not(row: str) -> None:
    own = job(training={"batch_size": 64, "epochs": 5, "patience": 5, "lr": {"default": 0.01}})
    every = [replace(lane, options={k: v for k, v in lane.options.items() if "patience" not in k}) for lane in lanes(row)]
    first, second = trainer(own, row, every[:3], until=2), trainer(own, row, every[3:], until=2)
    states = []
    for half in (first, second):
        results = half.run()
        assert {r.status for r in results} == {"paused"} and {r.epochs for r in results} == {2}
        states.append(half.state())
    sources = [(1, 2), (0, 0), (1, 0)]  # lanes 5, 0 and 3 go on, in another order
    merged, facts = {}, []
    for i, (half, place) in enumerate(sources):
        tensors, known = states[half]
        merged |= {f"{i}.{n.partition('.')[2]}": t for n, t in tensors.items() if n.startswith(f"{place}.")}
        facts.append(known["lanes"][place])
    on = [every[5], every[0], every[3]]
    later = trainer(own, row, on)
    later.restore(merged, {"lanes": facts})
    later.run()
    for i, lane in enumerate(on):
        solo = trainer(own, row, [lane])
        solo.run()
        alike(later, i, solo)


def test_a_unit_that_diverges_harms_no_other() -> None:
    own = job(training={"batch_size": 64, "epochs": 3, "lr": {"default": 0.01}})
    good, bad = Lane(0, 0, {}, "book"), Lane(1, 0, {"training.lr.default": 1e38}, "music")
    packed = trainer(own, "single", [bad, good], dtype=torch.float32)
    results: list[LaneResult] = packed.run()
    assert results[0].status == "failed"
    solo = trainer(own, "single", [good], dtype=torch.float32).run()[0]
    assert results[1].losses == pytest.approx(solo.losses, abs=1e-4)
