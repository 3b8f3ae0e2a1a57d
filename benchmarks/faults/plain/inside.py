"""`script` with a fault within its own processes, and with notes of what it trains, as of `benchmarks.faults.inside`.

export RAYTUNE_KILLS_NOTES=FILE RAYTUNE_KILLS_RUN=DIR RAYTUNE_FAULT='{"kind": "nan", "count": 7, "state": "STATE"}'
python -m benchmarks.faults.plain.inside run JOB --out DIR
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from ray import tune

from benchmarks.faults import inside
from benchmarks.faults.plain import inside as this  # by its name, so that worker processes find it too
from benchmarks.faults.plain import script
from benchmarks.kills import notes
from benchmarks.sweep.plain import Rows, Training


def build(rows: Rows, config: Mapping[str, Any]) -> Training:
    """The script's own training, noted, and struck at one of its epochs."""
    prepare_copies()
    training, trial = script.build(rows, config), tune.get_context().get_trial_id()
    strike, epoch = STRIKES.get(inside.fault().get("kind", "")), training.epoch
    notes.note({"pack": trial, "lanes": [], "finished": False})

    def noted() -> float:
        if strike is not None and inside.due("epoch"):
            strike(training)
        value = epoch()
        notes.note({"epoch": trial, "trained": 1})
        return value

    training.epoch = noted  # type: ignore[method-assign]
    return training


def _raise(training: Training) -> None:
    raise RuntimeError("a fault that was injected")


def _poison(training: Training) -> None:
    """A weight is no number any more, and so no loss is one."""
    with torch.no_grad():
        next(weight for weight in training.model.parameters() if weight.requires_grad).fill_(torch.nan)


STRIKES: dict[str, Callable[[Training], None]] = {"exception": _raise, "nan": _poison}


@cache
def prepare_copies() -> None:
    """From here on this process may be killed while it copies a checkpoint to its place."""
    if inside.fault().get("kind") != "killed at copy":
        return
    from ray.train._internal import storage

    real = storage._pyarrow_fs_copy_files

    def copy(source: str, destination: str, **options: Any) -> None:
        real(source, destination, **options)
        if inside.due("copy"):
            for path in Path(destination).iterdir():
                os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    storage._pyarrow_fs_copy_files = copy  # type: ignore[assignment]


def main() -> int:
    if "RAY_ADDRESS" in os.environ:
        inside.pass_on()
    return script.main(this.build)


if __name__ == "__main__":
    sys.exit(this.main())
