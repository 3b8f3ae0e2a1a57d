"""The test split, once: compare the methods by what their winners reach on it, and tell each artifact what it reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts.versions import versions
from raytune_rec.components import options_of
from raytune_rec.config import BEST
from raytune_rec.data.cold_items import COLD
from raytune_rec.data.stored.distances import distances
from raytune_rec.errors import RunFailed
from raytune_rec.evaluation.item_map import item_map
from raytune_rec.evaluation.measures.inputs import MethodFacts
from raytune_rec.evaluation.results import plain, summarise
from raytune_rec.evaluation.sizes import LEAST
from raytune_rec.machine.threads import threads
from raytune_rec.schema.prepared import Table
from raytune_rec.scoring.vectors import item_vectors
from raytune_rec.stages import export
from raytune_rec.stages.context import Context
from raytune_rec.stages.export import artifact_folders
from raytune_rec.stages.failures import recorded, winner
from raytune_rec.stages.outcomes import before_and_after, of_best, outcomes, parts_of_unit, pooled, replicates, retrieval, tested
from raytune_rec.stages.winners import Choice, choice, competing, winner_settings
from raytune_rec.storage.files import STORAGE, read_json, write_json
from raytune_rec.storage.fingerprint import file_sha256
from raytune_rec.tasks.kinds import kind_of

FORMAT = 3
_BEST = (
    "of all items, the history left out, those that method {} (first replicate) ranks first; a positive that is not among them "
    "stands behind them"
)
_ADDED = ("shuffled", "retriever", "rerank")
"""Options that old runs do not have."""


def inputs(context: Context) -> dict[str, Any]:
    winners = {
        str(p.parent.relative_to(context.folder)): file_sha256(p) for p in STORAGE.list(context.folder, "winners/*/*/winner.json")
    }
    baselines = [name for name, method in context.job.methods.items() if method.baseline]
    evaluate = context.job.evaluate.model_dump(mode="json")
    evaluate = {name: value for name, value in evaluate.items() if value or name not in _ADDED}
    return {"evaluate": evaluate, "winners": winners, "baselines": baselines, "seed": context.job.seed}


def outputs(context: Context) -> list[Path]:
    told = [folder / name for folder in artifact_folders(context) for name in export.REWRITTEN]
    return [context.folder / "results.json", *told]


def run(context: Context) -> dict[str, Any]:
    with threads(context.job.tune.threads):  # as in a process of the cluster, which may score a part
        return _run(context)


def _run(context: Context) -> dict[str, Any]:
    job = context.job
    tests = tested(context)
    if empty := [name for name, units in tests.items() if not units]:
        context.say(f"not evaluated, for want of test rows: {', '.join(empty)}")
    tests = {name: units for name, units in tests.items() if units}
    kind = kind_of(context.store.schema.task)
    found = retrieval(context, tests)
    of_methods = outcomes(context, kind, tests, found)
    chosen = choice(context)
    if not (chosen and chosen.methods):  # `export` has told of units without an artifact
        chosen = None
    if chosen:
        of_methods[BEST] = of_best(of_methods, chosen.methods)
    together = pooled(context, kind, of_methods, tests, chosen.methods if chosen else {})
    tests = {name: units for name, units in tests.items() if any(o.unit == name for o in together)}
    if not tests:
        raise RunFailed("\n".join(["evaluate: no method has a result on any test:", *map(str, recorded(context.folder))]))
    facts = [_facts(context, method, list(dict.fromkeys(u for units in tests.values() for u in units))) for method in job.methods]
    facts += [_facts_of_best(context, chosen, facts)] if chosen else []
    protocol = kind.protocol(job.data, context.store)
    context.at("comparing the methods")
    domains = all(name in context.store.schema.domains for name in tests)
    results = summarise(
        facts,
        kind.tested(together, tests, {name: _users(units) for name, units in tests.items()}),
        job.evaluate.compare,
        [name for name, method in job.methods.items() if method.baseline],
        _protocol(context, protocol),
        job.evaluate.confidence,
        job.evaluate.bootstrap,
        job.seed,
        {name: kind.masks(context.store, name, units) for name, units in tests.items()},
        _provenance(context),
        mean=domains,
        tables={name: list(units) for name, units in tests.items()},
        distances=distances(context.store.lookup) if domains and len(tests) >= LEAST else {},
    )
    if any(unit.kind == "items" for unit in context.store.schema.groups):
        results["pools"] = "group"
    if chosen:
        results["choice"] = plain(chosen.facts())
    if failed := recorded(context.folder):
        results["missing"] = [asdict(f) for f in failed]
    summary = read_json(context.store_path / "summary.json")["domains"]
    if untested := {name: told["untested"] for name, told in summary.items() if "untested" in told}:
        results["untested"] = untested
    write_json(context.folder / "results.json", results)
    if drawn := _item_map(context, tests.get(COLD, {})):
        write_json(context.folder / "results.json", results | {"item_map": drawn})
    for folder in artifact_folders(context):
        exported = prompt_artifact.read(folder)
        method, unit = exported.method, exported.unit.name
        place = replicates(context, method, unit).index(exported.replicate)
        measures = results["methods"][method]["units"].get(unit, {})
        if test := kind.reached(measures, parts_of_unit(context, of_methods[method], unit), place, protocol):
            prompt_artifact.with_test(folder, test)
    return {}


def _item_map(context: Context, tests: Mapping[str, Table]) -> dict[str, Any] | None:
    """Where the items of one unit of cold ones lie before and after the tuning of its artifact; None where there is none."""
    artifacts = [prompt_artifact.read(folder) for folder in artifact_folders(context)]
    artifact, seed = next((known for known in artifacts if known.unit.name in tests), None), context.job.seed
    if artifact is None:
        return None
    table, unit = tests[artifact.unit.name], context.store.schema.unit(artifact.unit.name)
    context.at(f"drawing the items of {unit.name}")
    models = before_and_after(context, artifact.method, unit.name, artifact.replicate)
    before, after = (item_vectors(model, table) for model in models)
    if before is None or after is None or table.cold is None:
        return None
    warm = np.flatnonzero(~table.cold)[1:]
    if not (np.isfinite(before).all() and np.isfinite(after).all() and len(warm)):
        why = "vectors that are not finite" if len(warm) else "no warm item to stand beside"
        context.say(f"no map of the items of {unit.name}: they have {why}; the results are whole without it")
        return None
    try:
        drawn = item_map(before, after, np.array(unit.members), warm, seed)
    except (MemoryError, np.linalg.LinAlgError) as error:  # of a picture: the results are whole without it
        context.say(f"no map of the items of {unit.name} ({error or type(error).__name__})")
        return None
    return plain({"unit": unit.name, "method": artifact.method, "replicate": artifact.replicate, "seed": seed, **drawn})


def _users(units: Mapping[str, Table]) -> np.ndarray:
    """(N,) who the test rows of a table are of, equal numbers in every table; users whom training does not know are several."""
    return np.concatenate([t.owner for t in units.values() if t.owner is not None])


def _facts(context: Context, method: str, units: list[str]) -> MethodFacts:
    planned = context.plan.method(method).method
    started = context.started.planned.get(method)  # not there where its pre-training failed
    start = started.resolved.start if started else None
    winners = {unit: w for unit in units if (w := winner(context, method, unit))}
    trials = [t for t in read_json(context.folder / "trials.json") if t["method"] == method]
    first = next(iter(winners.values()), None)
    whole = winner_settings(context, method, first)[1].backbone.parameters() if first else ()
    return MethodFacts(
        method=method,
        strategy=planned.strategy.name,
        prompt=planned.prompt,
        backbone=planned.backbone,
        pretraining=planned.pretraining,
        baseline=context.job.methods[method].baseline,
        trials=sum(w["trials"] for w in winners.values()),
        tuned_parameters=round(np.mean([w["replicates"][0]["parameters"] for w in winners.values()] or [0])),
        backbone_parameters=sum(p.size() for p in whole),
        seconds=sum(t["seconds"] for t in trials),
        valid={unit: w["value"] for unit, w in winners.items()},
        options={unit: w["options"] for unit, w in winners.items()},
        trial={unit: w["trial"] for unit, w in winners.items()},
        recipes=start.trials if start else 0,
    )


def _facts_of_best(context: Context, chosen: Choice, of_methods: Sequence[MethodFacts]) -> MethodFacts:
    """The line of what validation has chosen, of whose cost are the searches of all that competed on its pre-training."""
    known = {facts.method: facts for facts in of_methods}
    units = {unit: known[method] for unit, method in chosen.methods.items() if unit in known[method].valid}
    among = [
        known[planned.method.name] for planned in competing(context.plan) if planned.method.pretraining == chosen.pretraining
    ]
    return MethodFacts(
        method=BEST,
        strategy=BEST,
        prompt="none",
        backbone=among[0].backbone,
        pretraining=chosen.pretraining,
        baseline=False,
        trials=sum(facts.trials for facts in among),
        tuned_parameters=round(np.mean([facts.tuned_parameters for facts in units.values()] or [0])),
        backbone_parameters=among[0].backbone_parameters,
        seconds=sum(facts.seconds for facts in among),
        among=tuple(facts.method for facts in among),
        valid={unit: facts.valid[unit] for unit, facts in units.items()},
        options={unit: facts.options[unit] for unit, facts in units.items()},
        trial={unit: facts.trial[unit] for unit, facts in units.items()},
        recipes=among[0].recipes,
    )


def _protocol(context: Context, candidates: Mapping[str, str]) -> dict[str, Any]:
    job = context.job
    whose = [candidates.get("cohort", "all rows"), getattr(context.source, "cohort", "")]
    return {
        "split": f"test ({job.data.split.kind}, seed {job.data.split.seed})",
        "metric": job.training.metric,
        **candidates,
        "cohort": "; ".join(filter(None, whose)),
        "chosen by": f"validation {job.training.metric}",
        "replicates": job.evaluate.replicates,
        "pre-trainings": job.pretrain.replicates,
        **({"shuffled": f"items of each history in a random order (seed {job.seed})"} if job.evaluate.shuffled else {}),
        **({"best": _BEST.format(job.evaluate.retriever)} if job.evaluate.rerank else {}),
    }


def _provenance(context: Context) -> dict[str, Any]:
    options = options_of("data.sources", context.job.data.source, context.job.data.options, context.own)
    return {
        "seed": context.job.seed,
        "data": context.store.schema.fingerprint,
        "source": {"name": context.job.data.source, **options.model_dump(mode="json")},
        "backbones": {name: path.name for name, path in context.backbones.items()},
        "versions": versions(),
    }
