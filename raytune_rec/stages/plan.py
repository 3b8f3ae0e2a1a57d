"""What a job will do, before it does it: methods, what each searches and trains, trials, packs and memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table

from raytune_rec.components import component, options_of
from raytune_rec.config import OF_HISTORIES, Job
from raytune_rec.data.cold_users import folds_of, predicted
from raytune_rec.errors import AssemblyError, JobError, UserError
from raytune_rec.report.words import counted
from raytune_rec.schema import DataSchema, Field, Lane, Method
from raytune_rec.stages.export import check_export
from raytune_rec.stages.sections import unknown_components, unknown_groups
from raytune_rec.task import GROUPS
from raytune_rec.training.build import assemble
from raytune_rec.training.parts import Parts
from raytune_rec.training.settings import PRETRAIN, built_alike, method_of, settings
from raytune_rec.tuning.search.brackets import ladders
from raytune_rec.tuning.search.pace import MODELS, Pace
from raytune_rec.tuning.search.searches import for_recipes, method_space
from raytune_rec.tuning.search.space import Space


def plan(job: Job) -> Group:
    """The plan as tables.

    Data are not read: fields are those that the source declares, and the sizes of vocabularies are not known, so that memory is
    told for a thousand users and a thousand items.

    Raises:
        UserError: everything that is wrong with the job, at once.
    """
    if not job.methods:
        raise JobError("methods: the job has none, so there is nothing to tune; write one as [methods.<name>] with a strategy.")
    schema = declared(job)
    names = [PRETRAIN + v for v, o in job.pretrainings.items() if not o.from_path] + list(job.methods)
    table = Table(
        "method",
        "strategy",
        "trains",
        "searches",
        "trials",
        "modelled",
        "packs of",
        "MiB a lane",
        title=f"Plan of {job.name}",
        title_justify="left",
    )
    problems: list[str] = []
    misfit = False
    for name in names:
        try:
            table.add_row(*_line(job, name, schema))
        except UserError as error:
            problems += error.problems
            misfit = misfit or isinstance(error, AssemblyError)
    problems += unknown_components(job) if problems else [*unknown_components(job), *unknown_groups(job, names, schema)]
    try:
        check_export(job)
    except UserError as error:
        problems += error.problems
    if problems:
        further = [f"{OF_HISTORIES[0].upper()}{OF_HISTORIES[1:]}."] if job.data.sequences and misfit else []
        raise UserError(dict.fromkeys([*problems, *further]))
    return Group(table, _sentence(job, schema), *_hardly_modelled(job, names, schema))


def declared(job: Job) -> DataSchema:
    """A schema of what the source declares, with vocabularies of a thousand ids."""
    folders = [Path(f) for f in job.components]
    data = job.data
    source = component("data.sources", data.source, folders)(options_of("data.sources", data.source, data.options, folders))
    domains = source.domains() or ("domain",)
    own = [
        Field("user", "categorical", "user", 1001),
        Field("item", "categorical", "item", 1001),
        Field("domain", "categorical", "domain", len(domains) + 1),
    ]
    for f in source.fields():
        if f.kind != "text":
            edges = tuple(i / data.buckets for i in range(1, data.buckets))
            size = {"numerical": data.buckets + 1, "vector": 0}.get(f.kind, 101)
            own.append(
                Field(
                    f.name,
                    f.kind,
                    f.role,
                    size,
                    f.length or {"multi": 8, "vector": 64}.get(f.kind, 0),
                    edges=edges if f.kind == "numerical" else (),
                )
            )
    length = data.text.length if data.text else 0
    texts = tuple(Field(f.name, "text", f.role, 1002, length) for f in source.fields() if f.kind == "text" and length)
    predicted(own, data.task.attribute)
    groups = folds_of(data.sequences) if data.sequences else ()
    return DataSchema(tuple(own), tuple(domains), "", task=data.task, groups=groups, texts=texts)


def _line(job: Job, name: str, schema: DataSchema) -> tuple[str, ...]:
    method = method_of(job, name)
    space = method_space(job, method, schema, None)
    own = settings(job, method, Lane(0))
    parts = assemble(job, method, [own], schema, None)
    if method.strategy.start == "backbone":
        _check_start(job, method, parts, schema)
    _check_values(job, method, space)
    pretraining = name.startswith(PRETRAIN)
    trials, modelled, width = _budget(job, name, space)
    units = "all domains" if pretraining else f"each of {len(schema.units)}"
    groups = ", ".join(sorted(parts.trained_groups)) or "nothing"
    return (
        name,
        method.strategy.name,
        groups,
        f"{len(space.dimensions)} options",
        f"{trials} on {units}",
        str(modelled) if space.dimensions and trials else "-",
        str(width or 1),
        f"{_mib(parts, method):.1f}",
    )


def _budget(job: Job, name: str, space: Space) -> tuple[int, int, int]:
    """Of one search: its trials, those that the sampler proposes from what was told, and the lanes of a pack."""
    pretraining = name.startswith(PRETRAIN)
    tune = for_recipes(job).tune if pretraining else job.tune
    if not (space.dimensions and tune.trials):
        return (0 if pretraining else 1), 0, 1
    pace, trials = Pace.of(tune), space.different(tune.trials)
    return trials, pace.modelled(tune.sampler, trials, len(space.first)), min(trials, pace.round, tune.pack)


def _hardly_modelled(job: Job, names: Sequence[str], schema: DataSchema) -> list[str]:
    """Warnings of searches that are over before their sampler has learnt much."""
    said: dict[tuple[int, int, str], list[str]] = {}
    for name in names:
        space = method_space(job, method_of(job, name), schema, None)
        trials, modelled, _ = _budget(job, name, space)
        option, wanted = (
            ("pretrain.trials", job.pretrain.trials) if name.startswith(PRETRAIN) else ("tune.trials", job.tune.trials)
        )
        whole = space.different(wanted + 1) <= wanted  # every point is tried: there is nothing to model
        if job.tune.sampler in MODELS and space.dimensions and not whole and 2 * modelled < trials:
            said.setdefault((trials, modelled, option), []).append(name)
    remedy = "the others are first points or drawn before the sampler has learnt; raise"
    return [
        f"warning: {', '.join(names)}: {modelled} of {trials} trials are modelled, {remedy} {option}"
        + (f", or lower tune.round ({job.tune.round})" if job.tune.round * 4 > trials and option == "tune.trials" else "")
        + "."
        for (trials, modelled, option), names in said.items()
    ]


def _check_values(job: Job, method: Method, space: Space) -> None:
    """Refuse a space whose ends, choices or first points no trial can have.

    Raises:
        JobError: an option refuses a value, there is no such objective, or the method would be judged by a metric of its own.
    """
    ends = [{d.key: value} for d in space.dimensions for value in d.choices or (d.low, d.high)]
    pretraining = method.name.startswith(PRETRAIN)
    table, metric = ("pretrain.training", job.pretrain_metric) if pretraining else ("training", job.training.metric)
    for point in [{}, *ends, *(p.values for p in space.first)]:
        training = settings(job, method, Lane(0, 0, point)).training
        component("objectives", training.objective, [Path(f) for f in job.components])
        if training.metric != metric:
            raise JobError(
                f"methods.{method.name}: training.metric = {training.metric!r}, and the job chooses by {metric!r}; "
                f"all methods are chosen by one metric, so set it under [{table}] alone."
            )


def _check_start(job: Job, method: Method, parts: Parts, schema: DataSchema) -> None:
    """Refuse a method that does not fit the pre-training it starts from, before that is trained.

    Raises:
        JobError: the backbone will have no room for the method's prompt, or the prompt is learned nowhere.
    """
    pretraining, where = job.pretrainings[method.pretraining], f"methods.{method.name}"
    before = method_of(job, PRETRAIN + method.pretraining)
    if not pretraining.from_path:
        trained = settings(job, before, Lane(0))
        if not job.pretrain.trials:
            built_alike(method, Lane(0), settings(job, method, Lane(0)).backbone, trained.backbone)
        room = assemble(job, before, [trained], schema, None).sites
        if dict(room) != dict(parts.sites):
            raise JobError(
                f"{where}: pre-training {method.pretraining!r} is one for prompt {before.prompt!r}, and the method's prompt "
                f"({method.prompt!r}, {method.strategy.prompt}) needs another first layer; "
                "start it from a pre-training with that prompt."
            )
    learned = pretraining.learn_prompt and pretraining.prompt == method.prompt
    trains = "prompt" in method.strategy.train
    if method.strategy.prompt == "on" and not trains and not learned and any(p.parameters() for p in parts.prompts):
        raise JobError(
            f"{where}: strategy {method.strategy.name!r} trains no prompt, and pre-training {method.pretraining!r} learns none: "
            "its prompt would stay as it was drawn. Start the method from a pre-training that learns it, or choose a strategy "
            "that trains it."
        )


def _mib(parts: Parts, method: Method) -> float:
    """Parameters, gradients, two moments and the best epoch of what a lane trains."""
    trained = parts.trained_groups
    own = [*parts.backbone.parameters(), *(p for prompt in parts.prompts[:1] for p in prompt.parameters())]
    return 5 * 4 * sum(math.prod(p.shape) for p in own if p.group in trained) / 2**20


def _sentence(job: Job, schema: DataSchema) -> str:
    budgets = [_budget(job, name, method_space(job, method_of(job, name), schema, None))[0] for name in job.methods]
    trials = sum(budgets) * len(schema.units)
    whose = GROUPS.get(schema.units[0].kind)
    units = f"{counted(len(schema.units), 'group')} of {whose}" if whose else counted(len(schema.units), "domain")
    stop = job.tune.stop
    climbs = [rungs for rungs, _ in ladders(stop, job.training.epochs) if rungs]
    stopping = "; ".join(", ".join(map(str, rungs[:6])) + (" ..." if len(rungs) > 6 else "") for rungs in climbs)
    return (
        f"{counted(trials, 'trial')} on {units} ({', '.join(schema.unit_names)}), "
        f"then {counted(job.evaluate.replicates, 'replicate')} of each winner; "
        f"{counted(len(job.pretrainings), 'pre-training')} with {counted(job.pretrain.trials or 1, 'recipe')} each, made "
        f"{counted(job.pretrain.replicates, 'time')}. "
        "Memory is told for 1,000 users and 1,000 items."
        + (f" Early stopping ({stop.rule}): trials of a round are compared after epochs {stopping}." if climbs else "")
    )
