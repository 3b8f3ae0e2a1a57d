"""The record of all trials: an Optuna journal made of immutable segment files.

A segment is written under another name and put in place at once, so it is complete or absent, on a local disk and on NFS
alike. Its first line holds the checksum of the rest: one JSON record a line. Only the driver writes. Whatever belongs together (a
round with its plan, the results of a pack) is one segment: a kill leaves all of it or nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import OptunaError
from optuna.storages.journal import BaseJournalBackend

from raytune_rec.errors import ArtifactError, RunFailed
from raytune_rec.storage.files import STORAGE, parse_json

FORMAT = 2
Record = dict[str, Any]


class Journal(BaseJournalBackend):
    """The journal in a folder.

    Args:
        folder: made by the first write.

    Raises:
        ArtifactError: a segment is damaged or missing; its name is given.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._next = 0  # number of the segment that is read or written next
        self._first = 0  # log number of _records[0]; what the reader has had is dropped
        self._records: list[Record] = []
        self._batch: list[Record] | None = None
        self._torn = False
        _check_numbers(self.folder)
        self._load()

    def read_logs(self, log_number_from: int) -> list[Record]:
        """Records from a number on, those of an open batch included."""
        if log_number_from < self._first:  # a new reader
            assert self._batch is None, "a batch has one reader"
            self._next, self._first, self._records = 0, 0, []
        self._load()
        del self._records[: log_number_from - self._first]
        self._first = log_number_from
        return list(self._records)

    def append_logs(self, logs: list[Record]) -> None:
        """Write records: with the open batch, or as a segment of their own."""
        if self._torn:
            raise RunFailed(f"{self.folder}: an earlier write to the journal failed; run the same command again.")
        if self._batch is None:
            self._publish(logs)
        else:
            self._batch += logs
        self._records += logs

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Everything appended inside becomes one segment, at the end or never."""
        assert self._batch is None, "batches do not nest"
        self._batch = []
        try:
            yield
            if self._batch:
                self._publish(self._batch)
        except BaseException:
            self._torn = True  # the reader knows records that will never exist
            raise
        finally:
            self._batch = None

    def _publish(self, logs: list[Record]) -> None:
        path = _segment(self.folder, self._next)
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        head = {"format": FORMAT, "records": len(logs), "sha256": hashlib.sha256(lines.encode()).hexdigest()}
        if not STORAGE.put_if_absent(path, f"{json.dumps(head)}\n{lines}".encode()):
            raise RunFailed(f"{path}: another process writes this journal; let it end, then run the same command again.")
        self._next += 1

    def _load(self) -> None:
        if self._batch is not None:
            return
        while (path := _segment(self.folder, self._next)).exists():
            self._records += _read(path)
            self._next += 1


def merge(folder: Path, out: Path) -> None:
    """Write the journal as one file that Optuna's `JournalFileBackend`, `optuna-dashboard` and its plots read.

    Raises:
        ArtifactError: a segment is damaged or missing.
    """
    _check_numbers(Path(folder))

    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            number = 0
            while (segment := _segment(Path(folder), number)).exists():
                file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in _read(segment))
                number += 1

    STORAGE.put(Path(out), write)


def _segment(folder: Path, number: int) -> Path:
    return folder / f"{number:012d}.json"


def _check_numbers(folder: Path) -> None:
    for number, path in enumerate(STORAGE.list(folder, "[0-9]*.json")):
        if path != (missing := _segment(folder, number)):
            raise ArtifactError(f"{missing}: this segment of the journal is missing; copy it anew, or start a new run.")


def _read(path: Path) -> list[Record]:
    remedy = "copy it anew, or start a new run"
    try:
        head_line, _, lines = STORAGE.get(path).partition(b"\n")
        head = parse_json(head_line.decode())
        known, sha256 = head["format"], head["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ArtifactError(f"{path}: this segment of the journal is damaged (no readable first line); {remedy}.") from None
    if known != FORMAT:
        raise ArtifactError(f"{path}: a journal of format {known!r}; this version reads {FORMAT}. Use the version that wrote it.")
    if hashlib.sha256(lines).hexdigest() != sha256:
        raise ArtifactError(f"{path}: this segment of the journal is damaged (its checksum does not fit); {remedy}.")
    try:
        records = [parse_json(line, finite=False) for line in lines.decode().splitlines()]
    except (ValueError, RecursionError):
        records = [None]
    if not all(isinstance(record, dict) for record in records):
        raise ArtifactError(f"{path}: this segment of the journal is damaged (it holds no records); {remedy}.")
    return records


@contextmanager
def replayed(folder: Path) -> Iterator[None]:
    """What Optuna makes of sound segments whose records do not fit together.

    Raises:
        ArtifactError: in place of whatever it raises.
    """
    try:
        yield
    except (ArtifactError, RunFailed):
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
        OptunaError,
    ) as error:
        what = f"the records of the journal do not fit together ({type(error).__name__}: {str(error)[:200]})"
        raise ArtifactError(f"{folder}: {what}; copy it anew, or start a new run.") from None
