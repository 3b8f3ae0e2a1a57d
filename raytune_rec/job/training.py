"""How lanes train, and what pre-trainings add to it."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator, model_validator

from raytune_rec.job.sections import TIMES, Flat, Rate, Section
from raytune_rec.task import ListMetric, RowMetric


class TrainingOptions(Section):
    """How lanes train. Learning rates and decays are per parameter group; `default` serves the groups not named."""

    objective: str = Field("bce", description="component in objectives; of histories softmax, where the job names none")
    metric: Literal[RowMetric, ListMetric] = Field("auc", description="of validation; auc, logloss: of rows; others: of lists")
    epochs: int = Field(20, ge=1, le=TIMES, description="most epochs of a lane")
    patience: int = Field(3, ge=1, le=TIMES, description="epochs without a better validation metric before a lane stops")
    batch_size: int = Field(512, ge=1, le=2**24, description="rows of a step")
    valid_batch_size: int = Field(16384, ge=1, le=2**24, description="rows of a pass that validates; changes no number")
    lr: dict[str, Rate] = Field({"default": 1e-3}, description="parameter group -> learning rate of Adam")
    weight_decay: dict[str, Rate] = Field({"default": 1e-5}, description="parameter group -> weight decay, coupled as L2 is")
    beta1: float = Field(0.9, ge=0, lt=1, description="of Adam")
    beta2: float = Field(0.999, ge=0, lt=1, description="of Adam")
    schedule: Literal["constant", "linear", "cosine"] = Field("constant", description="of the learning rates, to 0 at the end")
    warmup: float = Field(0.0, ge=0, le=TIMES, description="epochs over which the learning rates grow from 0")
    cache_mib: int = Field(512, ge=0, le=10**8, description="memory for what is computed once for all epochs")

    @field_validator("lr")
    @classmethod
    def _names_a_default(cls, lr: dict[str, float]) -> dict[str, float]:
        if "default" not in lr:
            raise ValueError("name a default too, or the groups that are not named would never learn")
        return lr

    def rate_factor(self, epoch: float) -> float:
        """Of every learning rate after so many epochs, the step's share of its own epoch included."""
        if self.schedule == "constant" and not self.warmup:
            return 1.0
        left = max(0.0, 1.0 - epoch / self.epochs)
        down = {"constant": 1.0, "linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left)}[self.schedule]
        return down * (min(1.0, epoch / self.warmup) if self.warmup else 1.0)

    def group_rate(self, table: Literal["lr", "weight_decay"], group: str) -> float:
        rates: dict[str, float] = getattr(self, table)
        return rates.get(group, rates.get("default", 0.0))


class PretrainingOptions(Section):
    """One pre-training: a backbone, with or without prompt fields."""

    backbone: str = Field("", description="component in backbones; empty: the job's")
    prompt: str = Field("none", description="component in prompts whose fields it has")
    learn_prompt: bool = Field(True, description="false: the prompt's place is kept and holds zeros (PTE)")
    options: Flat = Field({}, description="flat, over the job's own (prompt.meta_prompts ...)")
    space: list[str] = Field(["training"], description="search spaces of its recipe")
    from_path: str = Field(
        "", alias="from", description="a finished backbone, not a pre-training: its folder, or that of its run"
    )
    new_ids: bool = Field(False, description="`from` was trained on other data: what ids index begins anew, the rest is taken")

    @model_validator(mode="after")
    def _new_ids_of_something(self) -> PretrainingOptions:
        if self.new_ids and not self.from_path:
            raise ValueError("new_ids = true takes all but the ids from a finished backbone; name it as `from`, or leave it out")
        return self


class PretrainOptions(Section):
    """What all pre-trainings share."""

    trials: int = Field(0, ge=0, le=TIMES, description="recipes tried on validation before it; 0: the job's own recipe")
    replicates: int = Field(1, ge=1, le=1000, description="times that each is made; 3 or more to compare methods of several")
    workers: int = Field(1, ge=0, le=10_000, description="Ray Train workers; 0 runs in this process")
    gpu: bool = Field(False, description="a GPU for each worker")
    mixed_precision: bool = Field(False, description="bf16 on GPU")
    training: Flat = Field({}, description="flat options over [training] for pre-training (epochs, batch_size ...)")
    max_failures: int = Field(2, ge=0, le=1000, description="times that a pre-training goes on after a crash of its process")
