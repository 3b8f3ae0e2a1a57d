"""From a job, one of its methods and one lane to checked options: what the flat keys of a trial mean."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raytune_rec.artifacts.backbone import BackboneFacts
from raytune_rec.components import Family, Options, component, kinds, options_of, sentence
from raytune_rec.config import Job, TrainingOptions
from raytune_rec.errors import JobError
from raytune_rec.job.flat import assign
from raytune_rec.schema import Lane, Method, Scalar
from raytune_rec.strategies.aliases import strategy

PRETRAIN = "pretrain."
"""In front of the name of a pre-training: the name of its study."""


@dataclass(frozen=True)
class Settings:
    """The checked options of one lane."""

    backbone: Options
    prompt: Options
    training: TrainingOptions
    objective: Options


def method_of(job: Job, name: str) -> Method:
    """A method of the job, or a pre-training (`pretrain.<name>`)."""
    if name.startswith(PRETRAIN) and name not in job.methods:
        return _pretraining(job, name.removeprefix(PRETRAIN))
    method = job.methods[name]
    chosen = strategy(method.strategy)
    pretrainings = list(job.pretrainings)
    pretraining = method.pretraining or (pretrainings[0] if chosen.start == "backbone" and len(pretrainings) == 1 else "")
    if chosen.start == "backbone" and not pretraining:
        raise JobError(
            f"methods.{name}.pretraining: strategy {method.strategy!r} starts from a backbone; name one of "
            f"{', '.join(pretrainings) or 'none'}."
        )
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
    return Method(PRETRAIN + name, chosen, pretraining.backbone or job.backbone.name, pretraining.prompt, name, options)


def settings(job: Job, method: Method, lane: Lane, start: BackboneFacts | None = None) -> Settings:
    """The options of one lane: the job's, then those of the pre-training, then the method's, then the trial's.

    Args:
        start: the pre-trained backbone. Its options stand over the job's; of a prompt that learned with it, those that may differ
            between lanes (a temperature, a number of meta-prompts): a prompt goes on as it was pre-trained unless the method says
            else.

    Raises:
        JobError: every option that is unknown or out of range; one that decides shapes and is not the pre-trained backbone's.
    """
    own = job.backbone.options if method.backbone == job.backbone.name else job.backbones.get(method.backbone, {})
    tree: dict[str, Any] = {
        "backbone": {**own, **(start.options if start else {})},
        "prompt": {**job.prompts.get(method.prompt, {}), **learned(job, method, start)},
        "training": job.training.model_dump(),
        "objective": {},
    }
    tree = copy.deepcopy(tree)
    objective = str({**method.options, **lane.options}.get("training.objective", job.training.objective))
    tree["objective"] = dict(job.objectives.get(objective, {}))
    for key, value in {**method.options, **lane.options}.items():
        _assign(tree, method, key, value)
    folders = [Path(f) for f in job.components]
    backbone = options_of("backbones", method.backbone, tree["backbone"], folders)
    if start:
        built_alike(method, lane, backbone, options_of("backbones", method.backbone, start.options, folders))
    return Settings(
        backbone,
        options_of("prompts", method.prompt, tree["prompt"], folders),
        _training(tree["training"], method),
        options_of("objectives", objective, tree["objective"], folders),
    )


def built_alike(method: Method, lane: Lane, own: Options, start: Options) -> None:
    """Refuse a method, or a trial, that asks for another structure of its backbone than the one that it starts from has.

    Raises:
        JobError: a structural option differs.
    """
    given = {**method.options, **lane.options}
    for name, kind in kinds(type(start)).items():
        has, wanted = getattr(start, name), getattr(own, name)
        if f"backbone.{name}" in given and kind == "structural" and has != wanted:
            raise JobError(
                f"methods.{method.name}: backbone.{name} = {wanted!r}, and the backbone that it starts from is pre-trained with "
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
        raise JobError(f"methods.{method.name}: option {key!r}: begin with backbone., prompt., training. or objective.")
    assign(tree[part], rest, value)


def _training(values: Mapping[str, Any], method: Method) -> TrainingOptions:
    try:
        return TrainingOptions.model_validate(values)
    except ValidationError as error:
        raise JobError([sentence(f"methods.{method.name}.training", e, TrainingOptions) for e in error.errors()]) from None


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
