"""PLATE: its prompt and the linear part of a DeepFM, tuned on Douban music beside a frozen backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.sweep.method import batches
from benchmarks.sweep.plain import Rows
from raytune_rec.schema.prepared import DataSchema, UnitData
from raytune_rec.training.loop import Trainer

UNIT, ROW, VARIANT, METRIC = "music", "plate", "plate", "AUC"
GROUPS = ("prompt", "linear")
OPTIONS = ("prompt.temperature", "prompt.meta_prompts", "backbone.dropout", "training.batch_size")

PACK = 32
COLD = 0.05
DOUBLE = False
"""Below this temperature a softmax over meta-prompts is nearly one-hot and float32 rounding decides much: two right programs
differ there, and agree in float64."""

NOISE = "Without dropout and in the same batch order"

PROTOCOL = (
    "The yardsticks draw batch order and dropout themselves, so that their AUC differs from ours by that noise. The check trains "
    "as many configurations again, untimed, without dropout and in our batch order.",
)


def job(data: str, options: Mapping[str, Any]) -> dict[str, Any]:
    row = {"strategy": "prompt_linear", "prompt": "plate", "pretraining": VARIANT, "options": options}
    row["space"] = ["training", "plate"]
    variant = {"prompt": "plate", "options": {"prompt.meta_prompts": 24, "prompt.elastic": True, "prompt.temperature": 1.0}}
    recipe = {"batch_size": 1024, "epochs": 10, "lr.default": 2e-3, "weight_decay.default": 1e-5}
    return {
        "data": {"source": "douban", "options": {"path": data}},
        "backbone": {"name": "deepfm", "options": {"width": 16, "hidden": [16, 16], "dropout": 0.2}},
        "training": {"batch_size": 512},
        "pretrain": {"trials": 0, "workers": 0, "training": recipe},
        "pretrainings": {VARIANT: variant},
        "prompts": {"plate": {"variant": "fusion", "hidden_width": 32}},
        "methods": {ROW: row},
    }


def plain_rows(schema: DataSchema, data: UnitData, tensors: Mapping[str, Tensor], given: np.ndarray | None = None) -> Rows:
    """Columns side by side, and tables cropped to the ids of the unit.

    Args:
        schema: of categorical fields alone.
        data: of the unit, with local ids.
        tensors: full name -> tensor; tables have global ids.
        given: the orders of `Rows`.
    """
    fields = [f.name for f in schema.fields]
    assert all(f.kind == "categorical" for f in schema.fields), "the yardstick embeds ids alone"
    tables = {f"backbone.{kind}.{f}": f for kind in ("embedding", "linear") for f in fields} | {"prompt.domain": "domain"}
    weights = {
        name: (value[data.rows[tables[name]]] if name in tables else value).numpy()
        for name, value in tensors.items()
        if not name.startswith("rows.")
    }
    live = {f: 1 + int(data.seen[f].sum()) for f in fields}
    train, valid = (np.stack([table.columns[f] for f in fields], axis=1) for table in (data.train, data.valid))
    profile = [f.name for f in schema.with_role("user")]
    return Rows(fields, profile, train, data.train.label, valid, data.valid.label, weights, live, given)


def given(trainers: Iterator[Trainer], epochs: int) -> np.ndarray:
    """(epochs, N): the product's own batch order, which all lanes share."""
    orders = [torch.cat([batch.index[0] for batch in epoch]) for epoch in batches(next(trainers), epochs)]
    return torch.stack(orders).numpy()
