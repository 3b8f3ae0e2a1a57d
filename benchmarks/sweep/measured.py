"""What a yardstick gives, and how it is measured in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.sweep.case import Case

YARDSTICKS = {
    "ours": "packs of lanes on Ray Tune (this product)",
    "ray_processes": "plain Ray Tune, a process for each configuration",
    "ray_actors": "Ray Tune with reuse_actors",
    "loops": "PyTorch loops, a process for each core",
    "lanes": "the same packs without Ray",
}
"""Module here -> what it is, in the order of the table. Each has `run(case) -> Measured`."""


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Args:
        seconds: wall clock from the search's begin to its last result, the start of its worker processes included.
        start: seconds to start Ray before that; 0 where there is none.
        best: trial -> best value of the validation metric.
    """

    seconds: float
    start: float = 0.0
    best: dict[int, float] = field(default_factory=dict)


def measure(name: str, case: Case) -> dict[str, Any]:
    """What a module's `run` gives, in a process of its own."""
    return fresh("benchmarks.sweep.child", name, case.to_text(), Path(case.scratch))


def fresh(module: str, name: str, case: str, scratch: Path) -> dict[str, Any]:
    """What a fresh process, with one thread for each worker, writes into its scratch folder, which goes afterwards.

    Args:
        module: of the process. name, case: its arguments.

    Returns:
        With `load_before`, the machine's load average of the last minute: far above the cores, others were at work.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", module, name, case]
    environment = {"RAY_AUTH_MODE": "disabled", **os.environ, "OMP_NUM_THREADS": "1"}
    load = os.getloadavg()[0]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads((scratch / "measured.json").read_text())
    shutil.rmtree(scratch, ignore_errors=True)
    return found | {"load_before": load}


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}
