"""What a run folder knows already of a job's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raytune_rec import config
from raytune_rec.config import Job
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import UserError
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.storage.files import at_hand, read_json


def summary_of(run: Path) -> dict[str, Any]:
    """What the preparation in a run folder has counted; empty where there is none."""
    path = run / "data" / "summary.json"
    counted: dict[str, Any] = read_json(path) if path.exists() else {}
    return counted


def prepared(job: Job, run: Path) -> DataSchema | None:
    """The schema of the data that a run has prepared for a job; None where it has none, or has them of other options.

    Raw files are not looked at: whether they have changed since is for `prepare` to say.
    """
    try:
        of_run = config.read(at_hand(run / "job.toml"))
        same = of_run.data.model_dump(mode="json") == job.data.model_dump(mode="json")
        return Store.open(run / "data").schema if same else None
    except UserError:
        return None
