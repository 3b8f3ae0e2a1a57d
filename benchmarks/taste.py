"""When does PLATE's prompt add to the linear part? On made-up logs whose truth is known, with the cause turned up step by step.

    python -m benchmarks.taste --out runs/taste [--tastes 0 0.4 0.8 1.2 1.6] [--worlds 1 2 3]

The job is `plate_prompt` on the source `synthetic`: three domains that differ in weights of users and of items, which a linear
part tells, and in what segments of users like, which it cannot. `--tastes` scales what users like: at 0 a weight for each id is
the whole truth. Each world (a seed of the log, and of its split) is a run of its own with the job's whole search, so that its
folder holds a report, and the same command goes on after an interruption.

Prints for each taste, as means over worlds of the mean test AUC over domains: what the log's own probabilities reach, each
method, and what each step adds to the one before, with a 95 % t-interval over worlds:

    prompts pre-trained   plate_fixed minus linear_part
    prompts tuned         plate minus plate_fixed
    both                  plate minus linear_part
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import ttest_1samp

from benchmarks.mistakes import at_least, told
from raytune_rec import pipeline
from raytune_rec.cli import read_job
from raytune_rec.config import Job
from raytune_rec.data.sources.synthetic import Synthetic
from raytune_rec.errors import UserError
from raytune_rec.evaluation.metrics.scores import auc
from raytune_rec.storage.files import read_json, write_json

STEPS = {
    "prompts pre-trained": ("plate_fixed", "linear_part"),
    "prompts tuned": ("plate", "plate_fixed"),
    "both": ("plate", "linear_part"),
}
TRUTH = "truth"
LOG: dict[str, Any] = {"interactions": {"feed": 20_000, "search": 14_000, "banner": 8_000}, "users": 800, "items": 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--tastes", type=float, nargs="+", default=[0.0, 0.4, 0.8, 1.2, 1.6])
    parser.add_argument("--worlds", type=at_least(0), nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", action="append", metavar="PART.OPTION=VALUE", help="of the job plate_prompt")
    options = parser.parse_args()
    if len(set(options.worlds)) < 2:
        raise UserError(f"--worlds: an interval needs two different worlds or more (given: {options.worlds}); name more.")
    found = {
        taste: [_reached(options.out, taste, world, options.set or []) for world in options.worlds] for taste in options.tastes
    }
    Console(width=140).print(levels(found), steps(found))
    write_json(options.out / "taste.json", {str(taste): of_worlds for taste, of_worlds in found.items()})


def job_of(taste: float, world: int, changes: Sequence[str] = ()) -> Job:
    """`plate_prompt` on the made-up log of one world, on one pre-training of each kind."""
    job = read_job("plate_prompt", ["pretrain.trials=16", "pretrain.replicates=1", "evaluate.replicates=2", *changes])
    options = {**LOG, "taste": taste, "seed": world}
    split = job.data.split.model_copy(update={"seed": world})
    data = job.data.model_copy(update={"source": "synthetic", "options": options, "split": split})
    return job.model_copy(update={"data": data})


def _reached(out: Path, taste: float, world: int, changes: Sequence[str]) -> dict[str, float]:
    """Method -> mean test AUC over domains in one world; and that of the probabilities from which labels were drawn."""
    job, folder = job_of(taste, world, changes), out.absolute() / f"taste-{taste:g}-world-{world}"
    folder.mkdir(parents=True, exist_ok=True)
    pipeline.run(job, folder)
    methods = read_json(folder / "results.json")["methods"]
    return {TRUTH: _truth(job), **{name: facts["mean"]["auc"]["mean"] for name, facts in methods.items()}}


def _truth(job: Job) -> float:
    source = Synthetic(Synthetic.Options.model_validate(job.data.options))
    of_domains: dict[str, list[Any]] = {}
    for block in source.read():
        of_domains.setdefault(block.table["domain"][0].as_py(), []).append(block.table)
    reached = []
    for tables in of_domains.values():
        named = {key: np.concatenate([t[key].to_numpy() for t in tables]) for key in ("domain", "user", "item", "label")}
        odds = torch.tensor(source.truth(named["domain"], named["user"], named["item"]))
        reached.append(auc(odds.unsqueeze(0), torch.tensor(named["label"])).item())
    return float(np.mean(reached))


def levels(found: dict[float, list[dict[str, float]]]) -> Table:
    """A line for each taste: what was reached, mean over worlds."""
    names = list(next(iter(found.values()))[0])
    table = Table("taste", *names, title="Test AUC, mean of domains and worlds")
    for taste, of_worlds in found.items():
        table.add_row(f"{taste:g}", *(f"{np.mean([w[name] for w in of_worlds]):.4f}" for name in names))
    return table


def steps(found: dict[float, list[dict[str, float]]]) -> Table:
    """A line for each taste: what each step adds, with an interval over worlds."""
    table = Table("taste", *STEPS, title="What is added to the linear part")
    for taste, of_worlds in found.items():
        cells = []
        for more, less in STEPS.values():
            gains = np.array([w[more] - w[less] for w in of_worlds])
            low, high = ttest_1samp(gains, 0.0).confidence_interval(0.95)
            cells.append(f"{gains.mean():+.4f} ({low:+.4f} to {high:+.4f})")
        table.add_row(f"{taste:g}", *cells)
    return table


if __name__ == "__main__":
    with told():
        main()
