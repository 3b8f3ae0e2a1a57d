"""Which hyperparameters mattered: Optuna's PED-ANOVA on the trials of a method on a unit.

PED-ANOVA asks how far the better part of the trials is from all of them in each parameter. It needs no further library, and
copes with parameters that only some trials have. With few trials it is a hint, no more.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from raytune_rec.report.trials import Trial
from raytune_rec.schema.work import Scalar

FEWEST = 8
"""Complete trials below which nothing is said."""
WIDE = 100
"""A positive option whose values span more than this factor is taken on a log scale."""


def importance(trials: Sequence[Trial], higher: bool) -> Mapping[str, float]:
    """Option -> share of the importance, summing to 1, largest first. Empty where there is nothing to tell.

    Args:
        trials: of one method on one unit.
        higher: whether a higher value is better.
    """
    trials = [t for t in trials if t.complete]
    spread = distributions([t.options for t in trials])
    if len(trials) < FEWEST or not spread or len({t.value for t in trials}) < 2:
        return {}
    study = _silent_study("maximize" if higher else "minimize")
    for t in trials:
        options = {name: _value(t.options[name], spread[name]) for name in spread}
        study.add_trial(optuna.trial.create_trial(params=options, distributions=dict(spread), value=t.value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is marked experimental
        by_option = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=0.25))
    return {name: float(v) for name, v in by_option.items()}


def distributions(options: Sequence[Mapping[str, Scalar]]) -> Mapping[str, BaseDistribution]:
    """A distribution for each option that all trials have and that differs between them, from the values alone."""
    names = set.intersection(*(set(o) for o in options)) if options else set()
    by_option: dict[str, BaseDistribution] = {}
    for name in sorted(names):
        values = [o[name] for o in options]
        if len(set(values)) < 2:
            continue
        numbers = [float(v) for v in values if is_number(v)]
        if len(numbers) == len(values):
            by_option[name] = FloatDistribution(min(numbers), max(numbers), log=wide(numbers))
        else:
            by_option[name] = CategoricalDistribution(sorted({str(v) for v in values}))
    return by_option


def is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def wide(values: Sequence[float]) -> bool:
    """Whether positive values span more than two decades."""
    return min(values) > 0 and max(values) / min(values) > WIDE


def _silent_study(direction: Literal["maximize", "minimize"]) -> optuna.Study:
    """An empty study in memory, without the line that Optuna logs for it."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))
    finally:
        optuna.logging.set_verbosity(level)


def _value(value: Scalar, distribution: BaseDistribution) -> float | str:
    return float(value) if isinstance(distribution, FloatDistribution) else str(value)
