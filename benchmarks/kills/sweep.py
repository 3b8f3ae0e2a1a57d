"""One run folder under kills: the same command again and again, until it has finished."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.kills import journal, notes
from benchmarks.kills.moments import Moment, await_moment
from benchmarks.kills.processes import PATIENCE, Command, Process

STAGES = ("prepare", "pretrain", "tune", "export", "evaluate", "report")

Lane = tuple[str, int, int]
"""(study, trial, replicate)"""


@dataclass(frozen=True)
class Strike:
    """A kill that is planned.

    Args:
        target: `driver`; `worker`: a process that trains; `sigterm`: the driver, by SIGTERM; else whoever `blow` strikes.
        moment: in the attempt.
        at_once: give the command again while Ray's processes of the killed driver still live; else wait for their end.
        blow: strikes what is no process of the command's own; whether it did.
    """

    target: str
    moment: Moment
    at_once: bool = False
    blow: Callable[[], bool] | None = None


@dataclass
class Attempt:
    """What is known of one attempt.

    Args:
        notes: file of the trainings that began.
        finished: lanes that needed no more training when it began.
        packs: those whose result stood in their folder when it began.
        workers: how many of its processes were killed.
        code, said, seconds: how it ended; no code after a kill.
    """

    notes: Path
    finished: set[Lane]
    packs: set[str]
    workers: int = 0
    code: int | None = None
    said: str = ""
    seconds: float = 0.0


@dataclass
class Sweep:
    """A run folder.

    Args:
        run: the folder.
        job: of the run.
        scratch: for logs and notes.
        temporary: for Ray.
        environment: further variables of the command's processes.
        module: that is the command.
        trainers: processes that train, where they are none of the command's own.
    """

    run: Path
    job: Path
    scratch: Path
    temporary: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    module: str = "benchmarks.kills.notes"
    trainers: Callable[[], list[Process]] | None = None
    kills: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    missed: list[Strike] = field(default_factory=list)
    """Strikes for which the run ended too soon."""
    _clearing: threading.Thread | None = None

    @property
    def log(self) -> Path:
        return self.scratch / f"{self.run.name}.log"

    @property
    def code(self) -> int | None:
        """Exit code of the last attempt; None before the first, and after a kill."""
        return self.attempts[-1].code if self.attempts else None

    def failed(self) -> list[str]:
        """What attempts said that ended by themselves, and not well: a process that is lost must not end a run."""
        return [attempt.said for attempt in self.attempts if attempt.code]

    def attempt(self, strikes: Iterable[Strike], more: Iterable[str] = ()) -> bool:
        """Give the command once, with further words, and strike; True if it ended by itself, as `Attempt.code` says."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        own = Attempt(self.scratch / f"{self.run.name}-{len(self.attempts)}.jsonl", self._finished(), self._packs())
        self.attempts.append(own)
        environment = {**self.environment, notes.NOTES: str(own.notes), notes.RUN: str(self.run)}
        words = ["run", str(self.job), "--out", str(self.run), *more]
        command = Command(words, self.log, self.temporary, environment, self.module)
        try:
            killed = False
            planned = iter(strikes)
            while not killed and command.code is None and (strike := next(planned, None)) is not None:
                killed = self._strike(strike, command, own)
            if not killed:
                own.code = command.wait()
                own.said = f"exit code {own.code}: {self.log.read_text().strip().splitlines()[-1:]}"
        finally:
            own.seconds = command.seconds
            if command.kill():  # this process itself is interrupted
                command.clear(0.0)
            if self._clearing is not None:
                self._clearing.join()
        return not killed

    def trained_again(self) -> list[str]:
        """Finished packs whose training began once more."""
        found = []
        for number, attempt in enumerate(self.attempts):
            begun = notes.read(attempt.notes)
            where = f"attempt {number}"
            again = [n["pack"] for n in begun if n["finished"] or n["pack"] in attempt.packs or _lanes(n) <= attempt.finished]
            found += [f"{where}: {pack} had finished, and was trained again" for pack in again]
            packs = Counter(n["pack"] for n in begun)
            if (more := packs.total() - len(packs)) > attempt.workers:
                found.append(f"{where}: {more} trainings began anew, {attempt.workers} processes were killed")
        return found

    def phase(self) -> str:
        """The stage at work."""
        return next((s for s in STAGES if not (self.run / "stages" / s / "_complete.json").exists()), "the end")

    def _strike(self, strike: Strike, command: Command, own: Attempt) -> bool:
        """Whether the driver was killed."""

        def ended() -> bool:
            return command.code is not None

        if not await_moment(strike.moment, self.run, ended):
            self.missed.append(strike)
            return False
        phase, seconds, now = self.phase(), command.seconds, time.time()
        if not self._struck(strike, command):
            self.missed.append(strike)
            return False
        kill: dict[str, Any] = {
            "folder": self.run.name, "attempt": len(self.attempts) - 1, "target": strike.target, "moment": str(strike.moment),
            "kind": strike.moment.kind, "phase": phase, "second": round(seconds, 2), "at once": strike.at_once,
            "time": now, "took": round(time.time() - now, 2),
        }  # fmt: skip
        self.kills.append(kill)
        if strike.target not in ("driver", "sigterm"):
            own.workers += 1
            return False
        self._clearing = threading.Thread(target=lambda: kill.update(command.clear(PATIENCE)))
        self._clearing.start()
        if not strike.at_once:
            self._clearing.join()
        return True

    def _struck(self, strike: Strike, command: Command) -> bool:
        if strike.blow is not None:
            return strike.blow()
        if strike.target == "worker":
            victim = _trainer(command, self.trainers or command.trainers)
            return victim is not None and victim.kill()
        return _told_to_end(command) if strike.target == "sigterm" else command.kill()

    def _finished(self) -> set[Lane]:
        """Lanes that are told in the journal, or kept as a winner."""
        found = {(study, number, 0) for study, number in journal.read(self.run / "journal").ends}
        for path in self.run.glob("winners/*/*/winner.json"):
            facts = json.loads(path.read_text())
            study = f"{facts['method']}/{facts['unit']}"
            found |= {(study, facts["trial"], r["replicate"]) for r in facts["replicates"]}
        return found

    def _packs(self) -> set[str]:
        return {path.parent.name for path in self.run.glob("checkpoints/*/result.json")}


def _lanes(note: dict[str, Any]) -> set[Lane]:
    return {(study, trial, replicate) for study, trial, replicate in note["lanes"]}


def _trainer(command: Command, trainers: Callable[[], list[Process]]) -> Process | None:
    """A process that trains, once there is one; None if the run ends before."""
    while command.code is None:
        if found := trainers():
            return found[time.monotonic_ns() % len(found)]
        time.sleep(0.02)
    return None


def _told_to_end(command: Command) -> bool:
    """SIGTERM for the driver, and wait for its end; False if it had ended by itself."""
    if command.code is not None:
        return False
    command.terminate()
    while command.code is None:
        time.sleep(0.02)
    return command.code == 128 + signal.SIGTERM
