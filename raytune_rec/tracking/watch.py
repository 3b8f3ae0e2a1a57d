"""What a run knows of its trackers: that their processes are started with it, and awaited for a while at its end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import raytune_rec
from raytune_rec.config import Job
from raytune_rec.report.words import counted
from raytune_rec.storage.marker import complete
from raytune_rec.trackers.base import State
from raytune_rec.tracking.record import Record, results_of

PATIENCE = 60.0
"""Seconds for which a run that is done waits for a tracker that does not get on."""
_MISSING = "the results are whole without it, and the same command tells it what is missing"


@contextmanager
def told(job: Job, run: Path, say: Callable[[str], None], at: Callable[[str], None] = lambda doing: None) -> Iterator[None]:
    """While the block runs, the trackers of a job are told of its trials, and then how it ended. Nothing of it ends a run.

    Args:
        run: the run folder, held by this process. say: shows a line. at: told what is being done.
    """
    tellers = [_Process(job, run, name, say, at) for name in job.trackers]
    for teller in tellers:
        if not teller.knows_all():
            teller.start()
    with ExitStack() as stack:
        for teller in tellers:
            stack.callback(teller.drop)
        try:
            yield
        except Exception:
            _end(tellers, "failed")
            raise
        _end(tellers, "finished" if complete(run / "stages" / "report") else "open")


def _end(tellers: list[_Process], state: State) -> None:
    for teller in tellers:
        if not teller.knows_all():
            teller.end(state)
    for teller in tellers:
        teller.wait()


class _Process:
    """The process of one tracker (`teller`)."""

    def __init__(self, job: Job, run: Path, name: str, say: Callable[[str], None], at: Callable[[str], None]) -> None:
        self._given = {
            "run": str(run), "tracker": name, "options": job.trackers[name], "folders": job.components, "facts": _facts(job),
        }  # fmt: skip
        self._run, self._name, self._options, self._say, self._at = run, name, job.trackers[name], say, at
        self._process: subprocess.Popen[str] | None = None
        self._heard, self._left = time.monotonic(), 0

    def knows_all(self) -> bool:
        """Whether the tracker has been told of the results that are there."""
        results = results_of(self._run)
        return bool(results) and Record.of(self._run, self._name, self._options).ended == results

    def start(self) -> None:
        words = [sys.executable, "-m", "raytune_rec.tracking.teller"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self._send(self._given)
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()

    def end(self, state: State) -> None:
        """Say how the run ended; `wait` waits until the tracker knows."""
        if self._process is None:
            self.start()
        self._heard = time.monotonic()
        self._send({"end": state})

    def wait(self) -> None:
        """Until all is told, or the tracker has not got on for a while."""
        if self._process is None:
            return
        while self._listener.is_alive():
            self._listener.join(1.0)
            self._at(f"telling {self._name} of {counted(self._left, 'trial')} more")
            if time.monotonic() - self._heard > PATIENCE:
                self._told(f"has not answered for {PATIENCE:.0f} s; {_MISSING}")
                return
        if self._process.wait():
            self._told(f"its process ended with {self._process.returncode}; {_MISSING}")

    def drop(self) -> None:
        """Let the process go, whatever it does."""
        if self._process:
            with suppress(OSError):
                self._process.kill()
            self._process.wait()
            self._listener.join()

    def _send(self, facts: Mapping[str, Any]) -> None:
        assert self._process and self._process.stdin
        with suppress(OSError):  # it has ended
            self._process.stdin.write(f"{json.dumps(facts)}\n")
            self._process.stdin.flush()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            self._heard, answer = time.monotonic(), json.loads(line)
            self._left = answer.get("left", self._left)
            if "note" in answer:
                self._told(answer["note"])

    def _told(self, text: str) -> None:
        self._say(f"trackers.{self._name}: {text}")


def _facts(job: Job) -> dict[str, Any]:
    """What a tracker is told of a job: nothing of where it lies, which names a user or a machine."""
    return {
        "job": job.name,
        "title": job.title,
        "seed": job.seed,
        "source": job.data.source,
        "backbone": job.backbone.name,
        "metric": job.training.metric,
        "trials": job.tune.trials,
        "sampler": job.tune.sampler,
        "raytune_rec": raytune_rec.__version__,
    }
