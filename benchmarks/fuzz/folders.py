"""Small sound folders: a prompt beside its backbone, a finished stage, a journal. Kept in memory, laid out anew for each case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import torch

from raytune_rec.artifacts import backbone, prompt, weights
from raytune_rec.artifacts.prompt_facts import PromptFacts, StrategyFacts
from raytune_rec.components import component, options_of
from raytune_rec.data.preparing.preparation import prepare
from raytune_rec.data.stored.store import Store
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.work import Lane
from raytune_rec.scoring import load_prompt
from raytune_rec.storage.stage import Stage
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Unit
from raytune_rec.training.parts import parts_of
from raytune_rec.training.stack import stack
from raytune_rec.tuning.search import records
from raytune_rec.tuning.search.journal import Journal

STAGE: dict[str, Any] = {"name": "tune", "inputs": {"tune": {"trials": 4}, "data": "abc"}, "format": 1, "free": ("tune.trials",)}
Files = dict[str, bytes]


def make(scratch: Path) -> Files:
    """Path relative to the folder -> content."""
    _artifacts(scratch)
    stage = Stage(scratch / "stage", **STAGE)
    stage.begin()
    stage.finish({"backbones": {"plain": "0" * 16}}, {"x": {"bytes": 1, "sha256": "0" * 64}})
    storage = optuna.storages.JournalStorage(Journal(scratch / "journal"))
    study = optuna.create_study(storage=storage, study_name="row/feed", direction="maximize")
    study.set_user_attr(records.SEARCH, {"method": "row", "unit": "feed"})
    for value in (0.25, 0.5):
        trial = study.ask({"training.lr.default": optuna.distributions.FloatDistribution(0.1, 1.0)})
        study.tell(trial, value)
    kept = ("prompt", "backbone", "stage", "journal")
    return {str(p.relative_to(scratch)): p.read_bytes() for name in kept for p in (scratch / name).rglob("*") if p.is_file()}


def read(folder: Path, part: str) -> None:
    """Read what was damaged, as a user's command would."""
    if part in ("prompt", "backbone"):
        load_prompt(folder / "prompt", folder / "backbone")
    elif part == "stage":
        stage = Stage(folder / "stage", **STAGE)
        if stage.done():
            stage.facts()
            stage.files()
    else:
        records.winners(folder / "journal")
        records.trials(folder / "journal")


def _artifacts(scratch: Path) -> None:
    given = {"interactions": {"feed": 200}, "users": 12, "items": 10}
    source = component("data.sources", "synthetic")(options_of("data.sources", "synthetic", given))
    prepare(DataOptions(source="synthetic", options=given), source, scratch / "data")
    store = Store.open(scratch / "data")
    options = {
        "backbone": options_of("backbones", "deepfm", {"width": 2, "hidden": [4]}),
        "prompt": options_of("prompts", "plate", {"hidden_width": 4}),
    }
    strategy = ALIASES["prompt_linear"]
    parts = parts_of("deepfm", "plate", strategy, {name: [o] for name, o in options.items()}, store.schema)
    model = stack(parts, [Lane(0)])
    tensors = {name: tensor[0].clone() for name, tensor in {**model.fixed, **model.trained, **model.buffers}.items()}
    start = {name: tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    declared = parts.declared()
    tuned = {name: tensor for name, tensor in tensors.items() if declared[name].group in ("prompt", "linear")}
    rows = {name: p.rows for name, p in declared.items() if p.rows in ("user", "item") and p.group == "linear"}
    for name, vocabulary in rows.items():
        tuned[f"rows.{vocabulary}"] = torch.tensor([0, 1, 2])
        tuned[name] = tuned[name][[0, 2, 1]].clone()
    plain = {name: o.model_dump(mode="json") for name, o in options.items()}
    sites = {site.value: (shape.count, shape.width) for site, shape in parts.sites.items()}
    base = backbone.save(
        scratch / "backbone",
        backbone.BackboneFacts(
            name="deepfm", options=plain["backbone"], prompt="plate", prompt_options=plain["prompt"], sites=sites,
            data_fingerprint=store.schema.fingerprint, parameters=weights.facts(start),
        ),
        start, store.path,
    )  # fmt: skip
    prompt.save(
        scratch / "prompt",
        PromptFacts(
            unit=Unit("feed", domain="feed"), method="row",
            strategy=StrategyFacts(name=strategy.name, start="backbone", train=strategy.train, prompt="on"),
            prompt="plate", prompt_options=plain["prompt"], backbone="deepfm", backbone_options=plain["backbone"],
            backbone_fingerprint=base.fingerprint, data_fingerprint=store.schema.fingerprint,
            parameters=weights.facts(tuned, {}, rows), tuned_parameters=1, trial=0, valid={"auc": 0.5},
        ),
        tuned,
    )  # fmt: skip
