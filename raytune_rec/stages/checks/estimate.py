"""How long a job will train: packs of each kind make a few steps here, and what a run makes of them is counted.

A pack's seconds are taken as linear in its lanes, after a small and a larger one that are timed. An epoch has as many steps as
rows give, and a validation. A trial makes at most all its epochs, and at least as many as its patience and the first rung of
early stopping want. Not counted: Ray's start and its turn between two packs, the preparation, the test, the report.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch
from optuna.samplers import RandomSampler

from raytune_rec.data.stored.store import Store
from raytune_rec.job.tuning import TuneOptions
from raytune_rec.machine.hardware import cpus
from raytune_rec.machine.threads import threads
from raytune_rec.report.words import duration, listed
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.training.build import reads_by_id, rows_of, table_feed, train_with
from raytune_rec.tuning.packs.packing import parts, shared
from raytune_rec.tuning.run.resources import concurrency
from raytune_rec.tuning.search.pace import Pace
from raytune_rec.tuning.search.plan import Plan, Planned, Structure, training_rows

SECONDS = 10.0
"""After which no further kind of pack is begun with."""
FEW, MANY = 2, 16
"""Lanes of the two packs that are timed, at most."""
_STEP_SECONDS = 0.15
"""For which steps of a pack are timed."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a pack: to begin, of a step, of a validation."""

    begin: float
    step: float
    valid: float

    def of(self, epochs: int, steps: int) -> float:
        return self.begin + self.valid + epochs * (steps * self.step + self.valid)


@dataclass(frozen=True)
class Kind:
    """The packs of one method or pre-training.

    Args:
        timed: lanes -> what a pack of so many takes, of one number or two.
        rows: training rows of the unit that they were timed on.
    """

    planned: Planned
    timed: dict[int, Cost]
    rows: int

    def cost(self, lanes: int, rows: int) -> Cost:
        """Of a pack of so many lanes, on a unit of so many rows: what does not depend on steps is as long as the unit is."""
        (few, low), (many, high) = min(self.timed.items()), max(self.timed.items())
        share = rows / self.rows

        def at(a: float, b: float) -> float:
            each = max(0.0, b - a) / (many - few) if many > few else a / few
            return max(0.0, a + (lanes - few) * each)

        return Cost(at(low.begin, high.begin) * share, at(low.step, high.step), at(low.valid, high.valid) * share)


@dataclass
class Work:
    """What trains at a time: seconds of processors in all, and of the longest row of packs that wait for each other.

    Args:
        least, most: as early and as late as trials stop.
    """

    least: float = 0.0
    most: float = 0.0
    chain_least: float = 0.0
    chain_most: float = 0.0

    def add(self, packs: Sequence[tuple[float, float]], abreast: int, times: int = 1) -> None:
        """Packs that train side by side, so many times one after the other."""
        least, most = (sum(each) * times for each in zip(*packs, strict=True))
        self.least, self.most = self.least + least, self.most + most
        beside = min(abreast, len(packs))
        self.chain_least, self.chain_most = max(self.chain_least, least / beside), max(self.chain_most, most / beside)

    def on(self, slots: int) -> tuple[float, float]:
        return max(self.least / slots, self.chain_least), max(self.most / slots, self.chain_most)


def lines(made: Plan, store: Path) -> list[str]:
    """What to tell of a job's time; nothing where nothing is trained.

    Args:
        store: of its data, whose rows are known.
    """
    job = made.job
    kinds = [p for p in made.planned.values() if not (job.tune.winners_of and p.method.kind == "method")]
    if job.tune.gpus and not torch.cuda.is_available():
        return ["Time is not told: packs train on GPUs (tune.gpus), and this machine has none."]
    slots = job.tune.concurrent or concurrency(job.tune, [{"CPU": cpus(), "GPU": torch.cuda.device_count()}])
    left, timed, until = list[str](), dict[str, Kind](), time.monotonic() + SECONDS
    with threads(job.tune.threads):
        for planned in kinds:
            large = planned.parts.backbone.most_rows or planned.parts.backbone.most_lanes  # of which a step takes too long
            if large or time.monotonic() > until:
                left.append(planned.method.name)
            else:
                timed[planned.method.name] = _timed(planned, made.schema, store, "cuda" if job.tune.gpus else "cpu")
    if timed:
        return [_sentence(made, list(timed.values()), left, slots)]
    take = "takes" if len(left) == 1 else "take"
    return [f"Time is not told: {listed(left)} {take} too long for a few steps in passing."] if left else []


def _sentence(made: Plan, timed: Sequence[Kind], left: Sequence[str], slots: int) -> str:
    parts_of_run = {
        "pre-training": _pretrainings(made, [k for k in timed if k.planned.method.kind == "pretraining"], slots),
        "search": _search(made.schema, [k for k in timed if k.planned.method.kind == "method"], slots).on(slots),
        "winners": _winners(made, [k for k in timed if k.planned.method.kind == "method"]).on(slots),
    }
    told = [f"{name} {_range(*seconds)}" for name, seconds in parts_of_run.items() if seconds[1]]
    least, most = (sum(each) for each in zip(*parts_of_run.values(), strict=True))
    without = f" Without {listed(left)}, which {'was' if len(left) == 1 else 'were'} not timed." if left else ""
    return (
        f"Time to train, from a few steps of each kind of pack on this machine, {slots} at a time: {_range(least, most)} "
        f"({', '.join(told)}). It is the most where no trial stops early, and the least where each stops as soon as it may. "
        f"Preparation, test and Ray's own work come on top.{without}"
    )


def _range(least: float, most: float) -> str:
    """In two digits: no more of them are known."""
    a, b = (duration(float(f"{seconds:.2g}")) for seconds in (least, most))
    return b if a == b else f"{a} to {b}"


def _timed(planned: Planned, schema: DataSchema, store: Path, device: str) -> Kind:
    """Time packs of the widest kind of a round, on the method's largest unit."""
    unit = max(planned.units, key=lambda name: training_rows(schema, name))
    widest = max(_cut(planned, [unit], 1), key=len)
    costs: dict[int, Cost] = {}
    for count in sorted({min(FEW, len(widest)), min(MANY, len(widest))}):
        costs[count] = _cost(planned, Pack("timed", planned.method.name, tuple(widest[:count])), store, device)
        if costs[count].step > 1:  # a larger one would take too long
            break
    return Kind(planned, costs, max(1, training_rows(schema, unit)))


def _cost(planned: Planned, pack: Pack, store: Path, device: str) -> Cost:
    resolved = planned.resolved
    job, method = resolved.job, resolved.method
    settings = [resolved.lay(lane.options) for lane in pack.lanes]
    feedback = planned.parts.backbone.reads_feedback or None
    units = {unit: rows_of(str(store), unit, reads_by_id(job, method), feedback) for unit in pack.units}
    begun = time.perf_counter()
    feed = table_feed(job, pack, units, settings[0].training.batch_size, device)
    trainer = train_with(job, pack, method, settings, Store.open(store).schema, units, feed, None, device)
    begin = time.perf_counter() - begun
    step, valid = trainer.timed(_STEP_SECONDS)
    return Cost(begin, step, valid)


def _cut(planned: Planned, units: Sequence[str], abreast: int) -> list[list[Lane]]:
    """The packs of a round, of configurations that are drawn from the space."""
    tune, space = planned.tune, planned.space
    count = min(space.different(tune.trials), Pace.of(tune).round) if space.dimensions and tune.trials else 1
    study = optuna.create_study(sampler=RandomSampler(seed=planned.resolved.job.seed))
    drawn = [space.ask(study.ask()) for _ in range(max(1, count))]
    lanes = [Lane(number, 0, options, unit) for unit in units for number, options in enumerate(drawn)]
    return parts(lanes, tune.pack, Structure(planned.resolved), abreast)


def _epochs(planned: Planned) -> tuple[int, int]:
    """Of a trial: least and most."""
    most = planned.epochs if planned.parts.trained_groups else 0
    rung = [planned.tune.stop.min_epochs] if planned.tune.stop.rule != "none" else []
    return min([most, planned.base.training.patience, *rung]), most


def _bounds(kind: Kind, lanes: int, rows: int, stops: bool = True) -> tuple[float, float]:
    """Seconds of a pack, on a unit of so many rows. stops: whether early stopping may end its trials."""
    least, most = _epochs(kind.planned)
    least = least if stops else min(most, kind.planned.base.training.patience)
    steps = math.ceil(rows / kind.planned.base.training.batch_size)
    cost = kind.cost(lanes, rows)
    return cost.of(least, steps), cost.of(most, steps)


def _search(schema: DataSchema, kinds: Sequence[Kind], slots: int) -> Work:
    groups = [(kind, units) for kind in kinds for units in _groups(kind.planned, schema)]
    work, abreast = Work(), math.ceil(slots / max(1, len(groups)))
    for kind, units in groups:
        rows = max(training_rows(schema, unit) for unit in units)
        packs = [_bounds(kind, len(lanes), rows) for lanes in _cut(kind.planned, units, abreast)]
        work.add(packs, abreast, _rounds(kind.planned))
    return work


def _groups(planned: Planned, schema: DataSchema) -> list[list[str]]:
    tune = planned.tune
    rows = {unit: training_rows(schema, unit) for unit in planned.units}
    return shared(rows, Pace.of(tune).round, tune.pack, tune.share_rows)


def _rounds(planned: Planned) -> int:
    tune: TuneOptions = planned.tune
    if not (planned.space.dimensions and tune.trials):
        return 1
    return math.ceil(planned.space.different(tune.trials) / Pace.of(tune).round)


def _winners(made: Plan, kinds: Sequence[Kind]) -> Work:
    work, count = Work(), made.job.evaluate.replicates
    for kind in kinds:
        for unit in made.schema.unit_names:
            work.add([_bounds(kind, count, training_rows(made.schema, unit), stops=False)], 1)
    return work


def _pretrainings(made: Plan, kinds: Sequence[Kind], slots: int) -> tuple[float, float]:
    """Recipes, which are searched side by side, and the pre-trainings themselves, which are made one after the other."""
    job = made.job
    searched = [kind for kind in kinds if job.pretrain.trials]
    least, most = _search(made.schema, searched, slots).on(slots)
    for kind in kinds:
        once = _bounds(kind, 1, kind.rows, stops=False)
        times = job.pretrain.replicates / max(1, job.pretrain.workers)
        least, most = least + once[0] * times, most + once[1] * times
    return least, most
