"""What a job will do, before it does it: methods, what each searches and trains, trials, packs and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from raytune_rec.components import component, options_of
from raytune_rec.config import OF_HISTORIES, Job
from raytune_rec.data.cold_items import units_of
from raytune_rec.data.cold_users import folds_of, predicted
from raytune_rec.data.preparing.coding.texts import texts_of
from raytune_rec.data.preparing.coding.vectors import vectors_of
from raytune_rec.errors import AssemblyError, JobError, UserError
from raytune_rec.job.data import WORDS
from raytune_rec.report.tables import item_texts
from raytune_rec.report.words import counted
from raytune_rec.schema.prepared import ITEM, USER, DataSchema, Field, Phrases
from raytune_rec.schema.work import recipe_of
from raytune_rec.stages.checks import estimate
from raytune_rec.stages.checks.heads import look
from raytune_rec.stages.checks.prepared import prepared, summary_of
from raytune_rec.stages.checks.unknown import not_installed, unknown_components, unknown_groups
from raytune_rec.stages.steps import not_searched, steps
from raytune_rec.stages.winners import check_export, told_of_choice
from raytune_rec.storage.files import scratch
from raytune_rec.task import GROUPS
from raytune_rec.training.parts import Parts
from raytune_rec.training.settings import built_alike
from raytune_rec.tuning.search.early_stopping import ladders
from raytune_rec.tuning.search.pace import MODELS, Pace
from raytune_rec.tuning.search.plan import Plan, Planned, plan

ITEMS = 1000
"""For which memory is told, and as many users, where no data are prepared."""


def told(job: Job, run: Path | None = None) -> Group:
    """What a job will do, as tables.

    Of data that are not prepared the heads of the files are read, where the source has a way to. Otherwise fields are those that
    the source declares, memory is told for a thousand users and a thousand items, and numbers of steps are not known.

    Args:
        run: a run folder; data that are prepared there for this job tell the rest. None: no file is looked at.

    Raises:
        UserError: everything that is wrong with the job, at once.
    """
    if not job.methods:
        raise JobError("methods: the job has none, so there is nothing to tune; write one as [methods.<name>] with a strategy.")
    known = prepared(job, run) if run else None
    with scratch() as place:
        store = run / "data" if run and known else place / "data"
        seen = look(job.data, job.training.metric, [Path(f) for f in job.components], store) if run and not known else None
        schema = known or (seen.schema if seen else None)
        made = plan(job, schema or declared(job))
        if problems := _problems(made, seen.problems if seen else ()):
            raise UserError(problems)
        work: list[str | Text] = [Text(line) for line in (seen.lines if seen else ())]
        if schema and schema.rows:
            work += [*steps(schema, made.recipes), *steps(schema, made.methods)]
            work += not_searched(schema, job.tune.least_valid) if not job.tune.winners_of else []
            work += estimate.lines(made, store)
        else:
            work.append(f"Steps and time are told after `raytune-rec prepare JOB{f' --out {run}' if run else ''}`.")
    if known and run:
        work += map(Text, item_texts.lines(summary_of(run).get("item_texts", {})))
    return Group(_table(made), _sentence(made), *map(Text, told_of_choice(made)), *_hardly_modelled(made), *work)


def _problems(made: Plan, of_files: Sequence[str]) -> list[str]:
    """Everything that is wrong, each once. of_files: what is wrong with the data."""
    refused = [*made.refused, *_refusals(made)]
    problems = [*of_files, *(problem for error in refused for problem in error.problems)]
    problems += unknown_components(made.job) if problems else [*unknown_components(made.job), *unknown_groups(made)]
    problems += not_installed(made.job)
    misfit = any(isinstance(error, AssemblyError) for error in refused)
    further = [f"{OF_HISTORIES[0].upper()}{OF_HISTORIES[1:]}."] if made.job.data.sequences and misfit else []
    return list(dict.fromkeys([*problems, *further]))


def _refusals(made: Plan) -> Iterator[UserError]:
    """What no single method shows: values that no trial can have, a start that does not fit, an export that cannot be."""
    checks: list[Callable[[], None]] = [partial(_check_values, made, planned) for planned in made.planned.values()]
    checks += [partial(_check_start, made, planned) for planned in made.methods if planned.method.strategy.start == "backbone"]
    checks.append(partial(check_export, made))
    for check in checks:
        try:
            check()
        except UserError as error:
            yield error


LIKELY = Phrases((10,) * 16, (10,) * 2, (10,) * 15, tuple(range(11, 111)), 0, 1, 2)
"""The words around items, where no tokenizer has been read yet: it may be one of T5's kind, as the store will know."""


def declared(job: Job) -> DataSchema:
    """A schema of what the source declares, with vocabularies of a thousand ids."""
    folders = [Path(f) for f in job.components]
    data = job.data
    source = component("data.sources", data.source, folders)(options_of("data.sources", data.source, data.options, folders))
    domains = source.domains() or ("domain",)
    fields = [
        Field("user", "categorical", "user", ITEMS + 1),
        Field("item", "categorical", "item", ITEMS + 1),
        Field("domain", "categorical", "domain", len(domains) + 1),
    ]
    for f in source.fields():
        if f.kind != "text":
            edges = tuple(i / data.buckets for i in range(1, data.buckets))
            size = {"numerical": data.buckets + 1, "vector": 0}.get(f.kind, 101)
            fields.append(
                Field(
                    f.name,
                    f.kind,
                    f.role,
                    size,
                    f.length or {"multi": 8, "vector": 64}.get(f.kind, 0),
                    edges=edges if f.kind == "numerical" else (),
                )
            )
    options = data.text
    named = texts_of(source.fields(), options) if options else ()
    texts = tuple(Field(text.name, "text", text.role, 1002, options.length) for text in named if options)
    made = vectors_of(source.fields(), options) if options else ()
    vectors = tuple(Field(name, "vector", "item", 0, options.vectors[name].width) for name in made if options)
    predicted(fields, data.task.attribute)
    groups = folds_of(data.sequences) if data.sequences else ()
    if data.split.kind == "cold_items" and data.sequences:
        groups = tuple(units_of(domains, data.sequences))
    phrases = LIKELY if texts and options and options.tokenizer != WORDS else None
    return DataSchema(
        tuple(fields), tuple(domains), "", task=data.task, groups=groups, texts=texts, phrases=phrases, vectors=vectors
    )


def _table(made: Plan) -> Table:
    table = Table(
        "method",
        "strategy",
        "trains",
        "searches",
        "trials",
        "modelled",
        "packs of",
        "MiB a lane",
        title=f"Plan of {made.job.name}",
        title_justify="left",
    )
    for column in table.columns:
        column.overflow = "fold"  # a name is never cut
    for planned in made.planned.values():
        table.add_row(*_line(planned, _own(made.schema)))
    return table


def _line(planned: Planned, own: int) -> tuple[str, ...]:
    method, space = planned.method, planned.space
    trials, modelled, width = _budget(planned)
    units = "all domains" if method.kind == "pretraining" else f"each of {len(planned.units)}"
    groups = ", ".join(sorted(planned.parts.trained_groups)) or "nothing"
    return (
        method.name,
        method.strategy.name,
        groups,
        f"{len(space.dimensions)} options",
        f"{trials} on {units}",
        str(modelled) if space.dimensions and trials else "-",
        str(width or 1),
        f"{_mib(planned.parts, 0 if method.kind == 'pretraining' else own):.1f}",
    )


def _budget(planned: Planned) -> tuple[int, int, int]:
    """Of one search: its trials, those that the sampler proposes from what was told, and the lanes of a pack."""
    tune, space = planned.tune, planned.space
    if tune.winners_of:
        return 0, 0, 1
    if not (space.dimensions and tune.trials):
        return (0 if planned.method.kind == "pretraining" else 1), 0, 1
    pace, trials = Pace.of(tune), space.different(tune.trials)
    return trials, pace.modelled(tune.sampler, trials, len(space.first)), min(trials, pace.round, tune.pack)


def _hardly_modelled(made: Plan) -> list[str]:
    """Warnings of searches that are over before their sampler has learnt much."""
    said: dict[tuple[int, int, str], list[str]] = {}
    for planned in made.planned.values():
        space, tune = planned.space, planned.tune
        trials, modelled, _ = _budget(planned)
        option = "pretrain.trials" if planned.method.kind == "pretraining" else "tune.trials"
        whole = space.different(tune.trials + 1) <= tune.trials  # every point is tried: there is nothing to model
        if tune.sampler in MODELS and space.dimensions and not whole and 2 * modelled < trials:
            said.setdefault((trials, modelled, option), []).append(planned.method.name)
    remedy, round = "the others are first points or drawn before the sampler has learnt; raise", made.job.tune.round
    return [
        f"warning: {', '.join(names)}: {modelled} of {trials} trials are modelled, {remedy} {option}"
        + (f", or lower tune.round ({round})" if round * 4 > trials and option == "tune.trials" else "")
        + "."
        for (trials, modelled, option), names in said.items()
    ]


def _check_values(made: Plan, planned: Planned) -> None:
    """Refuse a space whose ends, choices or first points no trial can have.

    Raises:
        UserError: an option or a component refuses a value, there is no such objective, or the method would be judged by a metric
            of its own.
    """
    space, resolved, metric = planned.space, planned.resolved, planned.metric
    schema = made.schema.for_pretraining() if planned.method.kind == "pretraining" else made.schema
    ends = [{d.key: value} for d in space.dimensions for value in d.choices or (d.low, d.high)]
    table = "pretrain.training" if planned.method.kind == "pretraining" else "training"
    for point in [{}, *ends, *(p.values for p in space.first)]:
        settings = resolved.lay(point)
        training = settings.training
        component("objectives", training.objective, resolved.folders)
        type(planned.parts.backbone)(settings.backbone, schema, planned.parts.sites)  # it refuses what these data do not have
        if training.metric != metric:
            raise JobError(
                f"{planned.method.place}: training.metric = {training.metric!r}, and the job chooses by {metric!r}; "
                f"all methods are chosen by one metric, so set it under [{table}] alone."
            )


def _check_start(made: Plan, planned: Planned) -> None:
    """Refuse a method that does not fit the pre-training it starts from, before that is trained.

    Raises:
        JobError: the backbone will have no room for the method's prompt, or the prompt is learned nowhere.
    """
    job, method = made.job, planned.method
    pretraining, where = job.pretrainings[method.pretraining], method.place
    if before := made.planned.get(recipe_of(method.pretraining)):
        if not job.pretrain.trials:
            built_alike(method, method.options, planned.base.backbone, before.base.backbone)
        if dict(before.parts.sites) != dict(planned.parts.sites):
            raise JobError(
                f"{where}: pre-training {method.pretraining!r} is one for prompt {before.method.prompt!r}, and the method's "
                f"prompt ({method.prompt!r}, {method.strategy.prompt}) needs another first layer; "
                "start it from a pre-training with that prompt."
            )
    learned = pretraining.learn_prompt and pretraining.prompt == method.prompt
    trains = "prompt" in method.strategy.train
    if method.strategy.prompt == "on" and not trains and not learned and any(p.parameters() for p in planned.parts.prompts):
        raise JobError(
            f"{where}: strategy {method.strategy.name!r} trains no prompt, and pre-training {method.pretraining!r} learns none: "
            "its prompt would stay as it was drawn. Start the method from a pre-training that learns it, or choose a strategy "
            "that trains it."
        )


def _own(schema: DataSchema) -> int:
    """Most items that are a unit's own; of data that are not read, a group's share of them."""
    groups = [unit for unit in schema.groups if unit.kind == "items"]
    return max((len(unit.members) or -(-ITEMS // len(groups)) for unit in groups), default=0)


def _mib(parts: Parts, own: int) -> float:
    """Parameters, gradients, two moments and the best epoch of what a lane trains, on a unit with so many items of its own."""
    trained = parts.trained_groups
    declared = [*parts.backbone.parameters(), *(p for prompt in parts.prompts[:1] for p in prompt.parameters())]
    return 5 * 4 * sum(p.size(own) for p in declared if p.group in trained) / 2**20


_SMALL = " Groups with fewer than {:,} validation rows (tune.least_valid) are not searched: they take what wins on the largest."


def _work(made: Plan, units: str) -> str:
    job, replicates = made.job, counted(made.job.evaluate.replicates, "replicate")
    if job.tune.winners_of:
        return f"Nothing is searched: what won in {job.tune.winners_of} is tuned on {units}, {replicates} of each."
    trials = sum(_budget(planned)[0] * len(planned.units) for planned in made.methods)
    return (
        f"{counted(trials, 'trial')} on {units}, then {replicates} of each winner; "
        f"{counted(len(job.pretrainings), 'pre-training')} with {counted(job.pretrain.trials or 1, 'recipe')} each, made "
        f"{counted(job.pretrain.replicates, 'time')}."
    )


def _sentence(made: Plan) -> str:
    job, schema = made.job, made.schema
    whose = GROUPS.get(schema.units[0].kind)
    units = f"{counted(len(schema.units), 'group')} of {whose}" if whose else counted(len(schema.units), "domain")
    units += f" ({', '.join(schema.unit_names)})"
    own = f", {_own(schema):,} of them a unit's own" if _own(schema) else ""
    stop = job.tune.stop
    climbs = [rungs for rungs, _ in ladders(stop, job.training.epochs) if rungs]
    turns = " (each round by one of these, in turn)" if len(climbs) > 1 else ""
    stopping = "; ".join(", ".join(map(str, rungs[:6])) + (" ..." if len(rungs) > 6 else "") for rungs in climbs)
    return (
        f"{_work(made, units)} "
        f"Memory is told for {schema.field(USER).size - 1:,} users and {schema.field(ITEM).size - 1:,} items{own}."
        + (_SMALL.format(job.tune.least_valid) if schema.units[0].kind == "items" and not schema.rows else "")
        + (f" Early stopping ({stop.rule}): trials of a round are compared after epochs {stopping}{turns}." if climbs else "")
    )
