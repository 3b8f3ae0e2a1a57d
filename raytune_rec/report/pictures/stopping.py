"""What early stopping did: trials that ended because others were better."""

from __future__ import annotations

import math
from collections.abc import Sequence

from raytune_rec.report import words
from raytune_rec.report.run import Run
from raytune_rec.report.trials import Trial


def stopped(run: Run, unit: str | None = None) -> list[Trial]:
    """Trials that were stopped early, of the methods of the table."""
    units = None if unit is None else run.tuned(unit)
    return [t for t in run.trials if t.state == "pruned" and t.method in run.methods and (units is None or t.unit in units)]


def reached(trials: Sequence[Trial], higher: bool) -> list[tuple[int, float]]:
    """(number, best validation value until it was stopped) of each trial that has one."""
    curves = [(t.number, [v for v in t.curve if math.isfinite(v)]) for t in trials]
    return [(number, max(c) if higher else min(c)) for number, c in curves if c]


def saved(run: Run) -> str:
    """How many trials were stopped, and the epochs of all trials against the most they could be; empty where none was."""
    trials = [t for t in run.trials if t.method in run.methods and t.state in ("complete", "failed", "pruned")]
    pruned = stopped(run)
    if not pruned:
        return ""
    trained, most = sum(t.epochs for t in trials), [_most(run, t) for t in trials]
    rule = run.settings.get("tune", {}).get("stop", {}).get("rule", "none")
    text = f"Of {words.count(len(trials))} trials {words.were(len(pruned))} stopped early"
    text += f" (rule {rule})" if rule != "none" else ""
    text += f"; all together trained {words.count(trained)} epochs"
    if any(m is None for m in most):
        return text + "."
    whole = sum(m for m in most if m is not None)
    share = f", {words.percent(trained / whole)} of" if whole else " of"
    return f"{text}{share} the {words.count(whole)} that full training of every trial would have been at most, patience aside."


def _most(run: Run, trial: Trial) -> int | None:
    """Epochs of the trial's full training: the job's, the method's or its own; None where the job does not say."""
    if run.results["methods"][trial.method]["tuned_parameters"] == 0:
        return 0
    method = run.settings.get("methods", {}).get(trial.method, {}).get("options", {})
    job = run.settings.get("training", {}).get("epochs")
    limit = {"training.epochs": job, **method, **trial.options}["training.epochs"]
    return None if limit is None else int(limit)
