"""From a job, one of its rows and one lane to checked options: what the flat keys of a trial mean."""

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
from raytune_rec.schema import Lane, Row, Scalar
from raytune_rec.strategies.aliases import strategy

PRETRAIN = "pretrain."
"""A row of this name and a variant's is that variant's pre-training."""


@dataclass(frozen=True)
class Settings:
    """The checked options of one lane."""

    backbone: Options
    prompt: Options
    training: TrainingOptions
    objective: Options


def row_of(job: Job, name: str) -> Row:
    """A row of the job, or the pre-training of a variant (`pretrain.<variant>`)."""
    if name.startswith(PRETRAIN) and name not in job.rows:
        return _pretraining(job, name.removeprefix(PRETRAIN))
    row = job.rows[name]
    method = strategy(row.strategy)
    variants = list(job.pretrain.variants)
    variant = row.variant or (variants[0] if method.start == "backbone" and len(variants) == 1 else "")
    if method.start == "backbone" and not variant:
        raise JobError(
            f"rows.{name}.variant: strategy {row.strategy!r} starts from a backbone; name one of {', '.join(variants) or 'none'}."
        )
    if method.start == "scratch" and variant:
        raise JobError(
            f"rows.{name}.variant: strategy {row.strategy!r} starts from scratch and uses no pre-training; leave {variant!r} out."
        )
    if method.prompt == "off" and row.prompt != "none":
        raise JobError(
            f"rows.{name}.prompt: strategy {row.strategy!r} uses no prompt, so that {row.prompt!r} has no effect; leave it out."
        )
    backbone = (job.pretrain.variants[variant].backbone if variant else row.backbone) or job.backbone.name
    return Row(name, method, backbone, row.prompt, variant, row.options)


def _pretraining(job: Job, name: str) -> Row:
    variant = job.pretrain.variants[name]
    learns = "pretrain_prompt" if variant.learn_prompt else "pretrain_neutral"
    method = strategy("pretrain" if variant.prompt == "none" else learns)
    options = {f"training.{key}": value for key, value in job.pretrain.training.items()} | variant.options
    return Row(PRETRAIN + name, method, variant.backbone or job.backbone.name, variant.prompt, name, options)


def settings(job: Job, row: Row, lane: Lane, start: BackboneFacts | None = None) -> Settings:
    """The options of one lane: the job's, then those of the pre-training, then the row's, then the trial's.

    Args:
        start: the pre-trained backbone. Its options stand over the job's; of a prompt that learned with it, those that may differ
            between lanes (a temperature, a number of meta-prompts): a prompt goes on as it was pre-trained unless the row says
            else.

    Raises:
        JobError: every option that is unknown or out of range; one that decides shapes and is not the pre-trained backbone's.
    """
    own = job.backbone.options if row.backbone == job.backbone.name else job.backbones.get(row.backbone, {})
    tree: dict[str, Any] = {
        "backbone": {**own, **(start.options if start else {})},
        "prompt": {**job.prompts.get(row.prompt, {}), **learned(job, row, start)},
        "training": job.training.model_dump(),
        "objective": {},
    }
    tree = copy.deepcopy(tree)
    objective = str({**row.options, **lane.options}.get("training.objective", job.training.objective))
    tree["objective"] = dict(job.objectives.get(objective, {}))
    for key, value in {**row.options, **lane.options}.items():
        _assign(tree, row, key, value)
    folders = [Path(f) for f in job.components]
    backbone = options_of("backbones", row.backbone, tree["backbone"], folders)
    if start:
        built_alike(row, lane, backbone, options_of("backbones", row.backbone, start.options, folders))
    return Settings(
        backbone,
        options_of("prompts", row.prompt, tree["prompt"], folders),
        _training(tree["training"], row),
        options_of("objectives", objective, tree["objective"], folders),
    )


def built_alike(row: Row, lane: Lane, own: Options, start: Options) -> None:
    """Refuse a row, or a trial, that asks for another structure of its backbone than the one that it starts from has.

    Raises:
        JobError: a structural option differs.
    """
    given = {**row.options, **lane.options}
    for name, kind in kinds(type(start)).items():
        has, wanted = getattr(start, name), getattr(own, name)
        if f"backbone.{name}" in given and kind == "structural" and has != wanted:
            raise JobError(
                f"rows.{row.name}: backbone.{name} = {wanted!r}, and the backbone that it starts from is pre-trained with "
                f"{has!r}; leave it out, or start from a pre-training of its own (pretrain.variants.NAME.options)."
            )


def learned(job: Job, row: Row, start: BackboneFacts | None) -> dict[str, Scalar]:
    """The numeric and padded options with which a row's prompt was pre-trained; empty where it starts fresh."""
    if start is None or not start.learn_prompt or start.prompt != row.prompt or row.strategy.prompt != "on":
        return {}
    allowed = kinds(component("prompts", row.prompt, [Path(f) for f in job.components]).Options)
    return {name: value for name, value in start.prompt_options.items() if allowed.get(name, "structural") != "structural"}


def _assign(tree: dict[str, Any], row: Row, key: str, value: Scalar) -> None:
    part, _, rest = key.partition(".")
    if part not in tree or not rest:
        raise JobError(f"rows.{row.name}: option {key!r}: begin with backbone., prompt., training. or objective.")
    assign(tree[part], rest, value)


def _training(values: Mapping[str, Any], row: Row) -> TrainingOptions:
    try:
        return TrainingOptions.model_validate(values)
    except ValidationError as error:
        raise JobError([sentence(f"rows.{row.name}.training", e, TrainingOptions) for e in error.errors()]) from None


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


def is_option(job: Job, row: Row, key: str) -> bool:
    """Whether a flat key names an option that this row's components, or training, have."""
    part, _, name = key.partition(".")
    folders = [Path(f) for f in job.components]
    if part == "training":
        return name.partition(".")[0] in TrainingOptions.model_fields
    families: dict[str, tuple[Family, str]] = {
        "backbone": ("backbones", row.backbone),
        "prompt": ("prompts", row.prompt),
        "objective": ("objectives", str(row.options.get("training.objective", job.training.objective))),
    }
    return part in families and name in component(*families[part], folders).Options.model_fields
