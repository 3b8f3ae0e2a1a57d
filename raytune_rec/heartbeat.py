"""A word at intervals while something works in silence, for whoever reads the log of a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

SECONDS = 20.0
"""Of silence, at most."""


class Heartbeat:
    """Says where the work is once nothing else has been said for a while.

    Args:
        say: shows a line.
        seconds: of silence before a line; 0: none, as on a terminal.
    """

    def __init__(self, say: Callable[[str], None], seconds: float = SECONDS) -> None:
        self._say, self._seconds = say, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._last = time.monotonic()
        self.begin("start")

    def begin(self, name: str) -> None:
        """A part of the work begins."""
        self._name, self._doing, self._since = name, "at work", time.monotonic()

    def at(self, doing: str) -> None:
        """What the part is doing now."""
        self._doing = doing

    def say(self, line: str) -> None:
        """Show a line."""
        self._last = time.monotonic()
        self._say(line)

    def __enter__(self) -> Heartbeat:
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        if self._seconds:
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(max(0.0, self._last + self._seconds - time.monotonic())):
            if time.monotonic() - self._last >= self._seconds:
                self.say(f"{self._name}: {self._doing}, {time.monotonic() - self._since:.0f} s so far")
