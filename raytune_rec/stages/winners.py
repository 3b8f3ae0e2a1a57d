"""Winners that are trained: their options, what they tuned, and which of them become artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from torch import Tensor

from raytune_rec.artifacts import weights
from raytune_rec.config import BEST
from raytune_rec.errors import JobError
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.stages.context import Context
from raytune_rec.stages.failures import winner
from raytune_rec.training.parts import Parts, parts_of
from raytune_rec.training.settings import Settings
from raytune_rec.tuning.search.plan import Plan, Planned
from raytune_rec.tuning.search.records import Winner

SMALL = 0.5
"""Share of the backbone's parameters of which a small artifact holds no more."""


@dataclass(frozen=True)
class Choice:
    """What validation has chosen.

    Args:
        pretraining: on whose first backbone all artifacts stand: where methods start from several, the one whose best methods
            have the highest mean over the most units.
        means: pre-training -> that mean.
        methods: unit -> the method whose winner becomes its artifact; of equals the first of the job. Units on which none has a
            winner are left out.
        valid: unit -> competing method of this pre-training -> its validation metric, mean over the replicates on the backbone.
    """

    pretraining: str
    means: Mapping[str, float]
    methods: Mapping[str, str]
    valid: Mapping[str, Mapping[str, float]]

    def facts(self) -> dict[str, Any]:
        """As in `results.json`."""
        units = {unit: {"method": method, "valid": dict(self.valid[unit])} for unit, method in self.methods.items()}
        return {"pretraining": self.pretraining, "pretrainings": dict(self.means), "units": units}


def winner_settings(context: Context, method: str, facts: Mapping[str, Any]) -> tuple[Settings, Parts]:
    """The options and components of a winner."""
    resolved = context.started.method(method).resolved
    settings, planned = resolved.lay(facts["options"]), resolved.method
    options = {"backbone": [settings.backbone], "prompt": [settings.prompt]}
    return settings, parts_of(
        planned.backbone, planned.prompt, planned.strategy, options, context.store.schema, resolved.start, context.own
    )


def tuned(folder: Path, replicate: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a replicate of a winner tuned.

    Args:
        folder: of the winner. replicate: its facts in `winner.json`.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    return weights.read(folder / f"replicate-{replicate['replicate']}.safetensors", replicate["sha256"])


def on_first(context: Context, method: str, unit: str) -> list[dict[str, Any]]:
    """The replicates of a winner that stand on the first pre-training, which all artifacts share."""
    return [r for r in (winner(context, method, unit) or {"replicates": ()})["replicates"] if not r["pretraining"]]


def choice(context: Context) -> Choice | None:
    """What validation chooses among winners that are trained; None where the job names a method, or leaves it to the mean rank.

    The test split is not looked at.
    """
    if context.job.evaluate.export != BEST:
        return None
    of_starts: dict[str, dict[str, dict[str, float]]] = {}
    for planned in competing(context.plan):
        of_start = of_starts.setdefault(planned.method.pretraining, {})
        for unit in context.store.schema.unit_names:
            values = [r["best"] for r in on_first(context, planned.method.name, unit)]
            if values and _small(context, planned.method.name, unit):
                of_start.setdefault(unit, {})[planned.method.name] = fmean(values)
    sign = 1 if METRICS[context.job.training.metric].higher else -1
    best = {
        start: {u: max(of_unit, key=lambda m: sign * of_unit[m]) for u, of_unit in v.items()} for start, v in of_starts.items()
    }
    means = {start: fmean([of_starts[start][u][m] for u, m in chosen.items()]) for start, chosen in best.items() if chosen}
    shared = max(means, key=lambda start: (len(best[start]), sign * means[start]), default="")
    return Choice(shared, means, best.get(shared, {}), of_starts.get(shared, {}))


def exported(context: Context, best: Mapping[tuple[str, str], Winner], chosen: Choice | None) -> dict[str, str]:
    """Unit -> the method whose winner becomes its artifact; empty where no method has a prompt.

    It is what validation has chosen for the unit, or the job's method, or else the prompt method of best mean validation rank.
    """
    if chosen:
        return dict(chosen.methods)
    name = context.job.evaluate.export or _of_best_rank(context.plan, best)
    return dict.fromkeys(context.store.schema.unit_names, name) if name else {}


def _of_best_rank(plan: Plan, best: Mapping[tuple[str, str], Winner]) -> str:
    won = {method for method, _ in best}
    prompted = [planned.method.name for planned in plan.methods if planned.method.strategy.prompt == "on"]
    methods = [name for name in prompted if name in won]
    units = sorted({unit for _, unit in best})
    sign = -1 if METRICS[plan.job.training.metric].higher else 1
    none = float("nan")  # comes last
    values = np.array([[sign * best[name, u].value if (name, u) in best else none for u in units] for name in methods])
    if not methods:
        return ""
    ranks = values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return methods[int(ranks.mean(axis=1).argmin())]


def check_export(plan: Plan) -> None:
    """Refuse a method whose winners cannot become artifacts, and a choice among none.

    Raises:
        JobError: the method that the job names starts from scratch, or no method competes.
    """
    name = plan.job.evaluate.export
    if name in plan.planned and plan.method(name).method.strategy.start != "backbone":
        raise JobError(
            f"evaluate.export: method {name!r} starts from scratch; an artifact stands on a pre-trained backbone. "
            "Name another method."
        )
    if name == BEST and not competing(plan):
        why = "; ".join(f"{planned.method.name} {_kept_out(planned)}" for planned in plan.methods)
        raise JobError(
            f"evaluate.export = {BEST!r}: validation chooses among small artifacts on a pre-trained backbone, and no method "
            f"makes one ({why}). Add a method with strategy 'finetune_partial:linear', or with a prompt, that starts from a "
            "pre-training; or leave export out."
        )


def competing(plan: Plan) -> list[Planned]:
    """The methods whose winners are small artifacts on a pre-trained backbone, in the job's order."""
    return [planned for planned in plan.methods if not _kept_out(planned)]


def told_of_choice(plan: Plan) -> list[str]:
    """A line on who competes for the artifacts, and who does not and why; none where there is no choice."""
    if plan.job.evaluate.export != BEST:
        return []
    of_starts: dict[str, list[str]] = {}
    for planned in competing(plan):
        of_starts.setdefault(planned.method.pretraining, []).append(planned.method.name)
    among = "; or ".join(f"{', '.join(names)} on pre-training {start}" for start, names in of_starts.items())
    out = "; ".join(f"{planned.method.name} {why}" for planned in plan.methods if (why := _kept_out(planned)))
    said = (
        f"Validation chooses the artifact of each unit among {among}; all stand on one backbone, and a winner that trains more "
        f"than {SMALL:.0%} of what it has is left out."
    )
    return [f"{said} Not among them: {out}." if out else said]


def _kept_out(planned: Planned) -> str:
    """Why a method's winner is no small artifact on a shared backbone; empty where it is."""
    if planned.method.strategy.start != "backbone":
        return "starts from scratch"
    if not planned.parts.trained_groups:
        return "trains nothing"
    share = _share(planned.parts)
    return f"trains {share:.0%} of what its backbone has" if share > SMALL else ""


def _small(context: Context, method: str, unit: str) -> bool:
    """Whether a winner still is with its own options: a rank may have been searched."""
    return _share(winner_settings(context, method, winner(context, method, unit) or {})[1]) <= SMALL


def _share(parts: Parts) -> float:
    """Parameters that are trained, those of a prompt among them, as a share of the backbone's, for all ids."""
    whole = sum(p.size() for p in parts.backbone.parameters())
    trained = [p for name, p in parts.declared().items() if name not in parts.buffers and p.group in parts.trained_groups]
    return sum(p.size() for p in trained) / max(whole, 1)
