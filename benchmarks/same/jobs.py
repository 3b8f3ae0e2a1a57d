"""The runs: shipped jobs with smaller budgets, each through the command line in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.same import cut

_ROOT = Path(__file__).parents[2]
_SEQUENCE = {"data.sequences.length": 20, "pretrain.training.epochs": 1, "training.epochs": 2, "tune.trials": 4}
_COLD = {**_SEQUENCE, "data.sequences.folds": 2, "evaluate.replicates": 2}


def keep(out: Path, data: Path | None) -> None:
    """Run all jobs below a new folder `out`. data: the folder of real data; None: the quickstart alone."""
    out.mkdir(parents=True)
    _run("quickstart", out / "quickstart", {
        "pretrain.trials": 3, "pretrain.training.epochs": 2, "training.epochs": 3, "tune.trials": 6, "tune.alone": 0,
        "tune.stop.rule": "none",
    })  # fmt: skip
    if data is None:
        return
    _run("plate_douban", out / "plate_douban", {
        "data.options.path": str(cut.douban(data, out / "raw" / "douban")), "pretrain.trials": 3, "pretrain.replicates": 2,
        "pretrain.training.epochs": 2, "training.epochs": 4, "tune.stop.min_epochs": 1, "tune.trials": 8,
        "evaluate.replicates": 2,
    })  # fmt: skip
    movies = {"data.options.path": str(cut.movielens(data, out / "raw" / "movielens")), **_COLD}
    _run("ppr_ml1m", out / "ppr_ml1m", {**movies, "pretrain.replicates": 2})
    _run("ppr_profiles", out / "ppr_profiles", movies)
    shops = {"data.options.path": str(cut.amazon(data, out / "raw" / "amazon"))}
    _run("sasrec_beauty", out / "sasrec_beauty", {**shops, "training.epochs": 2, "data.sequences.length": 20})
    vectors = str(out / "beauty.parquet")
    _command("vectors", str(out / "sasrec_beauty"), "--out", vectors)
    _run("ppr_cross_domain", out / "ppr_cross_domain", {
        **shops, **_COLD, "data.options.vectors": vectors, "pretrainings.sasrec.from": str(out / "sasrec_beauty"),
        "tune.stop.min_epochs": 1,
    })  # fmt: skip


def _run(job: str, out: Path, settings: Mapping[str, Any]) -> None:
    started = time.perf_counter()
    _command(
        "run", job, "--out", str(out), *(w for key, value in settings.items() for w in ("--set", f"{key}={json.dumps(value)}"))
    )
    print(f"{job}: {time.perf_counter() - started:.0f} s", flush=True)


def _command(*words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("RAY_ADDRESS", None)
    program = "from raytune_rec.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=_ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
