"""All methods of the table on all units, on shared resamples of the users; and what rows with labels need for it.

Shapes: R replicates, N rows, U users, S resamples, B resamples of a block, K all score vectors of a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from raytune_rec.evaluation.measures.inputs import Predictions, Replicates
from raytune_rec.evaluation.metrics.scores import METRICS, group_auc
from raytune_rec.evaluation.uncertainty.intervals import Array, Estimate
from raytune_rec.evaluation.uncertainty.resampled import Areas, Means
from raytune_rec.evaluation.uncertainty.users import Users


class Meter(Protocol):
    """Measures all methods of the table on one unit.

    Attributes:
        values: method -> metric -> (R,). replicates: method -> which they are.
    """

    @property
    def values(self) -> Mapping[str, Mapping[str, Array]]: ...

    @property
    def replicates(self) -> Mapping[str, Replicates]: ...

    def drawn(self, times: Array) -> Mapping[str, Mapping[str, Array]]:
        """Method -> metric -> (R, B) with users drawn so often (U, B), for metrics that get an interval; NaN: not defined."""
        ...


@dataclass(frozen=True)
class Measured:
    """One method of the table on one unit.

    Args:
        values: metric name -> (R,). replicates: which they are. users: how many there are.
        draws: metrics that get an interval -> (S,), the estimate on each resample of the users.
    """

    values: Mapping[str, Array]
    replicates: Replicates
    users: int
    draws: Mapping[str, Array] = field(default_factory=dict)

    def estimate(self, metric: str) -> Estimate:
        """The mean over trainings: over pre-trainings that of their replicates where there are several, else over replicates."""
        weight = weights(self.replicates)
        numbers = np.array(self.replicates.trainings)
        each = {int(n): float(self.values[metric][numbers == n].mean()) for n in dict.fromkeys(self.replicates.trainings)}
        return Estimate(
            float(weight @ self.values[metric]), self.draws[metric], self.users, (each,),
            len(set(self.replicates.pretrainings)), self.replicates.several,
        )  # fmt: skip


@dataclass(frozen=True)
class Undrawn:
    """A meter of what gets no interval; arguments as the attributes of `Meter`."""

    values: Mapping[str, Mapping[str, Array]]
    replicates: Mapping[str, Replicates]

    def drawn(self, times: Array) -> Mapping[str, Mapping[str, Array]]:
        return {}


def weights(replicates: Replicates) -> Array:
    """(R,) what each replicate counts: every training the same, and so every replicate of one."""
    _, place, counts = np.unique(replicates.trainings, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(counts) * counts[place]))


def measure(meters: Mapping[str, Meter], users: Users, resamples: int, seed: Sequence[int]) -> dict[str, dict[str, Measured]]:
    """Unit -> method of the table -> what was measured, every method and unit on the same S resamples of the users."""
    draws: dict[tuple[str, str, str], Array] = {}
    for block, times in users.draws(resamples, seed):
        for unit, meter in meters.items():
            for method, metrics_ in meter.drawn(times).items():
                weight = weights(meter.replicates[method])
                for metric, values in metrics_.items():
                    draws.setdefault((unit, method, metric), np.zeros(resamples))[block] = weight @ values
    return {
        unit: {
            method: Measured(
                values, meter.replicates[method], users.count([unit]),
                {metric: draws[unit, method, metric] for metric in values if (unit, method, metric) in draws},
            )
            for method, values in meter.values.items()
        }
        for unit, meter in meters.items()
    }  # fmt: skip


class RowMeter:
    """Rows with a label each.

    Args:
        predictions: method -> its logits; R may differ between methods.
        labels: (N,) in {0, 1}. users: (N,) each row's user. size: U.
    """

    def __init__(
        self, predictions: Mapping[str, Predictions], labels: NDArray[np.floating], users: NDArray[np.intp], size: int
    ) -> None:
        stacked = np.concatenate([np.atleast_2d(p.scores) for p in predictions.values()]).astype(np.float64)
        self.replicates = {method: p.trained for method, p in predictions.items()}
        measures = _values(stacked, labels, users)
        self.values = {method: {name: v[part] for name, v in measures.items()} for method, part in self._parts()}
        self._areas, self._losses = Areas(stacked, labels, users), Means(_losses(stacked, labels), users, size)

    def drawn(self, times: Array) -> dict[str, dict[str, Array]]:
        areas, losses = self._areas.drawn(times), self._losses.drawn(times)
        return {method: {"auc": areas[part], "logloss": losses[part]} for method, part in self._parts()}

    def _parts(self) -> list[tuple[str, slice]]:
        ends = np.cumsum([len(r.numbers) for r in self.replicates.values()])
        held = zip(self.replicates.items(), ends, strict=True)
        return [(method, slice(end - len(r.numbers), end)) for (method, r), end in held]


def cohort(predictions: NDArray[np.floating], labels: NDArray[np.floating], mask: NDArray[np.bool_]) -> dict[str, Array]:
    """AUC and log loss of the rows in `mask`, metric -> (R,)."""
    scores = torch.as_tensor(np.atleast_2d(predictions)[:, mask])
    label = torch.as_tensor(np.asarray(labels)[mask])
    return {name: METRICS[name].function(scores, label).numpy() for name in ("auc", "logloss")}


def _values(scores: Array, labels: NDArray[np.floating], users: NDArray[np.intp]) -> dict[str, Array]:
    s, y = torch.as_tensor(scores), torch.as_tensor(np.asarray(labels, dtype=np.float64))
    plain = ("auc", "logloss", "calibration_error")
    values = {name: METRICS[name].function(s, y).numpy() for name in plain}
    return {**values, "group_auc": group_auc(s, y, torch.as_tensor(users.astype(np.int64))).numpy()}


def _losses(scores: Array, labels: NDArray[np.floating]) -> Array:
    """(K, N): each row's log loss in nats."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.logaddexp(0.0, np.where(np.asarray(labels) > 0, -scores, scores)))
