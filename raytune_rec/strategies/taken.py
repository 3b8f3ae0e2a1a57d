"""What is taken of the winners of a finished run (`tune.winners_of`), where a log has grown: their options, and what of a prompt
all items share, which stays as it is beside rows of new items.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from raytune_rec.artifacts import weights
from raytune_rec.config import Job
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError
from raytune_rec.names import path_name
from raytune_rec.schema.contract import MEMBER, Parameter
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.schema.work import Lane
from raytune_rec.storage.files import at_hand, read_json
from raytune_rec.storage.places import located


def winner_folder(run: Path, method: str, unit: str) -> Path:
    """Where a run keeps a winner: `winner.json`, and what each replicate tuned."""
    return run / "winners" / path_name(method) / path_name(unit)


def lenders(job: Job, schema: DataSchema) -> dict[str, str]:
    """Each unit of a grown log -> the unit of the finished run whose winner it takes: its domain's largest group.

    Raises:
        DataError: the finished run has no prepared data.
    """
    of_domains = largest(_schema(job))
    return {unit.name: of_domains[unit.domain] for unit in schema.units}


def largest(schema: DataSchema) -> dict[str, str]:
    """Each domain -> the unit of most validation rows."""
    return {u.domain: u.name for u in sorted(schema.units, key=lambda unit: schema.rows.get((unit.name, "valid"), 0))}


def winner(job: Job, schema: DataSchema, method: str, unit: str) -> dict[str, Any] | None:
    """Facts and replicates of what a unit takes; None where the finished run has none."""
    path = at_hand(_folder(job, schema, method, unit) / "winner.json")
    known: dict[str, Any] = read_json(path) if path.exists() else {}
    return known if known.get("replicates") else None


def shared(
    job: Job, schema: DataSchema, method: str, declared: Mapping[str, Parameter], lane: Lane, start: int
) -> dict[str, Tensor]:
    """Full name -> what a lane takes of a prompt; nothing where the job takes no winners.

    Args:
        declared: full name -> what the lane's model declares.
        start: which replicate of the pre-training the lane stands on.

    Raises:
        ArtifactError: no replicate of the winner stands on that one, or it is damaged.
    """
    wanted = {name for name, p in declared.items() if name.startswith("prompt.") and p.rows != MEMBER}
    if not job.tune.winners_of or not wanted:
        return {}
    known = winner(job, schema, method, lane.unit) or {"replicates": ()}
    alike = [r for r in known["replicates"] if (r["pretraining"] or 0) == start]
    if not alike:
        folder = _folder(job, schema, method, lane.unit)
        raise ArtifactError(f"{folder}: no replicate stands on pre-training {start}; start a new run with this log.")
    chosen = next((r for r in alike if r["replicate"] == lane.replicate), alike[0])
    tensors = _read(_folder(job, schema, method, lane.unit), chosen["replicate"], chosen["sha256"])
    return {name: tensor for name, tensor in tensors.items() if name in wanted}


def _folder(job: Job, schema: DataSchema, method: str, unit: str) -> Path:
    return winner_folder(located(job.tune.winners_of), method, lenders(job, schema)[unit])


def _schema(job: Job) -> DataSchema:
    return _opened(located(job.tune.winners_of) / "data")


@lru_cache(maxsize=2)
def _opened(store: Path) -> DataSchema:
    return Store.open(store).schema


@lru_cache(maxsize=64)
def _read(folder: Path, replicate: int, sha256: str) -> dict[str, Tensor]:
    """Once, so that lanes which take the same share it."""
    return weights.read(at_hand(folder / f"replicate-{replicate}.safetensors"), sha256)
