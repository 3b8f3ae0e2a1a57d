"""Many domains end to end: how long does a search of all of them take, here and with plain Ray Tune?

    python -m benchmarks.many --out runs/many --set data.options.path=/path/to/amazon2014-5core
    python -m benchmarks.many --out runs/many --set data.options.path=/path/to/amazon2014-5core --domains 12 --parts 4

PLATE's prompt and the linear part are searched on every domain of the job `plate_many`, beside one DeepFM that is pre-trained by
a fixed recipe: the same trials, ranges, batches, epochs and patience on both sides, without first points.

ours    what the stage `tune` does: packs of lanes over configurations and small domains, Hyperband, TPE in rounds
plain   for each domain a `Tuner` with `OptunaSearch` (TPE), `ASHAScheduler` and `reuse_actors=True`, one after the other, of a
        model in plain PyTorch (`benchmarks/sweep/plain.py`); its validation AUC before training is checked against ours

The mean over domains of the best validation AUC so far is followed in time; until a domain has told a result, its prompts as they
were pre-trained count. What is compared is the time to the lower of the two ends. Ours is told when a trial has ended, plain
Ray Tune's after each epoch. The start of Ray stands before the clock of both, the start of trial processes in it.

Then the factors apart, on some of the domains (`--parts`, evenly over their sizes): ours as it is, without early stopping,
without packs (a lane in a pack, one domain in a pack), and without both.

Prints tables and writes `many.json`. Let nothing else run on the machine: or read ratios alone.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.many.case import Case, at_start, job_of, prepare, rows_of, short, spread
from benchmarks.many.curves import curve, seconds_to
from benchmarks.mistakes import at_least, told
from benchmarks.sweep.measured import fresh
from raytune_rec.storage.files import write_json

WAYS = {"ours": "this product", "plain": "plain Ray Tune"}
PARTS: Mapping[str, dict[str, Any]] = {
    "as it is": {},
    "without early stopping": {"stopping": False},
    "without packs": {"packs": False},
    "without both": {"packs": False, "stopping": False},
}
TOLERANCE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of data, backbone and figures")
    parser.add_argument("--job", default="plate_many", help="a job of a DeepFM and id fields alone")
    parser.add_argument("--set", action="append", metavar="PART.OPTION=VALUE", help="of the job")
    parser.add_argument("--trials", type=at_least(1), default=64, help="of each domain")
    parser.add_argument("--cores", type=at_least(1), default=2, help="processes at a time, one thread each")
    parser.add_argument("--domains", type=at_least(1), help="how many, evenly over their sizes; default: all")
    parser.add_argument("--parts", type=at_least(0), default=6, help="domains of the second table; 0: none")
    options = parser.parse_args()
    out, console = options.out.absolute(), Console(width=140, highlight=False)
    shutil.rmtree(out / "scratch", ignore_errors=True)
    whole = Case(options.job, tuple(options.set or ()), str(out / "run"), str(out / "scratch"), options.trials, options.cores)
    everything = prepare(whole)
    chosen = replace(whole, domains=spread(everything, options.domains or len(everything)))
    starts = {name: at_start(rows, job_of(chosen).training.batch_size) for name, rows in rows_of(chosen).items()}
    found = {way: _measured(way, chosen, way) for way in WAYS}
    facts: dict[str, Any] = {
        "case": chosen.to_text(),
        "ways": summary(found, starts),
        "differs": differs(chosen, found["ours"]["firsts"]),
    }
    write_json(out / "many.json", facts)
    console.print(table(facts["ways"], len(chosen.domains)))
    if facts["differs"] > TOLERANCE:
        console.print("THE YARDSTICK'S MODEL IS NOT OURS", end=": ")
    console.print(f"Before training, plain PyTorch and ours differ by {facts['differs']:.6f} AUC at most (allowed: {TOLERANCE}).")
    if options.parts:
        few = replace(chosen, domains=spread(chosen.domains, options.parts))
        parts = {name: _measured("ours", replace(few, **change), f"part-{i}") for i, (name, change) in enumerate(PARTS.items())}
        facts["parts"] = summary(parts, {name: starts[name] for name in few.domains})
        write_json(out / "many.json", facts)
        console.print(table(facts["parts"], len(few.domains)))


def _measured(way: str, case: Case, name: str) -> dict[str, Any]:
    own = replace(case, scratch=str(Path(case.scratch) / name))
    return fresh("benchmarks.many.child", way, own.to_text(), Path(own.scratch))


def summary(found: Mapping[str, Mapping[str, Any]], starts: Mapping[str, float]) -> dict[str, Any]:
    """Way -> what it spent and reached, and when it was at the lowest of all ends. Others are compared with the first way."""
    curves = {name: curve(of["points"], starts) for name, of in found.items()}
    common = min(risen[-1][1] for risen in curves.values())
    kept = ("seconds", "trials", "epochs", "load_before")
    ways = {
        name: {key: of[key] for key in kept}
        | {"start": curves[name][0][1], "reached": curves[name][-1][1], "to_common": seconds_to(curves[name], common)}
        for name, of in found.items()
    }
    first = next(iter(ways.values()))
    return {
        name: of | {"common": common, "times": of["seconds"] / first["seconds"], "times_to": of["to_common"] / first["to_common"]}
        for name, of in ways.items()
    }


def table(ways: Mapping[str, Mapping[str, Any]], domains: int) -> Table:
    common = next(iter(ways.values()))["common"]
    shown = Table(title=f"{domains} domains; mean of their best validation AUC, and seconds to {common:.4f}")
    for column in ("", "trials", "epochs", "AUC", "seconds", "times", f"to {common:.4f}", "times", "load before"):
        shown.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, of in ways.items():
        shown.add_row(
            WAYS.get(name, name),
            f"{of['trials']:,}",
            f"{of['epochs']:,}",
            f"{of['reached']:.4f}",
            f"{of['seconds']:.0f}",
            f"{of['times']:.2f}",
            f"{of['to_common']:.0f}",
            f"{of['times_to']:.2f}",
            f"{of['load_before']:.1f}",
        )
    shown.caption = f"As pre-trained: {next(iter(ways.values()))['start']:.4f}"
    return shown


def differs(case: Case, firsts: Mapping[str, Any]) -> float:
    """The largest difference of validation AUC before training, over the first trials of ours."""
    rows, batch = rows_of(case), job_of(case).training.batch_size
    own = {unit: {short(key): value for key, value in first["options"].items()} for unit, first in firsts.items()}
    return max(
        abs(at_start(rows[unit], batch, of["meta_prompts"], of["temperature"]) - firsts[unit]["start"])
        for unit, of in own.items()
    )


if __name__ == "__main__":
    with told():
        main()
