"""When to strike: some seconds from now, or when files appear in the run folder."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

EVENTS = {
    "segment": "journal/[0-9]*.json",
    "checkpoint": "checkpoints/*/state.json",
    "result": "checkpoints/*/result.json",
    "winner's result": "checkpoints/*@winner/result.json",
    "winner kept": "winners/*/*/winner.json",
    "artifact": "artifacts/*/prompt.json",
    "merged journal": "journal/*journal.log*",
    "marker": "stages/*/_*.json",
    "stage": "stages/*/_complete.json",
    "export": "stages/tune/_complete.json",
    "evaluate": "stages/export/_complete.json",
    "report": "stages/evaluate/_complete.json",
    "half a file": "**/.*.tmp",
    "tune's checkpoint": "plain/*/*/checkpoint_*/state.pt",
    "tune's state": "plain/*/experiment_state-*.json",
}
"""Kind -> files, relative to the run folder. `export`, `evaluate` and `report`: that stage has begun. `tune's`: of Ray Tune alone
(`benchmarks.faults.plain`)."""
LATE = ("export", "evaluate", "report")
"""Stages that take a moment each, so that a random one hardly meets them."""
MOST = {
    "segment": 12, "checkpoint": 20, "result": 8, "winner's result": 4, "winner kept": 4, "artifact": 2, "merged journal": 1,
    "marker": 4, "half a file": 30,
}  # fmt: skip
"""Most files of a kind that are awaited: hardly more than an undisturbed run from its search on makes of them."""
EARLY = {"segment": 3, "result": 1, "marker": 3, "half a file": 20}
"""The same up to the end of the pre-training."""


@dataclass(frozen=True)
class Moment:
    """A moment in an attempt.

    Args:
        kind: `time`, or one of EVENTS.
        count: so many files of the kind must have appeared, or been written anew; unused for `time`.
        seconds: from the beginning of the watch, or from the event.
    """

    kind: str
    count: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"after {self.seconds:.1f} s" if self.kind == "time" else f"{self.kind} {self.count} + {self.seconds:.3f} s"


def draw(chance: random.Random, seconds: float, most: Mapping[str, int] = MOST) -> Moment:
    """A random moment.

    Args:
        chance: draws it.
        seconds: that an undisturbed attempt takes.
        most: kinds of events, with the most files that are awaited.
    """
    if chance.random() < 0.5:
        return Moment("time", 0, chance.uniform(0.0, seconds))
    kind = chance.choice(list(most))
    delay = chance.choice([0.0, chance.uniform(0.0, 0.05)])
    return Moment(kind, chance.randint(1, most[kind]), delay)


def late(chance: random.Random, folder: int) -> Moment:
    """A moment soon after one of the late stages has begun; each folder has its turn."""
    return Moment(LATE[folder % len(LATE)], 1, chance.uniform(0.0, 0.3))


def await_moment(moment: Moment, folder: Path, ended: Callable[[], bool]) -> bool:
    """Wait for a moment; False if the run ended first."""
    if moment.kind == "time":
        return _sleep(moment.seconds, ended)
    seen = _files(folder, moment.kind)
    old = frozenset(seen)
    while len(seen - old) < moment.count:
        if ended():
            return False
        time.sleep(0.002)
        seen |= _files(folder, moment.kind)
    return _sleep(moment.seconds, ended)


def _sleep(seconds: float, ended: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not ended():
        time.sleep(min(left, 0.05))
    return not ended()


def _files(folder: Path, kind: str) -> set[tuple[str, int]]:
    """Files of a kind, with the time of their last write."""
    found = set()
    try:
        for path in folder.glob(EVENTS[kind]):
            found.add((str(path), path.stat().st_mtime_ns))
    except OSError:  # a file or folder has gone since; the next look is soon
        pass
    return found
