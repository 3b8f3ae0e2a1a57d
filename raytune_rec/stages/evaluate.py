"""The test split, once: compare the methods by what their winners reach on it, and tell each artifact what it reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts.prompt import PromptFacts
from raytune_rec.artifacts.versions import versions
from raytune_rec.components import options_of
from raytune_rec.errors import RunFailed
from raytune_rec.evaluation.cohorts import cold_warm, counts
from raytune_rec.evaluation.inputs import MethodFacts
from raytune_rec.evaluation.results import summarise
from raytune_rec.schema import Table
from raytune_rec.stages import export
from raytune_rec.stages.context import Context
from raytune_rec.stages.export import artifact_folders, winner_settings
from raytune_rec.stages.failures import recorded, winner
from raytune_rec.stages.outcomes import (
    Outcomes,
    Tests,
    class_outcomes,
    class_values,
    list_outcomes,
    list_values,
    pooled,
    pooled_classes,
    predictions,
    replicates,
)
from raytune_rec.storage.files import STORAGE, read_json, write_json
from raytune_rec.storage.fingerprint import file_sha256
from raytune_rec.training.settings import method_of

FORMAT = 3


def inputs(context: Context) -> dict[str, Any]:
    winners = {
        str(p.parent.relative_to(context.folder)): file_sha256(p) for p in STORAGE.list(context.folder, "winners/*/*/winner.json")
    }
    baselines = [name for name, method in context.job.methods.items() if method.baseline]
    evaluate = context.job.evaluate.model_dump(mode="json")
    return {"evaluate": evaluate, "winners": winners, "baselines": baselines, "seed": context.job.seed}


def outputs(context: Context) -> list[Path]:
    told = [folder / name for folder in artifact_folders(context.folder) for name in export.REWRITTEN]
    return [context.folder / "results.json", *told]


def run(context: Context) -> dict[str, Any]:
    job = context.job
    tests = {name: {u: t for u, t in units.items() if len(t)} for name, units in context.store.tests().items()}
    if empty := [name for name, units in tests.items() if not units]:
        context.say(f"not evaluated, for want of test rows: {', '.join(empty)}")
    tests = {name: units for name, units in tests.items() if units}
    lists = bool(context.store.schema.length)
    found, of_artifact = _measured(context, tests)
    tests = {name: units for name, units in tests.items() if any(p.unit == name for p in found)}
    if not tests:
        raise RunFailed("\n".join(["evaluate: no method has a result on any test:", *map(str, recorded(context.folder))]))
    facts = [_facts(context, method, list(dict.fromkeys(u for units in tests.values() for u in units))) for method in job.methods]
    rows = {} if lists else {name: next(iter(units.values())) for name, units in tests.items()}
    context.at("comparing the methods")
    results = summarise(
        facts,
        found,
        {name: t.label for name, t in rows.items()},
        {name: _users(context, units) for name, units in tests.items()},
        job.evaluate.compare,
        [name for name, method in job.methods.items() if method.baseline],
        _protocol(context),
        job.evaluate.confidence,
        job.evaluate.bootstrap,
        job.seed,
        {name: _cohorts(context, name, t) for name, t in rows.items()},
        _provenance(context),
        mean=not context.store.schema.cohorts,
        tables={name: list(units) for name, units in tests.items()},
    )
    if failed := recorded(context.folder):
        results["missing"] = [asdict(f) for f in failed]
    domains = read_json(context.store_path / "summary.json")["domains"]
    if untested := {name: told["untested"] for name, told in domains.items() if "untested" in told}:
        results["untested"] = untested
    write_json(context.folder / "results.json", results)
    for folder in artifact_folders(context.folder):
        own = prompt_artifact.read(folder)
        if test := of_artifact(own) if of_artifact else _method_values(context, results, own):
            prompt_artifact.with_test(folder, test)
    return {}


def _users(context: Context, units: Mapping[str, Table]) -> np.ndarray:
    """(N,) who the test rows of a table are of, equal numbers in every table; users whom training does not know are several."""
    lists = context.store.schema.length
    return np.concatenate([t.columns["owner"] if lists else context.store.users_of(u, "test") for u, t in units.items()])


def _measured(context: Context, tests: Tests) -> tuple[Sequence[Any], Callable[[PromptFacts], dict[str, Any]] | None]:
    """What `summarise` is given, and what an artifact reached on its own unit; None where that is a part of the results."""
    methods, schema = context.job.methods, context.store.schema
    if schema.predicts:
        said = {method: class_outcomes(context, method, tests) for method in methods}
        return pooled_classes(context, said, tests), lambda own: class_values(said[own.method], own.unit, _place(context, own))
    if schema.length:
        outcomes = {method: list_outcomes(context, method, tests) for method in methods}
        return pooled(context, outcomes, tests), lambda own: _list_values(context, outcomes, own)
    return [p for method in methods for p in predictions(context, method, tests)], None


def _place(context: Context, own: PromptFacts) -> int:
    """Of the artifact's replicate among those of its winner."""
    return replicates(context, own.method, own.unit).index(own.replicate)


def _method_values(context: Context, results: Mapping[str, Any], own: PromptFacts) -> dict[str, Any]:
    """Metric -> what the artifact's replicate reached on its unit."""
    measures = results["methods"][own.method]["units"].get(own.unit, {})
    of_replicates = {name: v["replicates"] for name, v in measures.items() if isinstance(v, dict) and v.get("replicates")}
    return {name: values[_place(context, own)] for name, values in of_replicates.items()}


def _list_values(context: Context, outcomes: Mapping[str, Outcomes], own: PromptFacts) -> dict[str, Any]:
    """Likewise, on the unit's own lists (a part of the table's where that pools several), and what they were ranked among."""
    found, told = list_values(context, outcomes[own.method], own.unit, _place(context, own)), _candidates(context)
    protocol = "; full: ".join(told[name] for name in ("candidates", "full") if name in told)
    return {**found, "protocol": protocol} if found else {}


def _facts(context: Context, method: str, units: list[str]) -> MethodFacts:
    found = method_of(context.job, method)
    winners = {unit: w for unit in units if (w := winner(context, method, unit))}
    own = [t for t in read_json(context.folder / "trials.json") if t["method"] == method]
    first = next(iter(winners.values()), None)
    whole = winner_settings(context, method, first)[1].backbone.parameters() if first else ()
    return MethodFacts(
        method=method,
        strategy=found.strategy.name,
        prompt=found.prompt,
        backbone=found.backbone,
        pretraining=found.pretraining,
        baseline=context.job.methods[method].baseline,
        trials=sum(w["trials"] for w in winners.values()),
        tuned_parameters=round(np.mean([w["replicates"][0]["parameters"] for w in winners.values()] or [0])),
        backbone_parameters=sum(math.prod(p.shape) for p in whole),
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
        "pre-trainings": job.pretrain.replicates,
    }


def _candidates(context: Context) -> dict[str, str]:
    """What a test row is compared with, in words."""
    sequences = context.job.data.sequences
    if sequences is None:
        return {"candidates": "logged rows"}
    cold = f"cold users, at most their first {sequences.events} items, {sequences.folds} folds"
    if name := sequences.predict:
        classes = context.store.vocabulary(name)["raw"].to_pylist()
        said = ", ".join(classes[:8]) + (" ..." if len(classes) > 8 else "")
        return {"candidates": f"the {len(classes)} classes of {name} ({said}); {name} itself is hidden", "cohort": cold}
    of, further = _of_domains(context)
    without = "" if sequences.repeats == "count" else f", without those that the user had taken before{further}"
    every = f"all items of the training split{of}{without}"
    seed = context.job.data.split.seed
    drawn = f"{sequences.negatives} items{of} that the user never took, drawn uniformly (seed {seed}), the same for every method"
    cohort = cold if sequences.tasks else "all rows"
    if sequences.repeats == "leave_out":
        cohort += ", but none that repeats an item of its history"
    if not sequences.negatives:
        return {"candidates": every, "ranking": "full", "cohort": cohort}
    return {"candidates": drawn, **({"full": every} if sequences.full else {}), "cohort": cohort}


def _of_domains(context: Context) -> tuple[str, str]:
    """Which items a list has and lacks, in words, where there are several domains."""
    lookup = context.store.lookup
    if len(lookup.schema.domains) == 1:
        return "", ""
    return ("", ", or in another domain") if lookup.shared_items else (" of the list's domain", "")


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
