"""`python -m benchmarks.backbones`: see the package's own words."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import backbones
from benchmarks.backbones.measured import KINDS, TUNED, Case, Ours, job_of, measure
from benchmarks.backbones.plain import NAMES
from benchmarks.mistakes import at_least, told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backbones", description=(backbones.__doc__ or "").splitlines()[0])
    parser.add_argument("--tuned", nargs="+", choices=TUNED, default=list(TUNED))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="backbones")
    parser.add_argument("--rows", type=at_least(1), default=60_000)
    parser.add_argument("--batch", type=at_least(1), default=512)
    parser.add_argument("--lanes", type=at_least(1), default=64)
    parser.add_argument("--repeats", type=at_least(1), default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title="Seconds of an epoch, medians; ratios of medians")
    for head in ("backbone", "tuned"):
        table.add_column(head)
    for head in ("ours", "plain", "ours / plain", f"a lane of {options.lanes}", "plain / lane"):
        table.add_column(head, justify="right")
    cases = [Case(name, tuned) for tuned in options.tuned for name in options.only]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        ours = Ours(job_of(folder, cases, options.rows, options.batch), folder / "run")
        try:
            for case, times in measure(ours, cases, options.lanes, options.repeats):
                one, plain, lane = (float(np.median(times[kind])) for kind in KINDS)
                ratios = f"{one / plain:.2f}", f"{lane:.4f}", f"{plain / lane:.1f}"
                table.add_row(case.name, case.tuned, f"{one:.3f}", f"{plain:.3f}", *ratios)
        finally:  # what is broken off shows how far it came
            Console(width=100).print(table)


if __name__ == "__main__":
    with told():
        main()
