"""The measured search: a prompt tuned on one unit beside a frozen backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.sweep.method import Method, method
from raytune_rec.config import Job, parse
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.storage.files import read_json

if TYPE_CHECKING:
    from raytune_rec.training.settings import Resolved, Settings
    from raytune_rec.tuning.packs.planner import SearchPlanner


@dataclass(frozen=True)
class Case:
    """What one measurement is given. Plain values: it travels to a process of its own as JSON.

    Args:
        data: folder of the raw files.
        run: folder with the prepared data and the backbone.
        scratch: empty folder of this measurement.
        configurations: how many.
        epochs: of each; none stops early.
        cores: packs or configurations trained at a time, one thread each.
        pack: most lanes of a pack; 0: the method's.
        dropout: stands over that of every configuration; None leaves it searched.
        seed: of the search (the backbone's stays).
        tune: further options of the search, over those of this file.
        our_noise: the yardsticks take what the product drew (`Method.given`), so that only the noise of dropout is left between
            them.
        prompt: which method (`method.PROMPTS`).
    """

    data: str
    run: str
    scratch: str
    configurations: int
    epochs: int
    cores: int
    pack: int = 0
    dropout: float | None = None
    our_noise: bool = False
    seed: int = 1
    tune: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = "plate"

    @property
    def store(self) -> Path:
        return Path(self.run) / "data"

    def backbones(self) -> dict[str, Path]:
        """Pre-training -> folder of the finished backbone."""
        variant, found = method(self.prompt).VARIANT, read_json(Path(self.run) / "pretrain.json")
        return {variant: Path(self.run) / "backbones" / found[variant]["fingerprint"]}

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Case:
        return cls(**json.loads(text))


def job_of(case: Case) -> Job:
    """The job. What depends on the measurement stands in its row and in `tune`, so that every measurement shares one backbone."""
    options: dict[str, Any] = {"training.epochs": case.epochs, "training.patience": case.epochs}
    if case.dropout is not None:
        options["backbone.dropout"] = case.dropout
    tune = {
        "trials": case.configurations,
        "round": case.configurations,
        "pack": min(case.pack or method(case.prompt).PACK, -(-case.configurations // case.cores)),
        "sampler": "random",
        "concurrent": case.cores,
        "threads": 1,
        **case.tune,
    }
    return parse({"name": "sweep", "seed": 1, **method(case.prompt).job(case.data, options), "tune": tune})


def searched(case: Case) -> Job:
    """The job of the search, with a seed of its own."""
    return job_of(case).model_copy(update={"seed": case.seed})


def resolved_of(case: Case, job: Job) -> dict[str, Resolved]:
    """The job's methods on the backbone."""
    from raytune_rec.artifacts import backbone
    from raytune_rec.data.stored.store import Store
    from raytune_rec.tuning.search.plan import plan

    facts = {name: backbone.read(folder) for name, folder in case.backbones().items()}
    return plan(job, Store.open(case.store).schema).checked().with_backbones(facts).resolved


def prepare(case: Case) -> None:
    """Prepare the data and pre-train the backbone, unless both are there."""
    from raytune_rec import pipeline

    folder = Path(case.run)
    folder.mkdir(parents=True, exist_ok=True)
    pipeline.run(job_of(case), folder, until="pretrain")


def planner_of(case: Case, journal: Path) -> SearchPlanner:
    """The product's planner of the search on one unit: what `stages/tune.py` makes, for this unit alone."""
    from raytune_rec.artifacts import backbone
    from raytune_rec.data.stored.store import Store
    from raytune_rec.tuning.packs.planner import SearchPlanner
    from raytune_rec.tuning.search.plan import plan, searches
    from raytune_rec.tuning.search.studies import Studies

    job = searched(case)
    made = plan(job, Store.open(case.store).schema).checked()
    made = made.with_backbones({name: backbone.read(folder) for name, folder in case.backbones().items()})
    return SearchPlanner.of(
        Studies(journal, job), [s for s in searches(made, made.methods) if s.unit == method(case.prompt).UNIT]
    )


def packs_of(case: Case) -> list[Pack]:
    """The packs that the product would train. They are all of one round, and a random sampler needs no result."""
    planner = planner_of(case, Path(case.scratch) / "plan")
    found = []
    while isinstance(pack := planner.next(), Pack):
        found.append(pack)
    assert sum(len(pack.lanes) for pack in found) == case.configurations, "the planner awaits results before the round is whole"
    return found


def configurations_of(case: Case, lanes: list[Lane]) -> dict[int, Mapping[str, Any]]:
    """Trial -> what a yardstick must know of its configuration, every default filled in."""
    from raytune_rec.artifacts import backbone
    from raytune_rec.training.settings import method_of, settings

    of, job = method(case.prompt), job_of(case)
    row, facts = method_of(job, of.ROW), backbone.read(case.backbones()[of.VARIANT])
    return {lane.trial: configuration(of, settings(job, row, lane, facts)) for lane in lanes}


def configuration(of: Method, own: Settings) -> dict[str, Any]:
    """`lr.<group>`, `weight_decay.<group>`, and the method's options by the last part of their keys."""
    rates = {f"{kind}.{g}": own.training.group_rate(kind, g) for kind in ("lr", "weight_decay") for g in of.GROUPS}
    keys = [key.split(".") for key in of.OPTIONS]
    return rates | {name: getattr(getattr(own, part), name) for part, name in keys}
