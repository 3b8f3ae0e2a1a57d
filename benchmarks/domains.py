"""What it costs to train for more and more domains (PLATE, section 4.6): core time of each way, on a made-up log.

    python -m benchmarks.domains --out runs/domains [--domains 3 12 24 48] [--rows 4000] [--pack 1] [--repeats 3]

single        a DeepFM of its own for each domain
fine-tune     one DeepFM of all domains, then everything of it trained for each
multi-task    one model of all domains with parts for each: Shared Bottom, MMoE, PLE, STAR
PLATE         one DeepFM of all domains with prompts, then prompt and linear part trained for each

Every domain has the same number of rows, users and items are in common. A training goes on until validation has not risen for
some epochs, with one fixed recipe, and nothing is searched: the paper counts one training of each too. `--pack` is how many
domains are trained in one pass, as a job does with small ones (`tune.share_rows`); with 1, one after the other.

The figure is processor time of this process on one thread, median of the repeats, in which all ways take turns; reading the rows
is left out. What is measured for a number of domains stands in a file of --out, and is not measured again by the same command: so
a long one is done in parts. Ratios are of ways that were measured side by side, and go over no two numbers of domains.
Beside it stands the mean validation AUC over domains: time that buys nothing is no saving.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.mistakes import at_least, told
from raytune_rec.artifacts import backbone
from raytune_rec.components import component, options_of
from raytune_rec.config import Job, parse
from raytune_rec.data.preparing.preparation import prepare
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import UserError
from raytune_rec.pretraining.train import pretrain
from raytune_rec.schema.prepared import ALL_DOMAINS
from raytune_rec.schema.work import Lane, LaneResult, Pack, recipe_of
from raytune_rec.storage.files import read_json, write_json
from raytune_rec.training.build import build, rows_of
from raytune_rec.training.settings import Resolved, method_of, resolve

MULTI_TASK = {"shared_bottom": {}, "mmoe": {}, "ple": {}, "star": {"partitioned_norm": True}}
WAYS: Mapping[str, tuple[str, str]] = {
    "single": ("", "single"),
    "fine-tune": ("plain", "finetune_all"),
    **{name: (name, "") for name in MULTI_TASK},
    "PLATE": ("plate", "plate"),
}
"""Way -> its pre-training and its method, empty where it has none."""
SHAPE = {"width": 16, "hidden": [64, 64]}
"""PLATE, Table 5, Amazon."""
_PARAMETERS = ("rows", "users", "items", "pack", "repeats", "epochs", "patience")


def job_of(domains: int, rows: int, users: int, items: int, epochs: int, patience: int) -> Job:
    """The log, and a fixed recipe of each way."""
    names = [f"d{i:03d}" for i in range(domains)]
    data = {"interactions": dict.fromkeys(names, rows), "users": users, "items": items}
    start = {"prompt": "plate", "pretraining": "plate"}
    return parse(
        {
            "name": "domains",
            "seed": 1,
            "data": {"source": "synthetic", "options": data},
            "backbone": {"name": "deepfm", "options": SHAPE},
            "backbones": {name: SHAPE | more for name, more in MULTI_TASK.items()},
            "prompts": {"plate": {"temperature": 1.0}},
            "training": {
                "batch_size": 256, "epochs": epochs, "patience": patience,
                "lr": {"default": 2e-3, "linear": 1e-2}, "weight_decay": {"default": 1e-5},
            },
            "pretrain": {"workers": 0, "training": {"batch_size": 1024}},
            "pretrainings": {"plain": {}, "plate": {"prompt": "plate"}, **{name: {"backbone": name} for name in MULTI_TASK}},
            "methods": {
                "single": {"strategy": "single"},
                "finetune_all": {"strategy": "finetune_all", "pretraining": "plain"},
                "plate": {"strategy": "prompt_linear", **start},
            },
        }
    )  # fmt: skip


class Measurement:
    """One number of domains, whose rows are prepared.

    Args:
        folder: of data and backbones. pack: domains that are trained in one pass.
    """

    def __init__(self, job: Job, folder: Path, pack: int) -> None:
        self.job, self.folder, self.pack = job, folder, pack
        options = options_of("data.sources", job.data.source, job.data.options)
        prepare(job.data, component("data.sources", job.data.source)(options), folder / "data")
        self.store = Store.open(folder / "data")

    def _read(self, *units: str) -> None:
        """Rows that are kept are not read while the clock runs; only so many units are kept, so that this stands before each."""
        for unit in units:
            rows_of(str(self.store.path), unit, False, None)

    def way(self, repeat: int, pretraining: str, method: str) -> dict[str, float]:
        """Core seconds of its pre-training and of all domains, and the mean validation AUC over domains at the end."""
        measured = {"pretraining": 0.0, "domains": 0.0}
        folders = {pretraining: self.folder / f"backbones-{repeat}" / pretraining} if pretraining else {}
        if pretraining:
            recipe = resolve(self.job, method_of(self.job, recipe_of(pretraining)))
            self._read(ALL_DOMAINS)
            took, facts = _timed(lambda: pretrain(recipe, {}, 0, self.store.path, folders[pretraining], self.folder))
            measured |= {"pretraining": took, "auc": facts["best"]}
        if method:
            took, reached = self._domains(method, folders)
            measured |= {"domains": took, "auc": float(np.mean(reached))}
        return measured

    def _domains(self, name: str, folders: Mapping[str, Path]) -> tuple[float, list[float]]:
        """Trains every domain: core seconds, and the best validation AUC of each."""
        method, domains = method_of(self.job, name), self.store.schema.domains
        start = backbone.read(folders[method.pretraining]) if method.pretraining else None
        resolved, spent, reached = resolve(self.job, method, start), 0.0, []
        for first in range(0, len(domains), self.pack):
            units = domains[first : first + self.pack]
            pack = Pack(f"{name}-{first}", name, tuple(Lane(0, 0, {}, unit) for unit in units))
            self._read(*units)
            took, results = _timed(partial(self._trained, resolved, pack, folders))
            spent += took
            reached += [result.best for result in results]
        return spent, reached

    def _trained(self, resolved: Resolved, pack: Pack, folders: Mapping[str, Path]) -> list[LaneResult]:
        return build(resolved, pack, self.store, folders).run()


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """(Processor seconds of this process, what it gave)."""
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


def measure(domains: int, options: argparse.Namespace) -> dict[str, Any]:
    """The ways for one number of domains, taking turns."""
    job = job_of(domains, options.rows, options.users, options.items, options.epochs, options.patience)
    folder = options.out / f"{domains}-domains"
    shutil.rmtree(folder, ignore_errors=True)  # of a part that was not finished
    measurement = Measurement(job, folder, options.pack)
    rounds = [{way: measurement.way(r, *parts) for way, parts in WAYS.items()} for r in range(options.repeats)]
    shutil.rmtree(folder)
    ways = {}
    for way in WAYS:
        each = [found[way] for found in rounds]
        totals = [found["pretraining"] + found["domains"] for found in each]
        middle = {name: float(np.median([found[name] for found in each])) for name in each[0]}
        ways[way] = middle | {"seconds": float(np.median(totals)), "least": min(totals), "most": max(totals)}
    return {"domains": domains, "machine": f"{platform.machine()}, torch {torch.__version__}", "ways": ways}


def table(found: Sequence[Mapping[str, Any]]) -> Table:
    """Ways by numbers of domains: core seconds, how many times those of PLATE, and the AUC."""
    shown = Table(title="Core seconds (range), times PLATE's, mean validation AUC")
    shown.add_column("way")
    for part in found:
        shown.add_column(f"{part['domains']} domains", justify="right")
    for way in WAYS:
        cells = []
        for part in found:
            own, plate = part["ways"][way], part["ways"]["PLATE"]["seconds"]
            times = f"{own['seconds'] / plate:.2f} x"
            cells.append(f"{own['seconds']:.2f} ({own['least']:.2f} to {own['most']:.2f})  {times}  {own['auc']:.4f}")
        shown.add_row(way, *cells)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of what is measured")
    parser.add_argument("--domains", type=at_least(1), nargs="+", default=[3, 12, 24, 48])
    parser.add_argument("--rows", type=at_least(1), default=4000, help="of each domain")
    parser.add_argument("--users", type=at_least(1), default=2000)
    parser.add_argument("--items", type=at_least(1), default=1000)
    parser.add_argument("--pack", type=at_least(1), default=1, help="domains that are trained in one pass")
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--epochs", type=at_least(1), default=20, help="most of a training")
    parser.add_argument("--patience", type=at_least(0), default=2, help="epochs without a better validation AUC before it ends")
    options = parser.parse_args()
    options.out = options.out.absolute()
    torch.set_num_threads(1)
    asked, found = {name: getattr(options, name) for name in _PARAMETERS}, []
    for domains in options.domains:
        part = options.out / f"{domains}.json"
        if not part.exists():
            write_json(part, {"options": asked, **measure(domains, options)})
        known = read_json(part)
        if known["options"] != asked:
            raise UserError(f"{part}: was measured with {known['options']}, now asked: {asked}; use another --out.")
        found.append(known)
        Console(width=60 + 44 * len(options.domains)).print(table(found))


if __name__ == "__main__":
    with told():
        main()
