"""An attribute of users with histories, one class of which is right. Shapes as in `base`; R replicates, C classes.

Validation ranks all classes as `Lists` ranks all items; the test asks for the likeliest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raytune_rec.data.stored.store import Store
from raytune_rec.evaluation.measures import measure_classes
from raytune_rec.evaluation.measures.inputs import ClassOutcomes, Replicates
from raytune_rec.evaluation.measures.tested import ClassesTested, Groups
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import POSITIVE, Table
from raytune_rec.task import Task, UnitKind
from raytune_rec.tasks.base import PASS, Asked, Further, Passes
from raytune_rec.tasks.lists import Lists


class Classes:
    examples = "histories"
    units: frozenset[UnitKind] = frozenset({"domain", "fold"})
    trains = frozenset({"output"})

    def __init__(self, task: Task) -> None:
        self.task, self._lists = task, Lists(task)

    def check(self, summary: Mapping[str, Any], store: Store, data: DataOptions) -> None:
        self._lists.check(summary, store, data)

    def most_rows(self, table: Table, chunk: int) -> int:
        return self._lists.most_rows(table, chunk)

    def reduce(
        self, logit: Tensor, columns: Mapping[str, Tensor], rows: Tensor, item_domains: Tensor | None
    ) -> tuple[Tensor, ...]:
        return self._lists.reduce(logit, columns, rows, item_domains)

    def value(self, metric: str, kept: tuple[Tensor, ...], label: Tensor) -> Tensor:
        return self._lists.value(metric, kept, label)

    def test(self, passes: Passes, table: Table, further: Further) -> np.ndarray:
        """(N,) ids of the likeliest classes; of equal ones the lowest."""
        logits = torch.cat([logits for _, logits in passes(table, PASS)])
        return logits[:, 1:].argmax(1).numpy() + 1  # id 0 is no class

    def outcome(self, method: str, unit: str, reached: Sequence[np.ndarray], table: Table, trained: Replicates) -> ClassOutcomes:
        return ClassOutcomes(method, unit, np.stack(reached), table.columns[POSITIVE], trained)

    def pooled(
        self, method: str, name: str, parts: Sequence[tuple[ClassOutcomes, list[int]]], trained: Replicates
    ) -> ClassOutcomes:
        predicted = np.concatenate([o.predicted[places] for o, places in parts], axis=1)
        return ClassOutcomes(method, name, predicted, np.concatenate([o.truth for o, _ in parts]), trained)

    def tested(
        self, outcomes: Sequence[ClassOutcomes], tables: Mapping[str, Mapping[str, Table]], groups: Groups
    ) -> ClassesTested:
        return ClassesTested(outcomes, groups)

    def reached(
        self, measures: Mapping[str, Any], parts: Mapping[str, ClassOutcomes], place: int, protocol: Mapping[str, str]
    ) -> dict[str, Any]:
        return {name: float(v[place]) for users in parts.values() for name, v in measure_classes.values(users).items()}

    def masks(self, store: Store, name: str, units: Mapping[str, Table]) -> dict[str, np.ndarray]:
        return {}

    def protocol(self, data: DataOptions, store: Store) -> dict[str, str]:
        assert data.sequences is not None
        name = self.task.attribute
        classes = store.vocabulary(name)["raw"].to_pylist()
        said = ", ".join(classes[:8]) + (" ..." if len(classes) > 8 else "")
        candidates = f"the {len(classes)} classes of {name} ({said}); {name} itself is hidden"
        return {"candidates": candidates, "cohort": data.sequences.cold_users}

    def refusal(self, asked: Asked, unit: str, columns: Collection[str]) -> str:
        if asked == "predict":
            return ""
        return f"{asked}: the artifact of {unit!r} predicts {self.task.attribute}, and ranks no items; ask `predict`, in Python."

    def scored(self, logits: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        raise AssertionError("classes are predicted")
