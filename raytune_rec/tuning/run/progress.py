"""How far the search is: a bar on a terminal, a line at intervals elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from raytune_rec.tuning.packs.planner import Progress
from raytune_rec.tuning.run.dispatcher import Dispatcher

SECONDS = 20.0
"""Between two lines."""


class Reporter:
    """Shows a dispatcher's progress.

    Args:
        title: what is being done.
        say: takes a line where there is no terminal for a bar; None: stderr.
    """

    def __init__(self, title: str = "tune", say: Callable[[str], None] | None = None) -> None:
        self.title, self._say = title, say
        self._last = self._begun = time.monotonic()
        self._first: int | None = None
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        console = Console(stderr=True)
        if console.is_terminal:
            what, best = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[best]}"))
            columns = (what, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), best)
            self._bar = Bar(*columns, console=console, transient=True)
            self._task = self._bar.add_task(title, total=None, best="")

    def __enter__(self) -> Reporter:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, dispatcher: Dispatcher) -> None:
        """Show where the dispatcher is, at most once in an interval."""
        now = time.monotonic()
        if self._first is None:  # what an earlier start has done says nothing of this one's pace
            self._first = dispatcher.planner.progress().done
        if now - self._last < (1.0 if self._bar else SECONDS):
            return
        self._last = now
        progress = dispatcher.planner.progress()
        best = ", ".join(f"{study} {value:.4f}" for study, value in list(progress.best.items())[:6])
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=progress.done, total=progress.total, best=best)
            return
        parts = [f"{progress.done} of {progress.total} trials"]
        parts += [f"{progress.units_done} of {progress.units} domains done"] if progress.units else []
        parts += [f"{dispatcher.packs_done} packs", *_pace(progress, progress.done - self._first, now - self._begun)]
        line = f"{self.title}: {', '.join(parts)}"
        (self._say or _stderr)(f"{line}; best {best}" if best else line)


def _pace(progress: Progress, done: int, seconds: float) -> list[str]:
    """How fast it goes, and how long it would take at that pace; nothing before the first trial is done."""
    if not done:
        return []
    left = (progress.total - progress.done) * seconds / done
    hours, minutes = divmod(math.ceil(left / 60), 60)
    return [f"{60 * done / seconds:.1f} trials a minute", f"about {f'{hours} h ' if hours else ''}{minutes} min left"]


def _stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
