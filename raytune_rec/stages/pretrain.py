"""The shared backbones: search the recipe of each pre-training on validation, train it once on Ray Train, export it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.config import Job
from raytune_rec.errors import ArtifactError, Diverged
from raytune_rec.machine.signals import ends_on_sigterm
from raytune_rec.names import path_name
from raytune_rec.schema.prepared import ALL_DOMAINS
from raytune_rec.schema.work import Lane, Scalar, numbered, recipe_of
from raytune_rec.stages import failures
from raytune_rec.stages.context import Context
from raytune_rec.stages.failures import Failure
from raytune_rec.stages.steps import steps
from raytune_rec.storage.files import read_json, write_json
from raytune_rec.storage.fingerprint import fingerprint
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.run import runner
from raytune_rec.tuning.run.measuring import measurer
from raytune_rec.tuning.run.resources import slots
from raytune_rec.tuning.search.plan import for_recipes, searches
from raytune_rec.tuning.search.records import Winner, trials, winners
from raytune_rec.tuning.search.space_files import compose
from raytune_rec.tuning.search.studies import Studies

FORMAT = 4


def uses_ray(job: Job) -> bool:
    """Whether something is searched, or trained by workers."""
    return bool(job.pretrain.trials or job.pretrain.workers) and any(not v.from_path for v in job.pretrainings.values())


def inputs(context: Context) -> dict[str, Any]:
    job = context.job
    spaces = {name: fingerprint(compose([name], job)) for v in job.pretrainings.values() for name in v.space}
    parts = ("seed", "backbone", "backbones", "prompts", "training", "pretrain", "pretrainings")
    chosen = job.model_dump(mode="json", by_alias=True, include=set(parts))
    chosen |= {"objectives": job.objectives} if job.objectives else {}
    chosen["pretrain"].pop("max_failures")
    for name, pretraining in chosen["pretrainings"].items():
        if not pretraining["new_ids"]:
            pretraining.pop("new_ids")
        if pretraining["from"]:
            pretraining["from"] = _origin(context, name)
    if chosen["pretrain"]["replicates"] == 1:
        chosen["pretrain"].pop("replicates")
    search = job.tune.model_dump(mode="json", include={"sampler", "pack", "stop"}) if job.pretrain.trials else {}
    known = {"data": context.store.schema.fingerprint, "threads": job.tune.threads, "own": context.own_code()}
    return {**chosen, "search": search, "spaces": spaces, **known}


def outputs(context: Context) -> list[Path]:
    if not context.job.pretrainings:
        return []
    return [context.folder / backbone_artifact.PRETRAINED, *backbone_artifact.of_run(context.folder).values()]


def run(context: Context) -> dict[str, Any]:
    from raytune_rec.pretraining.finished import adopt, check
    from raytune_rec.pretraining.progress import saying
    from raytune_rec.pretraining.train import pretrain

    for name, pretraining in context.job.pretrainings.items():
        if pretraining.from_path:
            taken = check(context.job, name, context.store)  # a wrong backbone must not wait for the others' recipes
            if (missing := context.job.pretrain.replicates - len(taken)) > 0:
                context.say(_fewer(name, len(taken), missing))
    for line in steps(context.store.schema, context.plan.recipes):
        context.say(line)
    winners, failed = _recipes(context)
    decides = fingerprint(inputs(context))
    facts: dict[str, Any] = _finished(context, decides)
    for name, (pretraining_name, number) in _wanted(context).items():
        if name in facts:
            continue
        pretraining = context.job.pretrainings[pretraining_name]
        if pretraining_name in failed:  # without its first pre-training nothing is searched
            if not number:
                _record(context, facts, pretraining_name, 0, failed[pretraining_name])
            continue
        working = context.folder / "backbones" / f"_{path_name(name)}"
        if pretraining.from_path:
            facts[name] = adopt(context.job, pretraining_name, context.store_path, working, number)
        else:
            winner = winners.get(pretraining_name)
            recipe: dict[str, Scalar] = dict(winner.options) if winner else {}
            if context.job.pretrain.workers:
                context.connect()
            tried = winner.trials if winner else 0
            lane = Lane(winner.trial if winner else 0, number, recipe)  # the first has the start values of the trial that won
            planned = context.plan.recipe(pretraining_name).resolved
            epochs = planned.lay(recipe).training.epochs
            where, tell = (context.store_path, working, context.folder), saying(context.say, epochs)
            context.at(f"training backbone {name}")
            try:
                with ends_on_sigterm():
                    facts[name] = pretrain(planned, recipe, tried, *where, lane, tell)
            except Diverged as error:
                failed[name] = Failure(recipe_of(name), "", str(error))
                _record(context, facts, pretraining_name, number, failed[name], recipe, tried)
                continue
        _publish(context, name, working, facts[name])
        facts[name]["inputs"] = decides
        write_json(context.folder / backbone_artifact.PRETRAINED, facts)
    backbones = {name: facts[name]["fingerprint"] for name in _wanted(context) if "fingerprint" in facts.get(name, {})}
    return {"backbones": backbones, **failures.facts(failed.values())}


def _wanted(context: Context) -> dict[str, tuple[str, int]]:
    """Name of each pre-training -> its name in the job and number: all first ones first, as the search needs no others."""
    from raytune_rec.pretraining.finished import sources_of

    job = context.job
    known = _known(context.folder / backbone_artifact.PRETRAINED)
    counts = dict.fromkeys(job.pretrainings, job.pretrain.replicates)
    for pretraining, options in job.pretrainings.items():
        if options.from_path:
            try:
                counts[pretraining] = len(sources_of(job, pretraining))
            except ArtifactError:  # it was moved away: what was copied from there counts
                counts[pretraining] = sum(numbered(pretraining, i) in known for i in range(job.pretrain.replicates))
    numbers = range(job.pretrain.replicates)
    return {numbered(v, i): (v, i) for i in numbers for v, count in counts.items() if i < count}


def _fewer(pretraining: str, there: int, missing: int) -> str:
    stands = "one pre-training stands" if there == 1 else f"{there} pre-trainings stand"
    return (
        f"pretrainings.{pretraining}.from has {missing} fewer than pretrain.replicates: {stands} under its methods; name a run "
        "with more, or leave `from` out to pre-train here."
    )


def _record(
    context: Context,
    facts: dict[str, Any],
    pretraining: str,
    number: int,
    failure: Failure,
    recipe: Mapping[str, Scalar] | None = None,
    trials: int = 0,
) -> None:
    """A pre-training that failed, beside those that did not."""
    context.say(str(failure))
    trials = trials or context.job.pretrain.trials
    known = {"pretraining": pretraining, "replicate": number, "recipe": dict(recipe or {}), "trials": trials}
    nothing: dict[str, Any] = {"best": None, "best_epoch": 0, "losses": []}
    facts[numbered(pretraining, number)] = {**known, **nothing, "status": "failed", "error": failure.reason}
    write_json(context.folder / backbone_artifact.PRETRAINED, facts)


def _origin(context: Context, pretraining: str) -> str:
    """What stands where `from` points: the backbone's fingerprint, or what was copied from there before it was moved away."""
    from raytune_rec.pretraining.finished import sources_of

    path = context.folder / backbone_artifact.PRETRAINED
    try:
        return ", ".join(backbone_artifact.read(source).fingerprint for source in sources_of(context.job, pretraining))
    except ArtifactError:
        known = _known(path)
        given = context.job.pretrainings[pretraining].from_path
        names = [numbered(pretraining, i) for i in range(context.job.pretrain.replicates)]
        copied = [f for f in (known.get(name, {}) for name in names) if f.get("given") == given and "origin" in f]
        return ", ".join(f["origin"] for f in copied) or given


def _finished(context: Context, decides: str) -> dict[str, Any]:
    """Pre-trainings that an interrupted attempt with the same inputs has finished."""
    path = context.folder / backbone_artifact.PRETRAINED
    known, wanted = _known(path), _wanted(context)
    ours = {n: f for n, f in known.items() if n in wanted and f.get("inputs") == decides}
    return {n: f for n, f in ours.items() if _whole(context, f.get("fingerprint", ""))}


def _known(path: Path) -> dict[str, Any]:
    """Pre-training -> its facts; none where the file is missing or damaged."""
    try:
        known = read_json(path)
    except ArtifactError:
        return {}
    return {n: f for n, f in known.items() if isinstance(f, dict)} if isinstance(known, dict) else {}


def _whole(context: Context, fingerprint: str) -> bool:
    try:
        backbone_artifact.load(backbone_artifact.of_fingerprint(context.folder, fingerprint))
    except ArtifactError:
        return False
    return True


def _recipes(context: Context) -> tuple[dict[str, Winner], dict[str, Failure]]:
    """The best recipe of each pre-training, and those none of whose recipes can be trained; empty where none is searched."""
    job = context.job
    if not job.pretrain.trials:
        return {}, {}
    searching = for_recipes(job)
    studies = Studies(context.folder / "journal", searching)
    wanted = searches(replace(context.plan, job=searching), context.plan.recipes)
    planner = SearchPlanner.of(
        studies, wanted, measurer(searching, context.plan.resolved, context.store_path, {}), slots(searching)
    )
    runner.run(
        searching, context.plan.resolved, planner, context.folder, context.store_path, {},
        connect=context.connect, title="recipes", say=context.say,
    )  # fmt: skip
    best, every = winners(context.folder / "journal"), trials(context.folder / "journal")
    made = {p.method.pretraining: best.get((p.method.name, ALL_DOMAINS)) for p in context.plan.recipes}
    lost = [name for name, winner in made.items() if winner is None]
    failed = {name: failures.searched_in_vain(every, context.plan.recipe(name).method, ALL_DOMAINS) for name in lost}
    return {name: winner for name, winner in made.items() if winner}, failed


def _publish(context: Context, name: str, working: Path, facts: dict[str, Any]) -> None:
    """Give a finished backbone the name of its fingerprint."""
    backbone = backbone_artifact.read(working)
    facts["fingerprint"] = backbone.fingerprint
    target = context.folder / "backbones" / backbone.fingerprint
    backbone_artifact.move(working, target)
    value = "" if backbone.value is None else f", validation {backbone.metric} {backbone.value:.4f}"
    context.say(f"backbone {name}: {backbone.fingerprint}{value}, {facts.get('seconds', 0):.0f} s")
