"""What is trained: methods, their trials as lanes of a pack, and what a lane reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Scalar = bool | int | float | str
"""A value of an option."""


def numbered(pretraining: str, number: int) -> str:
    """Name of one of a pre-training's replicates: `plain`, `plain#1`, `plain#2` ... No pre-training has a `#` in its name."""
    return f"{pretraining}#{number}" if number else pretraining


@dataclass(frozen=True)
class Strategy:
    """Who trains what, from which start. Data, not code.

    Args:
        start: `scratch`, or `backbone` for a pre-trained one.
        train: parameter groups; `all` stands for every group of the backbone, `prompt` for those of the prompt.
        prompt: `off`, `on`, or `neutral` (its sites hold zeros: pre-training for a prompt that learns later).
        rows: of these groups only what has a row for each id of this vocabulary learns; empty: all.
    """

    name: str
    start: Literal["scratch", "backbone"]
    train: tuple[str, ...]
    prompt: Literal["off", "on", "neutral"] = "off"
    rows: str = ""


def recipe_of(pretraining: str) -> str:
    """The name under which the recipe of a pre-training is searched. No method has such a name."""
    return f"pretrain.{pretraining}"


@dataclass(frozen=True)
class Method:
    """One line of the results table: what is searched, retrained and compared.

    Args:
        name: its name in the job.
        strategy: who trains what.
        backbone: component name in `backbones/`.
        prompt: component name in `prompts/`.
        pretraining: the pre-training it starts from; empty for a scratch start.
        options: fixed options of this method, flat (`prompt.variant`, `training.epochs` ...), over the job's own.
        kind: a line of the table, or the pre-training called `pretraining`, whose recipe is searched as a method's options are.
    """

    name: str
    strategy: Strategy
    backbone: str
    prompt: str
    pretraining: str = ""
    options: Mapping[str, Scalar] = field(default_factory=dict)
    kind: Literal["method", "pretraining"] = "method"

    @property
    def place(self) -> str:
        """Where it stands in the job."""
        return f"pretrainings.{self.pretraining}" if self.kind == "pretraining" else f"methods.{self.name}"


@dataclass(frozen=True)
class Lane:
    """One trial while it trains.

    Args:
        trial: number within its study; decides the start values.
        replicate: decides batch order and noise, and start values too; 0 during the search and of a first pre-training.
        options: the trial's searched options, flat, over the method's and the job's.
        unit: whose rows it trains on; empty where only its options matter.
    """

    trial: int
    replicate: int = 0
    options: Mapping[str, Scalar] = field(default_factory=dict)
    unit: str = ""


@dataclass(frozen=True)
class Pack:
    """The lanes that one process trains together: trials of one method, on one unit or on several small ones.

    Args:
        name: unique in a run; names its folder.
        until: epoch after which lanes that have not ended pause, with their state kept; 0: all train to their own end.
        after: for each lane the pack and the place in it where its state was kept; empty: lanes begin.
        start: which replicate of the pre-training the lanes start from.
    """

    name: str
    method: str
    lanes: tuple[Lane, ...]
    until: int = 0
    after: tuple[tuple[str, int], ...] = ()
    start: int = 0

    @property
    def units(self) -> tuple[str, ...]:
        """Each once, in the order of the lanes."""
        return tuple(dict.fromkeys(lane.unit for lane in self.lanes))


@dataclass(frozen=True)
class LaneResult:
    """What a lane reached.

    Args:
        status: `complete`, `paused` (at its pack's `until`), `pruned` (others were better) or `failed` (its loss or its
            validation metric was not finite).
        best: best value of the validation metric over epochs.
        best_epoch: 1-based; 0 is the start value (the model before its first step).
        curve: validation metric after each epoch, first entry before training.
        losses: mean training loss of each epoch.
        epochs: epochs trained.
        seconds: the lane's share of its pack's wall clock.
        parameters: tuned parameters, true shapes, rows of its unit only.
        error: why it failed.
        measures: further objectives at the best epoch, by name.
    """

    trial: int
    replicate: int
    status: Literal["complete", "paused", "pruned", "failed"]
    best: float
    best_epoch: int
    curve: tuple[float, ...]
    losses: tuple[float, ...]
    epochs: int
    seconds: float
    parameters: int
    error: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)
