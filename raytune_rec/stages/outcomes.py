"""What winners reach on the test split: logits of rows with labels, where positives of lists stand, or classes of users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.evaluation import measure_classes, measure_lists
from raytune_rec.evaluation.inputs import ClassOutcomes, ListOutcomes, Outcome, Predictions, Replicates
from raytune_rec.schema import Table, numbered
from raytune_rec.scoring.ranker import classify, joined, rank
from raytune_rec.scoring.scorer import Scorer
from raytune_rec.scoring.tuned import scoring_model
from raytune_rec.stages.context import Context
from raytune_rec.stages.export import tuned, winner_settings
from raytune_rec.stages.failures import winner
from raytune_rec.storage.files import read_json
from raytune_rec.training.model import Model
from raytune_rec.training.settings import method_of

Tests = Mapping[str, Mapping[str, Table]]
"""Name of a table of the results -> unit -> its test rows."""
Outcomes = Mapping[str, Mapping[str, ListOutcomes]]
"""Likewise, of one method: where its positives stand, every replicate."""
_O = TypeVar("_O", ListOutcomes, ClassOutcomes)


def predictions(context: Context, method: str, tests: Tests) -> list[Predictions]:
    """Test logits of a method's winners, every replicate."""
    found = []
    for name, units in _able(context, method, tests).items():
        ((unit, table),) = units.items()
        logits = np.stack([Scorer(m).logits(table) for m in _models(context, method, unit)])
        found.append(Predictions(method, name, logits, stands(context, method, unit)))
    return found


def list_outcomes(context: Context, method: str, tests: Tests) -> dict[str, dict[str, ListOutcomes]]:
    """Where the positives of the test lists stand under a method's winners."""
    sequences = context.job.data.sequences
    assert sequences is not None
    found: dict[str, dict[str, ListOutcomes]] = {}
    for name, units in _able(context, method, tests).items():
        for unit, table in units.items():
            ranked = [rank(m, table, sequences.full) for m in _models(context, method, unit)]
            full = [outcome for _, outcome in ranked if outcome is not None]
            sampled = joined([outcome for outcome, _ in ranked], axis=0)
            every = joined(full, axis=0) if full else None
            found.setdefault(name, {})[unit] = ListOutcomes(method, unit, sampled, every, stands(context, method, unit))
    return found


def pooled(context: Context, outcomes: Mapping[str, Outcomes], tests: Tests) -> list[ListOutcomes]:
    """Of each method and table, those of its units one after the other; a table of which a unit is missing is left out."""
    found = []
    for method, tables in outcomes.items():
        for name, units in _whole(tables, tests).items():
            places = _common(context, method, list(units))
            full = [_of(o.full, places[u]) for u, o in units.items() if o.full is not None]
            sampled = joined([_of(o.sampled, places[u]) for u, o in units.items()], axis=1)
            numbers = _shared(context, method, places)
            found.append(ListOutcomes(method, name, sampled, joined(full, axis=1) if full else None, numbers))
    return found


def class_outcomes(context: Context, method: str, tests: Tests) -> dict[str, dict[str, ClassOutcomes]]:
    """What a method's winners predict of the test users."""
    found = dict[str, dict[str, ClassOutcomes]]()
    for name, units in _able(context, method, tests).items():
        for unit, table in units.items():
            said = np.stack([classify(m, table) for m in _models(context, method, unit)])
            trained = stands(context, method, unit)
            found.setdefault(name, {})[unit] = ClassOutcomes(method, unit, said, table.columns["positive"], trained)
    return found


def pooled_classes(
    context: Context, outcomes: Mapping[str, Mapping[str, Mapping[str, ClassOutcomes]]], tests: Tests
) -> list[ClassOutcomes]:
    """As `pooled`."""
    found = []
    for method, tables in outcomes.items():
        for name, units in _whole(tables, tests).items():
            places = _common(context, method, list(units))
            said = np.concatenate([o.predicted[places[u]] for u, o in units.items()], axis=1)
            truth = np.concatenate([o.truth for o in units.values()])
            found.append(ClassOutcomes(method, name, said, truth, _shared(context, method, places)))
    return found


def _whole(tables: Mapping[str, Mapping[str, _O]], tests: Tests) -> dict[str, Mapping[str, _O]]:
    """The tables of a method all of whose units it has."""
    return {name: units for name, units in tables.items() if units.keys() == tests[name].keys()}


def _common(context: Context, method: str, units: Sequence[str]) -> dict[str, list[int]]:
    """Unit -> places of the replicates that every one of some units has."""
    numbers = {u: replicates(context, method, u) for u in units}
    return {u: [i for i, n in enumerate(own) if all(n in other for other in numbers.values())] for u, own in numbers.items()}


def _shared(context: Context, method: str, places: Mapping[str, list[int]]) -> Replicates:
    """The replicates that all units have."""
    unit, common = next(iter(places.items()))
    every = stands(context, method, unit)
    return Replicates(tuple(every.numbers[i] for i in common), tuple(every.pretrainings[i] for i in common if every.pretrainings))


def _of(outcome: Outcome, places: list[int]) -> Outcome:
    return Outcome(outcome.better[places], outcome.ties[places], outcome.candidates)


def class_values(outcomes: Mapping[str, Mapping[str, ClassOutcomes]], unit: str, place: int) -> dict[str, float]:
    """Metric -> its value on a unit's own test users, for one of its winner's replicates."""
    own = next((units[unit] for units in outcomes.values() if unit in units), None)
    return {} if own is None else {name: float(v[place]) for name, v in measure_classes.values(own).items()}


def list_values(context: Context, outcomes: Outcomes, unit: str, place: int) -> dict[str, float]:
    """Metric -> its mean over a unit's own test lists, for one of its winner's replicates. A unit of two tables, which
    serves users with and without items, has the metrics of both: `few.auc`, `zero.auc`.
    """
    assert context.store.histories is not None
    kinds = {name: units[unit] for name, units in context.store.histories.tables().items() if unit in units}
    found: dict[str, float] = {}
    for name, kind in kinds.items():
        if unit in outcomes.get(name, {}):
            values = measure_lists.values(outcomes[name][unit])
            front = f"{kind}." if len(kinds) > 1 else ""
            found |= {front + metric: float(v[place].mean()) for metric, v in values.items()}
    return found


def stands(context: Context, method: str, unit: str) -> Replicates:
    """Which replicates a winner has, and the pre-trainings that they stand on."""
    trained = (winner(context, method, unit) or {"replicates": ()})["replicates"]
    on = tuple(r["pretraining"] for r in trained)
    return Replicates(tuple(r["replicate"] for r in trained), () if None in on else on)


def replicates(context: Context, method: str, unit: str) -> list[int]:
    """Numbers of a winner's replicates, in the order of the outcomes; none where there is no winner."""
    return list(stands(context, method, unit).numbers)


def _able(context: Context, method: str, tests: Tests) -> Tests:
    """The tests of the units on which a method has a winner."""
    able = {name: {u: t for u, t in units.items() if winner(context, method, u)} for name, units in tests.items()}
    return {name: units for name, units in able.items() if units}


def _start(context: Context, method: str, number: int) -> Mapping[str, Tensor]:
    found = method_of(context.job, method)
    if found.strategy.start != "backbone":
        return {}
    return backbone_artifact.load(context.backbones[numbered(found.pretraining, number)], data=False)[1]


def _models(context: Context, method: str, unit: str) -> Iterator[Model]:
    """The winner of a method on a unit, replicate by replicate."""
    context.at(f"scoring method {method} on {unit}")
    folder = context.winner_folder(method, unit)
    facts = read_json(folder / "winner.json")
    _, parts = winner_settings(context, method, facts)
    numbers = [replicate["pretraining"] or 0 for replicate in facts["replicates"]]
    starts = {number: _start(context, method, number) for number in dict.fromkeys(numbers)}
    for replicate, number in zip(facts["replicates"], numbers, strict=True):
        yield scoring_model(parts, [tuned(folder, replicate)], starts[number])
