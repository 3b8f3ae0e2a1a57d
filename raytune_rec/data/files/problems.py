"""What is wrong with files: gathered from all of them, and told once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raytune_rec.data.blocks import RawBlock
from raytune_rec.errors import DataError


class FileProblems:
    """Problems of the files of a job. What is wrong with many files alike is said once, with their number."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, None]] = {}

    @contextmanager
    def of(self, file: Path | str = "") -> Iterator[None]:
        """A DataError inside is kept instead of raised.

        Args:
            file: whose it is; empty: of none, or of those that it names.
        """
        try:
            yield
        except DataError as error:
            for problem in error.problems:
                told = problem.removeprefix(str(file)) if problem.startswith(str(file)) else f": {problem}"
                self._files.setdefault(told, {})[str(file)] = None

    def beside(self, blocks: Iterator[RawBlock], file: Path | str = "") -> Iterator[RawBlock]:
        """The blocks up to the first that cannot be read; why it cannot is kept."""
        with self.of(file):
            yield from blocks

    def told(self) -> list[str]:
        return [_once(problem, list(files)) for problem, files in self._files.items()]


def each_file(blocks: Iterable[tuple[Path, Iterator[RawBlock]]]) -> Iterator[RawBlock]:
    """The blocks of file after file.

    Raises:
        DataError: what is wrong with any of them, when all others are read.
    """
    problems = FileProblems()
    for path, of_file in blocks:
        yield from problems.beside(of_file, path)
    if told := problems.told():
        raise DataError(told)


def _once(problem: str, files: list[str]) -> str:
    more = f" The same holds for {len(files) - 1:,} more, up to {files[-1]}." if len(files) > 1 else ""
    return f"{files[0]}{problem}{more}"
