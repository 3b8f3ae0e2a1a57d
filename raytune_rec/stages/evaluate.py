"""The test split, once: score every winner on it and compare the rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts import weights
from raytune_rec.artifacts.files import read_json, write_json
from raytune_rec.artifacts.fingerprint import file_sha256
from raytune_rec.artifacts.versions import versions
from raytune_rec.components import options_of
from raytune_rec.evaluation.cohorts import cold_warm, counts
from raytune_rec.evaluation.inputs import ListOutcomes, Predictions, RowFacts
from raytune_rec.evaluation.results import summarise
from raytune_rec.schema import Table
from raytune_rec.scoring.ranker import joined, rank
from raytune_rec.scoring.scorer import Scorer, scoring_model
from raytune_rec.stages.context import Context
from raytune_rec.stages.export import artifact_folders, winner_settings
from raytune_rec.training.assemble import Model
from raytune_rec.training.settings import row_of

FORMAT = 1

Tests = Mapping[str, Mapping[str, Table]]
"""Name of a table of the results -> unit -> its test rows."""


def inputs(context: Context) -> dict[str, Any]:
    winners = {
        str(p.parent.relative_to(context.folder)): file_sha256(p) for p in context.folder.glob("winners/*/*/winner.json")
    }
    baselines = [name for name, row in context.job.rows.items() if row.baseline]
    evaluate = context.job.evaluate.model_dump(mode="json")
    return {"evaluate": evaluate, "winners": winners, "baselines": baselines, "seed": context.job.seed}


def run(context: Context) -> dict[str, Any]:
    job = context.job
    tests = {name: {u: t for u, t in units.items() if len(t)} for name, units in context.store.tests().items()}
    if empty := [name for name, units in tests.items() if not units]:
        context.say(f"not evaluated, for want of test rows: {', '.join(empty)}")
    tests = {name: units for name, units in tests.items() if units}
    lists = bool(context.store.schema.length)
    owner = "owner" if lists else "user"
    found = [p for row in job.rows for p in (_outcomes if lists else _predictions)(context, row, tests)]
    facts = [_facts(context, row, list(dict.fromkeys(u for units in tests.values() for u in units))) for row in job.rows]
    rows = {} if lists else {name: next(iter(units.values())) for name, units in tests.items()}
    results = summarise(
        facts,
        found,  # type: ignore[arg-type]
        {name: t.label for name, t in rows.items()},
        {name: np.concatenate([t.columns[owner] for t in units.values()]) for name, units in tests.items()},
        job.evaluate.compare,
        [name for name, row in job.rows.items() if row.baseline],
        _protocol(context),
        job.evaluate.confidence,
        job.evaluate.bootstrap,
        job.seed,
        {name: _cohorts(context, name, t) for name, t in rows.items()},
        _provenance(context),
        mean=not context.store.schema.cohorts,
        tables={name: list(units) for name, units in tests.items()},
    )
    write_json(context.folder / "results.json", results)
    for folder in artifact_folders(context.folder):
        own = prompt_artifact.read(folder)
        if (measures := results["rows"][own.row]["units"].get(own.unit)) is not None:
            place = own.replicate - 1
            test = {
                m: v["replicates"][place]
                for m, v in measures.items()
                if isinstance(v, dict) and len(v.get("replicates") or []) > place
            }
            prompt_artifact.with_test(folder, test)
    return {}


def _predictions(context: Context, row: str, tests: Tests) -> list[Predictions]:
    """Test logits of a row's winners, every replicate."""
    start, found = _start(context, row), []
    for name, units in tests.items():
        ((unit, table),) = units.items()
        found.append(Predictions(row, name, np.stack([Scorer(m).logits(table) for m in _models(context, row, unit, start)])))
    return found


def _outcomes(context: Context, row: str, tests: Tests) -> list[ListOutcomes]:
    """Where the positives of the test lists stand, every replicate; a table's units one after the other."""
    start, found = _start(context, row), []
    sequences = context.job.data.sequences
    assert sequences is not None
    for name, units in tests.items():
        parts = []
        for unit, table in units.items():
            ranked = [rank(m, table, sequences.full or not sequences.negatives) for m in _models(context, row, unit, start)]
            every = [outcome for _, outcome in ranked if outcome is not None]
            parts.append([joined(of_kind, axis=0) for of_kind in ([outcome for outcome, _ in ranked], every) if of_kind])
        sampled, *full = (joined(list(of_kind), axis=1) for of_kind in zip(*parts, strict=True))
        found.append(ListOutcomes(row, name, sampled, full[0] if full else None))
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


def _facts(context: Context, row: str, units: list[str]) -> RowFacts:
    found = row_of(context.job, row)
    winners = {unit: read_json(context.winner_folder(row, unit) / "winner.json") for unit in units}
    own = [t for t in read_json(context.folder / "trials.json") if t["row"] == row]
    first = next(iter(winners.values()))
    _, parts = winner_settings(context, row, first)
    return RowFacts(
        row=row,
        strategy=found.strategy.name,
        prompt=found.prompt,
        backbone=found.backbone,
        variant=found.variant,
        baseline=context.job.rows[row].baseline,
        trials=sum(w["trials"] for w in winners.values()),
        tuned_parameters=round(np.mean([w["replicates"][0]["parameters"] for w in winners.values()])),
        backbone_parameters=sum(math.prod(p.shape) for p in parts.backbone.parameters()),
        seconds=sum(t["seconds"] for t in own),
        valid={unit: w["value"] for unit, w in winners.items()},
        options={unit: w["options"] for unit, w in winners.items()},
        trial={unit: w["trial"] for unit, w in winners.items()},
    )


def _cohorts(context: Context, unit: str, test: Table) -> dict[str, np.ndarray]:
    """Cold and warm rows, by what the domain's own training split knows of user and item."""
    train, schema = context.store.load(unit, "train"), context.store.schema
    users, items = (counts(train.columns[name], schema.field(name).size) for name in ("user", "item"))
    return dict(cold_warm(test.columns["user"], test.columns["item"], users, items))


def _protocol(context: Context) -> dict[str, Any]:
    job = context.job
    return {
        "split": f"test ({job.data.split.kind}, seed {job.data.split.seed})",
        "metric": job.training.metric,
        "cohort": "all rows",
        **_candidates(context),
        "chosen by": f"validation {job.training.metric}",
        "replicates": job.evaluate.replicates,
    }


def _candidates(context: Context) -> dict[str, str]:
    """What a test row is compared with, in words."""
    sequences = context.job.data.sequences
    if sequences is None:
        return {"candidates": "logged rows"}
    every = "all items of the training split, without those that the user had taken before"
    seed = context.job.data.split.seed
    drawn = f"{sequences.negatives} items that the user never took, drawn uniformly (seed {seed}), the same for every row"
    cold = f"cold users, at most their first {sequences.events} items, {sequences.folds} folds"
    tasks = {"cohort": cold} if sequences.tasks else {}
    if not sequences.negatives:
        return {"candidates": every, **tasks}
    return {"candidates": drawn, **({"full": every} if sequences.full else {}), **tasks}


def _provenance(context: Context) -> dict[str, Any]:
    options = options_of("data.sources", context.job.data.source, context.job.data.options, context.own)
    return {
        "command": "raytune-rec run job.toml",
        "seed": context.job.seed,
        "data": context.store.schema.fingerprint,
        "source": {"name": context.job.data.source, **options.model_dump(mode="json")},
        "backbones": {name: path.name for name, path in context.backbones.items()},
        "versions": versions(),
    }
