"""What differs between the measured methods: a module here for each prompt, and its model in plain PyTorch beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from raytune_rec.schema.prepared import DataSchema, UnitData
    from raytune_rec.training.loop import Trainer

PROMPTS = ("plate", "ppr", "promo", "upsr")


class Training(Protocol):
    """One configuration in plain PyTorch. `epoch` trains for one epoch, validates, and returns the best value so far."""

    best: float
    done: int

    def epoch(self) -> float: ...


class Data(Protocol):
    """Rows as tensors: made once in a process."""

    def training(self, configuration: Mapping[str, Any], seed: int) -> Training: ...


class Rows(Protocol):
    """Rows and pre-trained weights as arrays: what travels to a yardstick's processes, and brings their model along."""

    def load(self) -> Data: ...


class Method(Protocol):
    """A module of one prompt.

    Attributes:
        UNIT, ROW, VARIANT: what is searched, and from which pre-training.
        METRIC: of validation, for the eye.
        GROUPS: parameter groups that learn.
        OPTIONS: what a yardstick must know of a configuration beside the rates of its groups; flat keys.
        PACK: most lanes of a pack.
        COLD: at a `prompt.temperature` below it rounding decides much, so that the check does not count; 0: none.
        DOUBLE: whether the check computes in float64: with `given` rows hold such weights.
        NOISE: what the check holds still. PROTOCOL: the same in full.
        made_up: writes raw files into a folder, where they are no one's data; may be left out.
    """

    UNIT: str
    ROW: str
    VARIANT: str
    METRIC: str
    GROUPS: tuple[str, ...]
    OPTIONS: tuple[str, ...]
    PACK: int
    COLD: float
    DOUBLE: bool
    NOISE: str
    PROTOCOL: tuple[str, ...]

    def job(self, data: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The job without name, seed and `tune`.

        Args:
            data: folder of the raw files. options: of the searched row.
        """

    def plain_rows(self, schema: DataSchema, data: UnitData, tensors: Mapping[str, Tensor], given: Any = None) -> Rows:
        """What the plain model reads.

        Args:
            tensors: full name -> tensor of the backbone's artifact.
            given: what `given` made; None: the yardstick draws it.
        """

    def given(self, trainers: Iterator[Trainer], epochs: int) -> Any:
        """What the check hands over, so that the yardstick meets the product's noise."""


def method(prompt: str) -> Method:
    return cast("Method", import_module(f"benchmarks.sweep.{prompt}"))


def starts(trainer: Trainer) -> dict[int, dict[str, np.ndarray]]:
    """Trial -> its start values, in true shapes."""
    from raytune_rec.tensors import crop

    model, found = trainer.model, {}
    for place, (record, shapes) in enumerate(zip(trainer.records, model.shapes, strict=True)):
        found[record.lane.trial] = {n: crop(t[place].detach(), shapes[n]).numpy().copy() for n, t in model.trained.items()}
    return found


def batches(trainer: Trainer, epochs: int) -> Iterator[Sequence[Any]]:
    """The batches of each epoch, in the product's order."""
    yield from (list(trainer.feed.epoch(epoch)) for epoch in range(1, epochs + 1))
