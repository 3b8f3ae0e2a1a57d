"""All that the results need of one unit of users with a class each.

Precision, recall and F1 are macro: means over the classes that the test users have. A class that is never predicted has precision
0. Of two classes there are also those of the rarer one alone. A resample is measured anew, for none of these but accuracy is a
mean over users. Shapes: R replicates, N rows, U users, C classes of theirs, B resamples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from raytune_rec.evaluation.measures.inputs import ClassOutcomes
from raytune_rec.evaluation.uncertainty.intervals import Array

COMPARED = ("accuracy", "f1")
MACRO = ("accuracy", "precision", "recall", "f1")
RARE = "rare."
"""In front of the metrics of the rarer of two classes."""


class ClassMeter:
    """The users of one unit under all methods of the table.

    Args:
        outcomes: method -> what it predicts; R may differ between methods, the true classes are the same.
        users: (N,) who each is.
    """

    def __init__(self, outcomes: Mapping[str, ClassOutcomes], users: NDArray[np.intp]) -> None:
        self.values = {method: values(o) for method, o in outcomes.items()}
        self.replicates = {method: o.trained for method, o in outcomes.items()}
        self._codes = {method: _codes(o) for method, o in outcomes.items()}  # (R, N)
        truth = next(iter(outcomes.values())).truth
        self._shape, self._rare, self._users = _shape(truth), _rare(truth), users

    def drawn(self, times: Array) -> dict[str, dict[str, Array]]:
        """Method -> metric -> (R, B), with users drawn so often (U, B)."""
        weight = np.ascontiguousarray(times[self._users].T)  # (B, N)
        return {method: self._measured(codes, weight) for method, codes in self._codes.items()}

    def _measured(self, codes: NDArray[np.int64], weight: Array) -> dict[str, Array]:
        each = [_metrics(_confusions(code, weight, self._shape), self._rare) for code in codes]
        return {name: np.stack([measures[name] for measures in each]) for name in each[0]}


def values(outcomes: ClassOutcomes, mask: NDArray[np.bool_] | None = None) -> dict[str, Array]:
    """Metric -> (R,), of all users or of those in `mask`."""
    keep = np.ones(len(outcomes.truth)) if mask is None else mask.astype(np.float64)
    shape = _shape(outcomes.truth)
    matrices = np.concatenate([_confusions(code, keep[None], shape) for code in _codes(outcomes)])
    return _metrics(matrices, _rare(outcomes.truth))


def _metrics(matrices: Array, rare: int | None) -> dict[str, Array]:
    """Confusion matrices (M, C, C + 1) -> metric -> (M,)."""
    held, said = matrices.sum(2), matrices[:, :, :-1].sum(1)  # (M, C): users of a class, and users said to be
    right = np.diagonal(matrices, axis1=1, axis2=2)
    by_class = {
        "precision": right / np.maximum(said, 1),
        "recall": right / np.maximum(held, 1),
        "f1": 2 * right / np.maximum(held + said, 1),
    }
    there = held > 0
    with np.errstate(invalid="ignore"):
        metrics = {"accuracy": right.sum(1) / held.sum(1)}
        metrics |= {name: (each * there).sum(1) / there.sum(1) for name, each in by_class.items()}
    return metrics if rare is None else metrics | {RARE + name: each[:, rare] for name, each in by_class.items()}


def _codes(outcomes: ClassOutcomes) -> NDArray[np.int64]:
    """(R, N) cell of the confusion matrix (C, C + 1) for each user; the last column is of classes that no test user has."""
    classes, true = np.unique(outcomes.truth, return_inverse=True)
    said = np.atleast_2d(outcomes.predicted)
    place = np.minimum(np.searchsorted(classes, said), len(classes) - 1)
    place = np.where(classes[place] == said, place, len(classes))
    return (true * (len(classes) + 1) + place).astype(np.int64)


def _confusions(code: NDArray[np.int64], weight: Array, shape: tuple[int, int]) -> Array:
    """Cells (N,) and weights of the users (M, N) -> (M, C, C + 1)."""
    cells = shape[0] * shape[1]
    index = code + np.arange(len(weight))[:, None] * cells
    confusions: Array = np.bincount(index.ravel(), weight.ravel(), len(weight) * cells).astype(np.float64)
    return confusions.reshape(len(weight), *shape)


def _shape(truth: NDArray[np.integer]) -> tuple[int, int]:
    count = len(np.unique(truth))
    return count, count + 1


def _rare(truth: NDArray[np.integer]) -> int | None:
    """Place of the rarer of two classes; of two equal ones the later."""
    _, counts = np.unique(truth, return_counts=True)
    if len(counts) != 2:
        return None
    return 0 if counts[0] < counts[1] else 1
