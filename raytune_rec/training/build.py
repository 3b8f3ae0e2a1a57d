"""From a job and a pack to a trainer: loads the unit's rows and the backbone, assembles the lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts.backbone import BackboneFacts
from raytune_rec.backbones.base import Backbone, reads_entities
from raytune_rec.components import component, names
from raytune_rec.config import Job
from raytune_rec.data.stored.store import Store
from raytune_rec.data.stored.units import unit_data
from raytune_rec.errors import AssemblyError
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.schema.prepared import ALL_DOMAINS, DataSchema, UnitData
from raytune_rec.schema.work import Method, Pack, numbered
from raytune_rec.strategies.taken import shared
from raytune_rec.tasks.kinds import kind_of
from raytune_rec.training.beside import Beside
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.loop import Feed, Reduce, Trainer
from raytune_rec.training.parts import Parts, parts_of
from raytune_rec.training.settings import Resolved, Settings, same
from raytune_rec.training.stack import option_tensors, stack, with_new_items


def build(
    resolved: Resolved,
    pack: Pack,
    store: Store,
    backbones: Mapping[str, Path],
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Trainer:
    """A trainer for the lanes of a pack, on rows in memory.

    Args:
        resolved: the method, on the backbone that it starts from.
        pack: lanes of this method, on one unit or several.
        backbones: name of a pre-training (`schema.work.numbered`) -> folder of its artifact.
    """
    job, method = resolved.job, resolved.method
    feedback = _backbone_of(job, method).reads_feedback or None
    units = {unit: rows_of(str(store.path), unit, reads_by_id(job, method), feedback) for unit in pack.units}
    start = _start(method, backbones, pack.start)
    of_lanes = [resolved.lay(lane.options) for lane in pack.lanes]
    feed = table_feed(job, pack, units, same([s.training.batch_size for s in of_lanes], "training.batch_size"), device)
    return train_with(job, pack, method, of_lanes, store.schema, units, feed, start, device, dtype)


def table_feed(job: Job, pack: Pack, units: Mapping[str, UnitData], batch_size: int, device: str = "cpu") -> TableFeed:
    """Batches of a pack's units. Lanes of one unit and replicate share theirs, where the whole pack does."""
    keys = [(job.seed, lane.unit, lane.replicate) for lane in pack.lanes]
    shared = len(set(keys)) == 1
    table_of = [pack.units.index(lane.unit) for lane in pack.lanes]
    tables = [units[unit].train for unit in pack.units]
    rows = job.data.block_rows
    return TableFeed(tables, keys[:1] if shared else keys, batch_size, rows, device, table_of[:1] if shared else table_of)


def train_with(
    job: Job,
    pack: Pack,
    method: Method,
    of_lanes: Sequence[Settings],
    schema: DataSchema,
    units: Mapping[str, UnitData],
    feed: Feed,
    start: tuple[BackboneFacts, Mapping[str, Tensor]] | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    reduce: Reduce | None = None,
    autocast: bool = False,
) -> Trainer:
    """A trainer over any feed: what `build` does once rows and start values are there."""
    parts = assemble(job, method, of_lanes, schema, start[0] if start else None)
    objective = same([s.training.objective for s in of_lanes], "training.objective")
    rows = [units[lane.unit].rows for lane in pack.lanes]
    base = with_new_items(parts, start[1]) if start else {}
    taken = [shared(job, schema, method.name, parts.declared(i), lane, pack.start) for i, lane in enumerate(pack.lanes)]
    model = stack(parts, pack.lanes, [{**base, **each} for each in taken] if any(taken) else [base], rows, job.seed)
    if by_id := [each for lane in pack.lanes if (each := units[lane.unit].by_id)]:
        model.beside = Beside.of(by_id)
    training = [s.training for s in of_lanes]
    criterion = component("objectives", objective, [Path(f) for f in job.components])(of_lanes[0].objective)
    weights = option_tensors([s.objective for s in of_lanes])
    further = [name for name in job.tune.objectives if name in METRICS]
    return Trainer(
        model, pack.lanes, feed, units, training, criterion, device, dtype, further, reduce, autocast, pack.until,
        weights,
    )  # fmt: skip


def assemble(job: Job, method: Method, of_lanes: Sequence[Settings], schema: DataSchema, start: BackboneFacts | None) -> Parts:
    """The components of a method, met. Refuses what does not fit."""
    schema = schema.for_pretraining() if method.kind == "pretraining" else schema
    folders = [Path(f) for f in job.components]
    options = {"backbone": [s.backbone for s in of_lanes], "prompt": [s.prompt for s in of_lanes]}
    parts = parts_of(method.backbone, method.prompt, method.strategy, options, schema, start, folders, f"{method.place}: ")
    name = of_lanes[0].training.objective
    if kind_of(schema.task).trains and parts.backbone.parameters():
        _check_classes(method, parts, name, schema.task.attribute, folders)
    elif method.strategy.train and parts.backbone.parameters() and not _wanted(name, folders) & parts.backbone.returns:
        reads = component("objectives", name, folders).reads
        fitting = [n for n in names("objectives", folders) if _wanted(n, folders) & parts.backbone.returns]
        raise AssemblyError(
            f"{method.place}: objective {name!r} trains on {reads!r}, and backbone {method.backbone!r} gives "
            f"{', '.join(sorted(parts.backbone.returns))}; set training.objective for this method to {' or '.join(fitting)}."
        )
    return parts


def _wanted(objective: str, folders: Sequence[Path]) -> set[str]:
    """Of what a backbone may give, what an objective can be trained on."""
    made = component("objectives", objective, folders)
    return {made.reads, "pairs"} if getattr(made, "pairs", False) else {made.reads}


def _check_classes(method: Method, parts: Parts, objective: str, attribute: str, folders: Sequence[Path]) -> None:
    """Refuse a method that cannot learn to predict an attribute.

    Raises:
        AssemblyError: its strategy leaves the classifier as it was drawn, or its objective trains none.
    """
    if "output" not in parts.trained_groups:
        raise AssemblyError(
            f"{method.place}: strategy {method.strategy.name!r} does not train the classifier of {attribute!r}, which is "
            "new; choose one that trains the group output, such as prompt_output or prompt_backbone."
        )
    if not getattr(component("objectives", objective, folders), "classes", False):
        known = [n for n in names("objectives", folders) if getattr(component("objectives", n, folders), "classes", False)]
        raise AssemblyError(
            f"{method.place}: objective {objective!r} trains on items alone, and {attribute!r} is to be predicted; set "
            f"training.objective for this method to {' or '.join(known)}."
        )


@lru_cache(maxsize=64)
def rows_of(store: str, unit: str, by_id: bool, feedback: bool | None) -> UnitData:
    """The rows of a unit, kept for the next pack of this process. Every domain together uses global ids."""
    return unit_data(_opened(store), unit, compact=unit != ALL_DOMAINS, by_id=by_id, feedback=feedback)


@lru_cache(maxsize=2)
def _opened(store: str) -> Store:
    """One store for all units, so that they share what it knows of items and users."""
    return Store.open(Path(store))


def reads_by_id(job: Job, method: Method) -> bool:
    """Whether a method's backbone reads items or users by id, beside the rows."""
    return reads_entities(_backbone_of(job, method), job.data.task.chooses)


def _backbone_of(job: Job, method: Method) -> type[Backbone]:
    return component("backbones", method.backbone, [Path(f) for f in job.components])


@lru_cache(maxsize=4)
def _backbone(folder: str) -> tuple[BackboneFacts, dict[str, Tensor]]:
    return backbone_artifact.load(Path(folder), data=False)


def _start(method: Method, backbones: Mapping[str, Path], number: int) -> tuple[BackboneFacts, dict[str, Tensor]] | None:
    return _backbone(str(backbones[numbered(method.pretraining, number)])) if method.strategy.start == "backbone" else None
