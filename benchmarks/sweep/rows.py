"""From the product's store and backbone to what the yardsticks in plain PyTorch read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from benchmarks.sweep.case import UNIT, VARIANT, Case, job_of
from benchmarks.sweep.plain import Rows
from raytune_rec.schema import DataSchema, UnitData


def rows_of(case: Case) -> Rows:
    """The rows of the domain, with the backbone beside them."""
    from raytune_rec.artifacts import backbone
    from raytune_rec.data.store import Store
    from raytune_rec.data.units import unit_data

    store = Store.open(case.store)
    _, tensors = backbone.load(case.backbones()[VARIANT], data=False)
    data = unit_data(store, UNIT)
    return plain_rows(store.schema, data, tensors, _orders(case, len(data.train)) if case.our_order else None)


def plain_rows(schema: DataSchema, data: UnitData, tensors: Mapping[str, Tensor], orders: np.ndarray | None = None) -> Rows:
    """Columns side by side, and tables cropped to the ids of the unit.

    Args:
        schema: of categorical fields alone.
        data: of the unit, with local ids.
        tensors: full name -> tensor; tables have global ids.
        orders: see `Rows`.
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
    return Rows(fields, profile, train, data.train.label, valid, data.valid.label, weights, live, orders)


def _orders(case: Case, rows: int) -> np.ndarray:
    """(epochs, N): the product's own batch order."""
    import torch

    from raytune_rec.training.feed import permutation

    job = job_of(case)
    key, block = (job.seed, UNIT, 0), job.data.block_rows
    starts = range(0, rows, block)
    orders = [
        torch.cat([s + permutation(min(block, rows - s), key, epoch, i) for i, s in enumerate(starts)])
        for epoch in range(1, case.epochs + 1)
    ]
    return torch.stack(orders).numpy()
