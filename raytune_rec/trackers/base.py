"""What a tracker is: it tells one service of a run, and of each trial of its search.

A tracker works in a process of its own (`tracking.teller`), made for one run. It may take long, hang or fail: the run goes on,
and the same command tells later what is missing. Whatever it raises is shown as a note, without passwords.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from raytune_rec import components
from raytune_rec.report.trials import Trial
from raytune_rec.schema.work import Scalar

State = Literal["open", "finished", "failed"]
"""Of a run: to be gone on with, with all its results (some may be missing, as they say), or ended by an error."""


@dataclass(frozen=True)
class TrackedRun:
    """The run that a tracker is told of.

    Args:
        key: the same whenever the run goes on, and of no other run: 32 hexadecimal digits.
        name: of the run folder.
        folder: on this machine, in which the tracker may keep files.
        facts: of the job, flat.
    """

    key: str
    name: str
    folder: Path
    facts: Mapping[str, Scalar] = field(default_factory=dict)


class Tracker(Protocol):
    """One service.

    Args:
        options: checked. No option holds a password or a key: the job is kept, shown and sent. They come from the environment.
    """

    Options: ClassVar[type[components.Options]]
    needs: ClassVar[Mapping[str, str]]
    """Package to import -> what pip installs for it."""

    def __init__(self, options: Any) -> None: ...

    def begin(self, run: TrackedRun) -> Collection[str]:
        """Open the run there: a new one, or that of the same key again.

        Returns:
            `Trial.key` of the trials that it is known to have there, as far as the service can be asked.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Add a trial that has ended: complete, pruned or failed. After a kill one may come a second time, and is there once."""
        ...

    def end(self, state: State, measures: Mapping[str, float]) -> str:
        """The work on the run has ended, for now or for good.

        Args:
            measures: test metrics by `test/<metric>/<method>`; empty until the run is finished.

        Returns:
            Where it is to be seen.
        """
        ...
