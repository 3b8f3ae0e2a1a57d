"""The command in a process and session of its own, and all processes that came of it. No other process is ever touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 5.0
"""Seconds for Ray's processes to end after their driver; Ray's agents take longer, and are ended."""

_TRAINERS = ("Trainable", "TrainWorker", "ImplicitFunc")
"""Actors that train: of packs, of pre-trainings, and of a function that is given to Ray Tune."""


@dataclass(frozen=True)
class Process:
    """A living process.

    Args:
        pid: its number.
        start: clock ticks since boot when it began; tells it from a later one of the same number.
        parent, session: numbers.
        name: its command line.
    """

    pid: int
    start: int
    parent: int
    session: int
    name: str

    @property
    def trains(self) -> bool:
        return self.name.startswith("ray::") and any(actor in self.name for actor in _TRAINERS)

    def kill(self) -> bool:
        """SIGKILL; False if it had ended."""
        now = read(self.pid)
        if now is None or now.start != self.start:
            return False
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def read(pid: int) -> Process | None:
    """A process from /proc; None if it has ended (a zombie has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        name = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    state, parent, _, session, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else Process(pid, int(rest[15]), int(parent), int(session), name)


def family(root: Callable[[Process], bool]) -> list[Process]:
    """Living processes by a rule, and all that came of them."""
    every = {p.pid: p for name in os.listdir("/proc") if name.isdigit() and (p := read(int(name)))}
    found = {pid for pid, process in every.items() if root(process)}
    while more := {pid for pid, p in every.items() if p.parent in found} - found:
        found |= more
    return [every[pid] for pid in sorted(found)]


def environment() -> dict[str, str]:
    """This process's own, with this source tree, one thread, and a cluster of its own, whatever this shell is connected to."""
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    return {"RAY_AUTH_MODE": "disabled", **inherited, **own}


class Command:
    """`raytune-rec` at work.

    Args:
        words: after the command's name.
        log: takes what it prints.
        temporary: folder of Ray's own files; short, for a socket's path is limited.
        more: environment variables.
        module: that is run.
    """

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        temporary: Path,
        more: Mapping[str, str] | None = None,
        module: str = "raytune_rec",
    ) -> None:
        everything = {**environment(), "RAY_TMPDIR": str(temporary), **(more or {})}
        self.began = time.monotonic()
        with log.open("a", encoding="utf-8") as out:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                cwd=ROOT, env=everything, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    @property
    def code(self) -> int | None:
        """Exit code; None while it works."""
        return self._popen.poll()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def wait(self, timeout: float = 600.0) -> int:
        """The exit code, once it has ended and what was left of its processes too."""
        try:
            self._popen.wait(timeout)
        finally:
            self.clear(PATIENCE)
        assert self._popen.returncode is not None
        return self._popen.returncode

    def family(self) -> list[Process]:
        """The driver and all that came of it, also after its end: its session, and the descendants of each."""
        return family(lambda process: process.session == self._popen.pid)

    def trainers(self) -> list[Process]:
        """Processes that train."""
        return [p for p in self.family() if p.trains]

    def kill(self) -> bool:
        """SIGKILL for the driver; False if it had ended by itself."""
        if self.code is not None:
            return False
        self._popen.kill()
        return self._popen.wait() == -signal.SIGKILL

    def terminate(self) -> None:
        """SIGTERM for the driver."""
        self._popen.terminate()

    def clear(self, patience: float) -> dict[str, float]:
        """Wait for the rest of the family, and end what stays.

        Returns:
            trained: seconds until nothing trained any more; ended: how many had to be ended.
        """
        began, trained = time.monotonic(), 0.0
        while (left := self.family()) and time.monotonic() - began < patience:
            if any(p.trains for p in left):
                trained = time.monotonic() - began
            if not any(p.trains or "raylet" in p.name for p in left):
                break  # only Ray's agents: nothing that writes into a run
            time.sleep(0.05)
        ended = sum(p.kill() for p in left)
        while self.family():
            time.sleep(0.02)
        return {"trained": trained, "ended": ended}
