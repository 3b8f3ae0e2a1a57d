"""What a tracker has been told of a run: `tracking/<tracker>.json` in its folder. Who goes on with the run goes on from it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raytune_rec.errors import ArtifactError
from raytune_rec.storage.files import read_json, write_json
from raytune_rec.storage.fingerprint import file_sha256

FOLDER = "tracking"


@dataclass
class Record:
    """One tracker's.

    Args:
        path: of the file.
        key: of the run (`trackers.base.TrackedRun`).
        options: of the tracker, as the job has them: where they name another server or project, nothing is told there yet.
        told: `Trial.key` of the trials that it has.
        ended: sha256 of the results with which it was told that the run is finished; empty before.
    """

    path: Path
    key: str
    options: Mapping[str, Any]
    told: set[str] = field(default_factory=set)
    ended: str = ""

    @classmethod
    def of(cls, run: Path, tracker: str, options: Mapping[str, Any]) -> Record:
        """The record in a run folder; a new one where there is none, or a damaged one. Other options keep the key alone."""
        path = run / FOLDER / f"{tracker}.json"
        try:
            facts = read_json(path)
            if facts["options"] != options:
                return cls(path, str(facts["run"]), options)
            return cls(path, str(facts["run"]), options, set(facts["told"]), str(facts["ended"]))
        except (ArtifactError, KeyError, TypeError):
            return cls(path, secrets.token_hex(16), options)

    def keep(self) -> None:
        write_json(self.path, {"run": self.key, "options": self.options, "told": sorted(self.told), "ended": self.ended})


def results_of(run: Path) -> str:
    """sha256 of a run's results; empty where it has none."""
    path = run / "results.json"
    return file_sha256(path) if path.is_file() else ""
