"""What a kind of task is: all that differs between rows with labels, lists of candidates and classes.

The loop, the stages and the scorer ask here and nowhere else what rows are; those who read rows in `data/` know it by themselves.
To add a kind: its name in `task.Task`, a reader where none fits, and a file beside this one.

Shapes: U lanes, N rows, n rows of a pass, K scores of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from torch import Tensor

from raytune_rec.data.stored.store import Store
from raytune_rec.evaluation.measures.inputs import ClassOutcomes, ListOutcomes, Predictions, Replicates
from raytune_rec.evaluation.measures.tested import Groups, Tested
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import Table
from raytune_rec.task import Task, UnitKind

O = TypeVar("O", Predictions, ListOutcomes, ClassOutcomes)  # noqa: E741
Passes = Callable[[Table, int], Iterator[tuple[Tensor, Tensor]]]
"""A model of one lane: a table and the most rows of a pass -> places (n,) and logits (n,) or (n, K), pass by pass."""
Asked = Literal["score", "recommend", "predict"]
PASS = 1024
"""Most rows of a pass that ranks all items, or reads histories."""


@dataclass(frozen=True)
class Further:
    """What is measured of lists besides where their positives stand among the protocol's candidates.

    Args:
        full: among all items. shuffled: with histories shuffled by this seed; None: not.
        retrieved: (N, K) ids that another method found for each list, its best first, 0 behind where there are fewer.
        sizes: of these the first so many are ranked.
    """

    full: bool = False
    shuffled: int | None = None
    retrieved: np.ndarray | None = None
    sizes: tuple[int, ...] = ()


class TaskKind(Protocol[O]):
    """One kind of task.

    Attributes:
        examples: what rows are called.
        units: the kinds of units that artifacts serve.
        trains: parameter groups of the backbone that a method must train, since no pre-training of ours did.
    """

    examples: str
    units: frozenset[UnitKind]
    trains: frozenset[str]

    def __init__(self, task: Task) -> None: ...

    def check(self, summary: Mapping[str, Any], store: Store, data: DataOptions) -> None:
        """Refuse prepared data of which too few rows can be ranked.

        Raises:
            DataError: why, and what would help.
        """

    def most_rows(self, table: Table, chunk: int) -> int:
        """Most rows times lanes of a pass of validation, where `chunk` is wanted."""

    def reduce(
        self, logit: Tensor, columns: Mapping[str, Tensor], rows: Tensor, item_domains: Tensor | None
    ) -> tuple[Tensor, ...]:
        """What validation keeps of the logits of a pass, (U, n, ...) each.

        Args:
            logit: (U, n) or (U, n, K). columns: (N, ...). rows: (n,) those of the pass. item_domains: (V,), see `Table`.
        """

    def value(self, metric: str, kept: tuple[Tensor, ...], label: Tensor) -> Tensor:
        """A validation metric (U,) of what was kept (U, N, ...); label (N,)."""

    def test(self, passes: Passes, table: Table, further: Further) -> Any:
        """What one replicate of a winner reaches on the test rows of a unit. further: what is measured of lists besides."""

    def outcome(self, method: str, unit: str, reached: Sequence[Any], table: Table, trained: Replicates) -> O:
        """All replicates of it together."""

    def pooled(self, method: str, name: str, parts: Sequence[tuple[O, list[int]]], trained: Replicates) -> O:
        """Several units as one of the table: of each its outcome, and the places of the replicates that all of them have."""

    def tested(self, outcomes: Sequence[O], tables: Mapping[str, Mapping[str, Table]], groups: Groups) -> Tested:
        """What the results are made of. tables: name -> unit -> its test rows. groups: name -> (N,) users."""

    def reached(
        self, measures: Mapping[str, Any], parts: Mapping[str, O], place: int, protocol: Mapping[str, str]
    ) -> dict[str, Any]:
        """Metric -> what one replicate reached on its own unit; empty where it has no test.

        Args:
            measures: of the unit in `results.json`. parts: which part of its rows -> the outcome. place: of the replicate.
            protocol: of this job.
        """

    def masks(self, store: Store, name: str, units: Mapping[str, Table]) -> dict[str, np.ndarray]:
        """Name of a cohort of the test rows of a table -> (N,) bool; empty where there are none.

        Args:
            name: of the table. units: unit -> its rows, which stand one after the other.
        """

    def protocol(self, data: DataOptions, store: Store) -> dict[str, str]:
        """What a test row is compared with, in words."""

    def refusal(self, asked: Asked, unit: str, columns: Collection[str]) -> str:
        """Why a served model does not answer rows of these raw columns; empty where it does."""

    def scored(self, logits: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """(N,) logits of raw rows to score."""
