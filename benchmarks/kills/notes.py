"""The command `raytune-rec`, with two changes that a small job needs: a checkpoint every SECONDS of training instead of every
ten, and a line in a file for each pack whose training begins (from its start, or from a checkpoint), and for each of its epochs.

    RAYTUNE_KILLS_NOTES=file RAYTUNE_KILLS_RUN=folder python -m benchmarks.kills.notes run job.toml --out folder

Both paths are absolute, for worker processes read them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
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
    note({"pack": pack.name, "lanes": lanes, "finished": (folder / "result.json").exists()})
    trainer = real(resolved, pack, *others)
    epoch = trainer.epoch

    def noted() -> None:
        lanes = len(trainer.active)
        epoch()
        note({"epoch": pack.name, "trained": lanes})

    trainer.epoch = noted  # type: ignore[method-assign]
    return trainer


def note(line: dict[str, Any]) -> None:
    with open(os.environ[NOTES], "a", encoding="utf-8") as file:
        file.write(json.dumps({**line, "time": time.time()}) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """What an attempt noted of packs that it began, in order; nothing if it trained nothing."""
    return [note for note in lines(path) if "lanes" in note]


def lines(path: Path) -> list[dict[str, Any]]:
    """All that an attempt noted; a line that a kill has cut is left out."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("}\n")]


def main(build: Callable[..., Any] = this.build, seconds: float = SECONDS) -> int:
    from raytune_rec import cli
    from raytune_rec.tuning.run import runner

    defaults = runner.run.__kwdefaults__ or {}
    assert {"seconds", "build"} <= set(defaults), "runner.run has lost an option that this command changes"
    defaults.update(seconds=seconds, build=build)
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
