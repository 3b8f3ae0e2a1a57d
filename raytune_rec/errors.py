"""Errors that reach a person. Each message states the rule, the value that broke it and the remedy."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can mend: a job, a file, an artifact. The command line ends with exit code 2.

    Args:
        problems: one sentence, or several that are reported together.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class JobError(UserError):
    """The job file or its options are wrong."""


class DataError(UserError):
    """A raw file cannot be read, or too many of its rows cannot be used."""


class AssemblyError(UserError):
    """A backbone, a prompt and a strategy do not fit together."""


class ArtifactError(UserError):
    """An artifact or a run folder is damaged, foreign or made for something else."""


class MachineError(UserError):
    """This machine, or a setting of its environment, lacks what a run needs."""


class RunFailed(RuntimeError):
    """Work that was asked for correctly could not be finished. The command line ends with exit code 1."""


class Diverged(RunFailed):
    """A training whose loss or metric is not finite. The same training would end alike, so that others are gone on with."""
