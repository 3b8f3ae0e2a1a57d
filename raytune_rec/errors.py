"""Errors that reach a person. Each message states the rule, the value that broke it and the remedy."""

from __future__ import annotations

import errno
import os
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


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused; torch tells it as a RuntimeError of its own words."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "out of memory" in str(error)


class Diverged(RunFailed):
    """A training whose loss or metric is not finite. The same training would end alike, so that others are gone on with."""


def told(error: OSError) -> str:
    """What an error of the operating system means for a run: the file, the reason, and the remedy where there is one."""
    if error.filename is None and error.strerror == os.strerror(errno.ENOENT):  # of `getcwd`; libraries have words of their own
        return "the folder that this command was given in is gone; change into one that is there, and give it again."
    reason = f"{error.filename or 'system'}: {error.strerror or error}"
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{reason}. {remedy} The same command goes on where this one stopped." if remedy else reason


_FULL = "Make room there, or name a folder on another disk with --out."
_CLOSED = "Let this user write there, or name another folder with --out."
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "Raise the limit of a file's size (ulimit -f), or name a folder on another disk with --out.",
    errno.EROFS: _CLOSED,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EIO: "The disk, or the way to it, fails: mend it, or copy the folder to another one.",
    errno.ESTALE: "The network folder has gone: mount it again.",
    errno.EISDIR: "A folder lies where a file belongs: remove it.",
    errno.ENOTDIR: "A file lies where a folder belongs: remove it.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.ENFILE: "Raise the limit of open files (ulimit -n).",
}
