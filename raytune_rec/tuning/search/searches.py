"""From a job to its searches: what each method searches on each domain, and each pre-training on all of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts.backbone import BackboneFacts
from raytune_rec.components import component
from raytune_rec.config import Job
from raytune_rec.errors import AssemblyError, JobError
from raytune_rec.schema import ALL_DOMAINS, DataSchema, Lane, Method, Scalar
from raytune_rec.training.build import assemble
from raytune_rec.training.parts import Parts
from raytune_rec.training.settings import PRETRAIN, is_option, learned, method_of, padding, settings, structure
from raytune_rec.tuning.search import warmstart
from raytune_rec.tuning.search.catalogue import compose
from raytune_rec.tuning.search.restrict import restrict
from raytune_rec.tuning.search.space import Point, Sizes, Space
from raytune_rec.tuning.search.studies import Search


def searches(job: Job, schema: DataSchema, backbones: Mapping[str, Path]) -> list[Search]:
    """Every method on every domain.

    Raises:
        UserError: everything that is wrong with the methods, at once.
    """
    bases = {name: backbone_artifact.read(path) for name, path in backbones.items()}
    return _all(job, schema, bases, list(job.methods), schema.unit_names)


def recipe_searches(job: Job, schema: DataSchema) -> list[Search]:
    """The recipe of every pre-training that is not brought along, on all domains together."""
    names = [PRETRAIN + v for v, options in job.pretrainings.items() if not options.from_path]
    return _all(job, schema, {}, names, (ALL_DOMAINS,))


def for_recipes(job: Job) -> Job:
    """The job as a search for its pre-trainings' recipes: their number of trials, and their validation metric alone to decide."""
    tune = job.tune.model_copy(update={"trials": job.pretrain.trials, "round": 0, "objectives": []})
    training = job.training.model_copy(update={"metric": job.pretrain_metric})
    return job.model_copy(update={"tune": tune, "training": training})


def training_rows(schema: DataSchema, unit: str) -> int:
    return sum(schema.rows.get((name, "train"), 0) for name in (schema.domains if unit == ALL_DOMAINS else (unit,)))


def _all(
    job: Job, schema: DataSchema, backbones: Mapping[str, BackboneFacts], methods: Sequence[str], units: Sequence[str]
) -> list[Search]:
    problems: list[str] = []
    wanted: list[Search] = []
    past = warmstart.read(job.tune.warm_start, job.training.metric)
    for name in methods:
        try:
            method = method_of(job, name)
            space = method_space(job, method, schema, backbones.get(method.pretraining))
        except (JobError, AssemblyError) as error:
            problems += error.problems
            continue
        base = backbones.get(method.pretraining) if method.strategy.start == "backbone" else None
        epochs = settings(job, method, Lane(0), base).training.epochs if method.strategy.train else 0
        structure = _Structure(job, method, base)
        most = component("backbones", method.backbone, [Path(f) for f in job.components]).most_lanes
        for unit in units:
            warm = warmstart.warmed(space, past, name, unit, job.tune.warm_points)
            wanted.append(Search(name, unit, warm, structure, training_rows(schema, unit), epochs, most))
    if problems:
        raise JobError(problems)
    return wanted


def method_space(job: Job, method: Method, schema: DataSchema, base: BackboneFacts | None) -> Space:
    """What one method searches: the job's spaces, without what the method does not train, sets itself or does not have."""
    start = base if method.strategy.start == "backbone" else None
    chosen = settings(job, method, Lane(0), start)
    parts = assemble(job, method, [chosen], schema, start)
    names = job.pretrainings[method.pretraining].space if method.name.startswith(PRETRAIN) else job.methods[method.name].space
    if not method.strategy.train:
        return Space()
    trained = parts.trained_groups
    space = compose(names, job)
    searched = space.keys()
    if as_pretrained := {f"prompt.{n}": v for n, v in learned(job, method, start).items() if f"prompt.{n}" in searched}:
        space = replace(space, first=(_as_pretrained(space, as_pretrained), *space.first))
    return restrict(
        space,
        groups=trained,
        prompt="prompt" in method.strategy.train,
        fixed=method.options,
        base=_flat(chosen),
        known=lambda key: is_option(job, method, key),
        declared=known_groups(parts),
        where=f"methods.{method.name}",
    )


def _as_pretrained(space: Space, prompt: Mapping[str, Scalar]) -> Point:
    """The prompt as it was pre-trained, with the recipe of the space's last first point: the first configuration to try."""
    values = {**(space.first[-1].values if space.first else {}), **prompt}
    return Point(values, not all(d.contains(values[d.key]) for d in space.dimensions if d.key in values))


def known_groups(parts: Parts) -> set[str]:
    """Every group of the method's components, and those that other components of ours have."""
    declared = {p.group for p in parts.backbone.parameters()} | {p.group for prompt in parts.prompts for p in prompt.parameters()}
    return declared | {"embedding", "linear", "interaction", "encoder", "output", "prompt", "profile"}


def _flat(chosen: Any) -> dict[str, Scalar]:
    """Effective options that a condition may look at."""
    parts = {"backbone": chosen.backbone, "prompt": chosen.prompt}
    return {
        f"{part}.{name}": value
        for part, options in parts.items()
        for name, value in options.model_dump().items()
        if isinstance(value, bool | int | float | str)
    }


class _Structure:
    """Searched options -> the key that lanes of one pack share, and what a pack pads."""

    def __init__(self, job: Job, method: Method, base: BackboneFacts | None) -> None:
        self._job, self._method, self._base = job, method, base

    def __call__(self, options: Mapping[str, Scalar]) -> tuple[Hashable, Sizes]:
        chosen = settings(self._job, self._method, Lane(0, 0, options), self._base)
        return structure(chosen), padding(chosen)
