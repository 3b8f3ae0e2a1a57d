"""One fault in one run folder: the same command until it has finished, and what that cost."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.faults.cluster import Nodes
from benchmarks.faults.fault import Class, Drawn, Subject
from benchmarks.faults.inside import FAULT, FIRED
from benchmarks.kills import damage, notes
from benchmarks.kills.processes import PATIENCE
from benchmarks.kills.sweep import Sweep

MOST_ATTEMPTS = 6
"""Of a run; one that has not finished by then counts as lost."""
SHARED = Path("/dev/shm")


class Injection:
    """A fault.

    Args:
        subject: whose run is struck.
        kind: its class.
        run: a new folder, beside those that it begins with and is compared with.
        job: of the run.
        nodes: the cluster, whole.
        temporary: for Ray.
    """

    def __init__(self, subject: Subject, kind: Class, run: Path, job: Path, nodes: Nodes, temporary: Path) -> None:
        self.subject, self.kind, self.run, self.nodes = subject, kind, run, nodes
        self.base, self.state = run.parent, run.parent / f"{run.name}.state"
        self.whole = self.base / subject.finished
        self.sweep = Sweep(run, job, self.base / "logs", temporary, nodes.variables, subject.module, nodes.trainers)

    def made(self, chance: random.Random, seconds: Mapping[str, float]) -> dict[str, Any] | None:
        """Inject it; what it came to, or None if the run had ended before the fault came."""
        drawn = self.kind.draw(chance, seconds, self.nodes)
        self._begin(drawn.start)
        before = set(SHARED.iterdir()) if SHARED.is_dir() else set()
        self.sweep.environment = {**self.sweep.environment, FAULT: json.dumps({**drawn.inside, "state": str(self.state)})}
        damaged = drawn.before(self.run) if drawn.before else None
        began = time.time()
        wrong = self._attempts(drawn, damaged)
        ended = time.time()
        if (struck := self._struck(drawn, began)) is None:
            return None
        notes_of = [note for attempt in self.sweep.attempts for note in notes.lines(attempt.notes)]
        return {
            "completed": self.sweep.code == 0,
            "attempts": len(self.sweep.attempts),
            "codes": [attempt.code for attempt in self.sweep.attempts],
            "struck": self.sweep.kills or dict(drawn.inside) or (str(damaged.relative_to(self.run)) if damaged else None),
            "start": drawn.start,
            "wrong": wrong + self.subject.wrong(self.sweep, drawn, self.kind.same, self.whole),
            **self.subject.results(self.run, self.whole),
            "trained": sum(note["trained"] for note in notes_of if "epoch" in note),
            "recovery": round(_recovery(notes_of, struck, ended) - struck, 2) if drawn != Drawn() else 0.0,
            "seconds": round(sum(attempt.seconds for attempt in self.sweep.attempts), 2),
            "left": self._left(before),
        }

    def _begin(self, start: str) -> None:
        for path in (self.run, self.state):
            shutil.rmtree(path, ignore_errors=True)
        for own in (self.base / "logs").glob(f"{self.run.name}[.-]*"):  # of a draw, or a campaign, that was broken off
            own.unlink()
        self.state.mkdir(parents=True)
        if start != "nothing":
            shutil.copytree(self.base / start, self.run)

    def _attempts(self, drawn: Drawn, damaged: Path | None) -> list[str]:
        """Until the run has finished; what was wrong with answers of the command."""
        wrong: list[str] = []
        if drawn.refused is not None and damaged is not None:
            wrong = damage.wrong(damaged, *damage.answer(self.sweep.job, self.run))
            drawn.refused(self.run)
        self.sweep.attempt(drawn.strikes, drawn.first)
        while self.sweep.code != 0 and len(self.sweep.attempts) < MOST_ATTEMPTS:
            self.nodes.whole()
            self.sweep.environment = {**self.sweep.environment, **self.nodes.variables}
            if drawn.between and len(self.sweep.attempts) == 1:
                drawn.between(self.run)
            self.sweep.attempt((), drawn.words)
        return wrong

    def _struck(self, drawn: Drawn, began: float) -> float | None:
        """When the fault came; None if it did not."""
        if drawn.strikes:
            return self.sweep.kills[0]["time"] if self.sweep.kills else None
        if drawn.inside:
            fired = self.state / FIRED
            return float(fired.read_text()) if fired.exists() else None
        return began

    def _left(self, before: set[Path]) -> dict[str, int]:
        """Processes that still trained once the command had ended, and pieces of shared memory."""
        until = time.monotonic() + PATIENCE
        while self.nodes.trainers() and time.monotonic() < until:
            time.sleep(0.1)
        shared = len(set(SHARED.iterdir()) - before) if SHARED.is_dir() else 0
        return {"processes": len(self.nodes.trainers()), "shared": shared}


def _recovery(noted: list[dict[str, Any]], struck: float, ended: float) -> float:
    """When training went on: the first epoch of a pack that was begun after the fault; where nothing was, the end of the run."""
    begun: set[str] = set()
    for note in sorted(noted, key=lambda note: note["time"]):
        if note["time"] > struck:
            if "lanes" in note:
                begun.add(note["pack"])
            elif note["epoch"] in begun:
                return float(note["time"])
    return ended
