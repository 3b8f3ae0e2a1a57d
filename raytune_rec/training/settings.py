"""From a job, one of its methods and one lane to checked options: what the flat keys of a trial mean."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raytune_rec.artifacts.backbone import BackboneFacts
from raytune_rec.components import Family, Options, component, kinds, options_of, sentence
from raytune_rec.config import Job
from raytune_rec.errors import JobError
from raytune_rec.job.flat import assign
from raytune_rec.job.training import TrainingOptions
from raytune_rec.schema.contract import MEMBER
from raytune_rec.schema.work import Lane, Method, Scalar, recipe_of
from raytune_rec.strategies.aliases import strategy


@dataclass(frozen=True)
class Settings:
    """The checked options of one lane."""

    backbone: Options
    prompt: Options
    training: TrainingOptions
    objective: Options


def method_of(job: Job, name: str) -> Method:
    """A method of the job, or a pre-training by the name of its recipe (`schema.work.recipe_of`).

    Raises:
        JobError: its strategy does not go with its pre-training or its prompt.
    """
    recipes = {recipe_of(pretraining): pretraining for pretraining in job.pretrainings}
    if name in recipes:
        return _pretraining(job, recipes[name])
    method = job.methods[name]
    chosen = strategy(method.strategy)
    if job.tune.winners_of:  # what their winners tuned stays
        chosen = replace(chosen, rows=MEMBER)
    pretrainings = list(job.pretrainings)
    pretraining = method.pretraining or (pretrainings[0] if chosen.start == "backbone" and len(pretrainings) == 1 else "")
    if chosen.start == "backbone" and not pretraining:
        remedy = (
            f"name one of {', '.join(pretrainings)}" if pretrainings else "the job has none, write one as [pretrainings.NAME]"
        )
        raise JobError(f"methods.{name}.pretraining: strategy {method.strategy!r} starts from a backbone; {remedy}.")
    if chosen.start == "scratch" and pretraining:
        raise JobError(
            f"methods.{name}.pretraining: strategy {method.strategy!r} starts from scratch and uses no pre-training; "
            f"leave {pretraining!r} out."
        )
    if chosen.prompt == "off" and method.prompt != "none":
        raise JobError(
            f"methods.{name}.prompt: strategy {method.strategy!r} uses no prompt, so that {method.prompt!r} has no effect; "
            "leave it out."
        )
    backbone = (job.pretrainings[pretraining].backbone if pretraining else method.backbone) or job.backbone.name
    return Method(name, chosen, backbone, method.prompt, pretraining, method.options)


def _pretraining(job: Job, name: str) -> Method:
    pretraining = job.pretrainings[name]
    learns = "pretrain_prompt" if pretraining.learn_prompt else "pretrain_neutral"
    chosen = strategy("pretrain" if pretraining.prompt == "none" else learns)
    options = {f"training.{key}": value for key, value in job.pretrain.training.items()} | pretraining.options
    backbone = pretraining.backbone or job.backbone.name
    return Method(recipe_of(name), chosen, backbone, pretraining.prompt, name, options, "pretraining")


@dataclass(frozen=True)
class Resolved:
    """A method, or a pre-training, as its job and its backbone decide it; what a trial chooses alone is open.

    Args:
        start: the pre-trained backbone; None: a start from scratch, or nothing is pre-trained yet.
        tree: the job's options, and those of the pre-training over them; the method's and a trial's come on top.
        base: the checked options without a trial's.
    """

    job: Job
    method: Method
    start: BackboneFacts | None
    tree: Mapping[str, Mapping[str, Any]] = field(repr=False)
    base: Settings

    def __reduce__(self) -> tuple[Any, ...]:
        """It travels as what it is made of: the classes of a user's own components are loaded where it arrives."""
        return resolve, (self.job, self.method, self.start)

    @property
    def folders(self) -> list[Path]:
        """Of the user's own components."""
        return [Path(f) for f in self.job.components]

    def lay(self, options: Mapping[str, Scalar]) -> Settings:
        """The options of a trial.

        Raises:
            JobError: every one that is unknown or out of range; one that decides shapes and is not the pre-trained backbone's.
        """
        return _checked(self.job, self.method, self.start, self.tree, options) if options else self.base


def resolve(job: Job, method: Method, start: BackboneFacts | None = None) -> Resolved:
    """The options of a method: the job's, then those of the pre-training, then its own.

    Args:
        start: the pre-trained backbone. Its options stand over the job's; of a prompt that learned with it, those that may differ
            between lanes (a temperature, a number of meta-prompts): a prompt goes on as it was pre-trained unless the method says
            else.

    Raises:
        JobError: see `Resolved.lay`.
    """
    options = job.backbone.options if method.backbone == job.backbone.name else job.backbones.get(method.backbone, {})
    tree = {
        "backbone": {**options, **(start.options if start else {})},
        "prompt": {**job.prompts.get(method.prompt, {}), **learned(job, method, start)},
        "training": job.training.model_dump(),
    }
    return Resolved(job, method, start, tree, _checked(job, method, start, tree, {}))


def settings(job: Job, method: Method, lane: Lane, start: BackboneFacts | None = None) -> Settings:
    """The options of one lane, where nobody has resolved its method yet."""
    return resolve(job, method, start).lay(lane.options)


def _checked(
    job: Job, method: Method, start: BackboneFacts | None, tree: Mapping[str, Mapping[str, Any]], of_trial: Mapping[str, Scalar]
) -> Settings:
    """The method's options and a trial's, laid over a tree."""
    options = {**method.options, **of_trial}
    objective = str(options.get("training.objective", job.training.objective))
    whole = copy.deepcopy({**tree, "objective": job.objectives.get(objective, {})})
    for key, value in options.items():
        _assign(whole, method, key, value)
    folders = [Path(f) for f in job.components]
    backbone = options_of("backbones", method.backbone, whole["backbone"], folders)
    if start:
        built_alike(method, options, backbone, options_of("backbones", method.backbone, start.options, folders))
    return Settings(
        backbone,
        options_of("prompts", method.prompt, whole["prompt"], folders),
        _training(whole["training"], method),
        options_of("objectives", objective, whole["objective"], folders),
    )


def built_alike(method: Method, given: Mapping[str, Scalar], asked: Options, start: Options) -> None:
    """Refuse a method, or a trial, that asks for another structure of its backbone than the one that it starts from has.

    Args:
        given: the options of the method, and of the trial over them.

    Raises:
        JobError: a structural option differs.
    """
    for name, kind in kinds(type(start)).items():
        has, wanted = getattr(start, name), getattr(asked, name)
        if f"backbone.{name}" in given and kind == "structural" and has != wanted:
            raise JobError(
                f"{method.place}: backbone.{name} = {wanted!r}, and the backbone that it starts from is pre-trained with "
                f"{has!r}; leave it out, or start from a pre-training of its own (pretrainings.NAME.options)."
            )


def learned(job: Job, method: Method, start: BackboneFacts | None) -> dict[str, Scalar]:
    """The numeric and padded options with which a method's prompt was pre-trained; empty where it starts fresh."""
    if start is None or not start.learn_prompt or start.prompt != method.prompt or method.strategy.prompt != "on":
        return {}
    allowed = kinds(component("prompts", method.prompt, [Path(f) for f in job.components]).Options)
    return {name: value for name, value in start.prompt_options.items() if allowed.get(name, "structural") != "structural"}


def _assign(tree: dict[str, Any], method: Method, key: str, value: Scalar) -> None:
    part, _, rest = key.partition(".")
    if part not in tree or not rest:
        raise JobError(f"{method.place}: option {key!r}: begin with backbone., prompt., training. or objective.")
    assign(tree[part], rest, value)


def _training(values: Mapping[str, Any], method: Method) -> TrainingOptions:
    try:
        return TrainingOptions.model_validate(values)
    except ValidationError as error:
        raise JobError([sentence(f"{method.place}.training", e, TrainingOptions) for e in error.errors()]) from None


def same(values: Sequence[Any], what: str) -> Any:
    """The value that all lanes of a pack share."""
    assert all(v == values[0] for v in values), f"lanes of one pack differ in {what}: {values}"
    return values[0]


SHARED = ("objective", "metric", "batch_size", "valid_batch_size")
"""Training options that the lanes of a pack share."""


def structure(settings: Settings) -> Hashable:
    """Lanes share a pack only where this is equal: structural options, and what decides the batches."""
    parts = (settings.backbone, settings.prompt, settings.objective)
    chosen = [tuple((n, getattr(o, n)) for n, kind in kinds(type(o)).items() if kind == "structural") for o in parts]
    return (*chosen, tuple(getattr(settings.training, n) for n in SHARED))


def padding(settings: Settings) -> tuple[float, ...]:
    """The padded options, in the order in which the components declare them; of lanes in one pack the largest counts."""
    parts = (settings.backbone, settings.prompt, settings.objective)
    return tuple(float(getattr(o, n)) for o in parts for n, kind in kinds(type(o)).items() if kind == "padded")


def is_option(job: Job, method: Method, key: str) -> bool:
    """Whether a flat key names an option that this method's components, or training, have."""
    part, _, name = key.partition(".")
    folders = [Path(f) for f in job.components]
    if part == "training":
        return name.partition(".")[0] in TrainingOptions.model_fields
    families: dict[str, tuple[Family, str]] = {
        "backbone": ("backbones", method.backbone),
        "prompt": ("prompts", method.prompt),
        "objective": ("objectives", str(method.options.get("training.objective", job.training.objective))),
    }
    return part in families and name in component(*families[part], folders).Options.model_fields
