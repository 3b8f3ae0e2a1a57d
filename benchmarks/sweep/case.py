"""The measured search: PLATE's prompt and the linear part of a DeepFM, tuned on Douban music beside a frozen backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_rec.artifacts.files import read_json
from raytune_rec.config import Job, parse
from raytune_rec.schema import Lane, Pack

if TYPE_CHECKING:
    from raytune_rec.tuning.planner import SearchPlanner

UNIT, ROW, VARIANT = "music", "plate", "plate"


@dataclass(frozen=True)
class Case:
    """What one measurement is given. Plain values: it travels to a process of its own as JSON.

    Args:
        data: folder of the raw Douban files.
        run: folder with the prepared data and the backbone.
        scratch: empty folder of this measurement.
        configurations: how many.
        epochs: of each; none stops early.
        cores: packs or configurations trained at a time, one thread each.
        pack: most lanes of a pack.
        dropout: stands over that of every configuration; None leaves it searched.
        seed: of the search (the backbone's stays).
        tune: further options of the search, over those of this file.
        our_order: the yardsticks take the batch order of the product, so that only the noise of dropout is left between them.
    """

    data: str
    run: str
    scratch: str
    configurations: int
    epochs: int
    cores: int
    pack: int = 32
    dropout: float | None = None
    our_order: bool = False
    seed: int = 1
    tune: Mapping[str, Any] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return Path(self.run) / "data"

    def backbones(self) -> dict[str, Path]:
        """Variant -> folder of the finished backbone."""
        found = read_json(Path(self.run) / "pretrain.json")
        return {VARIANT: Path(self.run) / "backbones" / found[VARIANT]["fingerprint"]}

    def to_text(self) -> str:
        return json.dumps(asdict(self))


def job_of(case: Case) -> Job:
    """The job. What depends on the measurement stands in its row and in `tune`, so that every measurement shares one backbone."""
    options: dict[str, Any] = {"training.epochs": case.epochs, "training.patience": case.epochs}
    if case.dropout is not None:
        options["backbone.dropout"] = case.dropout
    row = {"strategy": "prompt_linear", "prompt": "plate", "variant": VARIANT, "space": ["training", "plate"], "options": options}
    variant = {"prompt": "plate", "options": {"prompt.meta_prompts": 24, "prompt.elastic": True, "prompt.temperature": 1.0}}
    recipe = {"batch_size": 1024, "epochs": 10, "lr.default": 2e-3, "weight_decay.default": 1e-5}
    tune = {
        "trials": case.configurations,
        "round": case.configurations,
        "pack": min(case.pack, -(-case.configurations // case.cores)),
        "sampler": "random",
        "concurrent": case.cores,
        "threads": 1,
        **case.tune,
    }
    return parse(
        {
            "name": "sweep",
            "seed": 1,
            "data": {"source": "douban", "options": {"path": case.data}},
            "backbone": {"name": "deepfm", "options": {"width": 16, "hidden": [16, 16], "dropout": 0.2}},
            "training": {"batch_size": 512},
            "pretrain": {"variants": {VARIANT: variant}, "trials": 0, "workers": 0, "training": recipe},
            "prompts": {"plate": {"variant": "fusion", "hidden_width": 32}},
            "rows": {ROW: row},
            "tune": tune,
        }
    )


def searched(case: Case) -> Job:
    """The job of the search, with a seed of its own."""
    return job_of(case).model_copy(update={"seed": case.seed})


def prepare(case: Case) -> None:
    """Prepare the data and pre-train the backbone, unless both are there."""
    from raytune_rec import pipeline

    folder = Path(case.run)
    folder.mkdir(parents=True, exist_ok=True)
    pipeline.run(job_of(case), folder, only="pretrain")


def planner_of(case: Case, journal: Path) -> SearchPlanner:
    """The product's planner of the search on one domain: what `stages/tune.py` makes, for this unit alone."""
    from raytune_rec.data.store import Store
    from raytune_rec.tuning.plan import searches
    from raytune_rec.tuning.planner import SearchPlanner
    from raytune_rec.tuning.studies import Studies

    job = searched(case)
    found = searches(job, Store.open(case.store).schema, case.backbones())
    return SearchPlanner.of(Studies(journal, job), [s for s in found if s.unit == UNIT])


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
    from raytune_rec.training.settings import row_of, settings

    job, facts = job_of(case), backbone.read(case.backbones()[VARIANT])
    found: dict[int, Mapping[str, Any]] = {}
    for lane in lanes:
        own = settings(job, row_of(job, ROW), lane, facts)
        groups, prompt, backbone_options = ("prompt", "linear"), own.prompt.model_dump(), own.backbone.model_dump()
        found[lane.trial] = {
            **{f"lr.{g}": own.training.group_rate("lr", g) for g in groups},
            **{f"weight_decay.{g}": own.training.group_rate("weight_decay", g) for g in groups},
            **{name: prompt[name] for name in ("temperature", "meta_prompts")},
            "dropout": backbone_options["dropout"],
            "batch_size": own.training.batch_size,
        }
    return found
