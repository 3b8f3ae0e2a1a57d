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

from benchmarks.fresh import fresh
from benchmarks.many.case import Case, at_start, prepare, rows_of, short, spread
from benchmarks.many.measured import curve, seconds_to
from benchmarks.mistakes import at_least, told
from benchmarks.sweep.plain import Rows
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
    job, settings = options.job, tuple(options.set or ())
    case = Case(job, settings, str(out / "run"), str(out / "scratch"), options.trials, options.cores)
    domains = prepare(case)
    case = replace(case, domains=spread(domains, options.domains or len(domains)))
    rows = rows_of(case)
    starts = {domain: at_start(rows[domain]) for domain in case.domains}
    measured = {way: _measured(way, case, way) for way in WAYS}
    difference = differs(rows, measured["ours"]["firsts"])
    facts: dict[str, Any] = {"case": case.to_text(), "ways": summary(measured, starts), "differs": difference}
    write_json(out / "many.json", facts)
    console.print(table(facts["ways"], len(case.domains)))
    if difference > TOLERANCE:
        console.print("THE YARDSTICK'S MODEL IS NOT OURS", end=": ")
    console.print(f"Before training, plain PyTorch and ours differ by {difference:.6f} AUC at most (allowed: {TOLERANCE}).")
    if options.parts:
        case = replace(case, domains=spread(case.domains, options.parts))
        parts = {name: _measured("ours", replace(case, **change), f"part-{i}") for i, (name, change) in enumerate(PARTS.items())}
        facts["parts"] = summary(parts, {domain: starts[domain] for domain in case.domains})
        write_json(out / "many.json", facts)
        console.print(table(facts["parts"], len(case.domains)))


def _measured(way: str, case: Case, name: str) -> dict[str, Any]:
    return fresh(f"benchmarks.many.{way}", replace(case, scratch=str(Path(case.scratch) / name)))


def summary(measured: Mapping[str, Mapping[str, Any]], starts: Mapping[str, float]) -> dict[str, Any]:
    """Way -> what it spent and reached, and when it was at the lowest of all ends. Others are compared with the first way."""
    curves = {way: curve(facts["points"], starts) for way, facts in measured.items()}
    common = min(risen[-1][1] for risen in curves.values())
    to_common = {way: seconds_to(risen, common) for way, risen in curves.items()}
    first = next(iter(measured))
    return {
        way: {
            **{name: facts[name] for name in ("seconds", "trials", "epochs", "load_before")},
            "start": curves[way][0][1],
            "reached": curves[way][-1][1],
            "common": common,
            "to_common": to_common[way],
            "times": facts["seconds"] / measured[first]["seconds"],
            "times_to_common": to_common[way] / to_common[first],
        }
        for way, facts in measured.items()
    }


def table(ways: Mapping[str, Mapping[str, Any]], domains: int) -> Table:
    common, start = next((facts["common"], facts["start"]) for facts in ways.values())
    shown = Table(title=f"{domains} domains; mean of their best validation AUC, and seconds to {common:.4f}")
    for column in ("", "trials", "epochs", "AUC", "seconds", "times", f"to {common:.4f}", "times", "load before"):
        shown.add_column(column, justify="right" if column else "left", no_wrap=True)
    for way, facts in ways.items():
        shown.add_row(
            WAYS.get(way, way),
            f"{facts['trials']:,}",
            f"{facts['epochs']:,}",
            f"{facts['reached']:.4f}",
            f"{facts['seconds']:.0f}",
            f"{facts['times']:.2f}",
            f"{facts['to_common']:.0f}",
            f"{facts['times_to_common']:.2f}",
            f"{facts['load_before']:.1f}",
        )
    shown.caption = f"As pre-trained: {start:.4f}"
    return shown


def differs(rows: Mapping[str, Rows], firsts: Mapping[str, Any]) -> float:
    """The largest difference of validation AUC before training, over the first trials of ours."""
    differences = []
    for domain, first in firsts.items():
        options = {short(key): value for key, value in first["options"].items()}
        plain = at_start(rows[domain], options["meta_prompts"], options["temperature"])
        differences.append(abs(plain - first["start"]))
    return max(differences)


if __name__ == "__main__":
    with told():
        main()
