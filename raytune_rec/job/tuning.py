"""How much is searched, by what rule trials stop, and what a pack takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from raytune_rec.job.sections import TIMES, Section
from raytune_rec.task import ListMetric, RowMetric


class StopOptions(Section):
    """Early stopping of trials that are behind."""

    rule: Literal["none", "halving", "hyperband", "median"] = Field(
        "none", description="halving: the best 1/factor go on at each rung; hyperband: rounds take turns over several ladders"
    )
    min_epochs: int = Field(1, ge=1, le=TIMES, description="epochs before the first rung; of the median rule: between two rungs")
    factor: int = Field(3, ge=2, le=1000, description="one in so many goes on, for so many times the epochs")


class TuneOptions(Section):
    trials: int = Field(64, ge=1, le=TIMES, description="configurations of each method on each domain")
    round: int = Field(
        0,
        ge=0,
        le=TIMES,
        description="configurations asked before any of them is told; 0: a quarter of the trials, as for recipes always",
    )
    pack: int = Field(
        32, ge=1, le=10_000, description="most lanes of a pack; fewer where memory does not hold them; 1: one trial a process"
    )
    memory_mib: int = Field(
        0, ge=0, le=10**8, description="of a pack; 0: four fifths of the machine's, over the packs that run at a time"
    )
    share_rows: int = Field(5000, ge=0, le=10**9, description="domains of at most this many training rows share packs")
    least_valid: int = Field(
        200,
        ge=0,
        le=10**9,
        description="groups of cold items with fewer validation rows are not searched: they take what wins on the largest",
    )
    sampler: Literal["tpe", "random", "grid", "gp", "qmc", "nsga2"] = Field(
        "tpe", description="Optuna's, what proposes configurations; nsga2: for several objectives"
    )
    objectives: list[Literal[RowMetric, ListMetric, "parameters"]] = Field(
        [], description="further objectives beside training.metric, which still chooses the winner; parameters: as few as can be"
    )
    stop: StopOptions = StopOptions()
    warm_start: list[str] = Field([], description="folders of earlier runs whose best configurations are tried first")
    warm_points: int = Field(4, ge=1, le=1000, description="configurations taken from earlier runs, for each method and domain")
    winners_of: str = Field(
        "",
        description="folder of a finished run, whose log has grown: nothing is searched, units take what won on their domain's "
        "largest group there, and of its prompt the rows of their own items alone learn (`tune --only-new`)",
    )
    reuse_actors: bool = Field(True, description="a process trains one pack after the other; false: a new process for each")
    alone: int = Field(
        0,
        ge=0,
        le=1000,
        description="finished trials that are trained once more, a process for each, as plain Ray Tune does it: what packs saved "
        "is told; 0: none",
    )
    concurrent: int = Field(0, ge=0, le=10_000, description="packs at a time; 0: one per CPU or GPU of the cluster")
    cpus: float = Field(1, ge=0.01, le=10_000, description="CPUs of a pack")
    gpus: float = Field(0, ge=0, le=1000, description="GPUs of a pack, a fraction shares one")
    wait_minutes: float = Field(15, ge=0, le=10_000, description="for a cluster with an autoscaler to bring what a job asks for")
    threads: int = Field(1, ge=1, le=1024, description="torch threads of a pack")
    max_failures: int = Field(2, ge=0, le=1000, description="times that a pack goes on after a crash of its process")

    @field_validator("gpus")
    @classmethod
    def _parts_of_one_or_whole_ones(cls, gpus: float) -> float:
        if 0 < gpus < 0.01 or (gpus > 1 and gpus != int(gpus)):
            raise ValueError("GPUs come whole, or as a part of one that is at least 0.01")
        return gpus
