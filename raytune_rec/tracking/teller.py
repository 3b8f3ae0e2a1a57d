"""The process of one tracker: it follows the journal of a run and tells the tracker of each trial that has ended.

A line of JSON on standard input says what to tell whom, and a second one, `{"end": <state>}`, that the work on the run has ended.
Where the input ends the driver is gone, and the process goes at once, whatever it does: the next one begins where it stopped. It
answers in lines of JSON: `left` (trials not told yet) and `note` (words for the user).
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raytune_rec.components import component, options_of
from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.report.run import read
from raytune_rec.report.trials import trial_of
from raytune_rec.trackers.base import State, TrackedRun, Tracker
from raytune_rec.tracking.record import Record, results_of
from raytune_rec.tuning.search.records import Reader

SECONDS = 3.0
"""Between two looks at the journal."""
AGAIN = 20
"""Looks until a tracker that failed is tried again."""
KEPT = 10
"""Trials after which it is noted which are told: after a kill no more come a second time."""
_ENDED = {"complete", "pruned", "fail"}


class Teller:
    """One tracker, for one run.

    Args:
        run: its folder. name, options, folders: of the tracker. facts: of the job.
    """

    def __init__(self, run: Path, name: str, options: Mapping[str, Any], folders: list[Path], facts: Mapping[str, Any]) -> None:
        self._make = component("trackers", name, folders)
        self._options = options_of("trackers", name, options, folders)
        self._run, self._facts = run, facts
        self._record = Record.of(run, name, options)
        self._reader = Reader(run / "journal")
        self._tracker: Tracker | None = None

    def tell(self) -> Iterator[int]:
        """Tell what has ended since the last time; yields how many trials are left.

        Raises:
            Exception: whatever the tracker raises. The next call begins with it anew.
        """
        try:
            tracker = self._tracker or self._begun()
            trials = [trial for trial in map(trial_of, self._reader.trials()) if trial.state in _ENDED]
            missing = [trial for trial in trials if trial.key not in self._record.told]
            for place, trial in enumerate(missing, start=1):
                tracker.tell(trial)
                self._record.told.add(trial.key)
                if place % KEPT == 0 or place == len(missing):
                    self._record.keep()
                yield len(missing) - place
        except BaseException:
            self._tracker = None
            self._record.keep()
            raise

    def end(self, state: State) -> str:
        """Say that the work on the run has ended; returns where it is to be seen."""
        assert self._tracker is not None, "told before"
        finished = state == "finished"
        where = self._tracker.end(state, dict(_measures(self._run)) if finished else {})
        self._record.ended = results_of(self._run) if finished else ""
        self._record.keep()
        return where

    def _begun(self) -> Tracker:
        self._record.keep()  # whatever happens, the run is known there by this key
        tracker: Tracker = self._make(self._options)
        run = TrackedRun(self._record.key, self._run.name, self._record.path.parent, self._facts)
        self._record.told |= set(tracker.begin(run))
        self._tracker = tracker
        return tracker


def _measures(run: Path) -> Iterator[tuple[str, float]]:
    """Test metrics of a finished run: the mean over its domains, or those of each unit where there is none."""
    told = read(run)
    for unit in [MEAN] if told.averaged else told.units:
        for method in told.methods:
            for metric, value in told.measures(method, unit).items():
                if isinstance(value, Mapping) and isinstance(value.get("mean"), float):
                    yield "/".join(["test", metric, method, *([] if unit == MEAN else [unit])]), value["mean"]


def words(error: BaseException) -> str:
    """An error in a line, without passwords and keys."""
    text = without_secrets(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return text if len(text) <= 300 else f"{text[:300]} ..."


def without_secrets(text: str) -> str:
    """A text without the passwords of its addresses, and without passwords and keys of the environment."""
    text = re.sub(r"//[^/\s]*@", "//***@", text)
    text = re.sub(r"([?&]password=)[^&\s]*", r"\1***", text)
    for name, value in os.environ.items():
        if len(value) >= 6 and re.search(r"KEY|TOKEN|PASSWORD|SECRET", name, re.IGNORECASE):
            text = text.replace(value, "***")
    return text


def main() -> None:
    """Serve one run until its end."""
    lines, silence = os.fdopen(os.dup(1), "w"), os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what libraries print is no answer, and may hold what no log should
        os.dup2(silence, stream)
    given, ended, state = json.loads(sys.stdin.readline()), threading.Event(), list[State]()

    def listen() -> None:
        for line in sys.stdin:
            state.append(json.loads(line)["end"])
            ended.set()
        os._exit(0)

    def answer(**facts: Any) -> None:
        print(json.dumps(facts), file=lines, flush=True)

    threading.Thread(target=listen, daemon=True).start()
    teller = Teller(Path(given["run"]), given["tracker"], given["options"], list(map(Path, given["folders"])), given["facts"])
    last, wait = "", 0
    while True:
        over = ended.is_set()
        try:
            if over or not wait:
                for left in teller.tell():
                    answer(left=left)
                if over:
                    answer(note=without_secrets(f"told of this run: {teller.end(state[0])}"))
                    os._exit(0)  # whatever threads a library keeps
        except Exception as error:
            if over:
                answer(note=f"{words(error)}; the results are whole without it, and the same command tells it what is missing")
                os._exit(0)
            if (said := words(error)) != last:
                answer(note=f"{said}; the run goes on, and it is tried again")
            last, wait = said, AGAIN
        ended.wait(SECONDS)
        wait = max(0, wait - 1)


if __name__ == "__main__":
    main()
