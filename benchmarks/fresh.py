"""A measurement in a process of its own: `python -m benchmarks.fresh MODULE CASE` is what `fresh` starts.

MODULE has `run(case)`, which gives a dataclass; the `case` module beside it has the class `Case`. Imports nothing of either at
the top: the processes that a measurement spawns import this file again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

_MEASURED = "measured.json"


class Case(Protocol):
    """What is measured. It travels as text, and has a folder of its own, which goes afterwards."""

    @property
    def scratch(self) -> str: ...

    def to_text(self) -> str: ...


def fresh(module: str, case: Case) -> dict[str, Any]:
    """What a module's `run` gives in a fresh process, with one thread for each worker.

    Returns:
        With `load_before`, the machine's load average of the last minute: far above the cores, others were at work.
    """
    scratch = Path(case.scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.fresh", module, case.to_text()]
    environment = {"RAY_AUTH_MODE": "disabled", **os.environ, "OMP_NUM_THREADS": "1"}
    load = os.getloadavg()[0]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    measured: dict[str, Any] = json.loads((scratch / _MEASURED).read_text())
    shutil.rmtree(scratch, ignore_errors=True)
    return measured | {"load_before": load}


def main(module: str, text: str) -> None:
    package = module.rpartition(".")[0]
    case = import_module(f"{package}.case").Case.from_text(text)
    measured = import_module(module).run(case)
    (Path(case.scratch) / _MEASURED).write_text(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main(*sys.argv[1:])
