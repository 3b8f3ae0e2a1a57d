"""Artifacts of DeepFM with PLATE on interactions: prompts, and rows of linear tables, as drawn and never trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from raytune_rec import components
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts import weights
from raytune_rec.artifacts.prompt_facts import PromptFacts, StrategyFacts
from raytune_rec.data.stored.store import Store
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Unit
from raytune_rec.training.parts import Parts, parts_of
from tests.scoring.conftest import drawn

BACKBONE = {"width": 4, "hidden": [4]}
PLATE = {"meta_prompts": 3, "temperature": 0.5}


def parts(store: Store, meta_prompts: int = 3) -> Parts:
    values = {"backbone": BACKBONE, "prompt": {**PLATE, "meta_prompts": meta_prompts}}
    options: Any = {
        "backbone": [components.options_of("backbones", "deepfm", values["backbone"])],
        "prompt": [components.options_of("prompts", "plate", values["prompt"])],
    }
    return parts_of("deepfm", "plate", ALIASES["prompt_linear"], options, store.schema)


def backbone(store: Store, folder: Path) -> backbone_artifact.BackboneFacts:
    start = drawn(parts(store), 0)
    options = components.options_of("backbones", "deepfm", BACKBONE).model_dump(mode="json")
    prompt = components.options_of("prompts", "plate", PLATE).model_dump(mode="json")
    facts = backbone_artifact.BackboneFacts(
        name="deepfm", options=options, prompt="plate", prompt_options=prompt, sites={"fields": (2, 4)},
        data_fingerprint=store.schema.fingerprint, parameters=weights.facts(start),
    )  # fmt: skip
    return backbone_artifact.save(folder, facts, start, store.path)


def tuned(store: Store, seed: int, meta_prompts: int = 3) -> dict[str, torch.Tensor]:
    """What `scoring.tuned.cut` gives: the prompt whole, and half of the rows of each table."""
    of, draw = parts(store, meta_prompts), torch.Generator().manual_seed(seed)
    kept: dict[str, torch.Tensor] = {}
    for name, p in of.declared().items():
        if p.group not in ("prompt", "linear"):
            continue
        value = drawn(of, seed)[name]
        if p.rows is None:
            kept[name] = value
            continue
        ids = kept.setdefault(
            f"rows.{p.rows}", (torch.rand(p.shape[0], generator=draw) < 0.5).index_fill(0, torch.tensor([0]), True)
        )
        kept[f"rows.{p.rows}"] = ids = ids.nonzero().flatten() if ids.dtype == torch.bool else ids
        kept[name] = value[ids]
    return kept


def prompt(
    store: Store, base: backbone_artifact.BackboneFacts, folder: Path, unit: Unit, seed: int, meta_prompts: int = 3
) -> Mapping[str, torch.Tensor]:
    """Written as an artifact; its tensors."""
    of, tensors = parts(store, meta_prompts), tuned(store, seed, meta_prompts)
    s, declared = ALIASES["prompt_linear"], of.declared()
    facts = PromptFacts(
        unit=unit, method="plate", strategy=StrategyFacts(name=s.name, start=s.start, train=s.train, prompt=s.prompt),
        prompt="plate", prompt_options=of.options["prompt"][0].model_dump(mode="json"),
        backbone="deepfm", backbone_options=base.options, backbone_fingerprint=base.fingerprint,
        data_fingerprint=store.schema.fingerprint, tuned_parameters=1, trial=0,
        parameters=weights.facts(tensors, rows={n: p.rows for n, p in declared.items() if p.rows}),
    )  # fmt: skip
    prompt_artifact.save(folder, facts, tensors)
    return tensors


def run(store: Store, folder: Path, domains: Sequence[str]) -> tuple[Path, Path]:
    """A run folder with a backbone and an artifact for each of some domains: folders of the backbone and of the artifacts."""
    base = backbone(store, folder / "backbones" / "new")
    place = folder / "backbones" / base.fingerprint
    backbone_artifact.move(folder / "backbones" / "new", place)
    for i, name in enumerate(domains):
        prompt(store, base, folder / "artifacts" / name, Unit(name, domain=name), i + 1, 2 + i)
    return place, folder / "artifacts"
