"""The end of a pre-training: the best epoch's weights as a backbone artifact, and what the run folder notes of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from torch import Tensor

from raytune_rec.artifacts import backbone, weights
from raytune_rec.artifacts.backbone import BackboneFacts
from raytune_rec.artifacts.versions import versions
from raytune_rec.data.stored.store import Store
from raytune_rec.pretraining.pretraining import Pretraining
from raytune_rec.training.loop import Trainer

Facts = dict[str, Any]


def export(spec: Pretraining, store: Store, trainer: Trainer) -> Facts:
    """Write the artifact; the facts of `summary` with its fingerprint."""
    tensors, result = best(trainer), trainer.results()[0]
    settings, method = spec.settings, spec.method
    parts = trainer.model.parts
    groups = trainer.model.groups | {f"backbone.{b.name}": b.group for b in parts.backbone.buffers()}
    facts = BackboneFacts(
        name=method.backbone,
        options=settings.backbone.model_dump(),
        prompt=method.prompt,
        prompt_options=settings.prompt.model_dump(),
        sites={site.value: (shape.count, shape.width) for site, shape in parts.sites.items()},
        pretraining=spec.pretraining,
        learn_prompt=spec.job.pretrainings[spec.pretraining].learn_prompt,
        training=settings.training.model_dump(),
        trials=spec.trials,
        data_fingerprint=store.schema.fingerprint,
        trained_fingerprint=store.schema.trained,
        seed=spec.job.seed,
        replicate=spec.lane.replicate,
        metric=settings.training.metric,
        value=_plain(result.best),
        epochs=result.epochs,
        curve=tuple(_plain(v) for v in result.curve),
        parameters=weights.facts(tensors, groups),
        versions=versions(),
    )
    saved = backbone.save(spec.folder, facts, tensors, store.path)
    return summary(spec, store, trainer) | {"fingerprint": saved.fingerprint}


def best(trainer: Trainer) -> dict[str, Tensor]:
    """Full name -> tensor of true shape at the best epoch, buffers included. A prompt whose place holds zeros has none."""
    model = trainer.model
    stored = {name: tensor[0] for name, tensor in (*model.fixed.items(), *model.buffers.items())}
    return stored | trainer.best(0)


def summary(spec: Pretraining, store: Store, trainer: Trainer) -> Facts:
    """What is known after an epoch, as JSON values.

    Returns:
        pretraining, replicate, recipe, trials, metric, curve (metric after each epoch, the first before training), losses, best,
        best_epoch, epochs, seconds, rows_per_second, parameters, status, error.
    """
    result = dataclasses.asdict(trainer.results()[0])
    rows = sum(store.schema.rows[domain, "train"] for domain in store.schema.domains) * result["epochs"]
    kept = ("best_epoch", "epochs", "seconds", "parameters", "status", "error")
    return {
        "pretraining": spec.pretraining,
        "replicate": spec.lane.replicate,
        "recipe": dict(spec.recipe),
        "trials": spec.trials,
        "metric": spec.settings.training.metric,
        "curve": [_plain(v) for v in result["curve"]],
        "losses": [_plain(v) for v in result["losses"]],
        "best": _plain(result["best"]),
        "rows_per_second": rows / result["seconds"] if result["seconds"] else 0.0,
        **{name: result[name] for name in kept},
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
