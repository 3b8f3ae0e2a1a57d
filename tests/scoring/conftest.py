"""A store of histories, and a model with its backbone and prompt as artifacts: untrained, since a start value ranks as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from raytune_rec import components
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts import weights
from raytune_rec.artifacts.prompt_facts import PromptFacts, StrategyFacts
from raytune_rec.data.preparing.preparation import prepare
from raytune_rec.data.stored.store import Store
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.work import Lane
from raytune_rec.scoring.scorer import EVERYBODY, Scorer
from raytune_rec.scoring.tuned import scoring_model
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Unit
from raytune_rec.training.parts import Parts, parts_of
from raytune_rec.training.stack import stack

LENGTH = 4
COLD = {
    "split": {"kind": "cold_users", "cold": 0.5},
    "sequences": {"length": LENGTH, "negatives": 8, "tasks": ["few", "joint"], "events": 4, "folds": 2, "valid": 0.3},
}
COLUMNS = {name: name for name in ("domain", "user", "item", "label", "position")}
OPTIONS: Mapping[str, Any] = {"backbone": {"width": 8, "inner": 8, "dropout": 0.0}, "prompt": {"tokens": 2, "hidden_width": 4}}


def log(domains: tuple[str, ...] = ("shop",)) -> list[str]:
    """User u takes item u + 3 k of 30 at time k, in each domain."""
    rows = ["domain,user,item,label,position,colour,age"]
    for domain in domains:
        for u in range(40):
            rows += [f"{domain},u{u},i{(u + 3 * k) % 30},1,{k},c{u % 4},{20 + u}" for k in range(6 + u % 3)]
    return rows


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Store]:
    """make(lines, **data options) -> the prepared store."""

    def made(
        lines: list[str],
        shared: bool = False,
        features: Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
        **data: Any,
    ) -> Store:
        folder = tmp_path_factory.mktemp("store")
        (folder / "log.csv").write_text("\n".join(lines) + "\n")
        known = {"colour": {"role": "user"}, "age": {"role": "user", "kind": "numerical"}, **(features or {})}
        named = {**COLUMNS, **(columns or {})}
        options = {"files": str(folder / "log.csv"), "columns": named, "features": known, "shared_items": shared}
        checked = components.options_of("data.sources", "tabular", options)
        reader = components.component("data.sources", "tabular")(checked)
        prepare(DataOptions(source="tabular", options=options, **(data or COLD)), reader, folder / "data")
        return Store.open(folder / "data")

    return made


@pytest.fixture(scope="module")
def store(make: Callable[..., Store]) -> Store:
    return make(log())


def options_of(backbone: str) -> dict[str, components.Options]:
    """Small ones."""
    own = OPTIONS["backbone"] if backbone != "popularity" else {}
    kinds = {"backbone": ("backbones", backbone, own), "prompt": ("prompts", "ppr", OPTIONS["prompt"])}
    return {owner: components.options_of(*of) for owner, of in kinds.items()}


def scorer(store: Store, unit: str | Unit = EVERYBODY, backbone: str = "sasrec", seed: int = 1) -> Scorer:
    """PPR's light prompt beside a backbone, or a backbone alone where it takes no prompt; all start values drawn."""
    prompt = "none" if backbone == "popularity" else "ppr"
    options = options_of(backbone) | ({"prompt": components.options_of("prompts", "none", {})} if prompt == "none" else {})
    strategy = ALIASES["single" if prompt == "none" else "prompt"]
    parts = parts_of(backbone, prompt, strategy, one_lane(options), store.schema)
    tuned, start = split(drawn(parts, seed))
    return Scorer(scoring_model(parts, [tuned], start), store, store.schema.unit(unit) if isinstance(unit, str) else unit)


def one_lane(options: Mapping[str, components.Options]) -> dict[str, list[components.Options]]:
    return {owner: [o] for owner, o in options.items()}


def drawn(parts: Parts, seed: int) -> dict[str, torch.Tensor]:
    """Full name -> a tensor, larger than start values, so that everything shows in the scores."""
    model = stack(parts, [Lane(0)], seed=seed)
    draw = torch.Generator().manual_seed(seed)
    tensors = {name: t[0] for name, t in {**model.fixed, **model.trained}.items()}
    return {name: t + 0.3 * torch.randn(t.shape, generator=draw) for name, t in tensors.items()}


def split(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(the prompt's, the backbone's)."""
    of = {owner: {n: t for n, t in tensors.items() if n.startswith(owner)} for owner in ("prompt.", "backbone.")}
    return of["prompt."], of["backbone."]


def export(store: Store, unit: str, folder: Path) -> tuple[Path, Path]:
    """Artifacts of `scorer(store, unit)`: folders of the prompt and of the backbone."""
    options = options_of("sasrec")
    parts = parts_of("sasrec", "ppr", ALIASES["prompt"], one_lane(options), store.schema)
    tuned, start = split(drawn(parts, 1))
    plain = {owner: o.model_dump(mode="json") for owner, o in options.items()}
    base = backbone_artifact.save(
        folder / "backbone",
        backbone_artifact.BackboneFacts(
            name="sasrec", options=plain["backbone"], data_fingerprint=store.schema.fingerprint, metric="ndcg@10",
            parameters=weights.facts(start),
        ),
        start, store.path,
    )  # fmt: skip
    s = ALIASES["prompt"]
    strategy = StrategyFacts(name=s.name, start=s.start, train=s.train, prompt=s.prompt)
    prompt_artifact.save(
        folder / "prompt",
        PromptFacts(
            unit=store.schema.unit(unit), method="light", strategy=strategy,
            prompt="ppr", prompt_options=plain["prompt"], backbone="sasrec", backbone_options=plain["backbone"],
            backbone_fingerprint=base.fingerprint, data_fingerprint=store.schema.fingerprint,
            parameters=weights.facts(tuned), tuned_parameters=1, trial=0,
        ),
        tuned,
    )  # fmt: skip
    return folder / "prompt", folder / "backbone"
