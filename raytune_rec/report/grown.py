"""What was added to a finished run for items that came later: a run for each time, inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_rec.storage.files import STORAGE, read_json

FOLDER = "grown"
"""In a run folder: `1/`, `2/` and on, each a run of its own."""


@dataclass(frozen=True)
class Grown:
    """What was added at a time.

    Args:
        name: of its folder. items: how many are new. results: of its `results.json`.
    """

    name: str
    items: int
    results: Mapping[str, Any]


def folders(run: Path) -> list[Path]:
    """In their order, unfinished ones too."""
    found = [path for path in STORAGE.list(run / FOLDER, "[0-9]*") if path.name.isdigit()]
    return sorted(found, key=lambda path: int(path.name))


def read(run: Path) -> tuple[Grown, ...]:
    """Those that are evaluated.

    Raises:
        ArtifactError: a file of one is damaged.
    """
    done = [folder for folder in folders(run) if (folder / "results.json").exists()]
    return tuple(Grown(folder.name, _items(folder), read_json(folder / "results.json")) for folder in done)


def _items(folder: Path) -> int:
    return sum(len(unit["members"]) for unit in read_json(folder / "data" / "schema.json")["groups"])
