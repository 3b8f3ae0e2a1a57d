"""From a job and a pack to a trainer: loads the unit's rows and the backbone, assembles the lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts.backbone import BackboneFacts
from raytune_rec.components import component, options_of
from raytune_rec.config import Job, TrainingOptions
from raytune_rec.data.store import Store
from raytune_rec.data.units import unit_data
from raytune_rec.schema import ALL_DOMAINS, DataSchema, Pack, Row, Site, SiteShape, UnitData
from raytune_rec.training.assemble import Model, Parts, meet, stack
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.loop import Feed, Reduce, Trainer
from raytune_rec.training.settings import Settings, row_of, same, settings

MIB = 2**20


def build(
    job: Job,
    pack: Pack,
    store: Store,
    backbones: Mapping[str, Path],
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Trainer:
    """A trainer for the lanes of a pack, on rows in memory.

    Args:
        pack: lanes of one row on one unit.
        backbones: variant -> folder of its artifact.
    """
    (unit,) = pack.units
    data = rows_of(str(store.path), unit)
    row = row_of(job, pack.row)
    start = _start(row, backbones)
    of_lanes = [settings(job, row, lane, start[0] if start else None) for lane in pack.lanes]
    keys = list(dict.fromkeys((job.seed, unit, lane.replicate) for lane in pack.lanes))
    if len(keys) > 1:
        keys = [(job.seed, unit, lane.replicate) for lane in pack.lanes]
    batch_size = same([s.training.batch_size for s in of_lanes], "training.batch_size")
    feed = TableFeed(data.train, keys, batch_size, job.data.block_rows, device)
    return train_with(job, pack, row, of_lanes, store.schema, data, feed, start, device, dtype)


def train_with(
    job: Job,
    pack: Pack,
    row: Row,
    of_lanes: Sequence[Settings],
    schema: DataSchema,
    data: UnitData,
    feed: Feed,
    start: tuple[BackboneFacts, Mapping[str, Tensor]] | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    reduce: Reduce | None = None,
    autocast: bool = False,
) -> Trainer:
    """A trainer over any feed: what `build` does once rows and start values are there."""
    parts = assemble(job, row, of_lanes, schema, start[0] if start else None)
    options = {"backbone": [s.backbone for s in of_lanes], "prompt": [s.prompt for s in of_lanes]}
    model = stack(parts, pack.lanes, options, start[1] if start else {}, data.rows, (job.seed, data.unit))
    live = {name: 1 + int(data.seen[v].sum()) for name, v in model.rows.items() if v in data.seen}
    training = [s.training for s in of_lanes]
    objective = same([t.objective for t in training], "training.objective")
    folders = [Path(f) for f in job.components]
    criterion = component("objectives", objective, folders)(options_of("objectives", objective, {}, folders))
    cache = data.train if _fits(model, data, training[0]) else None
    return Trainer(
        model, pack.lanes, feed, data.valid, training, criterion, live, device, dtype, cache, reduce, autocast, pack.until
    )  # fmt: skip


def assemble(job: Job, row: Row, of_lanes: Sequence[Settings], schema: DataSchema, start: BackboneFacts | None) -> Parts:
    """The components of a row, met. Refuses what does not fit."""
    folders = [Path(f) for f in job.components]
    sites = {Site(s): SiteShape(*shape) for s, shape in start.sites.items()} if start else None
    backbone, prompt = component("backbones", row.backbone, folders), component("prompts", row.prompt, folders)
    return meet(backbone, prompt, row.strategy, of_lanes[0].backbone, [s.prompt for s in of_lanes], schema, sites)


@lru_cache(maxsize=4)
def rows_of(store: str, unit: str) -> UnitData:
    """The rows of a unit, kept for the next pack of this process. Every domain together uses global ids."""
    return unit_data(Store.open(Path(store)), unit, compact=unit != ALL_DOMAINS)


@lru_cache(maxsize=4)
def _backbone(folder: str) -> tuple[BackboneFacts, dict[str, Tensor]]:
    return backbone_artifact.load(Path(folder), data=False)


def _start(row: Row, backbones: Mapping[str, Path]) -> tuple[BackboneFacts, dict[str, Tensor]] | None:
    return _backbone(str(backbones[row.variant])) if row.strategy.start == "backbone" else None


def _fits(model: Model, data: UnitData, options: TrainingOptions) -> bool:
    """Whether the frozen encoding of all rows fits in the memory set for it (some 8 widths of D a row)."""
    if not model.encoding_is_frozen:
        return False
    widest = max((t.shape[-1] for t in model.fixed.values()), default=1)
    return len(data.train) * 8 * widest * 4 <= options.cache_mib * MIB
