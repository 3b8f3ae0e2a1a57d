"""What a class of faults is, and whose runs it strikes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from benchmarks.faults.cluster import Nodes
from benchmarks.kills.sweep import Strike, Sweep

Start = Literal["nothing", "prepared", "pretrained", "finished"]
"""What of the run is there before the attempt that is struck."""


@dataclass(frozen=True)
class Drawn:
    """What is drawn for one injection.

    Args:
        strikes: from outside, in the first attempt.
        start: what is there before.
        inside: fault within the command's processes, without its `state`.
        before: done to the folder before the first attempt.
        between: done to the folder before the second.
        words: further words of attempts from the second on; first: of the first.
        refused: mends what `before` has damaged, once the command has ended with exit code 2 and the file's name.
    """

    strikes: tuple[Strike, ...] = ()
    start: Start = "pretrained"
    inside: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[Path], Path | None] | None = None
    between: Callable[[Path], object] | None = None
    words: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    refused: Callable[[Path], object] | None = None


@dataclass(frozen=True)
class Class:
    """A class of faults.

    Args:
        draw: from chance, the seconds of each stage of an undisturbed run, and the cluster.
        same: whether the run has to end as an undisturbed one; else only as one without lost or doubled results.
    """

    draw: Callable[[random.Random, Mapping[str, float], Nodes], Drawn]
    same: bool = True


class Subject(Protocol):
    """A command whose runs are struck, and what must hold of the folders that it leaves.

    Attributes:
        prefix: of what its runs are called.
        module: the command: `run JOB --out RUN`.
        finished: folder of its undisturbed run, beside those that are struck.
        classes: of faults that it may meet.
    """

    prefix: str
    module: str
    finished: str
    classes: Mapping[str, Class]

    def wrong(self, sweep: Sweep, drawn: Drawn, same: bool, whole: Path) -> list[str]:
        """What a run has otherwise than it should; empty where all is well.

        Args:
            sweep: the run, with all its attempts.
            drawn: what was injected.
            same: see `Class`.
            whole: folder of the undisturbed run.
        """

    def results(self, run: Path, whole: Path) -> dict[str, int]:
        """`lost`: trials that the undisturbed run has and this one has not; `twice`: results that were told more than once."""
