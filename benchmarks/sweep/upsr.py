"""UPSR's language model: a soft prompt, tuned on a made-up log of items with titles beside a frozen small T5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.sweep.method import batches, starts
from benchmarks.sweep.plain_upsr import NONE, Given, Rows
from raytune_rec.backbones.t5 import T5
from raytune_rec.schema.prepared import DataSchema, Table, UnitData
from raytune_rec.tensors import Noise, mix
from raytune_rec.training.loop import Trainer

UNIT, ROW, VARIANT, METRIC = "shop", "soft_prompt", "t5", "NDCG@10"
GROUPS = ("prompt",)
PACK = 8  # a lane reads every row for itself, so that wider packs gain little and hold much
COLD = 0.0
DOUBLE = True  # a language model that hears one prompt too loudly ranks by its last digits
OPTIONS = ("prompt.tokens", "objective.mask", "objective.last", "training.batch_size")

NOISE = "With the same start values, batch order and masked items"

PROTOCOL = (
    "The log is made up: 400 users of 8 tastes, 160 items whose titles name their kind, 7 items of each user.",
    "The yardsticks draw start values, batch order and masked items themselves, so that their NDCG@10 differs from ours by that "
    "noise. The check trains as many configurations again, untimed, with all of these as the product draws them, in float64.",
    "The T5 is that of the job `upsr_pretrain`, which has no dropout. The plain model puts the texts of a row together in lists "
    "and pads a batch to its longest row; keys and values of what was read are made once for all candidates of a row.",
)

_USERS, _ITEMS, _KINDS, _EACH = 400, 160, 8, 7
_WORDS = ("red", "blue", "green", "small", "large", "soft", "plain", "fine", "old", "new", "light", "dark")
_THINGS = ("pen", "ink", "card", "tape", "glue", "brush", "paper", "stamp")


def made_up(folder: Path) -> None:
    """Write `log.csv` and `items.csv`: users take items of their kind more often than others."""
    draw = np.random.default_rng(0)
    kind, taste = np.arange(_ITEMS) % _KINDS, draw.integers(0, _KINDS, _USERS)
    titles = [f"{_THINGS[kind[i]]} {' '.join(draw.permutation(_WORDS)[:2])} no {i // _KINDS}" for i in range(_ITEMS)]
    rows = ["user,item,place"]
    for u in range(_USERS):
        chance = np.where(kind == taste[u], 20.0, 1.0)
        taken = draw.choice(_ITEMS, _EACH, False, chance / chance.sum())
        rows += [f"u{u},i{item},{place}" for place, item in enumerate(taken)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.csv").write_text("\n".join(rows))
    (folder / "items.csv").write_text("\n".join(["item,title", *(f"i{i},{title}" for i, title in enumerate(titles))]))


def job(data: str, options: Mapping[str, Any]) -> dict[str, Any]:
    row = {"strategy": "prompt", "prompt": "soft_prompt", "pretraining": VARIANT, "space": ["soft_prompt"], "options": options}
    log = {
        "files": f"{data}/log.csv",
        "domain": UNIT,
        "columns": {"user": "user", "item": "item", "position": "place"},
        "items": {"files": [f"{data}/items.csv"]},
        "features": {"title": {"role": "item", "kind": "text"}},
    }
    recipe = {"epochs": 30, "patience": 30, "lr.default": 5e-3, "weight_decay.default": 1e-8}
    sizes = {"length": 256, "width": 64, "heads": 4, "head_width": 16, "inner": 256, "blocks": 2, "decoder_blocks": 2}
    return {
        "data": {
            "source": "tabular",
            "options": log,
            "split": {"kind": "leave_one_out", "seed": 0},
            "sequences": {"length": 8, "negatives": 20, "full": False, "users": 128},
            "text": {"tokenizer": "unigram", "vocabulary": 400, "length": 16},
        },
        "backbone": {"name": "t5", "options": {"text": "title", **sizes, "dropout": 0.0}},
        "training": {"objective": "masked_text", "metric": "ndcg@10", "batch_size": 32, "valid_batch_size": 128},
        "pretrain": {"trials": 0, "workers": 0, "training": recipe},
        "pretrainings": {VARIANT: {}},
        "methods": {ROW: row},
    }


def plain_rows(schema: DataSchema, data: UnitData, tensors: Mapping[str, Tensor], given: Given | None = None) -> Rows:
    """See `Method`. No history of these data is longer than the model reads."""
    phrases, known = schema.phrases, data.by_id
    assert phrases is not None and known is not None
    tokens = known.items.columns["title"]
    words = np.where(tokens > 1, tokens - 2, np.where(tokens == 1, phrases.unknown, NONE))
    said = {name: [*getattr(phrases, name)] for name in ("before", "between", "behind", "sentinels")}
    said |= {"pad": [phrases.pad], "end": [phrases.end]}
    exact = np.float32 if given is None else np.float64
    weights = {name: value.numpy().astype(exact) for name, value in tensors.items() if name.startswith("backbone.")}
    options = T5.Options()
    heads = weights["backbone.encoder.block.0.layer.0.SelfAttention.relative_attention_bias"].shape[1]
    valid = {name: data.valid.columns[name] for name in ("history", "candidates")}
    return Rows(words, said, _taken(data.train), valid, weights, heads, options.buckets, options.distance, given)


def _taken(train: Table) -> np.ndarray:
    """(N, L + 1): the items before the last target of each row, and that."""
    history, target = train.columns["history"], train.columns["target"]
    place = np.arange(target.shape[1])
    end = (place * (target > 0)).max(1, keepdims=True)
    return np.where(place == end, target, np.where(place < end, np.pad(history, ((0, 0), (0, 1))), 0))


def given(trainers: Iterator[Trainer], epochs: int) -> Given:
    """What the product's lanes share, of the first pack, and the start values of every lane."""
    held = list(trainers)
    first, of_epochs, step = held[0], list[list[Tensor]](), 0
    for epoch in batches(first, epochs):
        drawn = []
        for batch in epoch:
            step += 1
            noise = Noise((mix(*first.feed.keys[0], "noise", step),), batch.index)
            items = noise.uniform("masked_text", batch.columns["target"].shape[-1])[0]
            drawn.append((batch.index[0], items, noise.uniform("masked_text.last", 1)[0, :, 0]))
        of_epochs.append([torch.cat(parts) for parts in zip(*drawn, strict=True)])
    orders, masked, last = (torch.stack(parts).numpy() for parts in zip(*of_epochs, strict=True))
    return Given(orders, masked, last, {n: s for own in held for n, s in starts(own).items()})
