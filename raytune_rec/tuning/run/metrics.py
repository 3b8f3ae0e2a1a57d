"""How far a search is, as metrics of the cluster: Ray's agents hand them to Prometheus (`ray.util.metrics`)."""

from __future__ import annotations

import time

from ray.util.metrics import Gauge

from raytune_rec.tuning.run.dispatcher import Dispatcher

SECONDS = 5.0
"""Between two readings; Ray's agents are asked no oftener."""
STUDIES = 500
"""Most studies whose best value is told: each is a time series of its own."""


class Metrics:
    """Gauges of one part of a run (`tune`, `winners`): `raytune_rec_trials_done`, `raytune_rec_trials_total`,
    `raytune_rec_packs_done`, and `raytune_rec_best` by study, the best validation metric so far.

    Args:
        run: name of the job.
        part: of the run.
    """

    def __init__(self, run: str, part: str) -> None:
        self._tags = {"run": run, "part": part}
        keys = tuple(self._tags)
        self._done = Gauge("raytune_rec_trials_done", "Trials that are told.", keys)
        self._total = Gauge("raytune_rec_trials_total", "Trials that the search has in all.", keys)
        self._packs = Gauge("raytune_rec_packs_done", "Packs that this attempt has trained.", keys)
        self._best = Gauge("raytune_rec_best", "Best validation metric of a study so far.", (*keys, "study"))
        self._last = 0.0

    def show(self, dispatcher: Dispatcher, last: bool = False) -> None:
        """Set the gauges, at most once in an interval; `last`: in any case."""
        if not last and time.monotonic() - self._last < SECONDS:
            return
        self._last = time.monotonic()
        progress = dispatcher.planner.progress()
        self._done.set(progress.done, self._tags)
        self._total.set(progress.total, self._tags)
        self._packs.set(dispatcher.packs_done, self._tags)
        if len(progress.best) <= STUDIES:
            for study, value in progress.best.items():
                self._best.set(value, {**self._tags, "study": study})
