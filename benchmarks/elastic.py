"""Is one elastic pre-training as good as one for each number of meta-prompts?

    python -m benchmarks.elastic plate_douban --run runs/plate_douban --set data.options.path=/path/to/douban

Takes the data and the winning recipe of a finished run. Pre-trains PLATE for fixed numbers R of meta-prompts, and once
elastically (R_max, the number in use drawn anew each step), with three start values each, and compares the validation AUC (mean
over domains) of the elastic model used with its first R meta-prompts with that of the one pre-trained for R. No test row is read.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.mistakes import at_least, told
from benchmarks.one_prompt import auc_of
from raytune_rec.cli import read_job
from raytune_rec.config import Job
from raytune_rec.data.stored.store import Store
from raytune_rec.schema.prepared import ALL_DOMAINS
from raytune_rec.schema.prepared import Table as Rows
from raytune_rec.schema.work import Lane, Pack, Scalar, recipe_of
from raytune_rec.scoring.scorer import Scorer
from raytune_rec.scoring.tuned import scoring_model
from raytune_rec.storage.files import read_json, write_json
from raytune_rec.training.build import assemble, build
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import method_of, resolve, settings

STARTS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("job")
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run of the job")
    parser.add_argument("--pretraining", default="plate")
    parser.add_argument("--sizes", type=at_least(1), nargs="+", default=[2, 5, 10, 24])
    parser.add_argument("--set", action="append", metavar="PART.OPTION=VALUE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    job, store = read_job(options.job, options.set or []), Store.open(options.run / "data")
    recipe: dict[str, Scalar] = read_json(options.run / "pretrain.json")[options.pretraining]["recipe"]
    row, sizes = recipe_of(options.pretraining), options.sizes
    fixed = [{**recipe, "prompt.meta_prompts": r, "prompt.elastic": False} for r in sizes]
    alone = _train(job, store, row, [(t, o) for o in fixed for t in range(STARTS)])
    elastic = {**recipe, "prompt.meta_prompts": max(sizes), "prompt.elastic": True}
    once = _train(job, store, row, [(t, elastic) for t in range(STARTS)])
    table = Table(
        "R", "pre-trained for R", "elastic, first R", "difference", title="Validation AUC, mean over domains and starts"
    )
    facts = {}
    for i, size in enumerate(sizes):
        own = [alone.results()[i * STARTS + t].best for t in range(STARTS)]
        of_elastic = [_used(job, store, row, once.best(t), {**elastic, "prompt.meta_prompts": size}) for t in range(STARTS)]
        gain = np.mean(of_elastic) - np.mean(own)
        spread = [f"{np.mean(v):.4f} (sd {np.std(v, ddof=1):.4f})" for v in (own, of_elastic)]
        table.add_row(str(size), *spread, f"{gain:+.4f}")
        facts[size] = {"fixed": own, "elastic": of_elastic}
    Console(width=110).print(table)
    write_json(options.run / "elastic.json", facts)


def _train(job: Job, store: Store, row: str, lanes: list[tuple[int, dict[str, Scalar]]]) -> Trainer:
    pack = Pack("elastic", row, tuple(Lane(t, 0, o, ALL_DOMAINS) for t, o in lanes))
    trainer = build(resolve(job, method_of(job, row)), pack, store, {})
    trainer.run()
    return trainer


def _used(job: Job, store: Store, row: str, weights: dict[str, Any], options: dict[str, Scalar]) -> float:
    """Validation AUC, mean over domains, with the first R meta-prompts."""
    found = method_of(job, row)
    own = settings(job, found, Lane(0, 0, options))
    parts = assemble(job, found, [own], store.schema, None)
    scorer = Scorer(scoring_model(parts, [{}], weights))
    tables: list[Rows] = [store.load(domain, "valid") for domain in store.schema.domains]
    return float(np.mean([auc_of(scorer, rows) for rows in tables]))


if __name__ == "__main__":
    with told():
        main()
