"""A whole run in this process: what Ray Tune does with packs, without a cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raytune_rec.artifacts import backbone
from raytune_rec.config import Job
from raytune_rec.data.stored.store import Store
from raytune_rec.schema.work import Pack
from raytune_rec.scoring import Scorer
from raytune_rec.stages import outcomes
from raytune_rec.stages.context import Context
from raytune_rec.task import Unit
from raytune_rec.training.settings import Resolved, method_of, resolve
from raytune_rec.tuning.packs import packing
from raytune_rec.tuning.run import ray_tune
from raytune_rec.tuning.run.dispatcher import Dispatcher
from raytune_rec.tuning.run.trainable import PackTrainable, PackWork


def resolved_on(job: Job, method: str, backbones: Mapping[str, Path]) -> Resolved:
    """A method of a job, on the backbone that it starts from."""
    of = method_of(job, method)
    return resolve(job, of, backbone.read(backbones[of.pretraining]) if of.pretraining else None)


def served_ndcg(served: Scorer, store: Store, unit: Unit) -> float:
    """Mean NDCG over a unit's validation rows, of at most ten candidates each, served with raw users, histories and items."""
    users, items = np.array(["", *store.vocabulary("user")["raw"].to_pylist()]), store.lookup.catalogue[0]
    rows, gains = store.load(unit, "valid").columns, []
    for user, history, candidates in zip(*(rows[name] for name in ("user", "history", "candidates")), strict=True):
        past, count = items[history[history > 0]].tolist(), len(candidates)
        raw = {"user": [users[user]] * count, "history": [past] * count, "item": items[candidates].tolist()}
        scores = np.asarray(served.score(raw))
        gains.append(1 / np.log2(2 + (scores[1:] > scores[0]).sum()))
    return float(np.mean(gains))


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Packs are trained one after the other by the same trainable."""
    patch.setattr(Context, "connect", lambda self: None)
    patch.setattr(outcomes, "ALONE", math.inf)
    patch.setattr(ray_tune, "fit", _fit)


def _fit(dispatcher: Dispatcher, work: PackWork, reporter: Any) -> None:
    while isinstance(pack := dispatcher.next(), Pack):
        trainable = PackTrainable.__new__(PackTrainable)
        trainable.setup({"pack": packing.to_text(pack)}, work)
        with suppress(Exception):  # it is in the pack's folder
            while not trainable.step()["done"]:
                pass
        dispatcher.ended(pack)
