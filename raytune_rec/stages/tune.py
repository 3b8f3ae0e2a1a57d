"""Search every method on every domain."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raytune_rec.config import Job
from raytune_rec.errors import RunFailed
from raytune_rec.stages.context import Context
from raytune_rec.stages.failures import Failure, facts, not_started, recorded, searched_in_vain
from raytune_rec.stages.steps import not_searched, steps
from raytune_rec.storage.files import STORAGE, write_json
from raytune_rec.storage.fingerprint import fingerprint
from raytune_rec.strategies import taken
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.run import alone, runner
from raytune_rec.tuning.run.alone import Timed, trained
from raytune_rec.tuning.run.measuring import measurer
from raytune_rec.tuning.run.resources import slots
from raytune_rec.tuning.search.plan import searches
from raytune_rec.tuning.search.records import trials, winners
from raytune_rec.tuning.search.space_files import compose
from raytune_rec.tuning.search.studies import Studies

FORMAT = 4
FREE = ("tune.trials",)
SCHEDULING = {"alone", "concurrent", "cpus", "gpus", "max_failures", "memory_mib", "reuse_actors", "wait_minutes"}


def uses_ray(job: Job) -> bool:
    """Packs train on Ray."""
    return True


def inputs(context: Context) -> dict[str, Any]:
    job = context.job
    spaces = {name: fingerprint(compose([name], job)) for method in job.methods.values() for name in method.space}
    chosen = job.model_dump(
        mode="json", by_alias=True, include={"seed", "backbone", "backbones", "prompts", "training", "methods", "tune"}
    )
    chosen |= {"objectives": job.objectives} if job.objectives else {}
    chosen["tune"] = {k: v for k, v in chosen["tune"].items() if k not in SCHEDULING and (v or k != "winners_of")}
    for method in chosen["methods"].values():
        method.pop("baseline")
    backbones = {name: path.name for name, path in context.backbones.items() if name in job.pretrainings}
    known = {"backbones": backbones, "data": context.store.schema.fingerprint, "own": context.own_code()}
    return {**chosen, "spaces": spaces, **known}


def outputs(context: Context) -> list[Path]:
    return [context.folder / "trials.json", *STORAGE.list(context.folder / "journal", "0*.json")]


def run(context: Context) -> dict[str, Any]:
    job, journal = context.job, context.folder / "journal"
    plan = context.started
    failed = not_started(context.plan, plan)
    wanted = searches(plan, plan.methods)
    if job.tune.winners_of:
        return _taken(context, failed)
    for line in [*steps(plan.schema, plan.methods), *not_searched(plan.schema, job.tune.least_valid)]:
        context.say(line)
    measure = measurer(job, plan.resolved, context.store_path, context.backbones)
    before = len(trained(trials(journal), job)) if job.tune.alone else 0
    context.at("measuring how many trials fit in a pack")
    began = time.monotonic()
    planner = Timed(SearchPlanner.of(Studies(journal, job), wanted, measure, slots(job)), began)
    context.at("at work")
    runner.run(
        job, plan.resolved, planner, context.folder, context.store_path, context.backbones,
        connect=context.connect, title="tune", say=context.say,
    )  # fmt: skip
    every, best = trials(journal), winners(journal)
    write_json(context.folder / "trials.json", every)
    lent = plan.schema.searched(job.tune.least_valid)
    failed += [
        searched_in_vain(every, planned.method, unit, lender)
        for planned in plan.methods
        for unit, lender in lent.items()
        if (planned.method.name, lender) not in best
    ]
    for failure in failed:
        context.say(str(failure))
    if not any(method in job.methods for method, _ in best):
        raise RunFailed("\n".join(map(str, [*recorded(context.folder), *failed])))
    chosen = {f"{method}/{unit}": [w.trial, w.value] for (method, unit), w in best.items() if method in job.methods}
    saved = _saved(context, trained(every, job), before, planner.seconds) if job.tune.alone else {}
    return {"trials": sum(t["method"] in job.methods for t in every), "winners": chosen, **saved, **facts(failed)}


def _saved(context: Context, every: list[Mapping[str, Any]], before: int, seconds: float) -> dict[str, Any]:
    """What packs saved, for the marker.

    Args:
        every: trials that trained. before: how many of them had when this attempt began. seconds: of the others.
    """
    job, some = context.job, alone.drawn(every, context.job)
    if not seconds or len(every) == before:
        context.say("what packs saved is not told: nothing was trained in this attempt")
        return {}
    context.at("training some trials by themselves")
    by_themselves = alone.seconds(
        job, context.started.resolved, some, context.folder, context.store_path, context.backbones,
        connect=context.connect, title="by themselves", say=context.say,
    )  # fmt: skip
    if not by_themselves:
        context.say("what packs saved is not told: a trial could not be trained by itself")
        return {}
    saved = alone.Saved(len(every) - before, seconds, len(some), by_themselves)
    context.say(str(saved))
    return {"saved": {**asdict(saved), "told": str(saved)}}


def _taken(context: Context, failed: list[Failure]) -> dict[str, Any]:
    """Nothing is searched: each unit takes what won in a finished run."""
    job, schema, chosen = context.job, context.store.schema, dict[str, list[Any]]()
    for line in steps(schema, context.started.methods):
        context.say(line)
    for unit, lender in taken.lenders(job, schema).items():
        context.say(f"not searched: {unit} takes what won on {lender} of {job.tune.winners_of}")
        for planned in context.started.methods:
            name = planned.method.name
            if known := taken.winner(job, schema, name, unit):
                chosen[f"{name}/{unit}"] = [known["trial"], known["value"]]
            else:
                remedy = f"leave {planned.method.place} out"
                why = f"{name} is not tuned on {unit}: it has no winner on {lender} of {job.tune.winners_of}; {remedy}."
                failed.append(Failure(name, unit, why))
    for failure in failed:
        context.say(str(failure))
    if not chosen:
        raise RunFailed("\n".join(map(str, [*recorded(context.folder), *failed])))
    write_json(context.folder / "trials.json", [])
    return {"trials": 0, "winners": chosen, **facts(failed)}
