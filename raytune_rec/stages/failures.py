"""What of a run could not be done: recorded by the stage that met it, told, and the rest is finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raytune_rec.config import Job
from raytune_rec.stages.context import Context
from raytune_rec.storage.files import read_json
from raytune_rec.storage.marker import complete, read
from raytune_rec.training.settings import PRETRAIN, method_of


@dataclass(frozen=True)
class Failure:
    """One of them.

    Args:
        method: of the table, or `pretrain.<name>`.
        unit: where; empty: everywhere.
        reason: a sentence that says of whom it speaks, what happened, and what may be done.
        replicates: those that are missing of a result that there is; empty: there is none.
    """

    method: str
    unit: str
    reason: str
    replicates: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.reason


def facts(failures: Iterable[Failure]) -> dict[str, Any]:
    """What a stage's marker says of them; nothing where there are none."""
    told = [asdict(f) for f in failures]
    return {"failed": told} if told else {}


def recorded(folder: Path) -> list[Failure]:
    """Of all finished stages of a run folder, in the order of the stages."""
    finished = [path for stage in ("pretrain", "tune", "export") if complete(path := folder / "stages" / stage)]
    held = [failure for path in finished for failure in read(path).get("facts", {}).get("failed", ())]
    return [Failure(**{**f, "replicates": tuple(f["replicates"])}) for f in held]


def startable(job: Job, backbones: Iterable[str]) -> tuple[Job, list[Failure]]:
    """The job with the methods whose pre-training there is, and those that have none."""
    lost = {v for v in job.pretrainings if v not in set(backbones)}
    pretrainings = {name: method_of(job, name).pretraining for name in job.methods}
    failures = [
        Failure(name, "", f"{name} is not searched: the pre-training {pretraining!r} that it starts from failed.")
        for name, pretraining in pretrainings.items()
        if pretraining in lost
    ]
    methods = {name: method for name, method in job.methods.items() if pretrainings[name] not in lost}
    return job.model_copy(update={"methods": methods}), failures


def searched_in_vain(trials: Sequence[Mapping[str, Any]], method: str, unit: str) -> Failure:
    """A search none of whose trials has ended well."""
    errors = [t["error"] for t in trials if t["method"] == method and t["unit"] == unit]
    first = next((e for e in errors if e), "an objective is not finite")
    remedy = f"Raise tune.trials in this folder, or lower the learning rates of methods.{method}.space in another --out folder"
    where = f" on {unit}"
    if method.startswith(PRETRAIN):
        place = f"pretrainings.{method.removeprefix(PRETRAIN)}.space, pretrain.training"
        where, unit, remedy = "", "", f"Lower its learning rates ({place}) in another --out folder"
    return Failure(method, unit, f"every trial failed for {method}{where} ({len(errors)} trials; the first: {first}). {remedy}.")


def winner(context: Context, method: str, unit: str) -> dict[str, Any] | None:
    """Facts and replicates of a winner; None where there is none, or none of its replicates could be trained."""
    path = context.winner_folder(method, unit) / "winner.json"
    known: dict[str, Any] = read_json(path) if path.exists() else {}
    return known if known.get("replicates") else None


def of_winner(context: Context, method: str, unit: str) -> list[Failure]:
    """One word on the replicates of a winner that could not be trained."""
    known = read_json(context.winner_folder(method, unit) / "winner.json")
    lost, count = known.get("failed", ()), len(known["replicates"])
    if not lost:
        return []
    said = "; ".join(f"replicate {f['replicate']} failed: {f['error']}" for f in lost)
    if count:
        return [
            Failure(
                method,
                unit,
                f"{method} on {unit}: {count} of {count + len(lost)} replicates; {said}.",
                tuple(f["replicate"] for f in lost),
            )
        ]
    remedy = "Raise tune.trials in this folder for another winner, or lower the learning rates in another --out folder"
    return [Failure(method, unit, f"{method} on {unit}: no replicate of its winner could be trained; {said}. {remedy}.")]
