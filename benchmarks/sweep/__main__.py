"""What are packs of lanes worth in wall clock?

    python -m benchmarks.sweep --data /path/to/douban --out runs/sweep
    python -m benchmarks.sweep --data /path/to/douban --configurations 8 --repeats 1 --tables first      a quick look
    python -m benchmarks.sweep --prompt ppr --data /path/to/movielens-100k --out runs/sweep-ppr
    python -m benchmarks.sweep --prompt promo --out runs/sweep-promo

First table: one search (Douban music; DeepFM with PLATE's prompt, prompt and linear part tuned beside a frozen backbone; 5 epochs
each, none stops early) by this product, by plain Ray Tune with a process for each configuration, by Ray Tune with `reuse_actors`,
by PyTorch loops without Ray, and by the product's packs without Ray. The middle three share a model of their own in plain PyTorch
(`plain.py`), which is checked against the product. With `--prompt ppr` the same of PPR(light) beside a frozen SASRec, on
the first items of cold users of MovieLens-100K (`plain_ppr.py`); with `--prompt promo` of PROMO beside a frozen DSSM, on the new
items of a log that is made up in `--out` (`plain_promo.py`). Further tables, of PLATE alone: seconds and memory of a lane by
the width of its pack; early stopping against full training; TPE in rounds against random search; what the driver spends on a
trial.

The data are prepared and the backbone is pre-trained by the product's own stages, once, in `--out`. Prints the tables and writes
`sweep.json` with every repeat and the protocol. Let nothing else run on the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.mistakes import at_least, told
from benchmarks.sweep import driver, first, samplers, stopping, widths
from benchmarks.sweep.case import Case, job_of, prepare
from benchmarks.sweep.method import PROMPTS, method
from raytune_rec.artifacts.versions import versions
from raytune_rec.machine.hardware import cpus
from raytune_rec.storage.files import write_json

TABLES = ("first", "lanes", "stopping", "samplers", "driver")


def main() -> None:
    options = _arguments()
    out, console = options.out.absolute(), Console(width=150, highlight=False)
    scratch = out / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    data = str(options.data.expanduser().absolute() if options.data else _made_up(options.prompt, out / "log"))
    sizes = options.configurations, options.epochs, options.cores
    case = Case(data, str(out / "run"), str(scratch), *sizes, prompt=options.prompt)
    known = TABLES if case.prompt == "plate" else TABLES[:1]
    tables = [name for name in options.tables or known if name in known]
    if left := [name for name in options.tables or known if name not in known]:
        console.print(f"--prompt {case.prompt} has the first table alone; left out: {', '.join(left)}")
    prepare(case)
    facts: dict[str, Any] = {"case": _facts(case), "machine": _machine(), "versions": versions()}
    most = 0.0
    if "first" in tables:
        plain = min(options.plain_configurations or options.configurations, options.configurations)
        found = first.measured(case, options.repeats, plain, console.print)
        check = None if options.no_check else first.checked(case)
        facts["first"] = {"protocol": (*first.PROTOCOL, *method(case.prompt).PROTOCOL), "yardsticks": found, "check": check}
        most = check["most"] if check else 0.0
        console.print(first.table(found, check, case))
        write_json(out / "sweep.json", facts)  # the second table takes a while
    if "lanes" in tables:
        of_widths = widths.measured(case, sorted(options.widths), options.repeats, console.print)
        facts["lanes"] = {"protocol": widths.PROTOCOL, "widths": of_widths}
        console.print(widths.table(of_widths))
        write_json(out / "sweep.json", facts)
    if "stopping" in tables:
        of_seeds = stopping.measured(case, options.seeds, console.print)
        facts["stopping"] = {"protocol": stopping.PROTOCOL, "seeds": of_seeds}
        console.print(stopping.table(of_seeds))
    if "samplers" in tables:
        of_ways = samplers.measured(case, options.seeds, console.print)
        facts["samplers"] = {"protocol": samplers.PROTOCOL, "best": of_ways}
        console.print(samplers.table(of_ways))
        of_windows = samplers.window((250, 1000, 10**9), options.seeds[:3], options.window_trials, scratch)
        facts["window"] = of_windows
        console.print(samplers.window_table(of_windows, options.window_trials))
    if "driver" in tables:
        of_sizes = driver.measured(options.trials, options.domains, scratch)
        facts["driver"] = {"protocol": driver.PROTOCOL, "sizes": of_sizes}
        console.print(driver.table(of_sizes))
    write_json(out / "sweep.json", facts)
    shutil.rmtree(scratch, ignore_errors=True)
    console.print(f"every repeat: {out / 'sweep.json'}")
    sys.exit(most > first.TOLERANCE)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    of = "folder with douban_music, douban_book and douban_movie_part; of ppr, u.data, u.user, u.item and u.genre; of promo none"
    parser.add_argument("--data", type=Path, help=of)
    parser.add_argument("--prompt", choices=PROMPTS, default=PROMPTS[0], help="the tuned prompt; decides backbone and data")
    parser.add_argument("--out", type=Path, default=Path("runs/sweep"))
    parser.add_argument("--tables", nargs="+", choices=TABLES, help="default: all that the prompt has")
    parser.add_argument("--configurations", type=at_least(1), default=64)
    parser.add_argument("--plain-configurations", type=at_least(1), help="of plain Ray Tune, the slowest; default: all")
    parser.add_argument("--epochs", type=at_least(1), default=5)
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--cores", type=at_least(1), default=2, help="packs or configurations at a time, one thread each")
    parser.add_argument("--widths", type=at_least(1), nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128, 256])
    parser.add_argument("--seeds", type=at_least(0), nargs="+", default=[1, 2, 3, 4, 5], help="of stopping and samplers")
    parser.add_argument("--trials", type=at_least(1), nargs="+", default=[10, 100, 1000, 10000], help="of the driver's table")
    parser.add_argument("--domains", type=at_least(1), nargs="+", default=[1, 10, 100], help="of the driver's table")
    parser.add_argument("--window-trials", type=at_least(1), default=2000)
    parser.add_argument("--no-check", action="store_true", help="do not compare plain PyTorch with the product")
    options = parser.parse_args()
    if (options.data is None) != hasattr(method(options.prompt), "made_up"):
        parser.error(f"--data: {'leave it out' if options.data else 'name the folder'} of --prompt {options.prompt}: {of}.")
    return options


def _made_up(prompt: str, folder: Path) -> Path:
    """The folder, with raw files in it."""
    getattr(method(prompt), "made_up")(folder)  # noqa: B009
    return folder


def _facts(case: Case) -> dict[str, Any]:
    """The case without paths."""
    found = {name: getattr(case, name) for name in ("prompt", "configurations", "epochs", "cores")}
    return {**found, "pack": job_of(case).tune.pack}


def _machine() -> dict[str, Any]:
    return {"cpus": cpus(), "processor": _processor(), "system": platform.system(), "load": os.getloadavg()}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    with told():
        main()
