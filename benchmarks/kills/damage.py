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
    for name, damage in CASES.items():
        for finished in (True, False):
            copy = scratch / "damaged"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(run, copy)
            if not finished:
                for stage in ("tune", "export", "evaluate", "report"):
                    shutil.rmtree(copy / "stages" / stage)
            segment = chance.choice(journal.segments(copy / "journal")[:-1])
            damage(segment, chance)
            found[f"{name}, {'finished' if finished else 'unfinished'} run"] = _answer(job, copy, segment)
            shutil.rmtree(copy)
    return found


def _answer(job: Path, run: Path, segment: Path) -> list[str]:
    words = [sys.executable, "-m", "raytune_rec", "run", str(job), "--out", str(run)]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    found = [] if done.returncode == 2 else [f"exit code {done.returncode}"]
    if segment.name not in done.stderr:
        found.append(f"{segment.name} is not named: {done.stderr.strip()[-300:]!r}")
    if "Traceback" in done.stderr + done.stdout:
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
