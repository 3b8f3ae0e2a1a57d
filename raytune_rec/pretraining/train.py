"""One pre-training: from a job and prepared data to a backbone artifact."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from raytune_rec.data.stored.store import Store
from raytune_rec.errors import Diverged
from raytune_rec.machine.threads import threads
from raytune_rec.pretraining.artifact import Facts, export, summary
from raytune_rec.pretraining.pretraining import Pretraining
from raytune_rec.pretraining.progress import Tell, silent
from raytune_rec.schema.prepared import ALL_DOMAINS
from raytune_rec.schema.work import Lane, Scalar, numbered
from raytune_rec.training.build import reads_by_id, rows_of
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import Resolved

log = logging.getLogger("raytune_rec.pretraining")


def pretrain(
    resolved: Resolved,
    recipe: Mapping[str, Scalar],
    trials: int,
    store_path: Path,
    folder: Path,
    run_folder: Path,
    lane: Lane | None = None,
    tell: Tell = silent,
) -> Facts:
    """Pre-train on every domain and save the best epoch as a backbone artifact.

    With workers, a pre-training that was interrupted goes on from its last epoch when it is called again with the same arguments.

    Args:
        resolved: the pre-training. `job.pretrain` says on how many workers; 0 trains in this process, without Ray.
        recipe: flat options of the trial that won, over its own; may be empty.
        trials: recipes that were tried.
        store_path: the prepared data.
        folder: of the artifact, on storage that all nodes share.
        run_folder: likewise; `train/` in it holds the state of unfinished pre-trainings.
        lane: trial and replicate; decides start values and the order of rows.
        tell: told the facts so far after each epoch, in this process.

    Returns:
        JSON facts: see `artifact.summary`, with the artifact's `fingerprint`.

    Raises:
        JobError, AssemblyError: its options or components do not fit.
        Diverged: its loss or its metric was not finite.
        RunFailed: workers failed too often.
    """
    lane = lane or Lane(0)
    lane = Lane(lane.trial, lane.replicate, dict(recipe), ALL_DOMAINS)
    job = resolved.job
    spec = Pretraining(resolved, lane, trials, *(Path(p).absolute() for p in (store_path, folder, run_folder)))
    store = Store.open(spec.store)
    spec.check(store.schema)
    if job.pretrain.mixed_precision and not job.pretrain.gpu:
        log.warning("pretrain.mixed_precision has no effect without pretrain.gpu = true.")
    if job.pretrain.workers:
        from raytune_rec.pretraining.workers import train  # Ray: seconds to import, and not needed without workers

        facts = train(spec, store, tell)
    else:
        facts = _here(spec, store, tell)
    if facts["status"] != "complete":
        raise Diverged(
            f"pre-training {numbered(spec.pretraining, lane.replicate)!r} failed: {facts['error']}. Lower its learning rate "
            "(pretrain.training, lr.default ...) in another --out folder, or look for empty validation rows."
        )
    return facts


def _here(spec: Pretraining, store: Store, tell: Tell) -> Facts:
    """In this process, on rows in memory."""
    with threads(spec.job.tune.threads):
        trainer = in_memory(spec, store)
        while not trainer.finished:
            trainer.epoch()
            tell(summary(spec, store, trainer))
        facts = summary(spec, store, trainer)
        return export(spec, store, trainer) if facts["status"] == "complete" else facts


def in_memory(spec: Pretraining, store: Store) -> Trainer:
    """The loop on rows in memory."""
    device = "cuda" if spec.job.pretrain.gpu else "cpu"
    data = rows_of(str(store.path), ALL_DOMAINS, reads_by_id(spec.job, spec.method), None)
    feed = TableFeed(data.train, [spec.key], spec.settings.training.batch_size, spec.job.data.block_rows, device)
    return spec.trainer(store, data, feed, device)
