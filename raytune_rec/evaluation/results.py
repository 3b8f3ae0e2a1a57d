"""What a run found, as one JSON value: a pure function of predictions, labels and facts.

    format        1
    protocol      as given (split, metric, cohort, candidates), and confidence, bootstrap, seed, ties, interval, rows {unit: n}
    provenance    as given: versions, fingerprints, seeds, command
    row_order     rows as the job lists them, since JSON objects have no order; unit_order: the units
    units         {unit: {n, positives}}
    rows          {row: {strategy, prompt, backbone, variant, baseline, claims, trials, tuned_parameters,
                         backbone_parameters, tuned_share, seconds, units: {unit: MEASURES}, mean: MEASURES}}
    comparisons   [{row, baseline, unit, difference, low, high, p, p_holm, p_delong, p_replicates,
                    by_user: {low, high} | null, replicates: [...] | null}]
                  one for each row that claims x baseline x (unit or "mean")
    winners       {unit or "mean": {test: row, valid: row}}
    costs         {trials, seconds, rows: {row: {trials, seconds, seconds_per_trial}}}

MEASURES, for a unit, hold `auc` and `logloss` {mean, low, high, sd, replicates: [...]}, `group_auc` and `calibration_error`
{mean, sd, replicates}, `valid` (the winner's best validation value), and for a unit also `trial`, `options` and, where masks
are given, `cohorts` {name: {n, positives, auc, logloss}}. Those of the mean over units hold no `trial`, `options` and
`cohorts`; they are absent where a unit is missing. A value that is not defined is null.

Intervals are of the bootstrap over test rows (within each class) and replicates together; `p` is its p-value, `p_holm` that
corrected for all comparisons of the job, `p_delong` DeLong's on scores averaged over replicates, `p_replicates` the paired t
over replicates, `by_user` the interval when users are resampled instead of rows. Intervals of a level say how well the level
is known; rows are judged by `comparisons`, which are paired on the same test rows and so much narrower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raytune_rec.errors import UserError
from raytune_rec.evaluation import statistics
from raytune_rec.evaluation.comparisons import MEAN, comparisons
from raytune_rec.evaluation.measure import Measured, cohort, measure
from raytune_rec.evaluation.metrics import METRICS
from raytune_rec.evaluation.statistics import Array
from raytune_rec.schema import Scalar

FORMAT = 1

Masks = Mapping[str, Mapping[str, NDArray[np.bool_]]]


@dataclass(frozen=True)
class RowFacts:
    """What is known of a row of the table before its test rows are looked at.

    Args:
        row: name in the job. strategy, prompt, backbone, variant: of it.
        baseline: whether others are compared with it.
        trials: spent on its search, over all units.
        tuned_parameters: trained for one unit. backbone_parameters: of the whole backbone.
        seconds: of its search.
        valid: unit -> best validation value of the winner. options: unit -> its flat options. trial: unit -> its number.
    """

    row: str
    strategy: str
    prompt: str
    backbone: str
    variant: str
    baseline: bool
    trials: int
    tuned_parameters: int
    backbone_parameters: int
    seconds: float
    valid: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    trial: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """Test logits of a row's winner on a unit: scores (R, N); R = 1 where nothing was trained."""

    row: str
    unit: str
    scores: NDArray[np.floating]


def summarise(
    facts: Sequence[RowFacts],
    predictions: Sequence[Predictions],
    labels: Mapping[str, NDArray[np.floating]],
    groups: Mapping[str, NDArray[np.integer]],
    compare: Sequence[str],
    baselines: Sequence[str],
    protocol: Mapping[str, Any],
    confidence: float = 0.95,
    bootstrap: int = 2000,
    seed: int = 0,
    cohorts: Masks | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of `results.json` (see the module).

    Args:
        facts: one per row, in the table's order.
        predictions: of rows on units; a pair that failed is left out.
        labels: unit -> (N,) in {0, 1}. groups: unit -> (N,) user ids; units may be left out.
        compare: rows that claim something. baselines: rows that they are compared with.
        protocol: what makes the numbers comparable: split, metric, cohort, candidates.
        confidence: of every interval. bootstrap: resamples. seed: of the resampling.
        cohorts: unit -> cohort -> (N,) bool.
        provenance: kept as it is.
    """
    if MEAN in labels:
        raise UserError(f"units: {MEAN!r} stands for the mean over units, so no unit can have this name; rename the domain.")
    measured = {
        unit: measure(_of_unit(predictions, unit), labels[unit], groups.get(unit), bootstrap, [seed, i])
        for i, unit in enumerate(labels)
    }
    given = {(p.row, p.unit): np.atleast_2d(p.scores) for p in predictions}
    rows = {}
    for f in facts:
        units = {
            u: _unit_measures(f, u, measured[u][f.row], confidence, [seed, i])
            for i, u in enumerate(labels)
            if f.row in measured[u]
        }
        for unit, masks in (cohorts or {}).items():
            if unit in units:
                units[unit]["cohorts"] = {n: _cohort(given[f.row, unit], labels[unit], m) for n, m in masks.items()}
        rows[f.row] = {
            **_facts(f, f.row in compare, f.row in baselines),
            "units": units,
            **_mean(f, units, measured, confidence, seed),
        }
    result = {
        "format": FORMAT,
        "protocol": _protocol(protocol, labels, confidence, bootstrap, seed),
        "provenance": dict(provenance or {}),
        "row_order": [f.row for f in facts],
        "unit_order": list(labels),
        "units": {u: {"n": len(y), "positives": int((np.asarray(y) > 0).sum())} for u, y in labels.items()},
        "rows": rows,
        "comparisons": comparisons(measured, labels, compare, baselines, confidence, seed),
        "winners": _winners(rows, list(labels), str(protocol.get("metric", "auc"))),
        "costs": _costs(facts),
    }
    return plain(result)


def plain(value: Any) -> Any:
    """The value in JSON's own types: numpy scalars and arrays become Python's, and a number that is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _of_unit(predictions: Sequence[Predictions], unit: str) -> dict[str, NDArray[np.floating]]:
    return {p.row: p.scores for p in predictions if p.unit == unit}


def _protocol(
    given: Mapping[str, Any], labels: Mapping[str, Any], confidence: float, bootstrap: int, seed: int
) -> dict[str, Any]:
    return {
        "split": "test",
        "metric": "auc",
        "cohort": "all rows",
        "candidates": "logged rows",
        **given,
        "rows": {u: len(y) for u, y in labels.items()},
        "ties": "count half",
        "interval": "bootstrap over test rows within each class, and over replicates",
        "confidence": confidence,
        "bootstrap": bootstrap,
        "seed": seed,
    }


def _facts(f: RowFacts, claims: bool, baseline: bool) -> dict[str, Any]:
    return {
        "strategy": f.strategy,
        "prompt": f.prompt,
        "backbone": f.backbone,
        "variant": f.variant,
        "baseline": f.baseline or baseline,
        "claims": claims,
        "trials": f.trials,
        "tuned_parameters": f.tuned_parameters,
        "backbone_parameters": f.backbone_parameters,
        "tuned_share": f.tuned_parameters / f.backbone_parameters if f.backbone_parameters else None,
        "seconds": f.seconds,
    }


def _measure(values: Array, draws: Array | None, confidence: float, parts: Sequence[Array] = ()) -> dict[str, Any]:
    """One metric: mean, interval where there are draws, standard deviation over replicates, replicates.

    `parts` are the independent sets of replicates behind the mean, where `values` is an average of several.
    """
    found: dict[str, Any] = {"mean": values.mean()}
    if draws is not None:
        limits = statistics.interval(float(values.mean()), draws, confidence, parts or [values])
        found |= {"low": limits.low, "high": limits.high}
    return {**found, "sd": values.std(ddof=1) if len(values) > 1 else None, "replicates": values}


def _unit_measures(f: RowFacts, unit: str, m: Measured, confidence: float, seed: Sequence[int]) -> dict[str, Any]:
    found: dict[str, Any] = {"valid": f.valid.get(unit), "trial": f.trial.get(unit), "options": dict(f.options.get(unit, {}))}
    for name, values in m.values.items():
        found[name] = _measure(values, m.draws(name, [*seed, 2]) if name in m.changes else None, confidence)
    return found


def _mean(
    f: RowFacts, units: Mapping[str, Any], measured: Mapping[str, Mapping[str, Measured]], confidence: float, seed: int
) -> dict[str, Any]:
    """`{"mean": MEASURES}` over units, or nothing where a unit is missing. Replicate r is averaged with replicate r of the
    others."""
    if len(units) < len(measured) or not units:
        return {}
    parts = [m[f.row] for m in measured.values()]
    count = max(len(p.values["auc"]) for p in parts)
    found: dict[str, Any] = {"valid": np.mean([f.valid.get(u, np.nan) for u in units])}
    for name in set.intersection(*(set(p.values) for p in parts)):
        if any(len(p.values[name]) not in (1, count) for p in parts):
            continue
        values = np.mean([np.broadcast_to(p.values[name], count) for p in parts], axis=0)
        draws = None
        if name in parts[0].changes:
            draws = np.mean([p.draws(name, [seed, i, 2]) for i, p in enumerate(parts)], axis=0)
        found[name] = _measure(values, draws, confidence, [p.values[name] / len(parts) for p in parts])
    return {MEAN: found}


def _cohort(scores: NDArray[np.floating], labels: NDArray[np.floating], mask: NDArray[np.bool_]) -> dict[str, Any]:
    values = cohort(scores, labels, mask)
    size = {"n": int(mask.sum()), "positives": int((np.asarray(labels)[mask] > 0).sum())}
    return {**size, **{name: _measure(v, None, 0.0) for name, v in values.items()}}


def _winners(rows: Mapping[str, Any], units: Sequence[str], metric: str) -> dict[str, dict[str, str | None]]:
    """The best row of each unit and of their mean, by the mean test AUC and by validation."""
    higher = metric not in METRICS or METRICS[metric].higher
    found = {}
    for unit in [*units, MEAN]:
        measures = {name: r.get(MEAN) if unit == MEAN else r["units"].get(unit) for name, r in rows.items()}
        test = {name: m["auc"]["mean"] for name, m in measures.items() if m and "auc" in m}
        valid = {name: m["valid"] if higher else -m["valid"] for name, m in measures.items() if m and m["valid"] is not None}
        found[unit] = {"test": _best(test), "valid": _best(valid)}
    return found


def _best(values: Mapping[str, float]) -> str | None:
    known = {name: v for name, v in values.items() if math.isfinite(v)}
    return max(known, key=lambda name: known[name]) if known else None


def _costs(facts: Sequence[RowFacts]) -> dict[str, Any]:
    rows = {
        f.row: {"trials": f.trials, "seconds": f.seconds, "seconds_per_trial": f.seconds / f.trials if f.trials else None}
        for f in facts
    }
    return {"trials": sum(f.trials for f in facts), "seconds": sum(f.seconds for f in facts), "rows": rows}
