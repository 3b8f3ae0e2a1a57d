"""The page's groups of charts: which panels there are, what they show, and how that reads in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from raytune_rec.report import words
from raytune_rec.report.pictures import charts, stopping
from raytune_rec.report.pictures.charts import Series
from raytune_rec.report.pictures.importance import importance, is_number, wide
from raytune_rec.report.pictures.theme import colours, svg
from raytune_rec.report.run import Run
from raytune_rec.report.tables import many
from raytune_rec.report.trials import Trial, number

Colours = Mapping[str, str]
DISTINCT = 8
"""Values of an option below which its effect is not drawn."""
LARGE = 8
"""Options with the largest importance that a panel shows."""
APART = 6
"""Units that have a panel each for the effect of an option; more share one, for a page that is made and read in the same time."""


@dataclass(frozen=True)
class PanelGroup:
    """Panels side by side under one caption. `key` is (name, colour)."""

    caption: str
    panels: Sequence[Markup]
    key: Sequence[tuple[str, str]] = ()
    name: str = ""


def method_colours(run: Run) -> dict[str, str]:
    return colours(run.claims, run.methods)


def learning(run: Run, colour: Colours) -> PanelGroup | None:
    """Validation curve of each method's winning trial, one panel for each unit."""
    panels, shown = [], set()
    for name, unit in many.drawn(run).items():
        chosen = {r: chosen_trials for r in run.charted(unit) if (chosen_trials := [t for t in run.winners(r, unit) if t.curve])}
        if not chosen:
            continue
        series = [
            Series(range(len(t.curve)), t.curve, colour[r], (t.best_epoch,), len(chosen_trials) > 1, named(run, r, t))
            for r, chosen_trials in chosen.items()
            for t in chosen_trials
        ]
        limits = charts.sensible([v for chosen_trials in chosen.values() for t in chosen_trials for v in t.curve], run.higher)
        every = [(r, t) for r, chosen_trials in chosen.items() for t in chosen_trials]
        said = "; ".join(f"{named(run, r, t)} best {words.fixed(t.value)} at epoch {t.best_epoch}" for r, t in every)
        panels.append(
            svg(
                charts.lines(name, series, "epoch", f"validation {run.metric_title}", limits),
                f"Learning curves in {name}: {said}.",
            )
        )
        shown |= set(chosen)
    if not panels:
        return None
    caption = (
        f"Validation {run.metric_title} of each method's winning trial by epoch; epoch 0 is the model before its first step, the "
        "dot is the epoch that is kept. Curves that start far below are cut by the frame."
        f"{_folds(run, 'curve')}{_some(run)}"
    )
    return PanelGroup(caption, panels, _key(colour, [r for r in run.methods if r in shown]))


def pretraining(run: Run) -> PanelGroup | None:
    """Validation curve and loss of each pre-training."""
    pretrainings = {name: v for name, v in run.pretrain.items() if v.get("curve")}
    if not pretrainings:
        return None
    colour = colours([], list(pretrainings))
    curves = {name: [number(x) for x in v["curve"]] for name, v in pretrainings.items()}
    series = [Series(range(len(c)), c, colour[name], name=name) for name, c in curves.items()]
    limits = charts.sensible([x for c in curves.values() for x in c], run.higher)
    said = "; ".join(f"{name} ends at {words.fixed(c[-1])} after {len(c) - 1} epochs" for name, c in curves.items())
    panels = [
        svg(
            charts.lines("validation", series, "epoch", f"validation {run.metric_title}", limits),
            f"Pre-training, validation {run.metric_title}: {said}.",
        )
    ]
    losses = {name: [number(x) for x in v.get("losses") or ()] for name, v in pretrainings.items()}
    if any(losses.values()):
        series = [Series(range(1, len(c) + 1), c, colour[name], name=name) for name, c in losses.items() if c]
        said = "; ".join(f"{name} from {words.fixed(c[0])} to {words.fixed(c[-1])}" for name, c in losses.items() if c)
        panels.append(svg(charts.lines("training", series, "epoch", "mean training loss"), f"Pre-training loss: {said}."))
    caption = f"Pre-training on all domains: validation {run.metric_title} and mean training loss by epoch."
    return PanelGroup(caption, panels, _key(colour, list(pretrainings)))


def search(run: Run, colour: Colours) -> PanelGroup | None:
    """Value by trial with the best so far, one panel for each unit."""
    panels, shown = [], set()
    for name, unit in many.drawn(run).items():
        chosen = {r: studies for r in run.charted(unit) if (studies := run.studies(r, unit))}
        if not chosen:
            continue
        ticks = stopping.reached(stopping.stopped(run, unit), run.higher)
        values = [t.value for studies in chosen.values() for trials in studies for t in trials] + [value for _, value in ticks]
        series = [
            Series(
                [t.number for t in trials], [t.value for t in trials], colour[r], (), len(studies) > 1, named(run, r, trials[0])
            )
            for r, studies in chosen.items()
            for trials in studies
        ]
        best = max if run.higher else min
        said = "; ".join(
            f"{named(run, r, trials[0])} best {best(t.value for t in trials):.4f} of {len(trials)} trials"
            for r, studies in chosen.items()
            for trials in studies
        )
        limits = charts.sensible(values, run.higher)
        figure = charts.history(name, series, run.higher, f"validation {run.metric_title}", limits, ticks)
        said += f"; stopped early: {len(ticks)} trials" if ticks else ""
        panels.append(svg(figure, f"Search in {name}: {said}."))
        shown |= set(chosen)
    if not panels:
        return None
    caption = (
        f"Best validation {run.metric_title} of every complete trial (dots) and the best so far (lines). Dots below the frame "
        f"stand at its edge as triangles.{_folds(run, 'line')}{_some(run)}{_unfinished(run)}"
    )
    return PanelGroup(caption, panels, _key(colour, [r for r in run.methods if r in shown]))


def importances(run: Run, colour: Colours) -> PanelGroup | None:
    """Hyperparameter importance, one panel for each searched method."""
    panels = []
    for method in run.methods:
        studies = [trials for u in run.searches.values() for trials in run.studies(method, u)]
        units = [chosen_trials for trials in studies if (chosen_trials := importance(trials, run.higher))]
        names = {n for chosen_trials in units for n in chosen_trials}
        mean = {n: sum(chosen_trials.get(n, 0.0) for chosen_trials in units) / len(units) for n in names}
        top = sorted(names, key=lambda n: (-mean[n], n))[:LARGE]
        if not top:
            continue
        parts = [[chosen_trials[n] for chosen_trials in units if n in chosen_trials] for n in top]
        figure = charts.shares(method, [short(n, names) for n in top], [mean[n] for n in top], parts, colour[method])
        panels.append(svg(figure, f"Importance in {method}: " + "; ".join(f"{n} {mean[n]:.0%}" for n in top) + "."))
    if not panels:
        return None
    searches = f"{run.pools if run.folds else run.unit_word}s"
    caption = (
        "Share of each searched option in what sets the better quarter of a method's trials apart (PED-ANOVA); bars are means "
        f"over {searches}, dots single ones, the {LARGE} largest are shown. With few trials this is a hint, not a finding."
    )
    return PanelGroup(caption, panels)


def effects(run: Run, colour: Colours) -> list[PanelGroup]:
    """Value against every numeric option with enough distinct values among the methods that have a prompt; the prompt's own
    options first."""
    methods = [r for r in run.methods if run.results["methods"][r]["prompt"] != "none"]
    trials = [t for t in run.searched() if t.method in methods]
    values: dict[str, set[float]] = {}
    for t in trials:
        for name, value in t.options.items():
            if is_number(value):
                values.setdefault(name, set()).add(float(value))
    chosen = [n for n, v in values.items() if len(v) >= DISTINCT]
    chosen.sort(key=lambda n: (not n.startswith("prompt."), n))
    return [_effect(run, name, trials, wide(list(values[name])), set(values), colour) for name in chosen]


def _effect(run: Run, name: str, trials: Sequence[Trial], logarithmic: bool, names: set[str], colour: Colours) -> PanelGroup:
    panels, searched = [], _searched_together(run)
    for title, units in searched.items():
        series, said = [], []
        tuned = {u for unit in units for u in run.tuned(unit)}
        there = [t for t in trials if t.unit in tuned]
        shift = _shifts(there)
        for method in run.methods:
            points = [t for t in there if t.method == method and is_number(t.options.get(name, ""))]
            if not points:
                continue
            winners = {(t.unit, t.number) for unit in units for t in run.winners(method, unit)}
            marks = [i for i, t in enumerate(points) if (t.unit, t.number) in winners]
            y = [t.value + shift[t.unit] for t in points]
            series.append(Series([float(t.options[name]) for t in points], y, colour[method], marks, name=method))
            said += [f"{named(run, method, points[i])} does best at {words.option(points[i].options[name])}" for i in marks]
        if not series:
            continue
        limits = charts.sensible([y for s in series for y in s.y], run.higher)
        figure = charts.effect(title, series, short(name, names), f"validation {run.metric_title}", logarithmic, limits)
        panels.append(svg(figure, f"Effect of {name} in {title}: {'; '.join(said) or 'no winner'}."))
    methods = [r for r in run.methods if any(t.method == r and name in t.options for t in trials)]
    pooled = len(searched) < len(run.searches)
    levels = ", and its values are shifted so that all {}s have one median"
    caption = (
        f"Each dot is a trial, the line joins medians of neighbouring trials, the ring is the winner. Option {name}."
        f"{f' A method has one ring for each {run.unit_word}{levels.format(run.unit_word)}.' if pooled else ''}"
        f"{_folds(run, 'ring', levels.format(run.pools))}"
    )
    return PanelGroup(caption, panels, _key(colour, methods), name)


def _searched_together(run: Run) -> dict[str, list[str]]:
    """Title of a panel -> units whose trials it shows: each its own, or all in one where there are many."""
    if len(run.searches) <= APART:
        return {title: [unit] for title, unit in run.searches.items()}
    return {f"all {len(run.searches)} {run.unit_word}s": list(run.searches.values())}


def costs(run: Run, colour: Colours) -> PanelGroup | None:
    """Tuned parameters and time of each method."""
    methods = [(r, run.results["methods"][r]) for r in run.methods]
    if not methods:
        return None
    names, shades = [r for r, _ in methods], [colour[r] for r, _ in methods]
    tuned = [float(f["tuned_parameters"]) for _, f in methods]
    tuned_text = [f"{words.count(f['tuned_parameters'])} ({words.percent(f['tuned_share'])})" for _, f in methods]
    each = [f["seconds"] / f["trials"] if f["trials"] else 0.0 for _, f in methods]
    each_text = [words.duration(s) if f["trials"] else "no search" for s, (_, f) in zip(each, methods, strict=True)]
    panels = [
        svg(
            charts.bars("tuned parameters", names, tuned, tuned_text, shades, "parameters"),
            "Tuned parameters: " + "; ".join(f"{n} {t}" for n, t in zip(names, tuned_text, strict=True)) + ".",
        ),
        svg(
            charts.bars("time of a trial", names, each, each_text, shades, "seconds"),
            "Seconds of a trial: " + "; ".join(f"{n} {t}" for n, t in zip(names, each_text, strict=True)) + ".",
        ),
    ]
    total = words.duration(run.results["costs"]["seconds"])
    also = ", stopped ones counted too" if stopping.stopped(run) else ""
    caption = (
        "What each method trains, in numbers and as a share of the backbone, and the mean wall clock of one of its trials, as "
        f"its share of the pack it ran in{also}. All searches together took {total} of process time for "
        f"{words.count(run.results['costs']['trials'])} trials. {stopping.saved(run)}"
    )
    return PanelGroup(caption.strip(), panels)


def _some(run: Run) -> str:
    """Which units have panels, where not all have."""
    shown, every = len(many.drawn(run)), len(run.searches)
    return f" Panels are of {shown} of {every} {run.unit_word}s, from the smallest to the largest." if shown < every else ""


def _key(colour: Colours, names: Sequence[str]) -> list[tuple[str, str]]:
    return [(n, colour[n]) for n in names]


def short(name: str, names: set[str]) -> str:
    """An option's name without its section, where no other option ends alike."""
    tail = name.partition(".")[2] or name
    return tail if sum(n.partition(".")[2] == tail for n in names) < 2 else name


def named(run: Run, method: str, trial: Trial) -> str:
    """A method, and which fold of it where several are pooled."""
    return method if trial.unit in run.units else f"{method} ({trial.unit})"


def _folds(run: Run, what: str, further: str = "") -> str:
    """How pooled units show in a chart."""
    return f" {words.pooled(run)}: a method has one {what} for each {run.pools}{further}." if run.folds else ""


def _shifts(trials: Sequence[Trial]) -> dict[str, float]:
    """Fold -> what takes the median of its trials to the mean of these medians: its users, not options, set its level."""
    levels = {fold: float(np.median([t.value for t in trials if t.unit == fold])) for fold in {t.unit for t in trials}}
    middle = sum(levels.values()) / max(len(levels), 1)
    return {fold: middle - level if len(levels) > 1 else 0.0 for fold, level in levels.items()}


def _unfinished(run: Run) -> str:
    trials = [t for t in run.trials if t.method in run.methods]
    failed = sum(t.state == "failed" or (t.state == "complete" and not math.isfinite(t.value)) for t in trials)
    stopped = len(stopping.stopped(run))
    parts = [f"{failed} failed (not shown)"] if failed else []
    parts += [f"{words.were(stopped)} stopped early (grey ticks, at the best value until then)"] if stopped else []
    return f" Of {len(trials)} trials {words.listed(parts)}." if parts else ""
