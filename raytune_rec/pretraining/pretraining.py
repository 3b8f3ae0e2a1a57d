"""One pre-training as a value: what is trained on what, and where the result goes. Travels to the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raytune_rec.config import Job
from raytune_rec.data.stored.store import Store
from raytune_rec.names import path_name
from raytune_rec.schema.prepared import ALL_DOMAINS, DataSchema, Table, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Scalar
from raytune_rec.storage.fingerprint import fingerprint
from raytune_rec.training.build import assemble, reads_by_id, train_with
from raytune_rec.training.feed import Key
from raytune_rec.training.loop import Feed, Reduce, Trainer
from raytune_rec.training.settings import Resolved, Settings

FORMAT = 2
"""Raised only when the same pre-training gives another result: an interrupted run of another format is not gone on with."""


@dataclass(frozen=True)
class Pretraining:
    """One pre-training.

    Args:
        resolved: what its job says of it.
        lane: its number decides the start values, its options are those of the recipe.
        trials: recipes that were tried before.
        store: folder of the prepared data.
        folder: of the artifact.
        run_folder: `train/` in it holds what an interrupted pre-training goes on from.
    """

    resolved: Resolved
    lane: Lane
    trials: int
    store: Path
    folder: Path
    run_folder: Path

    @property
    def job(self) -> Job:
        return self.resolved.job

    @property
    def method(self) -> Method:
        return self.resolved.method

    @property
    def pretraining(self) -> str:
        """Its name in the job."""
        return self.method.pretraining

    @property
    def settings(self) -> Settings:
        return self.resolved.lay(self.lane.options)

    @property
    def recipe(self) -> Mapping[str, Scalar]:
        return self.lane.options

    @property
    def key(self) -> Key:
        """What the order of rows and the noise depend on."""
        return (self.job.seed, ALL_DOMAINS, self.lane.replicate)

    def name(self, schema: DataSchema) -> str:
        """Name of the Ray Train run: one goes on from what is left under its name. All that the result depends on is in it."""
        pretrain = self.job.pretrain
        devices = (pretrain.workers, pretrain.gpu, pretrain.mixed_precision, self.job.tune.threads)
        order = (self.job.seed, self.lane, self.job.data.block_rows)
        identity = (FORMAT, self.method, self.settings, order, devices, schema.fingerprint)
        return f"{path_name(self.pretraining)}-{fingerprint(identity)}"

    def check(self, schema: DataSchema) -> None:
        """Refuse what cannot be assembled before a worker starts.

        Raises:
            JobError, AssemblyError: as `settings` and `assemble` do.
        """
        assemble(self.job, self.method, [self.settings], schema, None)

    def trainer(self, store: Store, data: UnitData, feed: Feed, device: str = "cpu", reduce: Reduce | None = None) -> Trainer:
        """The one loop on it."""
        pack = Pack(self.method.name, self.method.name, (replace(self.lane, unit=ALL_DOMAINS),))
        how: dict[str, Any] = {"device": device, "reduce": reduce, "autocast": self.job.pretrain.mixed_precision}
        return train_with(self.job, pack, self.method, [self.settings], store.schema, {data.unit: data}, feed, **how)


def streamed(store: Store, spec: Pretraining) -> UnitData:
    """Every domain with the validation rows alone in memory: the training rows stream in."""
    by_id = store.by_id(ALL_DOMAINS) if reads_by_id(spec.job, spec.method) else None
    return UnitData(ALL_DOMAINS, Table({}, np.zeros(0, np.float32)), store.load(ALL_DOMAINS, "valid"), by_id=by_id)
