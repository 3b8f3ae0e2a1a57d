"""What must hold of a folder of the script: the trials and results of an undisturbed run, each once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.faults.fault import Drawn
from benchmarks.faults.plain.classes import CLASSES
from benchmarks.kills import notes
from benchmarks.kills.sweep import Sweep

Trial = tuple[str, str]
"""(domain, configuration as JSON)"""


class Plain:
    """The script `benchmarks.faults.plain.script`."""

    prefix, module, finished = "plain_", "benchmarks.faults.plain.inside", "plain"
    classes = CLASSES

    def wrong(self, sweep: Sweep, drawn: Drawn, same: bool, whole: Path) -> list[str]:
        """Configurations that were not proposed, or that no undisturbed run proposes, and other results of the same one."""
        if sweep.code != 0:
            return sweep.failed()[-1:]
        here, there = _table(sweep.run), _table(whole)
        found = [f"{' '.join(trial)} is missing" for trial in sorted(there.keys() - here.keys())]
        found += [f"{' '.join(trial)} is only here" for trial in sorted(here.keys() - there.keys())]
        differ = (trial for trial in sorted(here.keys() & there.keys()) if here[trial] != there[trial])
        return found + [f"{' '.join(trial)} came to {here[trial]}, not {there[trial]}" for trial in differ]

    def results(self, run: Path, whole: Path) -> dict[str, int]:
        """`lost`: so many trials fewer than undisturbed have their last epoch; `twice`: those of which Tune noted it again."""
        last = {epoch for _, epoch in _table(whole).values()}
        told = Counter(trial for trial, epoch in _reports(run) if epoch in last)
        finished = sum(epoch in last for _, epoch in _table(run).values()) if (run / _TABLE).exists() else len(told)
        return {"lost": max(0, len(_table(whole)) - finished), "twice": sum(n > 1 for n in told.values())}


_TABLE = "plain/results.json"
PLAIN = Plain()


def _table(run: Path) -> dict[Trial, tuple[float, int]]:
    """Trial -> its value and last epoch, as the script tells them at its end."""
    told: dict[str, list[dict[str, Any]]] = json.loads((run / _TABLE).read_text())
    return {(domain, _name(of["config"])): (of["value"], of["epoch"]) for domain, trials in told.items() for of in trials}


def _reports(run: Path) -> list[tuple[Trial, int]]:
    """Every report that Tune has written down, of all trials that it ever began: (trial, epoch)."""
    return [
        ((path.parents[1].name, _name(report["config"])), report["epoch"])
        for path in sorted(run.glob("plain/*/*/result.json"))
        for report in notes.lines(path)
    ]


def _name(config: dict[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)
