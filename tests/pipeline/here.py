"""A whole run in this process: what Ray Tune does with packs, without a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from raytune_rec.artifacts import backbone
from raytune_rec.config import Job
from raytune_rec.schema.work import Pack
from raytune_rec.stages.context import Context
from raytune_rec.training.settings import Resolved, method_of, resolve
from raytune_rec.tuning.packs import packing
from raytune_rec.tuning.run import ray_tune
from raytune_rec.tuning.run.dispatcher import Dispatcher
from raytune_rec.tuning.run.trainable import PackTrainable, PackWork


def resolved_on(job: Job, method: str, backbones: Mapping[str, Path]) -> Resolved:
    """A method of a job, on the backbone that it starts from."""
    of = method_of(job, method)
    return resolve(job, of, backbone.read(backbones[of.pretraining]) if of.pretraining else None)


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Packs are trained one after the other by the same trainable."""
    patch.setattr(Context, "connect", lambda self: None)
    patch.setattr(ray_tune, "fit", _fit)


def _fit(dispatcher: Dispatcher, work: PackWork, reporter: Any) -> None:
    while isinstance(pack := dispatcher.next(), Pack):
        trainable = PackTrainable.__new__(PackTrainable)
        trainable.setup({"pack": packing.to_text(pack)}, work)
        with suppress(Exception):  # it is in the pack's folder
            while not trainable.step()["done"]:
                pass
        dispatcher.ended(pack)
