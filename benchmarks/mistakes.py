"""What is wrong with what a benchmark was asked ends in lines, as of the product's own command, and not in a traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from raytune_rec.errors import RunFailed, UserError


def at_least(least: int) -> Callable[[str], int]:
    """The type of a whole number on the command line: a smaller one is refused with the rule."""

    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"give a whole number of {least} or more (given: {text!r})")
        return int(text)

    return number


def several(option: str, numbers: Sequence[int]) -> None:
    """What an interval is made over.

    Raises:
        UserError: there is one number, or one stands twice, which would make the interval too narrow.
    """
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        given = " ".join(map(str, numbers))
        raise UserError(f"{option}: an interval needs two numbers or more, each once (given: {given}); name others.")


@contextmanager
def told() -> Iterator[None]:
    """Exit code 2 and a line for each mistake: a path to nothing, a job that there is not, data of another kind. Exit code 1 and
    a line where what was asked for correctly could not be finished.
    """
    try:
        yield
        return
    except UserError as error:
        problems = error.problems
    except OSError as error:
        problems = (f"{error.filename or 'system'}: {error.strerror or error}; name another path.",)
    except RunFailed as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(1)
    for problem in problems:
        print(f"{sys.argv[0]}: {problem}", file=sys.stderr)
    sys.exit(2)
