"""When does PLATE's prompt add to the linear part? On made-up logs whose truth is known, with the cause turned up step by step.

    python -m benchmarks.taste --out runs/taste [--tastes 0 0.6 1.2] [--worlds 1 2 3 4]

The job is `plate_prompt` on the source `synthetic`: three domains that differ in weights of users and of items, which a linear
part tells, and in what segments of users like, which it cannot. `--tastes` scales what users like: at 0 a weight for each id is
the whole truth. Each world (a seed of the log, and of its split) is a run of its own with the job's whole search, so that its
folder holds a report, and the same command goes on after an interruption.

Prints for each taste, as means over worlds of the mean test AUC over domains: what the log's own probabilities reach, each
method, and what each step adds to the one before, with a 95 % t-interval over worlds:

    prompts pre-trained   plate_fixed minus linear_part
    prompts tuned         plate minus plate_fixed
    both                  plate minus linear_part
    PLATE and fine-tuning plate minus finetune_all
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.mistakes import at_least, several, told
from benchmarks.splits import interval
from raytune_rec import pipeline
from raytune_rec.cli import read_job
from raytune_rec.config import Job
from raytune_rec.data.sources.synthetic import Synthetic
from raytune_rec.evaluation.metrics.scores import auc
from raytune_rec.storage.files import read_json, write_json

STEPS = {
    "prompts pre-trained": ("plate_fixed", "linear_part"),
    "prompts tuned": ("plate", "plate_fixed"),
    "both": ("plate", "linear_part"),
    "PLATE and fine-tuning": ("plate", "finetune_all"),
}
"""What is told -> the method and the one that is taken off."""
TRUTH = "truth"
Reached = dict[float, list[dict[str, float]]]
"""Taste -> for each world: method -> mean test AUC over domains."""
LOG = "interactions = { feed = 20_000, search = 14_000, banner = 8_000 }, users = 800, items = 1000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--tastes", type=float, nargs="+", default=[0.0, 0.6, 1.2])
    parser.add_argument("--worlds", type=at_least(0), nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--set", action="append", metavar="PART.OPTION=VALUE", help="of the job plate_prompt")
    options = parser.parse_args()
    several("--worlds", options.worlds)
    reached: Reached = {}
    for taste in options.tastes:
        reached[taste] = [_run(options.out, taste, world, options.set or []) for world in options.worlds]
    Console(width=140).print(levels(reached), steps(reached))
    write_json(options.out / "taste.json", {str(taste): worlds for taste, worlds in reached.items()})


def job_of(taste: float, world: int, changes: Sequence[str] = ()) -> Job:
    """`plate_prompt` on the made-up log of one world, on one pre-training of each kind."""
    log = f"data.options={{ {LOG}, taste = {taste}, seed = {world} }}"
    few = ("pretrain.trials=16", "pretrain.replicates=1", "evaluate.replicates=2")
    return read_job("plate_prompt", ["data.source=synthetic", log, f"data.split.seed={world}", *few, *changes])


def _run(out: Path, taste: float, world: int, changes: Sequence[str]) -> dict[str, float]:
    """Method -> mean test AUC over domains in one world; and that of the probabilities from which labels were drawn."""
    job, folder = job_of(taste, world, changes), out.absolute() / f"taste-{taste:g}-world-{world}"
    folder.mkdir(parents=True, exist_ok=True)
    pipeline.run(job, folder)
    methods = read_json(folder / "results.json")["methods"]
    return {TRUTH: _truth(job), **{name: facts["mean"]["auc"]["mean"] for name, facts in methods.items()}}


def _truth(job: Job) -> float:
    source = Synthetic(Synthetic.Options.model_validate(job.data.options))
    log = pa.concat_tables([block.table for block in source.read()])
    domain, user, item, label = (log[name].to_numpy() for name in ("domain", "user", "item", "label"))
    probability = source.truth(domain, user, item)
    masks = [domain == name for name in source.domains()]
    aucs = [auc(torch.tensor(probability[mask]).unsqueeze(0), torch.tensor(label[mask])).item() for mask in masks]
    return float(np.mean(aucs))


def levels(reached: Reached) -> Table:
    """A line for each taste: test AUC, mean over worlds."""
    names = list(next(iter(reached.values()))[0])
    table = Table("taste", *names, title="Test AUC, mean of domains and worlds")
    for taste, worlds in reached.items():
        table.add_row(f"{taste:g}", *(f"{np.mean([world[name] for world in worlds]):.4f}" for name in names))
    return table


def steps(reached: Reached) -> Table:
    """A line for each taste: differences of test AUC, with intervals over worlds."""
    table = Table("taste", *STEPS, title="Difference of test AUC")
    for taste, worlds in reached.items():
        cells = []
        for more, less in STEPS.values():
            gains = np.array([world[more] - world[less] for world in worlds])
            low, high = interval(gains)
            cells.append(f"{gains.mean():+.4f} ({low:+.4f} to {high:+.4f})")
        table.add_row(f"{taste:g}", *cells)
    return table


if __name__ == "__main__":
    with told():
        main()
