"""What winners reach on the test split, every replicate, on units and on what the results pool of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.components import options_of
from raytune_rec.config import BEST
from raytune_rec.data.cold_items import JOINED
from raytune_rec.errors import MachineError, RunFailed
from raytune_rec.evaluation.measures.inputs import Replicates
from raytune_rec.machine.threads import threads
from raytune_rec.schema.prepared import Table
from raytune_rec.schema.work import numbered
from raytune_rec.scoring.scorer import Scorer
from raytune_rec.scoring.tuned import scoring_model
from raytune_rec.stages.context import Context
from raytune_rec.stages.failures import winner
from raytune_rec.stages.winners import tuned, winner_settings
from raytune_rec.storage.files import read_json
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tasks.base import Further, TaskKind
from raytune_rec.tasks.kinds import kind_of
from raytune_rec.tasks.lists import retrieved
from raytune_rec.training.model import Model
from raytune_rec.training.parts import LaneOptions, parts_of

Tests = Mapping[str, Mapping[str, Table]]
"""Name of a table of the results -> unit -> its test rows."""
Outcomes = Mapping[str, Mapping[str, Any]]
"""Likewise, of one method: its outcome, of the kind of the task."""
Found = Mapping[str, Mapping[str, np.ndarray]]
"""Likewise: the items that a retriever finds for each list."""
ALONE = 5.0
"""Seconds that this process scores before it asks the cluster for help, with as much left: most runs are done by then."""
_opened: list[Context] = []
"""The context that a process of the cluster has scored for last."""


def retrieval(context: Context, tests: Tests) -> dict[str, dict[str, np.ndarray]]:
    """What the winners of the retriever find for the lists of each table and unit; empty where none is named."""
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in tests}
    if not (method := context.job.evaluate.retriever):
        return found
    for name, units in tests.items():
        if name in JOINED:  # of lists that other tables hold
            continue
        for unit, table in units.items():
            if winner(context, method, unit):
                model = next(_models(context, method, unit))
                found[name][unit] = retrieved(Scorer(model).passes, table, max(context.job.evaluate.rerank))
            else:
                context.say(f"{unit}: nothing to rank again, for want of a winner of {method}, the retriever")
    return found


def outcomes(context: Context, kind: TaskKind[Any], tests: Tests, found: Found) -> dict[str, Outcomes]:
    """What the winners of each method reach on the units on which it has some. No row is scored for two tables."""
    units = list(dict.fromkeys(unit for of_units in tests.values() for unit in of_units))
    work = [(method, unit) for method in context.job.methods for unit in units if winner(context, method, unit)]
    scored = dict(zip(work, _scored(context, kind, work, tests, found), strict=True))
    return {method: _of_method(context, kind, method, tests, scored) for method in context.job.methods}


def _of_method(
    context: Context, kind: TaskKind[Any], method: str, tests: Tests, scored: Mapping[tuple[str, str], Mapping[str, list[Any]]]
) -> Outcomes:
    reached: dict[str, dict[str, Any]] = {}
    for name, units in tests.items():
        for unit, table in units.items():
            if (method, unit) not in scored:
                continue
            trained = stands(context, method, unit)
            if name in JOINED:
                of_unit = [reached[part][unit] for part in JOINED[name] if unit in reached.get(part, {})]
                every = list(range(len(trained.numbers)))
                made = kind.pooled(method, unit, [(part, every) for part in of_unit], trained)
            else:
                made = kind.outcome(method, unit, scored[method, unit][name], table, trained)
            reached.setdefault(name, {})[unit] = made
    return reached


def _scored(
    context: Context, kind: TaskKind[Any], work: Sequence[tuple[str, str]], tests: Tests, found: Found
) -> Iterator[Mapping[str, list[Any]]]:
    """Table -> what each replicate of a winner reaches there, winner by winner. What takes this process long goes on on the
    cluster, where it can be had.
    """
    began, asked = time.monotonic(), False
    for place, (method, unit) in enumerate(work):
        spent = time.monotonic() - began
        if place and not asked and spent > ALONE and spent / place * (len(work) - place) > ALONE:
            asked = True
            if _cluster_helps(context):
                yield from _scored_on_cluster(context, work[place:], found)
                return
        yield _tested(context, kind, method, unit, tests, _of_unit(found, unit))


def _cluster_helps(context: Context) -> bool:
    """Whether there is a cluster whose machines read the run folder. One process can do all that is left, if need be."""
    from raytune_rec.tuning.run import sharing

    try:
        context.connect()
        sharing.check(context.folder, context.job)
    except (MachineError, RunFailed) as error:
        context.say(f"winners are scored here, one after the other: {error}")
        return False
    return True


def _scored_on_cluster(context: Context, work: Sequence[tuple[str, str]], found: Found) -> Iterator[Mapping[str, list[Any]]]:
    from raytune_rec.tuning.run.cluster import spread

    mute = replace(context, say=_silent, at=_silent)
    asked = [(mute, method, unit, _of_unit(found, unit)) for method, unit in work]
    context.at(f"scoring {len(work)} winners on the cluster")
    for done, scored in enumerate(spread(context.job, _tested_there, asked), 1):
        context.at(f"scoring {len(work)} winners on the cluster, {done} are done")
        yield scored


def _tested_there(asked: tuple[Context, str, str, Mapping[str, np.ndarray]]) -> Mapping[str, list[Any]]:
    """In a process of the cluster, which keeps what a context has opened for the next winner."""
    context, method, unit, found = asked
    if _opened != [context]:
        _opened[:] = [context]
    context = _opened[0]
    with threads(context.job.tune.threads):
        return _tested(context, kind_of(context.store.schema.task), method, unit, tested(context, unit), found)


def _tested(
    context: Context, kind: TaskKind[Any], method: str, unit: str, tests: Tests, found: Mapping[str, np.ndarray]
) -> Mapping[str, list[Any]]:
    """Table -> what each replicate of the winner of a method on a unit reaches there.

    Args:
        found: of `retrieval`, for this unit.
    """
    sequences, evaluate = context.job.data.sequences, context.job.evaluate
    full = sequences is not None and sequences.full
    seed = context.job.seed if evaluate.shuffled else None
    tables = {name: units[unit] for name, units in tests.items() if unit in units and name not in JOINED}
    further = {name: Further(full, seed, found.get(name), tuple(evaluate.rerank)) for name in tables}
    return {
        name: [kind.test(Scorer(model).passes, table, further[name]) for model in _models(context, method, unit)]
        for name, table in tables.items()
    }


def tested(context: Context, only: str = "") -> dict[str, dict[str, Table]]:
    """The tables of the results, those of units without test rows left out.

    Args:
        only: as of `Store.tests`.
    """
    return {name: {u: t for u, t in units.items() if len(t)} for name, units in context.store.tests(only).items()}


def _of_unit(found: Found, unit: str) -> dict[str, np.ndarray]:
    return {name: units[unit] for name, units in found.items() if unit in units}


def _silent(words: str) -> None:
    pass


def of_best(of_methods: Mapping[str, Outcomes], chosen: Mapping[str, str]) -> Outcomes:
    """On each unit the outcome of the method that validation has chosen there.

    Args:
        chosen: unit -> method.
    """
    made: dict[str, dict[str, Any]] = {}
    for unit, method in chosen.items():
        for name, units in of_methods[method].items():
            if unit in units:
                made.setdefault(name, {})[unit] = units[unit]
    return made


def pooled(
    context: Context, kind: TaskKind[Any], of_methods: Mapping[str, Outcomes], tests: Tests, chosen: Mapping[str, str]
) -> list[Any]:
    """Of each method and table, those of its units one after the other; a table of which a unit is missing is left out.

    Args:
        chosen: unit -> the method that `best` stands for there.
    """
    whole = []
    for method, tables in of_methods.items():
        for name, units in tables.items():
            if units.keys() == tests[name].keys():
                ordered = {unit: units[unit] for unit in tests[name]}
                trained = {u: stands(context, chosen[u] if method == BEST else method, u) for u in ordered}
                places = _common(trained)
                parts = [(outcome, places[unit]) for unit, outcome in ordered.items()]
                whole.append(kind.pooled(method, name, parts, _shared(trained, places)))
    return whole


def parts_of_unit(context: Context, of_method: Outcomes, unit: str) -> dict[str, Any]:
    """Which part of a unit's rows (empty: all of them) -> the outcome of a method on it."""
    parts = {name: units[unit] for name, units in context.store.reader.tables().items() if unit in units}
    return {part: of_method[name][unit] for name, part in parts.items() if unit in of_method.get(name, {})}


def _common(trained: Mapping[str, Replicates]) -> dict[str, list[int]]:
    """Unit -> places of the replicates that every one of some units has."""
    common = set.intersection(*(set(of_unit.numbers) for of_unit in trained.values())) if trained else set()
    return {u: [i for i, n in enumerate(of_unit.numbers) if n in common] for u, of_unit in trained.items()}


def _shared(trained: Mapping[str, Replicates], places: Mapping[str, list[int]]) -> Replicates:
    """The replicates that all units have."""
    unit, common = next(iter(places.items()))
    every = trained[unit]
    return Replicates(tuple(every.numbers[i] for i in common), tuple(every.pretrainings[i] for i in common if every.pretrainings))


def stands(context: Context, method: str, unit: str) -> Replicates:
    """Which replicates a winner has, and the pre-trainings that they stand on."""
    trained = (winner(context, method, unit) or {"replicates": ()})["replicates"]
    on = tuple(r["pretraining"] for r in trained)
    return Replicates(tuple(r["replicate"] for r in trained), () if None in on else on)


def replicates(context: Context, method: str, unit: str) -> list[int]:
    """Numbers of a winner's replicates, in the order of the outcomes; none where there is no winner."""
    return list(stands(context, method, unit).numbers)


def start_of(context: Context, method: str, number: int) -> Mapping[str, Tensor]:
    planned = context.plan.method(method).method
    if planned.strategy.start != "backbone":
        return {}
    return backbone_artifact.load(context.backbones[numbered(planned.pretraining, number)], data=False)[1]


def before_and_after(context: Context, method: str, unit: str, number: int) -> tuple[Model, Model]:
    """The backbone of a replicate of a winner as it was pre-trained, and the replicate itself."""
    place = replicates(context, method, unit).index(number)
    facts = read_json(context.winner_folder(method, unit) / "winner.json")
    settings, parts = winner_settings(context, method, facts)
    nothing: LaneOptions = {"backbone": [settings.backbone], "prompt": [options_of("prompts", "none", {}, context.own)]}
    resolved = context.started.method(method).resolved
    plain = parts_of(
        resolved.method.backbone, "none", ALIASES["pretrained"], nothing, context.store.schema, resolved.start, context.own
    )
    start = start_of(context, method, facts["replicates"][place]["pretraining"] or 0)
    by_id = context.store.by_id(unit) if parts.reads_by_id else None
    return scoring_model(plain, [{}], start, by_id), next(islice(_models(context, method, unit), place, None))


def _models(context: Context, method: str, unit: str) -> Iterator[Model]:
    """The winner of a method on a unit, replicate by replicate."""
    context.at(f"scoring method {method} on {unit}")
    folder = context.winner_folder(method, unit)
    facts = read_json(folder / "winner.json")
    _, parts = winner_settings(context, method, facts)
    numbers = [replicate["pretraining"] or 0 for replicate in facts["replicates"]]
    starts = {number: start_of(context, method, number) for number in dict.fromkeys(numbers)}
    feedback = parts.backbone.reads_feedback or None
    by_id = context.store.by_id(unit, feedback) if parts.reads_by_id else None
    for replicate, number in zip(facts["replicates"], numbers, strict=True):
        yield scoring_model(parts, [tuned(folder, replicate)], starts[number], by_id)
