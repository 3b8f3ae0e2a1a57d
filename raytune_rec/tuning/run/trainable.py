"""The process side of a pack: a Ray Tune trainable around the one training loop."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from ray import tune
from torch import Tensor

from raytune_rec.config import Job
from raytune_rec.errors import UserError, told
from raytune_rec.schema.work import LaneResult, Pack
from raytune_rec.storage import files
from raytune_rec.training.settings import Resolved
from raytune_rec.tuning.packs import packing
from raytune_rec.tuning.packs.folder import PackFolder


class PackTrainer(Protocol):
    """What a pack needs of the training loop."""

    @property
    def finished(self) -> bool: ...

    def epoch(self) -> None: ...

    def results(self) -> list[LaneResult]: ...

    def best(self, i: int) -> Mapping[str, Tensor]: ...

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]: ...

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None: ...


Build = Callable[[Resolved, Pack, Any, Mapping[str, Path], str], PackTrainer]


@dataclass(frozen=True)
class PackWork:
    """What all packs of a run share.

    Args:
        job: of the run.
        methods: whose packs they are, by name.
        run_folder, store_path: absolute, on storage that all nodes see.
        backbones: pretraining -> folder.
        keep_weights: store the lanes' best weights.
        build: makes the trainer of a pack.
        open_store: opens the prepared data; kept for the life of a process.
        seconds: of training between two checkpoints.
    """

    job: Job
    methods: Mapping[str, Resolved]
    run_folder: Path
    store_path: Path
    backbones: Mapping[str, Path]
    keep_weights: bool
    build: Build
    open_store: Callable[[Path], Any]
    seconds: float = 10.0


class PackTrainable(tune.Trainable):
    """Trains one pack after the other in one process.

    Setting up is left to the first step: Ray Tune retries a step that fails, and gives up on a reset that does.
    """

    def setup(self, config: dict[str, Any], work: PackWork) -> None:  # type: ignore[override]  # `with_parameters` adds `work`
        self._work = work
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._pack = packing.from_text(new_config["pack"])
        self._folder = PackFolder.of(self._work.run_folder, self._work.job, self._pack)
        self._trainer: PackTrainer | None = None
        self._saved = 0
        return True

    def step(self) -> dict[str, Any]:
        """Train for some seconds, then write a checkpoint or the result. A user's mistake ends the pack; all else is retried."""
        try:
            done = self._folder.results() is not None or self._train()
        except UserError as error:
            self._report(type(error).__name__, error.problems)
            done = True
        except Exception as error:
            text = told(error) if isinstance(error, OSError) and error.errno else f"{type(error).__name__}: {error}"
            self._report(type(error).__name__, [text])
            raise
        if done:
            self._trainer = None
        return {"checkpoints": self._saved, "done": done}  # always the same keys

    def _train(self) -> bool:
        trainer = self._trainer = self._trainer or self._begin()
        deadline = time.monotonic() + self._work.seconds
        while not trainer.finished:
            trainer.epoch()
            if time.monotonic() > deadline:
                break
        results = trainer.results()
        if not trainer.finished or any(r.status == "paused" for r in results):
            self._saved += 1
            self._folder.save_state(*trainer.state(), self._saved)
        if trainer.finished:
            lanes = range(len(self._pack.lanes))
            self._folder.save_results(results, [trainer.best(i) for i in lanes] if self._work.keep_weights else ())
        return trainer.finished

    def _begin(self) -> PackTrainer:
        """The pack's trainer, where its last checkpoint left it, or the packs that its lanes go on from."""
        work = self._work
        torch.set_num_threads(work.job.tune.threads)
        self._folder.begin()
        device = "cuda" if work.job.tune.gpus > 0 and torch.cuda.is_available() else "cpu"
        store = _opened(work.open_store, work.store_path)
        trainer = work.build(work.methods[self._pack.method], self._pack, store, work.backbones, device)
        if (state := self._folder.state() or self._folder.taken_over(self._pack.after)) is not None:
            self._saved = state[1]["number"]
            trainer.restore(*state)
        return trainer

    def _report(self, kind: str, problems: Any) -> None:
        """Leave a word; where nothing can be written, the driver meets the same cause."""
        with suppress(OSError):
            self._folder.save_error(kind, problems)
            files.write_text(self._work.run_folder / "logs" / f"{self._pack.name}.txt", traceback.format_exc())


@lru_cache(maxsize=2)
def _opened(open_store: Callable[[Path], Any], path: Path) -> Any:
    return open_store(path)
