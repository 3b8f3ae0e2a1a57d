"""What is wrong with what a benchmark was asked ends in lines, as of the product's own command, and not in a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from raytune_rec.errors import UserError


@contextmanager
def told() -> Iterator[None]:
    """Exit code 2 and a line for each mistake: a path to nothing, a job that there is not, data of another kind."""
    try:
        yield
        return
    except UserError as error:
        problems = error.problems
    except OSError as error:
        problems = (f"{error.filename or 'system'}: {error.strerror or error}; name another path.",)
    for problem in problems:
        print(f"{sys.argv[0]}: {problem}", file=sys.stderr)
    sys.exit(2)
