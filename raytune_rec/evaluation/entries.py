"""The entries of `results.json` that hold measures of a method; `results` says what they mean. Shapes: R replicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raytune_rec.evaluation.measures.inputs import MethodFacts
from raytune_rec.evaluation.measures.measure import Measured, weights
from raytune_rec.evaluation.uncertainty import intervals
from raytune_rec.evaluation.uncertainty.intervals import Array, Estimate
from raytune_rec.evaluation.uncertainty.users import Users


def value(values: Array, mean: float | None = None) -> dict[str, Any]:
    """One metric without an interval: mean, standard deviation over replicates, replicates (R,)."""
    spread = values.std(ddof=1) if len(values) > 1 else None
    return {"mean": values.mean() if mean is None else mean, "sd": spread, "replicates": values}


def with_interval(metric: str, values: Array | None, estimate: Estimate, confidence: float) -> dict[str, Any]:
    """One metric with an interval, which ends where the metric does. Of several units whose replicates differ there are none."""
    limits = intervals.interval(estimate, confidence)
    most = np.inf if metric == "logloss" else 1.0
    ends = {"low": np.maximum(limits.low, 0.0), "high": np.minimum(limits.high, most)}
    each = {"sd": None, "replicates": None} if values is None else value(values)
    return {**each, "mean": limits.mean, **ends}


def of_unit(f: MethodFacts, unit: str, folds: Sequence[str] | None, m: Measured, confidence: float) -> dict[str, Any]:
    """The measures of a method on a unit. `folds` are the tuning units that it pools, None where it pools none."""
    entry = _winner(f, unit) if folds is None else _winners(f, folds)
    weight = weights(m.replicates)
    for name, values in m.values.items():
        if name in m.draws:
            entry[name] = with_interval(name, values, m.estimate(name), confidence)
        else:
            entry[name] = value(values, float(weight @ values))
    return entry | {"numbers": m.replicates.numbers, "pretrainings": m.replicates.pretrainings}


def of_cohort(m: Measured, confidence: float) -> dict[str, Any]:
    """The metrics of a cohort; those with an interval without their replicates."""
    drawn = {name: with_interval(name, None, m.estimate(name), confidence) for name in m.draws}
    short = {name: {end: entry[end] for end in ("mean", "low", "high")} for name, entry in drawn.items()}
    return {name: value(values) for name, values in m.values.items() if name not in drawn} | short


def of_mean(
    parts: Mapping[str, Measured],
    valid: Sequence[float | None],
    averaged: Mapping[str, Sequence[str]],
    users: Users,
    confidence: float,
) -> dict[str, Any]:
    """The measures of a method's mean over units. Replicate r is averaged with replicate r of the others.

    Args:
        parts: unit -> what was measured. valid: the validation values of all units.
        averaged: metric -> the units that count. users: of all units. confidence: of the intervals.
    """
    entry: dict[str, Any] = {"valid": _average(valid)}
    for name, units in averaged.items():
        if units and all(name in parts[u].values for u in units):
            measured = [parts[u] for u in units]
            values = _together(measured, name)
            if all(name in m.draws for m in measured):
                mean = intervals.average([m.estimate(name) for m in measured], users.count(units))
                entry[name] = with_interval(name, values, mean, confidence)
            elif values is not None:
                entry[name] = value(values, float(np.mean([weights(m.replicates) @ m.values[name] for m in measured])))
    return entry


def _together(parts: Sequence[Measured], name: str) -> Array | None:
    """(R,) means over units by replicate, where a unit has all of them or a single one; None where some lack others."""
    numbers = {m.replicates.numbers for m in parts if len(m.replicates.numbers) > 1}
    if len(numbers) > 1:
        return None
    count = len(next(iter(numbers), (1,)))
    return np.asarray(np.mean([np.broadcast_to(m.values[name], count) for m in parts], axis=0))


def _winner(f: MethodFacts, unit: str) -> dict[str, Any]:
    return {"valid": f.valid.get(unit), "trial": f.trial.get(unit), "options": dict(f.options.get(unit, {}))}


def _winners(f: MethodFacts, folds: Sequence[str]) -> dict[str, Any]:
    """Of a unit that pools several tuning units: the mean of their validation values, and each one's winner."""
    return {
        "valid": _average([f.valid.get(fold) for fold in folds]),
        "folds": {fold: _winner(f, fold) for fold in folds if fold in f.valid or fold in f.trial},
    }


def _average(valid: Sequence[float | None]) -> float:
    """NaN where one of them is missing."""
    return float(np.mean([np.nan if v is None else v for v in valid]))
