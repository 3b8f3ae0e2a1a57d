"""What of a run could not be done: recorded by the stage that met it, told, and the rest is finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raytune_rec.schema.work import Method
from raytune_rec.stages.context import Context
from raytune_rec.storage.files import read_json
from raytune_rec.storage.marker import complete, read
from raytune_rec.tuning.search.plan import Plan


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


def not_started(before: Plan, started: Plan) -> list[Failure]:
    """The methods whose pre-training failed.

    Args:
        before: the plan before it. started: the plan with the backbones that there are.
    """
    lost = [planned.method for planned in before.methods if planned.method.name not in started.planned]
    why = "is not searched: the pre-training {!r} that it starts from failed."
    return [Failure(method.name, "", f"{method.name} {why.format(method.pretraining)}") for method in lost]


def searched_in_vain(trials: Sequence[Mapping[str, Any]], method: Method, unit: str, lender: str = "") -> Failure:
    """A search none of whose trials has ended well; of a lender, whose winner the unit would have taken."""
    name, searched = method.name, lender or unit
    errors = [t["error"] for t in trials if t["method"] == name and t["unit"] == searched]
    first = next((e for e in errors if e), "an objective is not finite")
    remedy = f"Raise tune.trials in this folder, or lower the learning rates of {method.place}.space in another --out folder"
    where = f" on {searched}" + (f", whose winner {unit} takes" if searched != unit else "")
    if method.kind == "pretraining":
        rates = f"{method.place}.space, pretrain.training"
        where, unit, remedy = "", "", f"Lower its learning rates ({rates}) in another --out folder"
    return Failure(name, unit, f"every trial failed for {name}{where} ({len(errors)} trials; the first: {first}). {remedy}.")


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
