"""What a run took of the machines that it asked for: core and GPU hours, by stage and by domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from raytune_rec.report.run import Run
from raytune_rec.report.tables.web import Cell, Line, WebTable
from raytune_rec.report.words import NARROW, NONE
from raytune_rec.schema.prepared import ALL_DOMAINS

SHOWN = 20
"""Domains of a stage that have a line of their own."""
_RECIPES = "pretrain."
"""Begins the method of what searches the recipe of a pre-training."""


@dataclass(frozen=True)
class Stage:
    """A stage.

    Args:
        name: shown.
        cores, gpus: that a second of it holds.
        seconds: tuning unit -> seconds of training.
    """

    name: str
    cores: float
    gpus: float
    seconds: Mapping[str, float]


def stages(run: Run) -> list[Stage]:
    """Those that train, with what their processes ask of Ray; none of a job whose text is damaged."""
    tune, pretrain = run.settings.get("tune", {}), run.settings.get("pretrain", {})
    pack = float(tune.get("cpus", 1)), float(tune.get("gpus", 0))
    workers, in_driver = int(pretrain.get("workers", 1)), not pretrain.get("workers", 1)
    trainers = (1.0, 0.0) if in_driver else (float(workers * tune.get("threads", 1)), float(workers * bool(pretrain.get("gpu"))))
    recipes = ((t.unit, t.seconds) for t in run.trials if t.method.startswith(_RECIPES))
    searched = ((t.unit, t.seconds) for t in run.trials if not t.method.startswith(_RECIPES))
    made = ((ALL_DOMAINS, float(facts.get("seconds", 0.0))) for facts in run.pretrain.values())
    again = ((str(w["unit"]), float(r.get("seconds", 0.0))) for w in run.retrained for r in w["replicates"])
    found = [
        Stage("recipes of pre-trainings", *pack, _summed(recipes)),
        Stage("pre-trainings", *trainers, _summed(made)),
        Stage("search", *pack, _summed(searched)),
        Stage("winners, with replicates", *pack, _summed(again)),
    ]
    return [stage for stage in found if sum(stage.seconds.values())] if run.settings else []


def table(run: Run) -> WebTable | None:
    """For the page; None where nothing was trained."""
    if not (found := stages(run)):
        return None
    lines = [line for stage in found for line in _lines(stage)]
    cores, gpus = (sum(sum(s.seconds.values()) * each(s) for s in found) for each in (lambda s: s.cores, lambda s: s.gpus))
    total = Line("all of it", "transparent", "", [Cell(_hours(cores)), Cell(_hours(gpus))])
    caption = (
        "Time of training times the processors and GPUs that its process asked for (tune.cpus, tune.gpus; of Ray Train's "
        "workers tune.threads and pretrain.gpu). Lanes of a pack share its time. What started processes, prepared data, tested "
        "winners or was lost with a process is not in it."
    )
    caption += f" {run.saved[0].upper()}{run.saved[1:]}" if run.saved else ""
    return WebTable(caption, ["stage", "core hours", "GPU hours"], [*lines, total])


def _lines(stage: Stage) -> Iterable[Line]:
    """The whole stage, then its domains, the dearest first."""
    of_units = sorted(stage.seconds.items(), key=lambda pair: (-pair[1], pair[0]))
    yield _line(stage, "", sum(stage.seconds.values()))
    if len(of_units) > 1:
        yield from (_line(stage, unit, seconds) for unit, seconds in of_units[:SHOWN])
    if rest := of_units[SHOWN:]:
        yield _line(stage, f"{len(rest)} more", sum(seconds for _, seconds in rest))


def _line(stage: Stage, unit: str, seconds: float) -> Line:
    cells = [Cell(_hours(seconds * stage.cores)), Cell(_hours(seconds * stage.gpus))]
    return Line(unit or stage.name, "transparent", "" if not unit else stage.name, cells)


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return NONE if not hours else f"{hours:,.1f}".replace(",", NARROW) if hours >= 10 else f"{hours:.2g}"


def _summed(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for unit, seconds in pairs:
        total[unit] += seconds  # type: ignore[assignment]
    return dict(total)
