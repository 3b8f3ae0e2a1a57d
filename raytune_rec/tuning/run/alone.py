"""What packs save: some trials of a search, trained once more as plain Ray Tune trains them, a process for each."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_rec.config import Job
from raytune_rec.errors import RunFailed
from raytune_rec.schema.work import Lane, LaneResult, Pack
from raytune_rec.training.settings import Resolved
from raytune_rec.tuning.packs.folder import remove
from raytune_rec.tuning.packs.packing import pack_name
from raytune_rec.tuning.packs.planner import Done, FixedPlanner, Planner, Progress
from raytune_rec.tuning.run import runner


@dataclass(frozen=True)
class Saved:
    """How long trials took in packs and would have taken by themselves, on the same machines.

    Args:
        trials: that the search trained.
        seconds: of these, from the measuring of packs to the last one's end.
        alone: trials that were trained once more.
        alone_seconds: of these, from the start of their first processes to the last one's end.
    """

    trials: int
    seconds: float
    alone: int
    alone_seconds: float

    @property
    def expected(self) -> float:
        """Seconds of all trials by themselves, if they are as those few."""
        return self.alone_seconds / self.alone * self.trials

    def __str__(self) -> str:
        times = self.expected / self.seconds
        return (
            f"what packs saved: {self.trials:,} trials took {self.seconds:,.0f} s. {self.alone} of them, drawn by the seed and "
            "trained once more for as many epochs as plain Ray Tune does it, a process for each, took "
            f"{self.alone_seconds:,.0f} s: all would have taken about {self.expected:,.0f} s, {times:,.1f} times as long."
        )


class Timed:
    """A planner, and when it heard its last result.

    Args:
        planner: that works.
        since: by `time.monotonic`, from when on it is timed; None: from the last pack that was given before the first result, so
            that Tune's own start, which comes once for any number of trials, is not in it (with one pack at a time it is).
    """

    def __init__(self, planner: Planner, since: float | None = None) -> None:
        self._planner = planner
        self._since, self._waits = since or 0.0, since is None
        self._last: float | None = None

    @property
    def seconds(self) -> float:
        """To the last result; 0 where nothing was trained."""
        return 0.0 if self._last is None else self._last - self._since

    def next(self) -> Pack | Done | None:
        item = self._planner.next()
        if self._waits and self._last is None and isinstance(item, Pack):
            self._since = time.monotonic()
        return item

    def done(self, pack: Pack, results: Sequence[LaneResult]) -> Iterable[str]:
        gone = self._planner.done(pack, results)
        self._last = time.monotonic()
        return gone

    def past(self) -> Iterable[str]:
        return self._planner.past()

    def progress(self) -> Progress:
        return self._planner.progress()


def trained(trials: Iterable[Mapping[str, Any]], job: Job) -> list[Mapping[str, Any]]:
    """The finished trials of the job's methods that trained an epoch at least, by study and number.

    Args:
        trials: as of `records.trials`.
    """
    fit = [t for t in trials if t["method"] in job.methods and t["state"] in ("complete", "pruned") and t["epochs"]]
    return sorted(fit, key=lambda t: (t["study"], t["number"]))


def drawn(trials: Sequence[Mapping[str, Any]], job: Job) -> list[Mapping[str, Any]]:
    """`tune.alone` of these, by the job's seed."""
    return random.Random(job.seed).sample(trials, min(job.tune.alone, len(trials)))


def seconds(
    job: Job,
    methods: Mapping[str, Resolved],
    trials: Sequence[Mapping[str, Any]],
    run_folder: Path,
    store_path: Path,
    backbones: Mapping[str, Path],
    **more: Any,
) -> float:
    """How long these trials take, each in a process of its own, as many at a time as packs. What they reach is thrown away.

    Args:
        trials: as of `records.trials`; each trains the epochs that it trained in the search.
        more: as of `runner.run`.

    Returns:
        Seconds; 0 where a trial could not be trained so, which ends no run.
    """
    alone = job.model_copy(update={"tune": job.tune.model_copy(update={"reuse_actors": False})})
    packs = [_pack(trial, place) for place, trial in enumerate(trials)]
    for pack in packs:  # of an attempt that was interrupted
        remove(run_folder, pack.name)
    planner = Timed(FixedPlanner(packs))
    try:
        runner.run(alone, methods, planner, run_folder, store_path, backbones, **more)
    except RunFailed:
        return 0.0
    finally:
        for pack in packs:
            remove(run_folder, pack.name)
    return planner.seconds


def _pack(trial: Mapping[str, Any], place: int) -> Pack:
    lane = Lane(trial["number"], 0, trial["options"], trial["unit"])
    name = pack_name(trial["method"], [trial["unit"]], "alone", str(place))
    return Pack(name, trial["method"], (lane,), until=trial["epochs"])
