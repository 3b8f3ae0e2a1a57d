"""Train the winners again with replicates, and write one artifact for each domain. Validation chooses, always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts import weights
from raytune_rec.artifacts.prompt_facts import PromptFacts, StrategyFacts
from raytune_rec.artifacts.versions import versions
from raytune_rec.config import BEST, Job
from raytune_rec.data.cold_users import about
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, RunFailed
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.names import path_name
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.scoring.tuned import cut, events, scoring_model
from raytune_rec.stages import failures
from raytune_rec.stages.context import Context
from raytune_rec.stages.failures import Failure
from raytune_rec.stages.winners import Choice, choice, exported, on_first, tuned, winner_settings
from raytune_rec.storage.files import read_json, write_json
from raytune_rec.storage.marker import MARKER
from raytune_rec.strategies import taken
from raytune_rec.task import Unit
from raytune_rec.tensors import crop
from raytune_rec.training.build import rows_of
from raytune_rec.training.parts import Parts
from raytune_rec.tuning.packs.folder import PackFolder, remove
from raytune_rec.tuning.packs.packing import pack_name
from raytune_rec.tuning.packs.planner import FixedPlanner
from raytune_rec.tuning.run import runner
from raytune_rec.tuning.search.journal import merge
from raytune_rec.tuning.search.records import Winner, winners

FORMAT = 3
REWRITTEN = ("prompt.json", "README.md", MARKER)
"""Files of an artifact that `evaluate` adds to."""


def uses_ray(job: Job) -> bool:
    """Packs train on Ray."""
    return True


def inputs(context: Context) -> dict[str, Any]:
    job = context.job
    chosen = {f"{method}/{unit}": w.trial for (method, unit), w in _winners(context).items()}
    further = {name: path.name for name, path in context.backbones.items() if name not in job.pretrainings}
    known = {"pretrainings": further} if further else {}
    return {"replicates": job.evaluate.replicates, "export": job.evaluate.export, "winners": chosen, "seed": job.seed, **known}


def outputs(context: Context) -> list[Path]:
    winner_folders = [context.winner_folder(method, unit) for method, unit in _winners(context)]
    return [*winner_folders, *artifact_folders(context), context.folder / "journal" / "journal.log"]


def run(context: Context) -> dict[str, Any]:
    job, best = context.job, _winners(context)
    packs = {key: _packs(context, *key, winner) for key, winner in best.items()}
    missing = {key: of_winner for key, of_winner in packs.items() if not _stored(context, *key, best[key])}
    planner = FixedPlanner([pack for of_winner in missing.values() for pack in of_winner])
    runner.run(
        job, context.started.resolved, planner, context.folder, context.store_path, context.backbones, keep_weights=True,
        connect=context.connect, title="winners", say=context.say,
    )  # fmt: skip
    for (name, unit), of_winner in missing.items():
        context.at(f"storing the winner of {name} on {unit}")
        _keep(context, name, unit, of_winner, best[name, unit])
    failed = [failure for key in best for failure in failures.of_winner(context, *key)]
    if not any(failures.winner(context, *key) for key in best):
        raise RunFailed("\n".join(map(str, [*failures.recorded(context.folder), *failed])))
    chosen = choice(context)
    methods = exported(context, best, chosen)
    name = BEST if chosen else next(iter(methods.values()), "")
    done = {unit: method for unit, method in methods.items() if on_first(context, method, unit)}
    for unit, method in done.items():
        context.at(f"writing artifact {unit}")
        _artifact(context, method, unit, chosen)
    for unit in [u for u in context.store.schema.unit_names if name and u not in done]:
        place = f"artifacts/{path_name(unit)}"
        prompt_artifact.remove(context.folder / place)
        whose = (
            "no method among which validation chooses has a small" if chosen else f"{name}, the method that is exported, has no"
        )
        lacks = f"{whose} winner on {unit} that stands on the first pre-training"
        failed.append(Failure(name, unit, f"no artifact in {place}: {lacks}."))
    for pack in (pack for of_winner in packs.values() for pack in of_winner):
        remove(context.folder, pack.name)
    merge(context.folder / "journal", context.folder / "journal" / "journal.log")
    for method in dict.fromkeys(done.values()):
        places = [f"artifacts/{path_name(unit)}" for unit, of_unit in done.items() if of_unit == method]
        context.say(f"artifacts of method {method}: {', '.join(places)}")
    for failure in failed:
        context.say(str(failure))
    return {"method": name, **failures.facts(failed)}


def _winners(context: Context) -> dict[tuple[str, str], Winner]:
    """Those of the searches, and what units take that were not searched."""
    job, schema = context.job, context.store.schema
    if job.tune.winners_of:
        lent = {(m, u): known for m in job.methods for u in schema.unit_names if (known := taken.winner(job, schema, m, u))}
        return {key: Winner(known["trial"], known["options"], known["value"], 0) for key, known in lent.items()}
    best = {key: w for key, w in winners(context.folder / "journal").items() if key[0] in context.job.methods}
    takers = [(unit, lender) for unit, lender in schema.searched(job.tune.least_valid).items() if lender != unit]
    of_others = {(method, unit): (method, lender) for method in job.methods for unit, lender in takers}
    return best | {key: replace(best[lender], trials=0) for key, lender in of_others.items() if lender in best}


def _packs(context: Context, method: str, unit: str, winner: Winner) -> list[Pack]:
    """The winner's replicates, on the pre-trainings in turn: a pack for each, or several where the backbone stacks fewer lanes.
    Where nothing is trained there is one replicate on each.
    """
    _, parts = winner_settings(context, method, asdict(winner))
    numbers = context.pretrainings(context.plan.method(method).method.pretraining) or [0]
    count = context.job.evaluate.replicates if parts.trained_groups else len(numbers)
    lanes = [Lane(winner.trial, replicate, winner.options, unit) for replicate in range(1, count + 1)]
    of_numbers = [(number, tuple(lanes[place :: len(numbers)])) for place, number in enumerate(numbers)]
    most, packs = parts.backbone.most_lanes or count, []
    for number, lanes_of_start in of_numbers:
        for at in range(0, len(lanes_of_start), most):
            place = [str(number)] if number or at else []
            name = pack_name(method, [unit], "winner", *place, *([str(at)] if at else []))
            packs.append(Pack(name, method, lanes_of_start[at : at + most], start=number))
    return packs


def _stored(context: Context, method: str, unit: str, winner: Winner) -> bool:
    """Whether an attempt that was interrupted later has stored this winner."""
    path = context.winner_folder(method, unit) / "winner.json"
    try:
        known = read_json(path)
        for replicate in known["replicates"]:
            tuned(path.parent, replicate)
    except (ArtifactError, KeyError, TypeError):
        return False
    named = [name for name in asdict(winner) if winner.trials or name != "value"]  # of what was not searched it is its own
    return all(known.get(name) == asdict(winner)[name] for name in named)


def _keep(context: Context, method: str, unit: str, packs: Sequence[Pack], winner: Winner) -> None:
    """Store what each replicate tuned, and its facts, with the pre-training that it stands on (null: it starts from scratch)."""
    folder, facts = context.winner_folder(method, unit), asdict(winner)
    _, parts = winner_settings(context, method, facts)
    planned = context.plan.method(method).method
    feedback = parts.backbone.reads_feedback or None
    declared, data = parts.declared(), rows_of(str(context.store_path), unit, parts.reads_by_id, feedback)
    scratch = planned.strategy.start == "scratch"
    replicates: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for pack in packs:
        work = PackFolder.of(context.folder, context.job, pack)
        results = work.results()
        assert results is not None, f"{pack.name} has no result"
        for i, result in enumerate(results):
            if result.status == "failed":
                failed.append({"replicate": result.replicate, "error": result.error})
                continue
            lane, schema = pack.lanes[i], context.store.schema
            whole_prompt = taken.shared(context.job, schema, method, declared, lane, pack.start)
            kept = whole_prompt | cut(work.weights(i), declared, data)
            sha256 = weights.write(folder / f"replicate-{result.replicate}.safetensors", kept)
            replicates.append({**asdict(result), "sha256": sha256, "pretraining": None if scratch else pack.start})
    for trained in (replicates, failed):
        trained.sort(key=lambda r: int(r["replicate"]))
    whole = {"method": method, "unit": unit, **facts, "replicates": replicates}
    if not winner.trials and replicates:  # it was not searched: the value is not another unit's
        whole["value"] = float(np.mean([replicate["best"] for replicate in replicates]))
    write_json(folder / "winner.json", {**whole, **({"failed": failed} if failed else {})})


def _artifact(context: Context, method: str, unit: str, among: Choice | None) -> None:
    """The replicate of the best validation metric on the first pre-training becomes the artifact."""
    folder, planned = context.winner_folder(method, unit), context.plan.method(method).method
    facts = read_json(folder / "winner.json")
    metric = METRICS[context.job.training.metric]
    chosen = _best(on_first(context, method, unit), metric.higher)
    tensors = tuned(folder, chosen)
    settings, parts = winner_settings(context, method, facts)
    base = backbone_artifact.read(context.backbones[planned.pretraining])
    tensors = _with_prompt(context, planned.pretraining, parts, tensors)
    if parts.reads_by_id and parts.strategy.prompt == "on":
        by_id, start = context.store.by_id(unit), backbone_artifact.load(context.backbones[planned.pretraining], data=False)[1]
        tensors = tensors | events(by_id, scoring_model(parts, [tensors], start, by_id).lenders())
    declared = parts.declared()
    groups = {name: declared[name].group for name in tensors if name in declared}
    rows = {name: declared[name].rows for name in tensors if name in declared and f"rows.{declared[name].rows}" in tensors}
    s = planned.strategy
    prompt_artifact.save(
        context.folder / "artifacts" / path_name(unit),
        PromptFacts(
            unit=context.store.schema.unit(unit), about=_about(context, unit), method=method,
            strategy=StrategyFacts(name=s.name, start=s.start, train=s.train, prompt=s.prompt),
            prompt=planned.prompt, prompt_options=settings.prompt.model_dump(mode="json"),
            backbone=planned.backbone, backbone_options=settings.backbone.model_dump(mode="json"),
            backbone_fingerprint=base.fingerprint, data_fingerprint=context.store.schema.fingerprint,
            task=context.store.schema.task,
            domains=domains_to_name(context.store, context.store.schema.unit(unit)),
            parameters=weights.facts(tensors, groups, rows), tuned_parameters=chosen["parameters"],
            trial=facts["trial"], options=facts["options"], seed=context.job.seed,
            replicate=chosen["replicate"], valid={context.job.training.metric: chosen["best"]}, versions=versions(),
            candidates=among.valid[unit] if among else {},
        ),
        tensors,
    )  # fmt: skip


def domains_to_name(store: Store, unit: Unit) -> tuple[str, ...]:
    """The domains of which raw rows must name theirs: items belong to several, and the unit is of none of them."""
    names = store.schema.domains
    free = unit.domain or len(names) == 1
    return () if free or not store.lookup.catalogue[1].any() else tuple(names)


def _about(context: Context, name: str) -> str:
    unit, sequences = context.store.schema.unit(name), context.job.data.sequences
    if unit.kind == "items":
        return f"It serves rows of a group of {len(unit.members)} cold items."
    return about(unit, sequences) if unit.kind == "fold" and sequences else ""


def _with_prompt(context: Context, pretraining: str, parts: Parts, tensors: dict[str, Any]) -> dict[str, Any]:
    """A prompt that was not tuned is exported as it was pre-trained."""
    if any(name.startswith("prompt.") for name in tensors):
        return tensors
    _, start = backbone_artifact.load(context.backbones[pretraining], data=False)
    untuned = {f"prompt.{p.name}": p for prompt in parts.prompts for p in prompt.parameters() if f"prompt.{p.name}" in start}
    return tensors | {name: crop(start[name], p.shape).contiguous() for name, p in untuned.items()}


def _best(replicates: Sequence[Mapping[str, Any]], higher: bool) -> Mapping[str, Any]:
    return max(replicates, key=lambda r: (r["best"] if higher else -r["best"], -r["replicate"]))


def artifact_folders(context: Context) -> list[Path]:
    """Those of the run's own units: items that came later have theirs beside them (`tune --only-new`)."""
    every = [context.folder / "artifacts" / path_name(unit) for unit in context.store.schema.unit_names]
    return [folder for folder in every if (folder / "prompt.json").exists()]
