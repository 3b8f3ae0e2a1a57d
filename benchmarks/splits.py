"""Does a claim hold on other splits of the same data? Runs a job once for each split seed and compares a row with its baselines.

    python -m benchmarks.splits plate_douban --seeds 0 1 2 3 4 --out runs/splits --set data.options.path=/path/to/douban

Every seed is a whole run of its own (its own vocabulary, pre-training, search, winners and test rows), so that its folder holds a
report too, and the same command goes on after an interruption. Prints, for each domain, the difference of the mean test AUC over
replicates to each baseline and to the best of them (chosen by validation), and over the seeds their mean, a 95 % t-interval and
how many are above 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import ttest_1samp

from benchmarks.mistakes import at_least, several, told
from raytune_rec import pipeline
from raytune_rec.cli import read_job
from raytune_rec.config import Job
from raytune_rec.storage.files import read_json, write_json

BEST = "best deep"


def main() -> None:
    options = _arguments()
    several("--seeds", options.seeds)
    job = read_job(options.job, options.set or [])
    row = options.row or job.evaluate.compare[0]
    baselines = options.baselines or [name for name, r in job.methods.items() if r.baseline and name != row]
    job = _only(job, [row, *baselines])
    found = [_differences(_run(job, seed, Path(options.out).absolute()), row, baselines) for seed in options.seeds]
    table, facts = _summary(found, row, options.seeds)
    Console(width=140).print(table)
    write_json(Path(options.out) / "splits.json", {"job": job.name, "method": row, "seeds": options.seeds, "differences": facts})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("job")
    parser.add_argument("--seeds", type=at_least(0), nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--row", default="", help="the row that claims; default: the job's first")
    parser.add_argument("--baselines", nargs="+", help="default: the job's")
    parser.add_argument("--set", action="append", metavar="PART.OPTION=VALUE")
    parser.add_argument("--out", default="runs/splits")
    return parser.parse_args()


def _only(job: Job, rows: Sequence[str]) -> Job:
    """The job with some of its rows, and the pre-trainings that they use."""
    kept = {name: job.methods[name] for name in rows}
    trained = {name: o for name, o in job.pretrainings.items() if name in {m.pretraining for m in kept.values()}}
    evaluate = job.evaluate.model_copy(update={"compare": [rows[0]], "export": rows[0]})
    return job.model_copy(update={"methods": kept, "pretrainings": trained, "evaluate": evaluate})


def _run(job: Job, seed: int, out: Path) -> dict[str, Any]:
    split = job.data.split.model_copy(update={"seed": seed})
    own = job.model_copy(update={"data": job.data.model_copy(update={"split": split})})
    folder = out / f"split-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    pipeline.run(own, folder)
    results: dict[str, Any] = read_json(folder / "results.json")
    return results


def _differences(results: dict[str, Any], row: str, baselines: Sequence[str]) -> dict[str, dict[str, float]]:
    """Unit -> baseline -> difference of the mean test AUC. The best deep baseline is the one of the best validation value."""
    found: dict[str, dict[str, float]] = {}
    for unit in results["unit_order"]:
        of = {name: results["methods"][name]["units"][unit] for name in [row, *baselines]}
        own = {name: of[row]["auc"]["mean"] - of[name]["auc"]["mean"] for name in baselines}
        deep = [
            name
            for name in baselines
            if results["methods"][name]["backbone"] != "linear" and ":linear" not in results["methods"][name]["strategy"]
        ]
        best = {BEST: own[max(deep, key=lambda name: of[name]["valid"])]} if deep else {}
        found[unit] = {**own, **best}
    return found


def interval(differences: np.ndarray) -> tuple[float, float]:
    """The 95 % t-interval of their mean."""
    low, high = ttest_1samp(differences, 0.0).confidence_interval(0.95)
    return float(low), float(high)


def _summary(found: Sequence[dict[str, dict[str, float]]], row: str, seeds: Sequence[int]) -> tuple[Table, dict[str, Any]]:
    table = Table(
        "domain",
        f"{row} minus",
        *(f"split {s}" for s in seeds),
        "mean",
        "95 % interval",
        "above 0",
        title="Difference of test AUC",
    )
    facts: dict[str, Any] = {}
    for unit, of_unit in found[0].items():
        for name in of_unit:
            values = np.array([f[unit][name] for f in found])
            low, high = interval(values)
            facts.setdefault(unit, {})[name] = {"values": values.tolist(), "mean": values.mean(), "low": low, "high": high}
            cells = [f"{v:+.4f}" for v in values]
            table.add_row(
                unit,
                name,
                *cells,
                f"{values.mean():+.4f}",
                f"{low:+.4f} to {high:+.4f}",
                f"{(values > 0).sum()} of {len(values)}",
            )
    return table, facts


if __name__ == "__main__":
    with told():
        main()
