"""What a job comes to, resolved once: each method and each pre-training with its options, components, search space and budget."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from raytune_rec.artifacts.backbone import BackboneFacts
from raytune_rec.components import Family, component, names
from raytune_rec.config import Job
from raytune_rec.errors import AssemblyError, JobError, UserError
from raytune_rec.job.tuning import TuneOptions
from raytune_rec.schema.contract import Site
from raytune_rec.schema.prepared import ALL_DOMAINS, DataSchema
from raytune_rec.schema.work import Method, Scalar, recipe_of
from raytune_rec.training.build import assemble
from raytune_rec.training.parts import Parts
from raytune_rec.training.settings import Resolved, Settings, is_option, learned, method_of, padding, resolve, structure
from raytune_rec.tuning.search import warmstart
from raytune_rec.tuning.search.restrict import restrict
from raytune_rec.tuning.search.space import Point, Sizes, Space
from raytune_rec.tuning.search.space_files import compose
from raytune_rec.tuning.search.studies import Search


@dataclass(frozen=True)
class Planned:
    """One method, or one pre-training.

    Args:
        resolved: its options; a trial lays its own over them.
        parts: its components, without a trial's options.
        groups: every parameter group that a rate may name: its own, and those of the components that are shipped.
        space: what it searches.
        tune: the budget of its search.
        metric: what chooses its trials.
        units: on which it is searched.
    """

    resolved: Resolved
    parts: Parts
    groups: frozenset[str]
    space: Space
    tune: TuneOptions
    metric: str
    units: tuple[str, ...]

    @property
    def method(self) -> Method:
        return self.resolved.method

    @property
    def base(self) -> Settings:
        """The options without a trial's."""
        return self.resolved.base

    @property
    def epochs(self) -> int:
        """That a trial may train; 0 where nothing is trained."""
        return self.base.training.epochs if self.method.strategy.train else 0


@dataclass(frozen=True)
class Plan:
    """A job on data.

    Args:
        planned: by name, the pre-trainings that are not brought along first, under the names of their recipes.
        refused: what is wrong with the others, and with their names.
    """

    job: Job
    schema: DataSchema
    planned: Mapping[str, Planned]
    refused: tuple[UserError, ...] = ()

    @property
    def methods(self) -> list[Planned]:
        return [planned for planned in self.planned.values() if planned.method.kind == "method"]

    @property
    def recipes(self) -> list[Planned]:
        """The pre-trainings that are made here."""
        return [planned for planned in self.planned.values() if planned.method.kind == "pretraining"]

    @property
    def resolved(self) -> dict[str, Resolved]:
        """What a pack's worker gets of it, by name."""
        return {name: planned.resolved for name, planned in self.planned.items()}

    def method(self, name: str) -> Planned:
        return self.planned[name]

    def recipe(self, pretraining: str) -> Planned:
        return self.planned[recipe_of(pretraining)]

    def with_backbones(self, backbones: Mapping[str, BackboneFacts]) -> Plan:
        """The same with what pre-training has found. Methods whose pre-training failed are left out.

        Raises:
            JobError: a method does not fit the backbone that it starts from.
        """
        kept = {name: planned for name, planned in self.planned.items() if planned.method.strategy.start == "scratch"}
        ready = [p.method for p in self.planned.values() if p.method.strategy.start == "backbone"]
        started = _planned(self.job, self.schema, [m for m in ready if m.pretraining in backbones], backbones)
        known = {**kept, **started.planned}
        planned = {name: known[name] for name in self.planned if name in known}
        return replace(self, planned=planned, refused=started.refused).checked()

    def checked(self) -> Plan:
        """Itself.

        Raises:
            JobError: everything that is wrong with its methods, at once.
        """
        if self.refused:
            raise JobError([problem for error in self.refused for problem in error.problems])
        return self


def plan(job: Job, schema: DataSchema) -> Plan:
    """Every method and every pre-training that is made here, before anything is pre-trained."""
    wanted: list[Method] = []
    refused: list[UserError] = []
    for name in [*(recipe_of(n) for n, options in job.pretrainings.items() if not options.from_path), *job.methods]:
        try:
            wanted.append(method_of(job, name))
        except UserError as error:
            refused.append(error)
    made = _planned(job, schema, wanted, {})
    return replace(made, refused=(*refused, *made.refused))


def searches(plan: Plan, planned: Iterable[Planned]) -> list[Search]:
    """The searches of some of a plan's methods or recipes on all their units.

    Raises:
        JobError: `tune.warm_start` names no run that fits.
    """
    past = warmstart.read(plan.job.tune.warm_start, plan.job.training.metric)
    return [
        Search(
            each.method.name,
            unit,
            warmstart.warmed(each.space, past, each.method.name, unit, each.tune.warm_points),
            Structure(each.resolved),
            training_rows(plan.schema, unit),
            each.epochs,
            each.parts.backbone.most_lanes,
        )
        for each in planned
        for unit in each.units
    ]


def for_recipes(job: Job) -> Job:
    """The job as a search for its pre-trainings' recipes: their number of trials, and their validation metric alone to decide."""
    tune = job.tune.model_copy(update={"trials": job.pretrain.trials, "round": 0, "objectives": []})
    training = job.training.model_copy(update={"metric": job.pretrain_metric})
    return job.model_copy(update={"tune": tune, "training": training})


def training_rows(schema: DataSchema, unit: str) -> int:
    return sum(schema.rows.get((name, "train"), 0) for name in (schema.domains if unit == ALL_DOMAINS else (unit,)))


@dataclass(frozen=True)
class Structure:
    """Searched options -> the key that lanes of one pack share, and what a pack pads."""

    resolved: Resolved

    def __call__(self, options: Mapping[str, Scalar]) -> tuple[Hashable, Sizes]:
        laid = self.resolved.lay(options)
        return structure(laid), padding(laid)


def _planned(job: Job, schema: DataSchema, methods: Iterable[Method], backbones: Mapping[str, BackboneFacts]) -> Plan:
    planned: dict[str, Planned] = {}
    refused: list[UserError] = []
    for method in methods:
        try:
            start = backbones.get(method.pretraining) if method.strategy.start == "backbone" else None
            planned[method.name] = _one(job, schema, method, start)
        except (JobError, AssemblyError) as error:
            refused.append(error)
    return Plan(job, schema, planned, tuple(refused))


def _one(job: Job, schema: DataSchema, method: Method, start: BackboneFacts | None) -> Planned:
    resolved = resolve(job if method.kind == "method" else for_recipes(job), method, start)
    parts = assemble(job, method, [resolved.base], schema, start)
    _check_cold(method, parts, any(unit.kind == "items" for unit in schema.units))
    if job.tune.winners_of and parts.trained_groups and method.kind == "method" and method.strategy.train != ("prompt",):
        raise JobError(
            f"{method.place}: strategy {method.strategy.name!r} trains more than a prompt, and with tune.winners_of rows of new "
            "items alone learn; leave this method out."
        )
    parameters = [*parts.backbone.parameters(), *(p for prompt in parts.prompts for p in prompt.parameters())]
    groups = _shipped_groups() | {p.group for p in parameters}
    if method.kind == "pretraining":
        space = _space(resolved, parts, groups, job.pretrainings[method.pretraining].space)
        return Planned(resolved, parts, groups, space, resolved.job.tune, job.pretrain_metric, (ALL_DOMAINS,))
    space = _space(resolved, parts, groups, job.methods[method.name].space)
    searched = tuple(dict.fromkeys(schema.searched(job.tune.least_valid).values()))
    return Planned(resolved, parts, groups, space, job.tune, job.training.metric, searched)


def _check_cold(method: Method, parts: Parts, cold: bool) -> None:
    """Refuse a pre-training of what reads who took the items, and a prompt that tells cold items alone where a unit has none of
    its own: it would change no score.

    Args:
        cold: whether the data have units with items of their own.

    Raises:
        JobError: the backbone or the prompt is such a one.
    """
    problems = []
    if parts.backbone.reads_feedback and method.kind == "pretraining":
        problems.append(
            f"{method.place}: backbone {method.backbone!r} reads who took the items, which no pre-training knows; leave this one "
            "out, and start methods of it from scratch (strategy = 'single')."
        )
    sites = parts.prompts[0].writes(parts.options["prompt"][0]) if parts.prompts else {}
    if not cold and sites and not {*sites} - {Site.ITEM, Site.TARGET}:
        problems.append(
            f"{method.place}: prompt {method.prompt!r} tells cold items alone, and these data have none; set data.split.kind = "
            "'cold_items', or choose another prompt."
        )
    if problems:
        raise JobError(problems)


def _space(resolved: Resolved, parts: Parts, groups: frozenset[str], spaces: Iterable[str]) -> Space:
    """What a method searches: the job's spaces, without what it does not train, sets itself or does not have."""
    job, method = resolved.job, resolved.method
    says_all = method.strategy.prompt == "on" and not any(prompt.parameters() for prompt in parts.prompts)  # by options alone
    if not method.strategy.train and not says_all:
        return Space()
    space = compose(list(spaces), job)
    if says_all and not method.strategy.train:  # of what does not train nothing else shows
        space = replace(space, dimensions=tuple(d for d in space.dimensions if d.key.startswith("prompt.")))
    searched = space.keys()
    if as_pretrained := {f"prompt.{n}": v for n, v in learned(job, method, resolved.start).items() if f"prompt.{n}" in searched}:
        space = replace(space, first=(_as_pretrained(space, as_pretrained), *space.first))
    return restrict(
        space,
        groups=parts.trained_groups,
        prompt=says_all or "prompt" in method.strategy.train,
        fixed=method.options,
        base=_flat(resolved.base),
        known=lambda key: is_option(job, method, key),
        declared=groups,
        where=method.place,
    )


def _as_pretrained(space: Space, prompt: Mapping[str, Scalar]) -> Point:
    """The prompt as it was pre-trained, with the recipe of the space's last first point: the first configuration to try."""
    values = {**(space.first[-1].values if space.first else {}), **prompt}
    return Point(values, not all(d.contains(values[d.key]) for d in space.dimensions if d.key in values))


@lru_cache
def _shipped_groups() -> frozenset[str]:
    """Every parameter group that a shipped component declares."""
    families: tuple[Family, ...] = ("backbones", "prompts")
    return frozenset().union(*(component(family, name).groups for family in families for name in names(family)))


def _flat(base: Settings) -> dict[str, Any]:
    """Effective options that a condition may look at."""
    parts = {"backbone": base.backbone, "prompt": base.prompt}
    return {
        f"{part}.{name}": value
        for part, options in parts.items()
        for name, value in options.model_dump().items()
        if isinstance(value, bool | int | float | str)
    }
