"""What the stages of one run share: the job, the folder, and what earlier stages left there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.components import component, files_of, options_of
from raytune_rec.config import Job
from raytune_rec.data.preparing import preparation
from raytune_rec.data.sources.base import Source
from raytune_rec.data.stored.store import Store
from raytune_rec.schema.work import numbered
from raytune_rec.storage.fingerprint import file_sha256
from raytune_rec.strategies.taken import winner_folder
from raytune_rec.tuning.search.plan import Plan, plan


@dataclass
class Context:
    """One run.

    Args:
        job: of the run.
        folder: of the run, absolute.
        say: shows a line to the user.
        backbones: name of a pre-training (`schema.work.numbered`; its first replicate has its own name) -> folder of the
            backbone; known once `pretrain` is done.
        at: told what a stage is doing, in words; shown where nothing else is said for a while.
    """

    job: Job
    folder: Path
    say: Callable[[str], None]
    backbones: Mapping[str, Path]
    at: Callable[[str], None] = lambda doing: None

    @property
    def store_path(self) -> Path:
        return self.folder / "data"

    @cached_property
    def store(self) -> Store:
        return Store.open(self.store_path)

    @cached_property
    def plan(self) -> Plan:
        """The job on the prepared data, as far as it is known before anything is pre-trained."""
        return plan(self.job, self.store.schema).checked()

    @cached_property
    def started(self) -> Plan:
        """The same on the backbones that pre-training has made; methods whose pre-training failed are not in it."""
        firsts = {name: self.backbones[name] for name in self.job.pretrainings if name in self.backbones}
        return self.plan.with_backbones({name: backbone_artifact.read(folder) for name, folder in firsts.items()})

    @property
    def own(self) -> list[Path]:
        """Folders of the user's own components."""
        return [Path(f) for f in self.job.components]

    @cached_property
    def source(self) -> Source:
        data = self.job.data
        made: Source = component("data.sources", data.source, self.own)(
            options_of("data.sources", data.source, data.options, self.own)
        )
        return made

    @cached_property
    def log(self) -> dict[str, Any]:
        """What decides the prepared data (`preparation.stage_inputs`); all files are read for it, once."""
        return preparation.stage_inputs(self.job.data, self.source)

    def own_code(self) -> dict[str, str]:
        """What the user's own components are: file -> sha256. Where they change, results do; trackers only watch."""
        files = {name: path for folder in self.own for name, path in files_of(folder).items() if name.endswith(".py")}
        return {name: file_sha256(path) for name, path in files.items() if not name.startswith("trackers/")}

    def winner_folder(self, method: str, unit: str) -> Path:
        return winner_folder(self.folder, method, unit)

    def pretrainings(self, pretraining: str) -> list[int]:
        """The replicates that a pre-training has; none of no pre-training."""
        return [i for i in range(self.job.pretrain.replicates) if numbered(pretraining, i) in self.backbones]

    def connect(self) -> None:
        """Connect to Ray, or wait for it. It takes seconds to load, so only where something must be trained."""
        from raytune_rec.tuning.run.cluster import connect

        connect(self.job.tune.threads)
