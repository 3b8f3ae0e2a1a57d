"""A finished backbone for other ids: what a vocabulary indexes begins anew, everything else is taken as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from raytune_rec.artifacts import weights
from raytune_rec.artifacts.backbone import DATA, BackboneFacts
from raytune_rec.artifacts.versions import versions
from raytune_rec.components import options_of
from raytune_rec.config import Job
from raytune_rec.data.layout import TEXTS
from raytune_rec.data.stored.store import Store
from raytune_rec.data.text.encoders import encoder_file, read_encoder
from raytune_rec.data.tokens import FILE
from raytune_rec.errors import ArtifactError
from raytune_rec.schema.contract import Parameter
from raytune_rec.schema.prepared import ALL_DOMAINS, DataSchema
from raytune_rec.schema.work import Lane, recipe_of
from raytune_rec.training.parts import parts_of
from raytune_rec.training.settings import method_of
from raytune_rec.training.stack import stack


def renewed(
    job: Job, pretraining: str, where: str, facts: BackboneFacts, tensors: Mapping[str, Tensor], schema: DataSchema
) -> tuple[BackboneFacts, dict[str, Tensor]]:
    """A backbone of other data as one of this job's. Start values are those of a pre-training from scratch here.

    Args:
        where: names the backbone in a refusal. facts, tensors: of it.
        schema: of this job's data.

    Raises:
        ArtifactError: a tensor that is to be taken has another shape here.
    """
    folders, method = [Path(f) for f in job.components], method_of(job, recipe_of(pretraining))
    options = {
        "backbone": [options_of("backbones", facts.name, facts.options, folders)],
        "prompt": [options_of("prompts", facts.prompt, facts.prompt_options, folders)],
    }
    parts = parts_of(facts.name, facts.prompt, method.strategy, options, schema, folders=folders)
    declared = parts.declared()
    _check(where, declared, tensors)
    taken = {name: tensor for name, tensor in tensors.items() if declared[name].rows is None}
    model = stack(parts, [Lane(0, unit=ALL_DOMAINS)], [taken], seed=job.seed)
    stored = {name: tensor[0].clone() for name, tensor in (*model.fixed.items(), *model.buffers.items(), *model.trained.items())}
    renewed_facts = dataclasses.replace(
        facts, pretraining=pretraining, trials=0, data_fingerprint=schema.fingerprint, trained_fingerprint=schema.trained,
        seed=job.seed, value=None, epochs=0, curve=(), versions=versions(),
        parameters=weights.facts(stored, {name: p.group for name, p in declared.items()}),
        origin=facts.fingerprint, fingerprint="", weights_sha256="", data_files={},
    )  # fmt: skip
    return renewed_facts, stored


def check_texts(where: str, facts: BackboneFacts, source: Path, store: Store) -> None:
    """Refuse a backbone that reads texts of items, where these data's are of the same shape and another tokenizer or encoder.

    Args:
        where: names the backbone in a refusal. facts, source: of it, and its folder. store: this job's data.

    Raises:
        ArtifactError: what it reads would mean something else.
    """
    beside, here = source / DATA, store.schema
    there = Store.open(beside, complete=False).schema
    read = {value for value in facts.options.values() if isinstance(value, str)}
    problems = []
    if read & {text.name for text in there.texts} and here.tokenizer != there.tokenizer:
        problems.append(f"{where} reads tokens of another tokenizer; set data.text.tokenizer = '{beside / TEXTS / FILE}'.")
    for name in sorted(read & {field.name for field in there.vectors} & {field.name for field in here.vectors}):
        made, own = (encoder_file(data, name) for data in (beside, store.path))
        if read_encoder(made).fingerprint != read_encoder(own).fingerprint:
            problems.append(f"{where} reads vectors of another encoder; set data.text.vectors.{name}.encoder = '{made}'.")
    if problems:
        raise ArtifactError(problems)


def _check(where: str, declared: Mapping[str, Parameter], tensors: Mapping[str, Tensor]) -> None:
    problems = [f"{where} has no {name!r}, which this job's data need." for name in sorted({*declared} - {*tensors})]
    problems += [f"{where} has {name!r}, for which this job's data have no place." for name in sorted({*tensors} - {*declared})]
    for name in sorted({*declared} & {*tensors}):
        has, needs = tuple(tensors[name].shape), declared[name].shape
        if declared[name].rows is None and has != needs:
            problems.append(f"{where}: its {name!r} has the shape {has}, and this job's data need {needs}.")
    if problems:
        remedy = "new_ids draws anew what ids index alone: give both jobs the same data.sequences.length and the same features."
        raise ArtifactError([*problems, remedy])
