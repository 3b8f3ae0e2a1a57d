"""One Ray Tune experiment, whose trials are the packs of a dispatcher."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from raytune_rec.schema.work import Pack
from raytune_rec.storage.claim import begin_scratch, remove_scratch
from raytune_rec.storage.files import STORAGE
from raytune_rec.storage.listing import remove_files
from raytune_rec.tuning.packs import packing
from raytune_rec.tuning.run.causes import cause
from raytune_rec.tuning.run.cluster import processes_at_hand
from raytune_rec.tuning.run.dispatcher import Dispatcher
from raytune_rec.tuning.run.metrics import Metrics
from raytune_rec.tuning.run.progress import Reporter
from raytune_rec.tuning.run.resources import slots
from raytune_rec.tuning.run.trainable import PackTrainable, PackWork

_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints tables even when it is told to be silent
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # packs share their working directory with the driver
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a file per report and logger costs more than the report
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run at once; the journal is whole at any moment
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",  # Tune's own state is never read
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a pack's error is in its folder, and raised in the end
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class PackSearcher(Searcher):
    """Suggests packs until the planner is done. What Ray reports is only that a pack ended: its result is in its folder.

    Args:
        dispatcher: of the run.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._desk = dispatcher
        self._running: dict[str, Pack] = {}

    def suggest(self, trial_id: str) -> Any:
        """A configuration, None while a pack must be awaited, or FINISHED."""
        item = self._desk.next()
        if isinstance(item, Pack):
            self._running[trial_id] = item
            return {"pack": packing.to_text(item)}
        return None if item is None else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pack = self._running.pop(trial_id, None)
        if pack is not None:
            self._desk.ended(pack)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the journal is the truth, and Tune's own state is never read."""


class Watcher(tune.Callback):
    """Shows progress while Tune works, to who reads and to who scrapes."""

    def __init__(self, dispatcher: Dispatcher, reporter: Reporter, metrics: Metrics) -> None:
        self._desk, self._reporter, self._metrics = dispatcher, reporter, metrics

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Tune pickles its callbacks into a state that nobody reads; a terminal is no part of it."""
        return tune.Callback, ()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._reporter.show(self._desk)
        self._metrics.show(self._desk)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._metrics.show(self._desk, last=True)


def fit(dispatcher: Dispatcher, work: PackWork, reporter: Reporter) -> None:
    """Train packs until the dispatcher has no more. Ray is connected.

    The name of an attempt is new each time, and nothing of an earlier one is read.
    """
    options = work.job.tune
    folder = work.run_folder / "tune"
    _clear(folder)  # attempts that were interrupted
    name = f"{work.job.name}-{os.getpid()}-{os.urandom(4).hex()}"
    begin_scratch(folder / name)
    trainable = type(f"{PackTrainable.__name__}_{name}", (PackTrainable,), {})  # Ray keeps trainables by name
    needs = {"cpu": options.cpus, **({"gpu": options.gpus} if options.gpus else {})}
    with _environment(_SETTINGS), processes_at_hand(), _silent("ray.tune"), reporter:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, work=work), needs),
            tune_config=tune.TuneConfig(
                search_alg=PackSearcher(dispatcher),
                num_samples=-1,
                max_concurrent_trials=slots(work.job),
                reuse_actors=options.reuse_actors,
                trial_dirname_creator=_dirname,
                trial_name_creator=_dirname,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(folder),
                failure_config=tune.FailureConfig(max_failures=options.max_failures),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[Watcher(dispatcher, reporter, Metrics(work.job.name, reporter.title))],
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except Exception as error:
            dispatcher.failure = dispatcher.failure or cause(error, work.run_folder)
    _clear(folder)


def _clear(folder: Path) -> None:
    """Remove what attempts have left, and nothing else."""
    for attempt in STORAGE.list(folder, "*"):
        remove_scratch(attempt)
    remove_files(folder)


def _dirname(trial: Any) -> str:
    return str(trial.trial_id)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Ray Tune reports failures of packs as errors of its own, with advice that does not fit; the dispatcher raises them."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
