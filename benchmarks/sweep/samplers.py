"""Does asking many configurations at a time cost quality? TPE in rounds of 1, 8 and 32 against random search, equal trials.

And what a sampler loses that sees only some of a long study.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from rich.table import Table

from benchmarks.sweep.case import Case
from raytune_rec.schema.work import Pack

PROTOCOL = (
    "Best validation AUC after so many trials, mean and standard deviation over the seeds; 5 epochs each, no Ray.",
    "Equal seeds have equal first points and start values; random search draws a configuration in the whole space.",
)

MARKS = (16, 32, 64)
WAYS = {"random": ("random", 64), "TPE, B = 1": ("tpe", 1), "TPE, B = 8": ("tpe", 8), "TPE, B = 32": ("tpe", 32)}


def measured(case: Case, seeds: Sequence[int], say: Callable[[str], None]) -> dict[str, list[list[float]]]:
    """Way -> for each seed the best value after each of MARKS."""
    found: dict[str, list[list[float]]] = {}
    with ProcessPoolExecutor(case.cores, get_context("spawn")) as pool:
        waiting = {
            name: [pool.submit(_search, replace(case, seed=s, tune={"sampler": sampler, "round": size})) for s in seeds]
            for name, (sampler, size) in WAYS.items()
        }
        for name, of_seeds in waiting.items():
            values = [seed.result() for seed in of_seeds]
            found[name] = [[max(v[:mark]) for mark in MARKS if mark <= len(v)] for v in values]
            say(f"{name}: {statistics.fmean(best[-1] for best in found[name]):.4f} after {len(values[0])} trials")
    return found


def table(found: Mapping[str, Sequence[Sequence[float]]]) -> Table:
    marks = MARKS[: len(next(iter(found.values()))[0])]
    shown = Table("", *(f"after {mark}" for mark in marks), title="Rounds of TPE against random search")
    for name, of_seeds in found.items():
        cells = []
        for column in zip(*of_seeds, strict=True):
            cells.append(f"{statistics.fmean(column):.4f} ({statistics.stdev(column) if len(column) > 1 else 0:.4f})")
        shown.add_row(name, *cells)
    return shown


def _search(case: Case) -> list[float]:
    """Best values of the trials, in their order."""
    import torch

    from benchmarks.sweep.case import planner_of, resolved_of, searched
    from raytune_rec.data.stored.store import Store
    from raytune_rec.training.build import build
    from raytune_rec.tuning.search.records import trials

    torch.set_num_threads(1)
    journal = Path(case.scratch) / f"samplers-{case.seed}-{case.tune['sampler']}-{case.tune['round']}"
    shutil.rmtree(journal, ignore_errors=True)
    planner, store, methods = planner_of(case, journal), Store.open(case.store), resolved_of(case, searched(case))
    while isinstance(pack := planner.next(), Pack):
        planner.done(pack, build(methods[pack.method], pack, store, case.backbones()).run())
    found = [t["value"] or 0.0 for t in trials(journal)]
    shutil.rmtree(journal)
    return found


def window(lengths: Sequence[int], seeds: Sequence[int], count: int, scratch: Path) -> dict[str, list[float]]:
    """Window -> best value of each seed, after `count` trials of TPE on a made-up function of 8 numbers."""
    from benchmarks.sweep.driver import best_of
    from raytune_rec.tuning.search import sampling

    before, found = sampling.WINDOW, dict[str, list[float]]()
    try:
        for length in lengths:
            sampling.WINDOW = length
            found[f"{length:,}"] = [best_of(count, seed, scratch) for seed in seeds]
    finally:
        sampling.WINDOW = before
    return found


def window_table(found: Mapping[str, Sequence[float]], count: int) -> Table:
    shown = Table("trials that TPE sees", "distance from the best, each seed", "mean", title=f"A window on {count:,} trials")
    for name, values in found.items():
        shown.add_row(name, " ".join(f"{0.8 - v:.5f}" for v in values), f"{0.8 - statistics.fmean(values):.5f}")
    return shown
