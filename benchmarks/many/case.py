"""The measured search: PLATE's prompt and the linear part, on every domain, beside one frozen DeepFM."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_rec.config import EvaluateOptions, Job, MethodOptions
from raytune_rec.errors import JobError
from raytune_rec.job.training import PretrainingOptions, PretrainOptions
from raytune_rec.storage.files import read_json

if TYPE_CHECKING:
    from benchmarks.sweep.plain import Rows
    from raytune_rec.data.stored.store import Store

METHOD = "plate"
SPACE: Mapping[str, Mapping[str, Any]] = {
    "training.lr.prompt": {"type": "float", "low": 1e-4, "high": 3e-2, "log": True},
    "training.lr.linear": {"type": "float", "low": 5e-4, "high": 3e-2, "log": True},
    "training.weight_decay.prompt": {"type": "float", "low": 1e-8, "high": 1e-4, "log": True},
    "training.weight_decay.linear": {"type": "float", "low": 1e-6, "high": 1e-4, "log": True},
    "backbone.dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "prompt.temperature": {"type": "float", "low": 1e-2, "high": 10.0, "log": True},
    "prompt.meta_prompts": {"type": "int", "low": 2, "high": 24},
}
"""What every way searches, without first points: those of the shipped spaces are knowledge that plain Ray Tune does not have."""
_UNTUNED = {
    "lr.prompt": 0.0, "lr.linear": 0.0, "weight_decay.prompt": 0.0, "weight_decay.linear": 0.0, "dropout": 0.0, "batch_size": 1,
}  # fmt: skip
"""Of a plain model that is looked at before a step is taken."""
_RECIPE = {"epochs": 6, "lr.default": 1e-3, "lr.linear": 3e-3, "weight_decay.default": 3e-5, "weight_decay.linear": 1e-5}


@dataclass(frozen=True)
class Case:
    """What one measurement is given. Plain values: it travels to a process of its own as JSON.

    Args:
        job: a shipped job, or the path of one, with `settings` over it: its data, backbone, batches, epochs and patience count.
        run: folder with the prepared data and the backbone.
        scratch: empty folder of this measurement.
        trials: of each domain.
        cores: processes that train at a time, one thread each.
        domains: that are searched, as `prepare` names them.
        packs, stopping: whether ours has them.
        seed: of the search.
    """

    job: str
    settings: tuple[str, ...]
    run: str
    scratch: str
    trials: int
    cores: int
    domains: tuple[str, ...] = ()
    packs: bool = True
    stopping: bool = True
    seed: int = 1

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Case:
        values = json.loads(text)
        return cls(**{**values, "settings": tuple(values["settings"]), "domains": tuple(values["domains"])})

    def backbones(self) -> dict[str, Path]:
        """Pre-training -> folder of the finished backbone."""
        found = read_json(Path(self.run) / "pretrain.json")
        return {METHOD: Path(self.run) / "backbones" / found[METHOD]["fingerprint"]}

    def store(self) -> Store:
        from raytune_rec.data.stored.store import Store

        return Store.open(Path(self.run) / "data")


def job_of(case: Case) -> Job:
    """The given job with this one method, and a pre-training by a fixed recipe.

    Raises:
        JobError: its backbone is none that the plain model is.
    """
    from raytune_rec.cli import read_job

    given = read_job(case.job, case.settings)
    if given.backbone.name != "deepfm":
        raise JobError(f"{case.job}: the plain model is a 'deepfm', and the job's backbone is {given.backbone.name!r}.")
    tune: dict[str, Any] = {"trials": case.trials, "concurrent": case.cores, "threads": 1}
    if not case.packs:
        tune |= {"pack": 1, "share_rows": 0}
    if not case.stopping:
        tune["stop"] = given.tune.stop.model_copy(update={"rule": "none"})
    elastic = {"prompt.meta_prompts": 24, "prompt.elastic": True, "prompt.temperature": 1.0}
    return given.model_copy(
        update={
            "methods": {METHOD: MethodOptions(strategy="prompt_linear", prompt="plate", pretraining=METHOD, space=["alike"])},
            "spaces": {"alike": {"space": SPACE}},
            "pretrainings": {METHOD: PretrainingOptions(prompt="plate", options=elastic)},
            "pretrain": PretrainOptions(trials=0, workers=0, training={**_RECIPE, **given.pretrain.training}),
            "tune": given.tune.model_copy(update=tune),
            "evaluate": EvaluateOptions(),
            "published": [],
            "seed": case.seed,
        }
    )


def prepare(case: Case) -> tuple[str, ...]:
    """Prepare the data and pre-train the backbone, unless both are there; the domains, from the smallest to the largest."""
    from raytune_rec import pipeline

    folder = Path(case.run)
    folder.mkdir(parents=True, exist_ok=True)
    pipeline.run(job_of(case), folder, until="pretrain")
    schema = case.store().schema
    return tuple(sorted(schema.domains, key=lambda name: (schema.rows.get((name, "train"), 0), name)))


def spread(domains: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Some of the domains, evenly over their sizes."""
    if count >= len(domains):
        return domains
    return tuple(domains[round((i + 0.5) * len(domains) / count - 0.5)] for i in range(count))


def short(option: str) -> str:
    """What the plain model calls an option: `training.lr.prompt` is its `lr.prompt`."""
    return option.split(".", 1)[1]


def rows_of(case: Case) -> dict[str, Rows]:
    """Domain -> its rows and the pre-trained weights, as the plain model reads them.

    Raises:
        JobError: the data have fields that the plain model does not embed.
    """
    from benchmarks.sweep.plate import plain_rows
    from raytune_rec.artifacts import backbone
    from raytune_rec.data.stored.units import unit_data

    store = case.store()
    if others := [f"{f.name} ({f.kind})" for f in store.schema.fields if f.kind != "categorical"]:
        raise JobError(f"{case.job}: the plain model embeds categorical fields alone, and the data have {', '.join(others)}.")
    _, tensors = backbone.load(case.backbones()[METHOD], data=False)
    return {domain: plain_rows(store.schema, unit_data(store, domain), tensors) for domain in case.domains}


def at_start(rows: Rows, meta_prompts: int = 10, temperature: float = 1.0) -> float:
    """Validation AUC of the plain model before it is tuned."""
    return rows.load().training({**_UNTUNED, "meta_prompts": meta_prompts, "temperature": temperature}, 0).best
