"""What a run found, as one JSON value: a pure function of predictions, labels and facts.

    format        3
    kind          "rows": test rows with a label each; "lists": candidate lists with one positive each; "classes": users with a
                  class each
    pools         what a unit of the table pools, where these are no folds
    protocol      as given (split, metric, cohort, candidates; of lists also full), and confidence, bootstrap, seed, ties,
                  interval, rows {unit: n}
    provenance    as given: versions, fingerprints, seeds
    method_order  methods as the job lists them, since JSON objects have no order; unit_order: the units
    users         how many different ones the test rows of all units have
    units         {unit: {n, positives, users}}; of lists {unit: {n, users, candidates: [least, most], full_candidates: so too}};
                  of classes {unit: {n, users, classes, largest: share of the most frequent one}}; of all, where there are any,
                  tied: [method, ...]: methods that are constant: all candidates of every list, or all rows in a replicate or more
                  score the same, or all users are said to be of one class
    tables        {unit: [tuning unit, ...]}, where units pool several tuning units (folds); absent where none does
    averaged      {metric: [unit, ...]}: the units of the mean, of metrics that some unit has no value of (AUC of one class);
                  absent where every unit has all
    untested      {unit: why}: units without a test row, or with a single class of them; absent where there are none
    methods          {method: {strategy, prompt, backbone, pretraining, baseline, claims, trials, recipes, tuned_parameters,
                         backbone_parameters, tuned_share, seconds, pretrainings, units: {unit: MEASURES}, mean: MEASURES}}
                  recipes: trials of the search of its pre-training, which methods on one share; old results do not tell them.
                  pretrainings: how many stand under the method, 0 where it starts from scratch. `best` has `among`: the methods
                  of which validation chose one for each unit, whose trials and seconds it tells again
    choice        {pretraining, pretrainings: {name: mean}, units: {unit: {method, valid: {method: value}}}}: what became of that
                  choice (`stages.winners.Choice`); values are means over replicates on the first pre-training; absent without one
    comparisons   [{method, baseline, metric, unit, difference, low, high, p, p_holm, n, users, pretrainings | null,
                    trainings: [...] | null, covers}]
                  one for each method that claims x baseline x metric (auc; of lists auc and ndcg@10; of classes accuracy and
                  f1) x (unit or "mean")
    sizes         {metric, thirds: {small, middle, large: [unit, ...]}, distances: {unit: distance}, nearness: {near, between,
                  far: [unit, ...]}, means: {method: {rows | third: {mean, low, high}}}, differences: [{method, baseline,
                  of: rows | third, difference, low, high, covers}]}: of the units of the mean, each counting its test rows
                  (`rows`), or the plain mean of a third of them by test rows or by distance (absent where none is known), from
                  six units on; the intervals are not corrected for their number. Absent where units have no mean
    not_compared  [{method, baseline, unit, why}]: comparisons for which a result is missing; absent where none is
    winners       {unit or "mean": {test: method, valid: method}}, test by auc, of classes by accuracy
    missing       [{method, unit, reason, replicates}], absent where nothing is: what could not be trained. `method` may be
                  `pretrain.<name>`, an empty unit stands for all of them; `replicates` are those that a result lacks
    item_map      {unit, method, replicate, seed, and what `item_map` says}, of the artifact of one unit of cold items; absent
                  where there is none
    costs         {trials, seconds, methods: {method: {trials, seconds, seconds_per_trial}}}

MEASURES, for a unit, hold `auc` and `logloss` {mean, low, high, sd, replicates: [...]}, `group_auc` and `calibration_error`
{mean, sd, replicates}, `numbers` and `pretrainings` (of each replicate its number and the pre-training that it stands on; the
latter empty for a start from scratch), `valid` (the winner's best validation value), `trial`, `options` and, where masks are
given, `cohorts` {name: {n, positives, auc, logloss}}. Those of the mean over units hold the metrics and `valid`; they are absent
where a unit is missing. A value that is not defined is null. A unit that pools tuning units has `folds` {tuning unit: {trial,
options, valid}} in place of `trial` and `options`, and `valid` is their mean.

Of lists, MEASURES hold `auc` (mean AUC of a list), `hit@k` (k = 1, 5, 10, 20, 50), `ndcg@k` (k = 5, 10, 20, 50) and `mrr`, and
the same after `full.` where all items were ranked too; `cohorts` {name: {n, users, auc, hit@10, ndcg@10: {mean, low, high}}}.
`auc`, `hit@10` and `ndcg@10` have intervals. Of cold items, cohorts are those of lists by how often their positive was taken in
training, `units` hold `score_edges`, and MEASURES `scores` {above, and of each kind of `measures.spread` {mean, shares: [...]}}.

Of classes, MEASURES hold `accuracy` and the macro means `precision`, `recall` and `f1`, and of two classes the last three of the
rarer one after `rare.`; all have intervals.

Where units are different tasks their mean says nothing: without it there is no `mean` in methods, comparisons and winners.

Every interval and every p-value is by user (`intervals`): users are drawn once for all methods and units of the table, and the
variance between trainings is added. `mean` counts every pre-training the same where there are several (that of its replicates),
else every replicate. In a comparison `n` and `users` are those under it, `pretrainings` how many stand under the method that has
fewest (null: both start from scratch), `trainings` the differences by pre-training or replicate (null where those of the two
methods do not go together), `covers` what of this the interval holds, in words; `p_holm` is corrected for all comparisons of the
job. Intervals of a level say how well the level is known; methods are judged by `comparisons`, which are paired on the same test
rows and so much narrower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raytune_rec.errors import UserError
from raytune_rec.evaluation import entries
from raytune_rec.evaluation.comparisons import MEAN, Compared, comparisons
from raytune_rec.evaluation.measures.inputs import MethodFacts
from raytune_rec.evaluation.measures.measure import Measured, measure
from raytune_rec.evaluation.measures.tested import Tested
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.evaluation.sizes import by_size
from raytune_rec.evaluation.uncertainty.users import Users

FORMAT = 3
INTERVAL = (
    "bootstrap over users, each drawn with all his rows in every unit, once for all methods of the table; the variance between "
    "pre-trainings (where there is one, or none, between replicates) added; Student's law"
)

Measures = Mapping[str, Mapping[str, Measured]]
Masks = Mapping[str, Mapping[str, NDArray[np.bool_]]]


def summarise(
    facts: Sequence[MethodFacts],
    tested: Tested,
    compare: Sequence[str],
    baselines: Sequence[str],
    protocol: Mapping[str, Any],
    confidence: float = 0.95,
    bootstrap: int = 2000,
    seed: int = 0,
    cohorts: Masks | None = None,
    provenance: Mapping[str, Any] | None = None,
    mean: bool = True,
    tables: Mapping[str, Sequence[str]] | None = None,
    distances: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The content of `results.json` (see the module).

    Args:
        facts: one per method, in the table's order.
        tested: what was reached on the units; a pair of method and unit that failed or is none is left out.
        compare: methods that claim something. baselines: methods that they are compared with.
        protocol: what makes the numbers comparable: split, metric, cohort, candidates, and full where all items are ranked too.
        confidence: of every interval. bootstrap: resamples. seed: of the resampling.
        cohorts: unit -> cohort -> (N,) bool.
        provenance: kept as it is.
        mean: whether the mean over units says something; false where they are different tasks.
        tables: unit -> the tuning units that it pools; `facts` are then keyed by those.
        distances: unit -> how far it is from all others.
    """
    tables = {u: list(folds) for u, folds in (tables or {}).items() if list(folds) != [u]}
    units = tested.units
    if MEAN in units:
        raise UserError(f"units: {MEAN!r} stands for the mean over units, so no unit can have this name; rename the domain.")
    masks = {u: {name: (f"{u}\n{name}", mask) for name, mask in (cohorts or {}).get(u, {}).items()} for u in units}
    parts = {key: (unit, mask) for unit, of_unit in masks.items() for key, mask in of_unit.values()}
    of_parts = {key: np.asarray(tested.groups[unit])[mask] for key, (unit, mask) in parts.items()}
    users = Users({**{unit: tested.groups[unit] for unit in units}, **of_parts})
    meters = {unit: tested.meter(unit, users) for unit in units}
    meters |= {key: tested.cohort(unit, mask, users.places[key], users.size) for key, (unit, mask) in parts.items()}
    reached = measure(meters, users, bootstrap, [seed])
    measured = {unit: reached[unit] for unit in units}
    averaged = _averaged(measured) if mean else {}
    methods = {}
    for f in facts:
        by_unit = {u: entries.of_unit(f, u, tables.get(u), m[f.method], confidence) for u, m in measured.items() if f.method in m}
        under = {"pretrainings": _pretrainings(measured, f.method)}
        methods[f.method] = {**_facts(f, f.method in compare, f.method in baselines), **under, "units": by_unit}
        if mean and by_unit and len(by_unit) == len(units):
            each, valid = {u: m[f.method] for u, m in measured.items()}, [m["valid"] for m in by_unit.values()]
            methods[f.method][MEAN] = entries.of_mean(each, valid, averaged, users, confidence)
        for unit, entry in by_unit.items():
            entry.update(tested.beside(f.method, unit))
            if masks[unit]:
                entry["cohorts"] = {
                    name: tested.size(unit, mask) | entries.of_cohort(reached[key][f.method], confidence)
                    for name, (key, mask) in masks[unit].items()
                }
    sizes = {u: tested.facts(u)["n"] for u in units}
    held = Compared(measured, sizes, users, tested.compared, averaged)
    compared, missing = comparisons(held, compare, baselines, confidence)
    of_sizes = by_size(held, compare, baselines, confidence, distances)
    partly = {metric: counted for metric, counted in averaged.items() if len(counted) < len(units)}
    result = {
        "format": FORMAT,
        "kind": tested.kind,
        "protocol": {
            "split": "test", "metric": "auc", "cohort": "all rows", "candidates": "logged rows", **protocol,
            "rows": sizes, "ties": tested.ties, "interval": INTERVAL,
            "confidence": confidence, "bootstrap": bootstrap, "seed": seed,
        },
        "provenance": dict(provenance or {}),
        "method_order": [f.method for f in facts],
        "unit_order": list(units),
        "units": {u: tested.facts(u) for u in units},
        **({"tables": {u: folds for u, folds in tables.items() if u in units}} if tables else {}),
        **({"averaged": partly} if partly else {}),
        "users": users.size,
        "methods": methods,
        "comparisons": compared,
        **({"not_compared": missing} if missing else {}),
        **({"sizes": of_sizes} if of_sizes else {}),
        "winners": _winners(methods, [*units, MEAN] if mean else units, str(protocol.get("metric", "auc")), tested.lead),
        "costs": _costs(facts),
    }  # fmt: skip
    return plain(result)


def _averaged(measured: Measures) -> dict[str, list[str]]:
    """Metric that every unit has -> the units of its mean: those where a method has a value (a unit of one class has no AUC)."""
    names = [dict.fromkeys(name for m in methods.values() for name in m.values) for methods in measured.values()]
    averaged = {}
    for name in dict.fromkeys(name for of_unit in names for name in of_unit):
        if all(name in of_unit for of_unit in names):
            averaged[name] = [u for u, methods in measured.items() if any(_known(m, name) for m in methods.values())]
    return averaged


def _known(m: Measured, name: str) -> bool:
    return name in m.values and bool(np.isfinite(m.values[name]).all())


def _pretrainings(measured: Measures, method: str) -> int:
    """How many stand under a method on the unit where it has fewest; 0 where it starts from scratch."""
    of_units = [methods[method] for methods in measured.values() if method in methods]
    return min((len(set(m.replicates.pretrainings)) for m in of_units), default=0)


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


def _facts(f: MethodFacts, claims: bool, baseline: bool) -> dict[str, Any]:
    return {
        "strategy": f.strategy,
        "prompt": f.prompt,
        "backbone": f.backbone,
        "pretraining": f.pretraining,
        "baseline": f.baseline or baseline,
        "claims": claims,
        "trials": f.trials,
        "recipes": f.recipes,
        "tuned_parameters": f.tuned_parameters,
        "backbone_parameters": f.backbone_parameters,
        "tuned_share": f.tuned_parameters / f.backbone_parameters if f.backbone_parameters else None,
        "seconds": f.seconds,
        **({"among": f.among} if f.among else {}),
    }


def _winners(methods: Mapping[str, Any], units: Sequence[str], metric: str, lead: str) -> dict[str, dict[str, str | None]]:
    """The best method of each unit, their mean included, by the mean of the test metric that leads and by validation."""
    sign = 1 if metric not in METRICS or METRICS[metric].higher else -1
    winners = {}
    for unit in units:
        measures = {name: r.get(MEAN) if unit == MEAN else r["units"].get(unit) for name, r in methods.items()}
        test = {name: m[lead]["mean"] for name, m in measures.items() if m and lead in m}
        valid = {name: sign * m["valid"] for name, m in measures.items() if m and m["valid"] is not None}
        winners[unit] = {"test": _best(test), "valid": _best(valid)}
    return winners


def _best(values: Mapping[str, float]) -> str | None:
    known = {name: v for name, v in values.items() if math.isfinite(v)}
    return max(known, key=lambda name: known[name]) if known else None


def _costs(facts: Sequence[MethodFacts]) -> dict[str, Any]:
    methods = {
        f.method: {"trials": f.trials, "seconds": f.seconds, "seconds_per_trial": f.seconds / f.trials if f.trials else None}
        for f in facts
    }
    own = [f for f in facts if not f.among]
    return {"trials": sum(f.trials for f in own), "seconds": sum(f.seconds for f in own), "methods": methods}
