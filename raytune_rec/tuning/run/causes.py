"""Why a search ended before its time. Ray Tune hides what was raised, and makes an unreadable file of its own of a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from raytune_rec.errors import RunFailed, UserError
from raytune_rec.storage.files import unwritable


def cause(error: BaseException, run_folder: Path) -> BaseException:
    """The error that a person is told.

    Args:
        error: that Ray Tune ended with.
        run_folder: whose disk may be full, gone or closed.
    """
    for each in _chain(error):
        if isinstance(each, UserError | RunFailed) or (isinstance(each, OSError) and each.errno):
            return each
    last = (str(error).strip().splitlines() or ["no message"])[-1]
    return unwritable(run_folder) or RunFailed(
        f"Ray Tune ended with packs at work ({type(error).__name__}: {last}). The same command goes on where this one stopped."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
