"""Pre-training on Ray Train: one worker process or several, each with the one loop and its share of every batch.

The workers start equal, sum their gradients, and so stay equal: each validates on its own and comes to the same end. After an
epoch the first one's state is a checkpoint; after a worker was lost all of them go on from the last one, as if nothing had
happened. Batch norm takes the statistics of a worker's own share of a batch, so that with it the number of workers changes the
result.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import torch.distributed as distributed
from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray.train.torch import TorchTrainer
from torch import Tensor

from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError, RunFailed, UserError
from raytune_rec.machine.ray_address import is_local
from raytune_rec.pretraining import checkpoint
from raytune_rec.pretraining.artifact import Facts, export, summary
from raytune_rec.pretraining.delivery import Blocks, RowGroup, fit, options, row_groups, stream
from raytune_rec.pretraining.pretraining import Pretraining, streamed
from raytune_rec.pretraining.progress import Tell, following
from raytune_rec.pretraining.rendezvous import interfaces, meeting
from raytune_rec.storage.claim import begin_scratch, remove_scratch
from raytune_rec.storage.files import STORAGE, scratch, write_json
from raytune_rec.storage.objects import store as object_store
from raytune_rec.storage.places import address
from raytune_rec.training.feed import StreamFeed
from raytune_rec.training.loop import Trainer

Watch = Callable[[Trainer], None]

_ROWS = "train"
_REFUSED = "refused"
"""Among the facts of a worker: the sentences of a mistake, which each attempt would meet again. An exception would be retried."""
_SWITCH = 2e-4
"""Seconds that the thread driving Ray Data may keep the interpreter from the training loop; Python's own 5 ms is a whole step."""
_POLL = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}
"""How often Ray Train asks its workers for a report, in seconds. The next one waits for that: its own 2 s hold up epochs."""
_ALONE = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
"""Of a Ray that we start here no machine is taken away: a process that waits for the notice is 3 s of a processor for nothing."""


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker gets.

    Args:
        groups: row groups of an epoch.
        keep: a worker holds them all in memory.
        progress: file that the first worker renews after each epoch.
        watch: called in every worker after an epoch, before it is reported.
    """

    spec: Pretraining
    groups: list[RowGroup]
    keep: bool
    progress: Path
    watch: Watch | None


def train(spec: Pretraining, store: Store, tell: Tell, watch: Watch | None = None) -> Facts:
    """Pre-train on the cluster that Ray is connected to (or on a local one), and export.

    Raises:
        DataError: there is nothing to train on, or the model refuses what it is given.
        RunFailed: workers failed more often than `pretrain.max_failures` allows.
    """
    name, folder = spec.name(store.schema), spec.run_folder / "train"
    progress = folder / f"{name}.json"
    groups = row_groups(store.train_files())
    if not groups:
        raise DataError(f"{store.path}: there is no training row to pre-train on; check data.split.")
    keep = fit(groups, spec.settings.training.cache_mib)
    begin_scratch(folder / name)
    trainer = TorchTrainer(
        _work,  # type: ignore[arg-type]
        train_loop_config={"work": WorkerSpec(spec, groups, keep, progress, watch)},
        torch_config=meeting(spec.job.pretrain.workers, spec.job.pretrain.gpu),
        scaling_config=_scaling(spec),
        run_config=_run_config(spec, name, folder),
        datasets={} if keep else {_ROWS: stream(groups, spec.settings.training.epochs)},
        dataset_config=ray.train.DataConfig(datasets_to_split=[], execution_options=options(groups)),
    )
    try:
        with following(progress, tell), _signals_kept(), controlled():
            facts: Facts = trainer.fit().return_value  # type: ignore[attr-defined]
    except ray.train.TrainingFailedError as error:
        raise RunFailed(_reason(spec, error)) from error
    if refused := facts.get(_REFUSED):
        raise DataError(refused)
    remove_scratch(folder / name)
    STORAGE.delete(progress)
    return facts


def _scaling(spec: Pretraining) -> ray.train.ScalingConfig:
    pretrain, threads = spec.job.pretrain, spec.job.tune.threads
    needed = {"CPU": float(threads)} | ({"GPU": 1.0} if pretrain.gpu else {})
    if ray.is_initialized():
        there = ray.cluster_resources()
        for kind, amount in needed.items():
            if pretrain.workers * amount > there.get(kind, 0.0):
                logging.getLogger(__name__).warning(
                    "pretrain.workers = %d need %g %s, the cluster has %g; waiting for nodes. Lower it, or add nodes.",
                    pretrain.workers, pretrain.workers * amount, kind, there.get(kind, 0.0),
                )  # fmt: skip
    return ray.train.ScalingConfig(num_workers=pretrain.workers, use_gpu=pretrain.gpu, resources_per_worker=needed)


def _run_config(spec: Pretraining, name: str, folder: Path) -> ray.train.RunConfig:
    # mypy is shown the class of the old API; these arguments are of the one that is there
    return ray.train.RunConfig(  # type: ignore[call-arg]
        name=name,
        **_place(folder),
        failure_config=ray.train.FailureConfig(max_failures=spec.job.pretrain.max_failures),
        checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        worker_runtime_env={"env_vars": {"OMP_NUM_THREADS": str(spec.job.tune.threads), **interfaces()}},
        logging_config=ray.train.LoggingConfig(log_level="ERROR"),
    )


def _place(folder: Path) -> dict[str, Any]:
    """Where Ray Train keeps its checkpoints: the path alone, or an object store and the key in it."""
    if (place := address(folder)) is None:
        return {"storage_path": str(folder)}
    return {"storage_path": place[1], "storage_filesystem": PyFileSystem(FSSpecHandler(object_store(place[0])))}


def _work(config: dict[str, Any]) -> Facts:
    """The training function of Ray Train."""
    work: WorkerSpec = config["work"]
    spec = work.spec
    torch.set_num_threads(spec.job.tune.threads)
    for chatter in ("ray.data", "ray.train"):
        logging.getLogger(chatter).setLevel(logging.ERROR)
    if not work.keep:
        sys.setswitchinterval(_SWITCH)
    store = Store.open(spec.store)
    place = ray.train.get_context()
    rank, world = place.get_world_rank(), place.get_world_size()
    device = str(ray.train.torch.get_device())
    blocks = Blocks(store, work.groups, None if work.keep else ray.train.get_dataset_shard(_ROWS))
    feed = StreamFeed(blocks, spec.key, spec.settings.training.batch_size, device, rank, world, _rows(store))
    try:
        trainer = spec.trainer(store, streamed(store, spec), feed, device, sum_over_workers if world > 1 else None)
    except UserError as error:
        return {_REFUSED: list(error.problems)}
    if (last := ray.train.get_checkpoint()) is not None:
        with last.as_directory() as held:
            checkpoint.restore(Path(held), trainer)
    while not trainer.finished:
        trainer.epoch()
        if work.watch is not None:
            work.watch(trainer)
        _report(work, store, trainer, rank)
    facts = summary(spec, store, trainer)
    return export(spec, store, trainer) if rank == 0 and facts["status"] == "complete" else facts


def _rows(store: Store) -> int:
    return sum(store.schema.rows[domain, "train"] for domain in store.schema.domains)


def _report(work: WorkerSpec, store: Store, trainer: Trainer, rank: int) -> None:
    """Hand in the epoch; a barrier over all workers. The state of the first one stands for all."""
    epoch = {"epoch": trainer.done}
    if rank != 0:
        ray.train.report(epoch)
        return
    with scratch() as held:
        checkpoint.save(held, trainer)
        ray.train.report(epoch, checkpoint=ray.train.Checkpoint.from_directory(str(held)))
    write_json(work.progress, summary(work.spec, store, trainer))


def sum_over_workers(tensors: list[Tensor]) -> None:
    """Sum over all workers, in place: one message for each dtype."""
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        alike = [t for t in tensors if t.dtype == dtype]
        flat = torch.cat([t.reshape(-1) for t in alike])
        distributed.all_reduce(flat)
        for tensor, part in zip(alike, flat.split([t.numel() for t in alike]), strict=True):
            tensor.copy_(part.view_as(tensor))


@contextmanager
def controlled() -> Iterator[None]:
    """Ray Train's controller takes its settings from the environment; a user's own values stand."""
    wanted = {**_POLL, **_ALONE} if is_local(os.environ) else _POLL
    ours = {n: v for n, v in wanted.items() if n not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray Train takes Ctrl-C over and never gives it back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _reason(spec: Pretraining, error: Exception) -> str:
    failures = getattr(error, "worker_failures", {})
    causes = [f"worker {rank}: {str(cause).strip().splitlines()[-1]}" for rank, cause in sorted(failures.items())] or [
        str(error).strip().splitlines()[-1]
    ]
    return (
        f"pre-training {spec.pretraining!r} failed more often than pretrain.max_failures = {spec.job.pretrain.max_failures} "
        f"allows; the last time: {'; '.join(causes)}. Run the same command again to go on from the last epoch."
    )
