"""Three ways to train T lanes at once: ms of a lane's step for packs of several sizes.

    python -m benchmarks.axis [--lanes 1 4 16 64] [--steps 30] [--repeats 5] [--data RUN/data --unit music] [--out FILE]

The work is that of a pack on Douban music: DeepFM (width 16, hidden 16 and 16) with PLATE-Fusion, batch 512, prompt and linear
part trained, every lane with options of its own. The rows are made up, of the same sizes and with as many users in a batch
(about 305), unless `--data` names a prepared store. The backbone is as it was drawn: its values do not change the time.

stacked   our trainer: stacked products, and what lanes share or rows repeat is computed once
vmap      `torch.func.vmap` over the loss of one lane; shared: the rows, their frozen encoding and the noise (in_dims=None)
vmap once the same, and the user network sees each distinct user of a batch once
folded    the batch repeated T times; tables are indexed by lane and id, layers multiply the rows of each lane as a group

All ways get the same batches, noise and start values, step with the same optimiser, and must reach the same loss in each round.
They take turns in every round; the figure is the best round, of processor time, since other programs disturb the clock.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.mistakes import at_least, told
from raytune_rec.config import parse
from raytune_rec.data.stored.store import Store
from raytune_rec.data.stored.units import unit_data
from raytune_rec.schema.contract import Batch
from raytune_rec.schema.prepared import DataSchema, Field, Table, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.tensors import Noise, lane, mix
from raytune_rec.training.build import train_with
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import settings

USERS, ITEMS, BATCH = 1654, 5568, 512
ROW = Method("axis", Strategy("prompt_linear", "scratch", ("prompt", "linear"), "on"), "deepfm", "plate")
KEY = (1, "axis", 0)


def rows(steps: int) -> tuple[DataSchema, UnitData]:
    """Made-up rows for some steps. Activity of users is log-normal, so that a batch has as many as one of Douban music."""
    draw, size = np.random.default_rng(0), steps * BATCH
    activity = draw.lognormal(0, 1.55, USERS - 1)
    user = draw.choice(np.arange(1, USERS), size, p=activity / activity.sum())
    columns = {"user": user, "item": draw.integers(1, ITEMS, size), "domain": np.ones(size, np.int64)}
    known = {"user": np.arange(USERS), "item": np.arange(ITEMS), "domain": np.arange(2)}
    fields = tuple(Field(n, "categorical", n, len(v)) for n, v in known.items())  # type: ignore[arg-type]
    train = Table(columns, draw.integers(0, 2, size).astype(np.float32))
    return DataSchema(fields, ("music",), "0" * 16), UnitData("axis", train, train, known, {n: v > 0 for n, v in known.items()})


def options(count: int) -> list[dict[str, Any]]:
    draw = random.Random(0)
    return [
        {
            "prompt.temperature": 10 ** draw.uniform(-1, 1),
            "prompt.meta_prompts": draw.randint(2, 24),
            "backbone.dropout": draw.uniform(0.05, 0.5),
            **{f"training.lr.{g}": 10 ** draw.uniform(-4, -2) for g in ("prompt", "linear")},
            **{f"training.weight_decay.{g}": 10 ** draw.uniform(-6, -4) for g in ("prompt", "linear")},
        }
        for _ in range(count)
    ]


def trainer(schema: DataSchema, data: UnitData, count: int, steps: int, epochs: int) -> Trainer:
    """A pack of `count` lanes on one backbone; its validation table is a few rows, so that an epoch is its steps."""
    train, valid = (Table({k: c[:n] for k, c in data.train.columns.items()}, data.train.label[:n]) for n in (steps * BATCH, 64))
    job = parse(
        {
            "name": "axis",
            "data": {"source": "synthetic"},
            "backbone": {"name": "deepfm", "options": {"width": 16, "hidden": [16, 16], "embedding_std": 0.3}},
            "training": {"batch_size": BATCH, "epochs": epochs, "patience": epochs},
            "methods": {"axis": {"strategy": "single"}},
        }
    )
    lanes = tuple(Lane(0, 0, o, data.unit) for o in options(count))
    of_lanes = [settings(job, ROW, one) for one in lanes]
    feed = TableFeed(train, [KEY], BATCH, 4096)
    own = UnitData(data.unit, train, valid, data.rows, data.seen)
    return train_with(job, Pack("axis", "axis", lanes), ROW, of_lanes, schema, {own.unit: own}, feed)


Losses = Callable[[Mapping[str, Tensor], Batch, Noise], Tensor]
"""Trained tensors (T, ...), the rows and their noise -> the mean loss of each lane (T,)."""


class Way:
    """Trains a pack with another way to its losses: batches, start values and optimiser are the trainer's own."""

    def __init__(self, base: Trainer, losses: Callable[[Trainer], Losses]) -> None:
        self.base, self.losses, self.done = base, losses(base), 0

    def epoch(self) -> list[float]:
        model, total, count = self.base.model, torch.zeros(self.base.model.lanes, dtype=torch.float64), 0
        for batch in self.base.feed.epoch(self.done + 1):
            noise = Noise((mix(*KEY, "noise", self.base.adam.steps[0] + 1),), batch.index)
            mean = self.losses(model.trained, batch, noise)
            grads = torch.autograd.grad(mean.sum(), list(model.trained.values()))
            self.base.adam.step(dict(zip(model.trained, grads, strict=True)))
            total, count = total + mean.detach().double(), count + 1
        self.done += 1
        return (total / count).tolist()


class Stacked:
    def __init__(self, base: Trainer) -> None:
        self.base = base

    def epoch(self) -> list[float]:
        self.base.epoch()
        return [record.losses[-1] for record in self.base.records]


def frozen(base: Trainer, index: Tensor) -> dict[str, Tensor]:
    return {name: e[0].index_select(0, index) for name, e in base.encoded.items()}


def vmapped(base: Trainer, once: bool = False) -> Losses:
    fixed = {n: t[0] for n, t in base.model.fixed.items()}
    of = {owner: {n: t.float() for n, t in values.items()} for owner, values in base.model.options.items()}
    own = {n: of[o][n].expand(base.model.lanes) for o, n in (("prompt", "temperature"), ("prompt", "meta_prompts"))}
    own["dropout"] = of["backbone"]["dropout"].expand(base.model.lanes)

    def of_lane(p: Mapping[str, Tensor], o: Mapping[str, Tensor], e: Mapping[str, Tensor], ids: Mapping[str, Tensor],
                label: Tensor, noise: Sequence[Tensor], users: Tensor, place: Tensor | None) -> Tensor:  # fmt: skip
        """The mean loss of one lane: tensors without a lane axis."""
        hidden = users
        for i in range(2):
            hidden = torch.relu(hidden @ p[f"prompt.user.{i}.weight"] + p[f"prompt.user.{i}.bias"])
        score = hidden @ p["prompt.user.out.weight"] / o["temperature"]
        unused = torch.arange(score.shape[-1]) >= o["meta_prompts"]
        user = torch.softmax(score.masked_fill(unused, -torch.inf), dim=-1) @ p["prompt.meta"]
        user = user if place is None else user.index_select(0, place)
        prompt = torch.cat([p["prompt.domain"].index_select(0, ids["domain"]), user], dim=-1)  # (B, 2*D)
        total = e["sum"] + prompt[:, :16] + prompt[:, 16:]
        pairs = (total.square().sum(-1) - e["square"] - prompt.square().sum(-1)) / 2
        deep = e["first"] + prompt @ fixed["backbone.deep.0.prompt"] + fixed["backbone.deep.0.bias"]
        scale = 1 / (1 - o["dropout"])
        deep = torch.relu(deep) * ((noise[0] >= o["dropout"]) * scale)
        deep = torch.relu(deep @ fixed["backbone.deep.1.weight"] + fixed["backbone.deep.1.bias"])
        deep = deep * ((noise[1] >= o["dropout"]) * scale)
        deep = (deep @ fixed["backbone.output.weight"] + fixed["backbone.output.bias"]).squeeze(-1)
        first = sum(p[f"backbone.linear.{n}"].index_select(0, i) for n, i in ids.items()) + p["backbone.linear.bias"]
        logit = first + pairs + deep
        return (softplus(logit) - logit * label).mean()

    over = torch.func.vmap(of_lane, in_dims=(0, 0, None, None, None, None, None, None))

    def losses(trained: Mapping[str, Tensor], batch: Batch, noise: Noise) -> Tensor:
        e = frozen(base, batch.index[0])
        drawn = [noise.uniform(f"deep.{i}", 16)[0] for i in range(2)]
        known = base.repeats.of(batch).distinct if once else None
        found = known("user_features") if known else None
        users, place = (found[0][0], found[1]) if found else (e["user_features"], None)
        return over(trained, own, e, {n: c[0] for n, c in batch.columns.items()}, batch.label[0], drawn, users, place)

    return losses


def folded(base: Trainer) -> Losses:
    model, lanes = base.model, base.model.lanes
    fixed = {n: t[0] for n, t in model.fixed.items()}
    of = {**model.options["prompt"], **model.options["backbone"]}
    rate, temperature, used = (lane(of[n].float(), 3) for n in ("dropout", "temperature", "meta_prompts"))

    def table(weights: Tensor, ids: Tensor) -> Tensor:
        """Rows of stacked tables (T, V, ...) for ids (T*B,) of the folded rows."""
        offset = torch.arange(lanes).repeat_interleave(len(ids) // lanes) * weights.shape[1]
        return weights.flatten(0, 1).index_select(0, ids + offset)

    def layer(x: Tensor, weight: Tensor) -> Tensor:
        """(T*B, K) with (T, K, H): the rows of each lane are a group."""
        return torch.bmm(x.view(lanes, -1, x.shape[-1]), weight).flatten(0, 1)

    def drop(x: Tensor, noise: Tensor) -> Tensor:
        return (x.view(lanes, -1, x.shape[-1]) * ((noise >= rate) / (1 - rate))).flatten(0, 1)

    def losses(p: Mapping[str, Tensor], batch: Batch, noise: Noise) -> Tensor:
        e = frozen(base, batch.index[0].repeat(lanes))
        ids = {n: c[0].repeat(lanes) for n, c in batch.columns.items()}
        size, label = batch.index.shape[1], batch.label[0].repeat(lanes)
        hidden = e["user_features"]
        for i in range(2):
            bias = p[f"prompt.user.{i}.bias"].repeat_interleave(size, 0)
            hidden = torch.relu(layer(hidden, p[f"prompt.user.{i}.weight"]) + bias)
        score = layer(hidden, p["prompt.user.out.weight"]).view(lanes, size, -1) / temperature
        score = score.masked_fill(torch.arange(score.shape[-1]) >= used, -torch.inf)
        user = layer(torch.softmax(score, dim=-1).flatten(0, 1), p["prompt.meta"])
        prompt = torch.cat([table(p["prompt.domain"], ids["domain"]), user], dim=-1)
        total = e["sum"] + prompt[:, :16] + prompt[:, 16:]
        pairs = (total.square().sum(-1) - e["square"] - prompt.square().sum(-1)) / 2
        deep = e["first"] + prompt @ fixed["backbone.deep.0.prompt"] + fixed["backbone.deep.0.bias"]
        deep = drop(torch.relu(deep), noise.uniform("deep.0", 16))
        deep = torch.relu(deep @ fixed["backbone.deep.1.weight"] + fixed["backbone.deep.1.bias"])
        deep = drop(deep, noise.uniform("deep.1", 16))
        deep = (deep @ fixed["backbone.output.weight"] + fixed["backbone.output.bias"]).squeeze(-1)
        first = sum(table(p[f"backbone.linear.{n}"], i) for n, i in ids.items())
        logit = first + p["backbone.linear.bias"].repeat_interleave(size).flatten() + pairs + deep
        return (softplus(logit) - logit * label).view(lanes, size).mean(1)

    return losses


def measure(schema: DataSchema, data: UnitData, count: int, steps: int, repeats: int) -> dict[str, float]:
    """Way -> ms of a lane's step. The first round warms up."""

    def fresh() -> Trainer:
        return trainer(schema, data, count, steps, repeats + 2)

    ways: dict[str, Stacked | Way] = {
        "stacked": Stacked(fresh()),
        "vmap": Way(fresh(), vmapped),
        "vmap once": Way(fresh(), lambda base: vmapped(base, once=True)),
        "folded": Way(fresh(), folded),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        losses = {}
        for name, way in ways.items():
            started = time.process_time()
            losses[name] = way.epoch()
            spent[name].append((time.process_time() - started) * 1000 / steps / count)
        for name, values in losses.items():
            np.testing.assert_allclose(values, losses["stacked"], atol=2e-4, err_msg=f"{name} with {count} lanes")
    return {name: min(values[1:]) for name, values in spent.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lanes", type=at_least(1), nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--steps", type=at_least(1), default=30, help="steps of a round")
    parser.add_argument("--repeats", type=at_least(1), default=5, help="rounds after the first")
    parser.add_argument("--data", type=Path, help="a prepared store, for real rows")
    parser.add_argument("--unit", default="music", help="whose rows")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    schema, data = rows(asked.steps)
    if asked.data:
        store = Store.open(asked.data)
        schema, data = store.schema, unit_data(store, asked.unit)
    found = {}
    for count in asked.lanes:
        found[count] = measure(schema, data, count, asked.steps, asked.repeats)
        print(f"T = {count:<4}" + "".join(f"{name:>12} {ms:6.3f}" for name, ms in found[count].items()), flush=True)
    print("ms of a lane's step, one thread, best of", asked.repeats, "rounds of", asked.steps, "steps")
    if asked.out:
        asked.out.write_text(json.dumps({"steps": asked.steps, "repeats": asked.repeats, "ms": found}, indent=1))


if __name__ == "__main__":
    with told():
        main()
