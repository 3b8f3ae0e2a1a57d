"""Trains everything that a planner hands out, on Ray, and goes on where an interrupted run stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_rec.config import Job
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import RunFailed
from raytune_rec.machine.signals import ends_on_sigterm
from raytune_rec.schema.work import Pack
from raytune_rec.training.build import build
from raytune_rec.training.settings import Resolved
from raytune_rec.tuning.packs.folder import PackFolder, remove
from raytune_rec.tuning.packs.planner import DONE, Planner
from raytune_rec.tuning.run import resources, sharing
from raytune_rec.tuning.run.dispatcher import Dispatcher
from raytune_rec.tuning.run.progress import Reporter

if TYPE_CHECKING:
    from raytune_rec.tuning.run.trainable import Build


def run(
    job: Job,
    methods: Mapping[str, Resolved],
    planner: Planner,
    run_folder: Path,
    store_path: Path,
    backbones: Mapping[str, Path],
    *,
    keep_weights: bool = False,
    build: Build = build,
    open_store: Callable[[Path], Any] = Store.open,
    connect: Callable[[], object] | None = None,
    title: str = "tune",
    say: Callable[[str], None] | None = None,
    seconds: float = 10.0,
) -> None:
    """Train packs until the planner is done. The same call goes on after an interruption, and does nothing when all is told.

    Args:
        job: of the run.
        methods: whose packs are trained, by name.
        planner: hands out packs and records results.
        run_folder: of the run; packs work in its `checkpoints/`.
        store_path: of the prepared data.
        backbones: pretraining -> folder of the finished backbone.
        keep_weights: keep each lane's best weights in the pack's folder, and the folder with them.
        build, open_store: make a pack's trainer, and open the data.
        connect: connects to Ray; called only if something must be trained.
        title, say: for progress.
        seconds: of training between two checkpoints of a pack.

    Raises:
        RunFailed: a pack failed more often than it may, or Ray ended; what others reached is kept.
        OSError: the run folder cannot be written any more; what was told is whole.
        UserError: a pack cannot be trained as the job describes it.
    """
    run_folder = Path(run_folder).resolve()
    losses = max(1, job.tune.max_failures)
    folder, gone = (lambda pack: PackFolder.of(run_folder, job, pack)), (lambda name: remove(run_folder, name))
    dispatcher = Dispatcher(planner, folder, gone, losses, job.tune.max_failures + 1)
    first = dispatcher.next()
    if isinstance(first, Pack):
        dispatcher.put_back(first)
        # Loading Ray takes seconds: only where there is work.
        from raytune_rec.tuning.run import ray_tune, trainable

        work = trainable.PackWork(
            job=job,
            methods=methods,
            run_folder=run_folder,
            store_path=Path(store_path).resolve(),
            backbones={name: Path(path).resolve() for name, path in backbones.items()},
            keep_weights=keep_weights,
            build=build,
            open_store=open_store,
            seconds=seconds,
        )
        if connect is not None:
            connect()
        resources.ask(job, say or print, packs=True, workers=False)  # machines may have gone since the run began, or come
        sharing.check(run_folder, job)
        with ends_on_sigterm():  # connecting to Ray sets a handler of its own, so ours comes after
            ray_tune.fit(dispatcher, work, Reporter(title, say))
    if dispatcher.failure is not None:
        raise dispatcher.failure
    if dispatcher.next() is not DONE:
        raise RunFailed("Ray Tune ended before the search did. The same command goes on where this one stopped.")
