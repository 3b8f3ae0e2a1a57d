"""Scores rows with one tuned model: a backbone and what a unit tuned. Plain Python, no Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.components import Options, component, options_of
from raytune_rec.data.store import Store
from raytune_rec.errors import DataError
from raytune_rec.schema import DataSchema, Lane, Site, SiteShape, Strategy, Table
from raytune_rec.scoring.tuned import Weights, tables, whole
from raytune_rec.tensors import Step
from raytune_rec.training.assemble import Model, Parts, meet, stack
from raytune_rec.training.feed import device_table, take


def scoring_model(parts: Parts, options: Mapping[str, Options], tuned: Weights, start: Weights) -> Model:
    """A model of one lane that trains nothing.

    Args:
        parts: the row's components.
        options: `backbone` and `prompt` options.
        tuned: from `tuned.cut`. start: the backbone's tensors.
    """
    declared = {f"backbone.{p.name}": p for p in parts.backbone.parameters()}
    declared |= {f"prompt.{p.name}": p for prompt in parts.prompts for p in prompt.parameters()}
    weights = whole(tuned, start, tables(declared.items()), declared)
    frozen = replace(parts, strategy=replace(parts.strategy, train=()))
    return stack(frozen, [Lane(0)], {owner: [o] for owner, o in options.items()}, weights, [{}], 0)


class Scorer:
    """A model ready to score.

    Args:
        model: of one lane.
        store: maps raw rows; only `score` needs it.
        unit: what the model serves; stands for a missing `domain` column.
        batch_size: rows of a pass.
    """

    def __init__(self, model: Model, store: Store | None = None, unit: str = "", batch_size: int = 16384) -> None:
        self.model, self.store, self.unit, self.batch_size = model, store, unit, batch_size

    @torch.no_grad()
    def logits(self, table: Table) -> np.ndarray:
        """(N,) float32 logits of prepared rows with global ids; (N, K) of candidates, the positive first."""
        columns, label = device_table(table, "cpu")
        found = []
        for index in torch.arange(len(table)).split(self.batch_size):
            batch = take(columns, label, index.unsqueeze(0))
            outputs = self.model.forward(batch, self.model.encode(batch), Step(False, last=True))
            found.append(outputs["logit"][0])
        return torch.cat(found).numpy() if found else np.zeros(0, np.float32)

    def score(self, rows: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """(N,) probabilities of raw rows.

        Args:
            rows: column -> values (a dictionary of lists, or a pandas frame): `user`, `item`, context features, and any user or
                item features that stand in for the stored ones. `domain` may be left out. An id that training did not know is
                unknown.

        Raises:
            DataError: a needed column is missing, or columns differ in length.
        """
        assert self.store is not None, "a scorer without a store scores prepared rows"
        named = {str(name): list(rows[name]) for name in rows}
        lengths = {name: len(values) for name, values in named.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"rows to score: columns of unequal length ({lengths}); give one value for each row.")
        count = max(lengths.values(), default=0)
        named.setdefault("domain", [self.unit] * count)
        columns = self.store.encode(named)
        logits = self.logits(Table(columns, np.zeros(count, np.float32)))
        return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))


def load_prompt(path: str | Path, backbone: str | Path, components: Sequence[str | Path] = ()) -> Scorer:
    """The model of an exported prompt beside its backbone.

    Args:
        path: folder `artifacts/<unit>` of a run.
        backbone: folder `backbones/<fingerprint>` that it stands on.
        components: folders of the user's own components, where the prompt is one.

    Raises:
        ArtifactError: one of them is missing, damaged or does not belong to the other.
    """
    folders = [Path(f) for f in components]
    base, start = backbone_artifact.load(Path(backbone))
    facts, tuned = prompt_artifact.load(Path(path), base.fingerprint)
    store = Store.open(Path(backbone) / backbone_artifact.DATA, complete=False)
    options = {
        "backbone": options_of("backbones", facts.backbone, facts.backbone_options, folders),
        "prompt": options_of("prompts", facts.prompt, facts.prompt_options, folders),
    }
    s = facts.strategy
    parts = parts_of(
        facts.backbone, facts.prompt, Strategy(s.name, s.start, s.train, s.prompt), options, store.schema, base, folders
    )
    return Scorer(scoring_model(parts, options, tuned, start), store, facts.unit)


def parts_of(
    backbone: str,
    prompt: str,
    strategy: Strategy,
    options: Mapping[str, Options],
    schema: DataSchema,
    base: backbone_artifact.BackboneFacts | None,
    folders: Sequence[Path] = (),
) -> Parts:
    """Components by name, met for one lane."""
    sites = {Site(s): SiteShape(*shape) for s, shape in base.sites.items()} if base else None
    classes = component("backbones", backbone, folders), component("prompts", prompt, folders)
    return meet(*classes, strategy, options["backbone"], [options["prompt"]], schema, sites)
