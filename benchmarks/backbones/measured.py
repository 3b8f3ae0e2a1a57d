"""What is measured: the job, both sides of it, and the seconds of their epochs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from benchmarks.backbones.learnt import load
from benchmarks.backbones.plain import CROSS, HIDDEN, MAPS, MODELS, NAMES, WIDTH, Loop, Plain, Rows
from benchmarks.backbones.prompts import Prompt, adapt
from raytune_rec import pipeline
from raytune_rec.artifacts import backbone
from raytune_rec.config import Job, parse
from raytune_rec.data.stored.store import Store
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.training.build import build
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import Resolved, method_of, resolve

RATE = 1e-3
TUNED = ("everything", "plate", "generative", "adapter")
META, NETWORK, RANK = 10, 32, 4
_USERS, _ITEMS, _FEATURES = 2000, 1000, 7
KINDS = ("ours", "plain", "lanes")


@dataclass(frozen=True)
class Case:
    """What is trained.

    Args:
        name: of the backbone. tuned: one of `TUNED`.
    """

    name: str
    tuned: str

    @property
    def pretraining(self) -> str:
        """Empty: the model is trained from scratch."""
        return "" if self.tuned == "everything" else f"{self.name}_{'none' if self.tuned == 'adapter' else self.tuned}"

    @property
    def method(self) -> str:
        return f"{self.name}_{self.tuned}"

    def made(self) -> dict[str, Any]:
        """The method, as a job has it."""
        if not self.pretraining:
            return {"strategy": "single", "backbone": self.name}
        prompt = "adapter" if self.tuned == "adapter" else "plate"
        strategy = "prompt" if prompt == "adapter" else "prompt_linear"
        return {"strategy": strategy, "prompt": prompt, "pretraining": self.pretraining, "options": self._options()}

    def pretrained(self) -> dict[str, Any]:
        """Its pre-training, likewise."""
        prompt = {} if self.tuned == "adapter" else {"prompt": "plate", "options": self._options()}
        return {"backbone": self.name, **prompt}

    def _options(self) -> dict[str, Any]:
        if self.tuned == "adapter":
            return {"prompt.rank": RANK}
        variant = "fusion" if self.tuned == "plate" else "generative"
        shape = {"prompt.meta_prompts": META, "prompt.hidden_width": NETWORK, "prompt.temperature": 1.0}
        return {"prompt.variant": variant, **shape}

    def plain(self, rows: Rows) -> Plain:
        """The same in plain PyTorch."""
        prompt = None
        if self.tuned in ("plate", "generative"):
            domain, profile = rows.fields.index("domain"), [rows.fields.index(f) for f in rows.profile]
            prompt = Prompt(rows.sizes[domain], domain, profile, WIDTH, NETWORK, META if self.tuned == "plate" else 0)
        model = MODELS[self.name](rows.sizes, prompt)
        if self.tuned == "adapter":
            adapt(model, RANK, RANK * (2 if self.name == "fnn" else 1))  # one for fields, one for the linear part
        elif prompt is not None:
            model.requires_grad_(False)
            for part in (prompt, model.linear):
                part.requires_grad_(True)
            model.bias.requires_grad_(True)
        return model


def job_of(folder: Path, cases: Sequence[Case], rows: int, batch: int) -> Job:
    """Writes the log, and returns a job of one method for each case."""
    draw = np.random.default_rng(0)
    user, item = draw.integers(_USERS, size=rows), draw.integers(_ITEMS, size=rows)
    taste = draw.normal(size=_USERS)[user] + draw.normal(size=_ITEMS)[item]
    log = {"domain": ["one"] * rows, "user": user, "item": item, "label": (taste + draw.normal(size=rows) > 0).astype(int)}
    log |= {f"f{i}": draw.integers(10 * (i + 1), size=_USERS)[user] for i in range(_FEATURES)}
    pd.DataFrame(log).to_csv(folder / "log.csv", index=False)
    features = {f"f{i}": {"role": "user"} for i in range(_FEATURES)}
    own = {"dcn": {"cross": CROSS}, "dcnv2": {"cross": CROSS}, "xdeepfm": {"maps": list(MAPS)}}
    shape = {"width": WIDTH, "hidden": list(HIDDEN), "dropout": 0.0}
    data = {"source": "tabular", "options": {"files": str(folder / "log.csv"), "features": features}}
    return parse(
        {
            "name": "backbones",
            "data": {**data, "split": {"valid": 0.1, "test": 0.1}},
            "backbone": {"name": "deepfm", "options": shape},
            "backbones": {name: shape | own.get(name, {}) for name in NAMES if name != "deepfm"},
            "training": {
                "batch_size": batch, "epochs": 1000, "patience": 1000, "lr": {"default": RATE}, "weight_decay": {"default": 0.0},
            },
            "pretrain": {"trials": 0, "workers": 0, "training": {"epochs": 1}},
            "pretrainings": {case.pretraining: case.pretrained() for case in cases if case.pretraining},
            "methods": {case.method: case.made() for case in cases},
        }
    )  # fmt: skip


class Ours:
    """The product's side: data prepared and backbones pre-trained, once.

    Args:
        run: an empty folder.
    """

    def __init__(self, job: Job, run: Path) -> None:
        self.job = job
        pipeline.run(job, run, until="pretrain" if job.pretrainings else "prepare")
        self.store = Store.open(run / "data")
        self.folders = backbone.of_run(run) if job.pretrainings else {}

    def trainer(self, case: Case, lanes: int) -> Trainer:
        unit = self.store.schema.domains[0]
        own = tuple(Lane(i, 0, {"training.lr.default": RATE * (1 + i / lanes)}, unit) for i in range(lanes))
        return build(self._resolved(case), Pack(case.method, case.method, own), self.store, self.folders, "cpu")

    def tensors(self, case: Case, trainer: Trainer, rows: Rows) -> dict[str, Tensor]:
        """All that the first lane's best epoch stands on, tables with the rows' ids."""
        frozen = backbone.load(self.folders[case.pretraining])[1] if case.pretraining else {}
        return {name: rows.local(name, value) for name, value in frozen.items()} | trainer.best(0)

    def _resolved(self, case: Case) -> Resolved:
        facts = backbone.read(self.folders[case.pretraining]) if case.pretraining else None
        return resolve(self.job, method_of(self.job, case.method), facts)


def measure(ours: Ours, cases: Sequence[Case], lanes: int, repeats: int) -> Iterator[tuple[Case, Mapping[str, list[float]]]]:
    """Of each case the seconds of an epoch: of one lane, of the plain model, and of a lane among many."""
    rows = Rows(ours.store)
    for case in cases:
        alone, many = (ours.trainer(case, n) for n in (1, lanes))
        plain = Loop(case.plain(rows), rows, ours.job.training.batch_size, RATE)
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for repeat in range(repeats + 1):
            spent = {"ours": _spent(alone.epoch), "plain": _spent(plain.epoch), "lanes": _spent(many.epoch) / lanes}
            for kind in found if repeat else ():
                found[kind].append(spent[kind])
        load(plain.model, rows.fields, ours.tensors(case, alone, rows))
        value, theirs = alone.results()[0].best, plain.value()
        assert abs(value - theirs) < 1e-4, f"{case.method}: {value} and {theirs} are not the same model"
        yield case, found


def _spent(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
