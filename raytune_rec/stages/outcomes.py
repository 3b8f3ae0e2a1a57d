"""What winners reach on the test split: logits of rows with labels, where positives of lists stand, or classes of users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import weights
from raytune_rec.artifacts.files import read_json
from raytune_rec.evaluation import measure_classes, measure_lists
from raytune_rec.evaluation.inputs import ClassOutcomes, ListOutcomes, Predictions
from raytune_rec.schema import Table
from raytune_rec.scoring.ranker import classify, joined, rank
from raytune_rec.scoring.scorer import Scorer, scoring_model
from raytune_rec.stages.context import Context
from raytune_rec.stages.export import winner_settings
from raytune_rec.training.assemble import Model
from raytune_rec.training.settings import row_of

Tests = Mapping[str, Mapping[str, Table]]
"""Name of a table of the results -> unit -> its test rows."""
Outcomes = Mapping[str, Mapping[str, ListOutcomes]]
"""Likewise, of one row: where its positives stand, every replicate."""


def predictions(context: Context, row: str, tests: Tests) -> list[Predictions]:
    """Test logits of a row's winners, every replicate."""
    start, found = _start(context, row), []
    for name, units in tests.items():
        ((unit, table),) = units.items()
        found.append(Predictions(row, name, np.stack([Scorer(m).logits(table) for m in _models(context, row, unit, start)])))
    return found


def list_outcomes(context: Context, row: str, tests: Tests) -> dict[str, dict[str, ListOutcomes]]:
    """Where the positives of the test lists stand under a row's winners."""
    start, sequences = _start(context, row), context.job.data.sequences
    assert sequences is not None
    found: dict[str, dict[str, ListOutcomes]] = {}
    for name, units in tests.items():
        for unit, table in units.items():
            ranked = [rank(m, table, sequences.full) for m in _models(context, row, unit, start)]
            full = [outcome for _, outcome in ranked if outcome is not None]
            sampled = joined([outcome for outcome, _ in ranked], axis=0)
            found.setdefault(name, {})[unit] = ListOutcomes(row, unit, sampled, joined(full, axis=0) if full else None)
    return found


def pooled(outcomes: Mapping[str, Outcomes]) -> list[ListOutcomes]:
    """Of each row and table, those of its units one after the other."""
    found = []
    for row, tables in outcomes.items():
        for name, units in tables.items():
            full = [o.full for o in units.values() if o.full is not None]
            sampled = joined([o.sampled for o in units.values()], axis=1)
            found.append(ListOutcomes(row, name, sampled, joined(full, axis=1) if full else None))
    return found


def class_outcomes(context: Context, row: str, tests: Tests) -> dict[str, dict[str, ClassOutcomes]]:
    """What a row's winners predict of the test users."""
    start, found = _start(context, row), dict[str, dict[str, ClassOutcomes]]()
    for name, units in tests.items():
        for unit, table in units.items():
            said = np.stack([classify(m, table) for m in _models(context, row, unit, start)])
            found.setdefault(name, {})[unit] = ClassOutcomes(row, unit, said, table.columns["positive"])
    return found


def pooled_classes(outcomes: Mapping[str, Mapping[str, Mapping[str, ClassOutcomes]]]) -> list[ClassOutcomes]:
    """As `pooled`."""
    found = []
    for row, tables in outcomes.items():
        for name, units in tables.items():
            said = np.concatenate([o.predicted for o in units.values()], axis=1)
            found.append(ClassOutcomes(row, name, said, np.concatenate([o.truth for o in units.values()])))
    return found


def class_values(outcomes: Mapping[str, Mapping[str, ClassOutcomes]], unit: str, replicate: int) -> dict[str, float]:
    """Metric -> its value on a unit's own test users, for one replicate (from 1) of its winner."""
    own = next((units[unit] for units in outcomes.values() if unit in units), None)
    return {} if own is None else {name: float(v[replicate - 1]) for name, v in measure_classes.values(own).items()}


def list_values(context: Context, outcomes: Outcomes, unit: str, replicate: int) -> dict[str, float]:
    """Metric -> its mean over a unit's own test lists, for one replicate (from 1) of its winner. A unit of two tables, which
    serves users with and without items, has the metrics of both: `few.auc`, `zero.auc`.
    """
    assert context.store.histories is not None
    kinds = {name: units[unit] for name, units in context.store.histories.tables().items() if unit in units}
    found: dict[str, float] = {}
    for name, kind in kinds.items():
        if unit in outcomes.get(name, {}):
            values = measure_lists.values(outcomes[name][unit])
            front = f"{kind}." if len(kinds) > 1 else ""
            found |= {front + metric: float(v[replicate - 1].mean()) for metric, v in values.items()}
    return found


def _start(context: Context, row: str) -> Mapping[str, Tensor]:
    found = row_of(context.job, row)
    return backbone_artifact.load(context.backbones[found.variant], data=False)[1] if found.strategy.start == "backbone" else {}


def _models(context: Context, row: str, unit: str, start: Mapping[str, Tensor]) -> Iterator[Model]:
    """The winner of a row on a unit, replicate by replicate."""
    folder = context.winner_folder(row, unit)
    facts = read_json(folder / "winner.json")
    own, parts = winner_settings(context, row, facts)
    options = {"backbone": own.backbone, "prompt": own.prompt}
    for replicate in facts["replicates"]:
        tuned = weights.read(folder / f"replicate-{replicate['replicate']}.safetensors")
        yield scoring_model(parts, options, tuned, start)
