"""What the results are made of. Shapes: R replicates, N test rows or lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raytune_rec.evaluation.measures.spread import Spread
from raytune_rec.schema.work import Scalar


@dataclass(frozen=True)
class MethodFacts:
    """What is known of a method of the table before its test rows are looked at.

    Args:
        method: name in the job. strategy, prompt, backbone, pretraining: of it.
        baseline: whether others are compared with it.
        trials: spent on its search, over all units.
        tuned_parameters: trained for one unit. backbone_parameters: of the whole backbone.
        seconds: of its search. recipes: spent on the search of its pre-training, which methods on one pre-training share.
        valid: tuning unit -> best validation value of the winner. options: tuning unit -> its flat options. trial: tuning unit
            -> its number. A tuning unit is a unit of the table, or one of those that it pools.
        among: the methods of which it is one on each unit, by validation; trials and seconds are theirs. Empty: it is itself.
    """

    method: str
    strategy: str
    prompt: str
    backbone: str
    pretraining: str
    baseline: bool
    trials: int
    tuned_parameters: int
    backbone_parameters: int
    seconds: float
    valid: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    trial: Mapping[str, int] = field(default_factory=dict)
    among: tuple[str, ...] = ()
    recipes: int = 0


@dataclass(frozen=True)
class Replicates:
    """Which trainings of a winner there are.

    Args:
        numbers: (R,), ascending; some may be missing. Equal numbers of two methods share their seeds.
        pretrainings: (R,) the number of the pre-training that each stands on; empty where a method starts from scratch.
    """

    numbers: tuple[int, ...]
    pretrainings: tuple[int, ...] = ()

    @property
    def several(self) -> bool:
        """Whether they stand on more than one pre-training."""
        return len(set(self.pretrainings)) > 1

    @property
    def trainings(self) -> tuple[int, ...]:
        """(R,) the independent training that each belongs to: a pre-training where there are several, else its own."""
        return self.pretrainings if self.several else self.numbers


def first(count: int) -> Replicates:
    """So many replicates of a start from scratch."""
    return Replicates(tuple(range(1, count + 1)))


@dataclass(frozen=True)
class Predictions:
    """Test logits of a method's winner on a unit: scores (R, N); R = 1 where nothing was trained. Without `replicates` a
    start from scratch."""

    method: str
    unit: str
    scores: NDArray[np.floating]
    replicates: Replicates | None = None

    @property
    def trained(self) -> Replicates:
        return self.replicates or first(len(np.atleast_2d(self.scores)))


@dataclass(frozen=True)
class Outcome:
    """Where the positive of each test list stands among its candidates (see `metrics.candidate_lists`).

    Args:
        better, ties: (R, N), candidates above the positive and level with it; NaN where a score was.
        candidates: (N,), of each list, the positive included.
    """

    better: NDArray[np.number]
    ties: NDArray[np.number]
    candidates: NDArray[np.number]


@dataclass(frozen=True)
class ListOutcomes:
    """Outcomes of a method's winner on a unit's test lists, which are the same for every method; R = 1 where nothing was trained.

    Args:
        sampled: among the protocol's candidates, which may be all items. full: among all items, where that was measured beside.
        replicates: as of `Predictions`.
        others: ranking -> outcomes, of the same positives (`measure_lists.SHUFFLED`, `measure_lists.BEST`).
        spread: how the scores lie, of lists of cold items; None where it was not measured.
    """

    method: str
    unit: str
    sampled: Outcome
    full: Outcome | None = None
    replicates: Replicates | None = None
    spread: Spread | None = None
    others: Mapping[str, Outcome] = field(default_factory=dict)

    @property
    def rankings(self) -> dict[str, Outcome]:
        """What stands in front of the names of its metrics -> each ranking."""
        return {"": self.sampled, **({"full.": self.full} if self.full else {}), **self.others}

    @property
    def trained(self) -> Replicates:
        return self.replicates or first(len(np.atleast_2d(self.sampled.better)))


@dataclass(frozen=True)
class ClassOutcomes:
    """What a method's winner predicts of a unit's test users; R = 1 where nothing was trained.

    Args:
        predicted: (R, N) classes. truth: (N,), the same for every method.
        replicates: as of `Predictions`.
    """

    method: str
    unit: str
    predicted: NDArray[np.integer]
    truth: NDArray[np.integer]
    replicates: Replicates | None = None

    @property
    def trained(self) -> Replicates:
        return self.replicates or first(len(np.atleast_2d(self.predicted)))
