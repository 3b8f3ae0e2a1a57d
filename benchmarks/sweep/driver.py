"""What the driver spends on a trial: asking, planning, telling and writing the journal, with packs that answer at once."""

from __future__ import annotations

import math
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from raytune_rec.config import Job, parse
from raytune_rec.schema.work import LaneResult, Pack, Scalar
from raytune_rec.tensors import mix
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.search.space import Dimension, Space
from raytune_rec.tuning.search.studies import Search, Studies

PROTOCOL = (
    "Seconds of this process from the first question to the last answer, divided by the trials; training takes no time.",
    "TPE over 8 numbers, rounds of 16, a curve of 10 epochs in every result; the trials are spread evenly over the domains.",
    "The last column: the same per trial, in the last tenth of the trials.",
)

SPACE = Space(tuple(Dimension(f"training.lr.g{i}", "float", 1e-4, 1e-1, log=True) for i in range(8)))


def measured(trials: Sequence[int], domains: Sequence[int], scratch: Path) -> list[dict[str, Any]]:
    """Every number of trials over every number of domains that is not larger."""
    return [_run(t, d, scratch / f"driver-{t}-{d}") for t in trials for d in domains if d <= t]


def table(found: Sequence[dict[str, Any]]) -> Table:
    shown = Table("trials", "domains", "ms a trial", "journal, bytes a trial", "ms a trial at the end", title="The driver")
    for of in found:
        times = f"{of['ms']:.1f}", f"{of['bytes']:.0f}", f"{of['ms_at_the_end']:.1f}"
        shown.add_row(f"{of['trials']:,}", str(of["domains"]), *times)
    return shown


def job_of(trials: int, seed: int = 0) -> Job:
    return parse(
        {
            "name": "driver",
            "seed": seed,
            "data": {"source": "none"},
            "backbone": {"name": "none"},
            "tune": {"trials": trials, "round": 16, "pack": 32, "sampler": "tpe"},
            "methods": {"row": {"strategy": "single"}},
        }
    )


def best_of(trials: int, seed: int, scratch: Path) -> float:
    """The best value of one study, without noise."""
    folder = scratch / f"best-{seed}"
    best = -math.inf
    for pack, _ in _play(job_of(trials, seed=seed), 1, folder):
        best = max(best, *(_value(lane.options) for lane in pack.lanes))
    shutil.rmtree(folder)
    return best


def _run(trials: int, domains: int, folder: Path) -> dict[str, Any]:
    begin = time.perf_counter()
    done, late, before = 0, 0.0, 0
    for pack, now in _play(job_of(trials // domains), domains, folder):
        done += len(pack.lanes)
        if done >= 0.9 * trials and not late:
            late, before = now, done
    end = time.perf_counter()
    size = sum(path.stat().st_size for path in folder.glob("*.json"))
    shutil.rmtree(folder)
    at_the_end = (end - late) / (done - before) if done > before else math.nan
    ms = {"ms": 1000 * (end - begin) / done, "ms_at_the_end": 1000 * at_the_end}
    return {"trials": done, "domains": domains, **ms, "bytes": size / done}


def _play(job: Job, domains: int, folder: Path) -> Iterator[tuple[Pack, float]]:
    """Packs that answer at once, with the time of the answer. As many as can be are handed out before one answers."""
    shutil.rmtree(folder, ignore_errors=True)
    searches = [Search("row", f"d{i}", SPACE, lambda options: ("", ()), 10**6, 10) for i in range(domains)]
    planner = SearchPlanner.of(Studies(folder, job), searches)
    waiting: deque[Pack] = deque()
    while True:
        while isinstance(item := planner.next(), Pack):
            waiting.append(item)
        if not waiting:
            return
        pack = waiting.popleft()
        planner.done(pack, [_result(lane.trial, lane.options) for lane in pack.lanes])
        yield pack, time.perf_counter()


def _value(options: Mapping[str, Scalar]) -> float:
    """0.8 at its best, where every number has a place of its own."""
    return 0.8 - 0.01 * sum((math.log10(float(v)) + 2 + 0.1 * i) ** 2 for i, v in enumerate(options.values()))


def _result(trial: int, options: Mapping[str, Scalar]) -> LaneResult:
    """The value with a little noise, and a curve towards it."""
    best = _value(options) + 1e-6 * (mix(trial) % 100)
    curve = (*(best - 0.02 / (1 + e) for e in range(10)), best)
    return LaneResult(trial, 0, "complete", best, 10, curve, curve[1:], 10, 1.0, 2320)
