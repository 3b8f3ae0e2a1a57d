"""A journal with a damaged segment is refused: exit code 2, and one plain line that names the segment."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.kills import journal
from benchmarks.kills.processes import ROOT, environment


def refusals(job: Path, run: Path, scratch: Path, chance: random.Random) -> dict[str, list[str]]:
    """Damage -> what was wrong with the answer, for copies of a finished run and of one whose search is to go on."""
    found = {}
    for case in CASES:
        for finished in (True, False):
            copy = scratch / "damaged"
            segment = damaged(run, copy, case, chance, finished)
            state = "finished" if finished else "unfinished"
            found[f"{case}, {state} run"] = wrong(segment, *answer(job, copy))
            shutil.rmtree(copy)
    return found


def answer(job: Path, run: Path) -> tuple[int, str, str]:
    """What the command says of a damaged run: exit code, standard output and error."""
    words = [sys.executable, "-m", "raytune_rec", "run", str(job), "--out", str(run)]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


def damaged(run: Path, copy: Path, case: str, chance: random.Random, finished: bool) -> Path:
    """Copy a finished run, as it is or as one whose search is to go on, and damage a segment of its journal; that segment."""
    shutil.copytree(run, copy)
    for stage in () if finished else ("tune", "export", "evaluate", "report"):
        shutil.rmtree(copy / "stages" / stage)
    segment = chance.choice(journal.segments(copy / "journal")[:-1])  # nobody can miss the last one
    CASES[case](segment, chance)
    return segment


def wrong(segment: Path, code: int, out: str, error: str) -> list[str]:
    """What is wrong with the answer of the command."""
    found = [] if code == 2 else [f"exit code {code}"]
    if segment.name not in error:
        found.append(f"{segment.name} is not named: {error.strip()[-300:]!r}")
    if "Traceback" in error + out:
        found.append("a traceback")
    return found


def _flip(segment: Path, place: int) -> None:
    content = bytearray(segment.read_bytes())
    content[place] ^= 1
    segment.write_bytes(content)


def _record(segment: Path, chance: random.Random) -> None:
    content = segment.read_bytes()
    _flip(segment, chance.randrange(content.index(b"\n") + 1, len(content)))


def _checksum(segment: Path, chance: random.Random) -> None:
    _flip(segment, segment.read_bytes().index(b'"sha256": "') + 11 + chance.randrange(64))


def _cut(segment: Path, chance: random.Random) -> None:
    content = segment.read_bytes()
    segment.write_bytes(content[: chance.randrange(len(content))])


CASES: dict[str, Callable[[Path, random.Random], object]] = {
    "a byte of a record": _record,
    "a byte of the checksum": _checksum,
    "cut off": _cut,
    "missing": lambda segment, chance: segment.unlink(),
}
