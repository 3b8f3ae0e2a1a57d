"""Rows that are interactions with a label each. Shapes as in `base`; R replicates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raytune_rec.data.stored.store import Store
from raytune_rec.evaluation.measures.cohorts import cold_warm, counts
from raytune_rec.evaluation.measures.inputs import Predictions, Replicates
from raytune_rec.evaluation.measures.tested import Groups, RowsTested
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import ITEM, USER, Table
from raytune_rec.task import Task, UnitKind
from raytune_rec.tasks.base import Asked, Further, Passes

_PASS = 16384


class LabelledRows:
    examples = "rows"
    units: frozenset[UnitKind] = frozenset({"domain", "items"})
    trains: frozenset[str] = frozenset()

    def __init__(self, task: Task) -> None:
        self.task = task

    def check(self, summary: Mapping[str, Any], store: Store, data: DataOptions) -> None:
        """Every row has its label."""

    def most_rows(self, table: Table, chunk: int) -> int:
        return chunk

    def reduce(
        self, logit: Tensor, columns: Mapping[str, Tensor], rows: Tensor, item_domains: Tensor | None
    ) -> tuple[Tensor, ...]:
        return (logit,)

    def value(self, metric: str, kept: tuple[Tensor, ...], label: Tensor) -> Tensor:
        return METRICS[metric].function(kept[0], label)

    def test(self, passes: Passes, table: Table, further: Further) -> np.ndarray:
        """(N,) float32 logits."""
        return torch.cat([logits for _, logits in passes(table, _PASS)]).numpy()

    def outcome(self, method: str, unit: str, reached: Sequence[np.ndarray], table: Table, trained: Replicates) -> Predictions:
        return Predictions(method, unit, np.stack(reached), trained)

    def pooled(self, method: str, name: str, parts: Sequence[tuple[Predictions, list[int]]], trained: Replicates) -> Predictions:
        return Predictions(method, name, np.concatenate([p.scores[places] for p, places in parts], axis=1), trained)

    def tested(self, outcomes: Sequence[Predictions], tables: Mapping[str, Mapping[str, Table]], groups: Groups) -> RowsTested:
        labels = {name: np.concatenate([t.label for t in units.values()]) for name, units in tables.items()}
        return RowsTested(outcomes, labels, groups)

    def reached(
        self, measures: Mapping[str, Any], parts: Mapping[str, Predictions], place: int, protocol: Mapping[str, str]
    ) -> dict[str, Any]:
        of_replicates = {name: v["replicates"] for name, v in measures.items() if isinstance(v, dict) and v.get("replicates")}
        return {name: values[place] for name, values in of_replicates.items()}

    def masks(self, store: Store, name: str, units: Mapping[str, Table]) -> dict[str, np.ndarray]:
        """Cold and warm rows, by what the unit's own training split knows of user and item."""
        ((unit, table),) = units.items()
        train = store.load(unit, "train")
        users, items = (counts(train.columns[field], store.schema.field(field).size) for field in (USER, ITEM))
        return dict(cold_warm(table.columns[USER], table.columns[ITEM], users, items))

    def protocol(self, data: DataOptions, store: Store) -> dict[str, str]:
        return {"candidates": "logged rows"}

    def refusal(self, asked: Asked, unit: str, columns: Collection[str]) -> str:
        if asked == "recommend":
            return (
                f"recommend: it ranks items for users with histories, and the artifact of {unit!r} scores single interactions; "
                "give `score` the rows of user and item that you would compare."
            )
        if asked == "predict":
            return f"predict: the artifact of {unit!r} predicts no attribute of users; ask `score`."
        return ""

    def scored(self, logits: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        return logits
