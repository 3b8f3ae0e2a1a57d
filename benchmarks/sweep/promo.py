"""PROMO: a network for each new item, tuned on a made-up log beside a frozen DSSM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.sweep.method import batches, starts
from benchmarks.sweep.plain_promo import Given, Rows
from raytune_rec.prompts.promo import Promo
from raytune_rec.schema.prepared import ITEM, USER, DataSchema, UnitData
from raytune_rec.tensors import Noise, mix
from raytune_rec.training.loop import Trainer

UNIT, ROW, VARIANT, METRIC = "cold.1", "promo", "dssm", "NDCG@10"
GROUPS = ("prompt",)
PACK = 16  # every lane holds a network for each item
COLD = 0.0
DOUBLE = False
OPTIONS = (
    *(f"prompt.{name}" for name in ("feedback", "width", "layers", "fusion_width", "feedback_weight", "fairness_weight")),
    *("backbone.dropout", "backbone.heads", "training.batch_size"),
)

NOISE = "Without dropout, with the same start values, batch order, negatives and strangers"

PROTOCOL = (
    "The log is made up: 600 users of 8 tastes and 400 items, each taken by about 90; of a fifth of the items, the new ones, "
    "five rows each train.",
    "The yardsticks draw start values, batch order, negatives, strangers and dropout themselves, so that their NDCG@10 differs "
    "from ours by that noise. The check trains as many configurations again, untimed, without dropout and with all the others as "
    "the product draws them; both losses of the method are in it.",
    "The plain model looks up what the frozen towers make of users and items, finds an item's best users once in a process, and "
    "computes the users of validation once for a configuration.",
)

_USERS, _ITEMS, _TASTES, _EACH = 600, 400, 8, 60


def made_up(folder: Path) -> None:
    """Write `log.csv`: users take items of their taste more often than others, popular ones more often than others."""
    draw = np.random.default_rng(0)
    taste, genre = draw.integers(0, _TASTES, _USERS), draw.integers(0, _TASTES, _ITEMS)
    liked = 1 / (10 + np.arange(_ITEMS)) ** 0.5
    rows = []
    for u in range(_USERS):
        chance = liked * np.where(genre == taste[u], 6.0, 1.0)
        rows += [(u, i, draw.integers(0, 10**7)) for i in draw.choice(_ITEMS, _EACH, False, chance / chance.sum())]
    log = pd.DataFrame(rows, columns=["user", "item", "time"])
    log["time"] += 10**9
    log["region"], log["genre"] = log["user"] % 5, genre[log["item"]]
    for name in ("user", "item", "region", "genre"):
        log[name] = name[0] + log[name].astype(str)
    folder.mkdir(parents=True, exist_ok=True)
    log.to_csv(folder / "log.csv", index=False)


def job(data: str, options: Mapping[str, Any]) -> dict[str, Any]:
    row = {"strategy": "prompt", "prompt": "promo", "pretraining": VARIANT, "space": ["promo"], "options": options}
    features = {name: {"role": role, "kind": "categorical"} for name, role in (("region", "user"), ("genre", "item"))}
    columns = {"user": "user", "item": "item", "timestamp": "time"}
    recipe = {"batch_size": 32, "epochs": 20, "lr.default": 2e-3, "weight_decay.default": 1e-8}
    return {
        "data": {
            "source": "tabular",
            "options": {"files": f"{data}/log.csv", "domain": "shop", "columns": columns, "features": features},
            "split": {"kind": "cold_items", "cold": 0.2, "cold_least": 40, "cold_kept": 5, "cold_held": 20, "seed": 0},
            "sequences": {"length": 50, "windows": "all", "negatives": 100},
        },
        "backbone": {"name": "dssm", "options": {"width": 32, "heads": 4, "inner": 32}},
        "training": {"objective": "next_bce", "metric": "ndcg@10", "batch_size": 16, "valid_batch_size": 1024},
        "pretrain": {"trials": 0, "workers": 0, "training": recipe},
        "pretrainings": {VARIANT: {}},
        "methods": {ROW: row},
    }


def plain_rows(schema: DataSchema, data: UnitData, tensors: Mapping[str, Tensor], given: Given | None = None) -> Rows:
    """See `Method`. Attributes are categorical; options that the search leaves alone are the prompt's defaults."""
    known, options = data.by_id, Promo.Options()
    assert known is not None and known.members is not None and known.items.feedback is not None
    attributes = {
        role: [f for f in schema.with_role(role) if f.name != role]  # type: ignore[arg-type]
        for role in (USER, ITEM)
    }
    assert all(f.kind == "categorical" for fields in attributes.values() for f in fields), "the yardstick embeds ids alone"
    feedback, columns = known.items.feedback, data.train.columns
    worth = options.interaction * np.nan_to_num(feedback.value) + options.staying * np.nan_to_num(feedback.stay)
    place = (columns["target"] > 0).argmax(1)
    about = {"item": columns["target"].max(1), "place": place}
    return Rows(
        {n: columns[n] for n in ("user", "history")} | about,
        {n: data.valid.columns[n] for n in ("user", "history", "candidates")},
        {n: np.asarray(getattr(feedback, n)) for n in ("start", "user", "time")} | {"worth": worth},
        known.members,
        {f.name: known.users[f.name] for f in attributes[USER]},
        {f.name: known.items.columns[f.name] for f in attributes[ITEM]},
        {name: value.numpy() for name, value in tensors.items() if name.startswith("backbone.")},
        options.recent,
        options.least,
        options.popular,
        given,
    )


def given(trainers: Iterator[Trainer], epochs: int) -> Given:
    """What the product's lanes share, of the first pack, and the start values of every lane."""
    held = list(trainers)
    first, of_epochs, step = held[0], list[list[Tensor]](), 0
    for epoch in batches(first, epochs):
        drawn = []
        for batch in epoch:
            step += 1
            noise = Noise((mix(*first.feed.keys[0], "noise", step),), batch.index)
            target = batch.columns["target"][0]
            negative = noise.uniform("negative.0", target.shape[1])[0].gather(1, (target > 0).int().argmax(1, keepdim=True))
            warm, others = (noise.uniform(f"promo.{name}", count)[0] for name, count in (("warm", 1), ("others", 50)))
            drawn.append((batch.index[0], negative.squeeze(1), warm.squeeze(1), others))
        of_epochs.append([torch.cat(parts) for parts in zip(*drawn, strict=True)])
    orders, *uniform = (torch.stack(parts).numpy() for parts in zip(*of_epochs, strict=True))
    named = dict(zip(("negative", "warm", "others"), uniform, strict=True))
    return Given(orders, named, {n: s for own in held for n, s in starts(own).items()})
