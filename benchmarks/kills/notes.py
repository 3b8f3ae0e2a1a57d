"""The command `raytune-rec`, with two changes that a small job needs: a checkpoint every SECONDS of training instead of every
ten, and a line in a file for each pack whose training begins (from its start, or from a checkpoint).

    NOTES=file RUN=folder python -m benchmarks.kills.notes run job.toml --out folder
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.kills import notes as this  # by its name, so that worker processes find it too

SECONDS = 0.1
NOTES, RUN = "RAYTUNE_KILLS_NOTES", "RAYTUNE_KILLS_RUN"


def build(resolved: Any, pack: Any, *others: Any) -> Any:
    """The product's own trainer of a pack, noted."""
    from raytune_rec.training.build import build as real

    folder = Path(os.environ[RUN]) / "checkpoints" / pack.name
    lanes = [[f"{pack.method}/{lane.unit}", lane.trial, lane.replicate] for lane in pack.lanes]
    line = {"pack": pack.name, "lanes": lanes, "finished": (folder / "result.json").exists()}
    with open(os.environ[NOTES], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return real(resolved, pack, *others)


def read(path: Path) -> list[dict[str, Any]]:
    """What an attempt noted, in order; nothing if it trained nothing."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main() -> int:
    from raytune_rec import cli
    from raytune_rec.tuning.run import runner

    defaults = runner.run.__kwdefaults__ or {}
    assert {"seconds", "build"} <= set(defaults), "runner.run has lost an option that this command changes"
    defaults.update(seconds=SECONDS, build=this.build)
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
