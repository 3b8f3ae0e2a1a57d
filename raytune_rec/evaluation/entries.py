"""The entries of `results.json` that hold measures of a row; `results` says what they mean. Shapes: R replicates, S resamples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from raytune_rec.evaluation import statistics
from raytune_rec.evaluation.inputs import RowFacts
from raytune_rec.evaluation.measure import Measured
from raytune_rec.evaluation.statistics import Array


def value(values: Array, draws: Array | None = None, confidence: float = 0.0, parts: Sequence[Array] = ()) -> dict[str, Any]:
    """One metric: mean, interval where there are draws, standard deviation over replicates, replicates.

    Args:
        values: (R,). draws: (S,), resampled means. confidence: of the interval.
        parts: the independent sets of replicates behind the mean, where `values` is an average of several.
    """
    found: dict[str, Any] = {"mean": values.mean()}
    if draws is not None:
        limits = statistics.interval(float(values.mean()), draws, confidence, parts or [values])
        found |= {"low": limits.low, "high": limits.high}
    return {**found, "sd": values.std(ddof=1) if len(values) > 1 else None, "replicates": values}


def of_unit(
    f: RowFacts, unit: str, folds: Sequence[str] | None, m: Measured, confidence: float, seed: Sequence[int]
) -> dict[str, Any]:
    """The measures of a row on a unit. `folds` are the tuning units that it pools, None where it pools none."""
    found = _winner(f, unit) if folds is None else _winners(f, folds)
    for name, values in m.values.items():
        found[name] = value(values, m.draws(name, [*seed, 2]) if name in m.changes else None, confidence)
    return found


def of_mean(parts: Sequence[Measured], valid: Sequence[float | None], confidence: float, seed: int) -> dict[str, Any]:
    """The measures of a row's mean over units. Replicate r is averaged with replicate r of the others.

    Args:
        parts: of the units. valid: their validation values. confidence: of the intervals. seed: of the resampling.
    """
    count = max(len(v) for p in parts for v in p.values.values())
    found: dict[str, Any] = {"valid": _average(valid)}
    for name in [n for n in parts[0].values if all(n in p.values for p in parts)]:
        if any(len(p.values[name]) not in (1, count) for p in parts):
            continue
        values = np.mean([np.broadcast_to(p.values[name], count) for p in parts], axis=0)
        draws = None
        if name in parts[0].changes:
            draws = np.mean([p.draws(name, [seed, i, 2]) for i, p in enumerate(parts)], axis=0)
        found[name] = value(values, draws, confidence, [p.values[name] / len(parts) for p in parts])
    return found


def _winner(f: RowFacts, unit: str) -> dict[str, Any]:
    return {"valid": f.valid.get(unit), "trial": f.trial.get(unit), "options": dict(f.options.get(unit, {}))}


def _winners(f: RowFacts, folds: Sequence[str]) -> dict[str, Any]:
    """Of a unit that pools several tuning units: the mean of their validation values, and each one's winner."""
    return {
        "valid": _average([f.valid.get(fold) for fold in folds]),
        "folds": {fold: _winner(f, fold) for fold in folds if fold in f.valid or fold in f.trial},
    }


def _average(valid: Sequence[float | None]) -> float:
    """NaN where one of them is missing."""
    return float(np.mean([np.nan if v is None else v for v in valid]))
