"""The test split, once: score every winner on it and compare the rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts import weights
from raytune_rec.artifacts.files import read_json, write_json
from raytune_rec.artifacts.fingerprint import file_sha256
from raytune_rec.artifacts.versions import versions
from raytune_rec.components import options_of
from raytune_rec.evaluation.cohorts import cold_warm, counts
from raytune_rec.evaluation.inputs import Predictions, RowFacts
from raytune_rec.evaluation.results import summarise
from raytune_rec.schema import Table
from raytune_rec.scoring.scorer import Scorer, scoring_model
from raytune_rec.stages.context import Context
from raytune_rec.stages.export import artifact_folders, winner_settings
from raytune_rec.training.settings import row_of

FORMAT = 1


def inputs(context: Context) -> dict[str, Any]:
    winners = {
        str(p.parent.relative_to(context.folder)): file_sha256(p) for p in context.folder.glob("winners/*/*/winner.json")
    }
    baselines = [name for name, row in context.job.rows.items() if row.baseline]
    evaluate = context.job.evaluate.model_dump(mode="json")
    return {"evaluate": evaluate, "winners": winners, "baselines": baselines, "seed": context.job.seed}


def run(context: Context) -> dict[str, Any]:
    job, store = context.job, context.store
    units = store.schema.domains
    tests = {unit: store.load(unit, "test") for unit in units}
    if empty := [unit for unit in units if not len(tests[unit])]:
        context.say(f"not evaluated, for want of test rows: {', '.join(empty)}")
    tests = {unit: table for unit, table in tests.items() if len(table)}
    predictions = [p for row in job.rows for p in _predictions(context, row, tests)]
    facts = [_facts(context, row, list(tests)) for row in job.rows]
    results = summarise(
        facts,
        predictions,
        {unit: t.label for unit, t in tests.items()},
        {unit: t.columns["user"] for unit, t in tests.items()},
        job.evaluate.compare,
        [name for name, row in job.rows.items() if row.baseline],
        _protocol(context),
        job.evaluate.confidence,
        job.evaluate.bootstrap,
        job.seed,
        {unit: _cohorts(context, unit, t) for unit, t in tests.items()},
        _provenance(context),
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


def _predictions(context: Context, row: str, tests: dict[str, Table]) -> list[Predictions]:
    """Test logits of a row's winners, every replicate."""
    found = row_of(context.job, row)
    start = backbone_artifact.load(context.backbones[found.variant], data=False)[1] if found.strategy.start == "backbone" else {}
    predictions = []
    for unit, table in tests.items():
        folder = context.winner_folder(row, unit)
        facts = read_json(folder / "winner.json")
        own, parts = winner_settings(context, row, facts)
        options = {"backbone": own.backbone, "prompt": own.prompt}
        scores = []
        for replicate in facts["replicates"]:
            tuned = weights.read(folder / f"replicate-{replicate['replicate']}.safetensors")
            scores.append(Scorer(scoring_model(parts, options, tuned, start)).logits(table))
        predictions.append(Predictions(row, unit, np.stack(scores)))
    return predictions


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
        "candidates": "logged rows",
        "chosen by": f"validation {job.training.metric}",
        "replicates": job.evaluate.replicates,
    }


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
