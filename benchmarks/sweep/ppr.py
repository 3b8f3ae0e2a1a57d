"""PPR(light): prompt tokens and a profile learner, tuned on cold users of MovieLens-100K beside a frozen SASRec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.sweep.method import batches, starts
from benchmarks.sweep.plain_ppr import Given, Rows
from raytune_rec.objectives.sampled_softmax import SampledSoftmax
from raytune_rec.schema.prepared import DataSchema, Table, UnitData
from raytune_rec.tensors import Noise, mix
from raytune_rec.training.loop import Trainer

UNIT, ROW, VARIANT, METRIC = "few.1", "ppr_light", "sasrec", "NDCG@10"
GROUPS = ("prompt", "profile")
PACK = 16  # wider ones gain little, and packs of a like number of tokens pad less
COLD = 0.0
DOUBLE = False
OPTIONS = (
    *(f"prompt.{name}" for name in ("tokens", "hidden_width", "profile_width", "profile_mask", "item_mask", "temperature")),
    *("prompt.weight", "backbone.dropout", "backbone.heads", "objective.negatives", "training.batch_size"),
)

NOISE = "Without dropout, with the same start values, batch order, negatives and masks"

PROTOCOL = (
    "The yardsticks draw start values, batch order, negatives, masks and dropout themselves, so that their NDCG@10 differs from "
    "ours by that noise. The check trains as many configurations again, untimed, without dropout and with all the others as the "
    "product draws them; both contrastive losses are in it.",
    "The plain model computes a row and its two views in one pass.",
)


def job(data: str, options: Mapping[str, Any]) -> dict[str, Any]:
    space = ["sequence", "profile", "ppr"]
    row = {"strategy": "prompt", "prompt": "ppr", "pretraining": VARIANT, "space": space, "options": options}
    sequences = {"length": 50, "windows": "all", "tasks": ["few"], "events": 9, "folds": 2}
    recipe = {"batch_size": 128, "epochs": 10, "lr.default": 2e-3, "weight_decay.default": 1e-8}
    return {
        "data": {
            "source": "movielens",
            "options": {"path": data, "edition": "100k"},
            "split": {"kind": "cold_users", "cold": 0.5, "seed": 0},
            "sequences": sequences,
        },
        "backbone": {"name": "sasrec", "options": {"width": 64, "blocks": 2, "heads": 2, "inner": 64, "dropout": 0.2}},
        "objectives": {"sampled_softmax": {"negatives": 128}},
        "training": {"objective": "sampled_softmax", "metric": "ndcg@10", "batch_size": 64, "valid_batch_size": 4096},
        "pretrain": {"trials": 0, "workers": 0, "training": recipe},
        "pretrainings": {VARIANT: {}},
        "methods": {ROW: row},
    }


def plain_rows(schema: DataSchema, data: UnitData, tensors: Mapping[str, Tensor], given: Given | None = None) -> Rows:
    """See `Method`. Users' attributes are categorical."""
    profile = [f for f in schema.with_role("user") if f.name != "user"]
    assert all(f.kind == "categorical" for f in profile), "the yardstick embeds ids alone"

    def columns(table: Table, *names: str) -> dict[str, np.ndarray]:
        return {"profile": np.stack([table.columns[f.name] for f in profile], axis=1)} | {n: table.columns[n] for n in names}

    train, valid = columns(data.train, "history", "target"), columns(data.valid, "history", "candidates")
    weights = {name: value.numpy() for name, value in tensors.items() if name.startswith("backbone.")}
    return Rows({f.name: f.size for f in profile}, train, valid, weights, given)


def given(trainers: Iterator[Trainer], epochs: int) -> Given:
    """What the product's lanes share, of the first pack, and the start values of every lane."""
    held = list(trainers)
    first, of_epochs, negatives = held[0], list[list[Tensor]](), list[Tensor]()
    assert isinstance(first.objective, SampledSoftmax)
    count = first.objective.options.negatives
    for epoch in batches(first, epochs):
        drawn = []
        for batch in epoch:
            noise = Noise((mix(*first.feed.keys[0], "noise", len(negatives) + 1),), batch.index)
            negatives.append(noise.integers("negatives", count, 1, first.model.fixed["backbone.item"].shape[1])[0])
            widths = {"profile": _profile_width(first), "items": batch.columns["history"].shape[-1]}
            drawn.append((batch.index[0], *(noise.uniform(f"ppr.{name}", width)[0] for name, width in widths.items())))
        of_epochs.append([torch.cat(parts) for parts in zip(*drawn, strict=True)])
    orders, profile, items = (torch.stack(parts).numpy() for parts in zip(*of_epochs, strict=True))
    return Given(orders, torch.stack(negatives).numpy(), profile, items, {n: s for own in held for n, s in starts(own).items()})


def _profile_width(trainer: Trainer) -> int:
    return sum(t.shape[-1] for name, t in trainer.model.trained.items() if name.startswith("prompt.of."))
