"""What must hold of a run folder of the product."""

from __future__ import annotations

from pathlib import Path

from benchmarks.faults.classes import CLASSES
from benchmarks.faults.fault import Drawn
from benchmarks.kills import compare, journal
from benchmarks.kills.sweep import Sweep

_EVERY = 1000
"""More packs than a run has."""


class Ours:
    """The command `raytune-rec`."""

    prefix, module, finished = "", "benchmarks.faults.inside", "finished"
    classes = CLASSES

    def wrong(self, sweep: Sweep, drawn: Drawn, same: bool, whole: Path) -> list[str]:
        """Differences from the undisturbed run, a traceback, and what was trained again that had finished."""
        found = ["a traceback in what the command said"] if "Traceback" in sweep.log.read_text() else []
        if sweep.code != 0:
            return found + sweep.failed()[-1:]
        for attempt in sweep.attempts if drawn.inside else ():
            # a pack that is struck from inside begins anew, and on a full disk each that has no checkpoint yet
            attempt.workers += _EVERY if drawn.inside["kind"] == "disk full" else 1
        if drawn.start != "finished":
            found += sweep.trained_again()
        if not same:
            return found + journal.problems(sweep.run)
        told = {"job.toml: differs"} if "--set" in drawn.words else set()
        return found + [line for line in compare.differences(whole, sweep.run) if line not in told]

    def results(self, run: Path, whole: Path) -> dict[str, int]:
        here, there = (journal.read(folder / "journal") for folder in (run, whole))
        told = [n for counts in (here.ends, here.results) for n in counts.values()]
        return {"lost": len({*there.ends} - {*here.ends}), "twice": sum(n > 1 for n in told)}


OURS = Ours()
