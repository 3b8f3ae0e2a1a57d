"""Several objectives: what each method's front of trials costs in validation metric, as charts and as a table.

The front of a method on a unit holds the trials that none of its other trials surpasses without falling behind in another
objective.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.report import words
from raytune_rec.report.pictures import charts
from raytune_rec.report.pictures.charts import Front
from raytune_rec.report.pictures.panels import Colours, PanelGroup, named, short
from raytune_rec.report.pictures.theme import svg
from raytune_rec.report.run import Run, title
from raytune_rec.report.tables.web import Cell, Line, WebTable
from raytune_rec.report.trials import Trial


def plots(run: Run, colour: Colours) -> list[PanelGroup]:
    """For each further objective the validation metric against it, one panel for each unit."""
    return [group for name in run.objectives if (group := _group(run, colour, name))]


def table(run: Run, colour: Colours) -> WebTable | None:
    """The trials of all fronts, by method and unit, the best validation metric first."""
    names = {k for t in run.searched() for k in t.options}
    lines = []
    for method in run.methods:
        for unit in run.searches.values():
            winners = run.winners(method, unit)
            best = [t for study in run.studies(method, unit) for t in _sorted(run, study) if t.front]
            for t in best:
                options = ", ".join(f"{short(k, names)} {_brief(v)}" for k, v in sorted(t.options.items()))
                chosen = any(t is w for w in winners)
                cells = [Cell(t.unit), Cell(str(t.number)), Cell(words.fixed(t.value), best=chosen)]
                cells += [Cell(_text(name, t.objective(name))) for name in run.objectives]
                lines.append(Line(method, colour[method], "", [*cells, Cell(options or words.NONE)]))
    if not run.objectives or not lines:
        return None
    caption = f"Trials on the front of their method and {run.unit_word}. The winners, by {_first(run)} alone, are bold."
    return WebTable(
        caption, ["method", run.unit_word, "trial", _first(run), *map(title, run.objectives), "searched options"], lines
    )


def _group(run: Run, colour: Colours, name: str) -> PanelGroup | None:
    panels, shown, logarithmic = [], set(), _logarithmic(run, name)
    for searched, unit in run.searches.items():
        fronts, said = [], []
        for method in run.charted(unit):
            for study in run.studies(method, unit):
                trials = [t for t in study if math.isfinite(t.objective(name))]
                if not trials:
                    continue
                fronts.append(_series(run, unit, trials, name, colour[method]))
                said.append(_said(named(run, method, trials[0]), [t for t in trials if t.front], name))
                shown.add(method)
        if fronts:
            higher = (_higher(name), run.higher)
            figure = charts.front(searched, fronts, title(name), _first(run), logarithmic, higher)
            panels.append(svg(figure, f"Front of {_first(run)} and {title(name)} in {searched}: {'; '.join(said)}."))
    if not panels:
        return None
    better = f"{'Higher' if run.higher else 'Lower'} and further {'right' if _higher(name) else 'left'} is better."
    further = " Points off the line are on the front by another objective." if len(run.objectives) > 1 else ""
    caption = (
        f"Validation {run.metric_title} against {title(name)}: all complete trials (faint), and the front of each method (dots "
        f"and line), whose trials no other trial of the method surpasses without falling behind in another objective. {better} "
        f"The winner (ring) is chosen by {_first(run)} alone.{further} Trials below the frame stand at its edge as triangles."
    )
    return PanelGroup(caption, panels, [(r, colour[r]) for r in run.methods if r in shown], title(name))


def _sorted(run: Run, trials: Sequence[Trial]) -> list[Trial]:
    """The best first."""
    return sorted(trials, key=lambda t: (-t.value if run.higher else t.value, t.number))


def _series(run: Run, unit: str, trials: Sequence[Trial], name: str, colour: str) -> Front:
    winners = run.winners(trials[0].method, unit)
    ring = next((i for i, t in enumerate(trials) if any(t is w for w in winners)), None)
    marked = [i for i, t in enumerate(trials) if t.front]
    found = [t.objective(name) for t in trials], [t.value for t in trials]
    return Front(*found, colour, marked, ring, named(run, trials[0].method, trials[0]))


def _said(method: str, best: Sequence[Trial], name: str) -> str:
    """The front's ends in words."""
    ends = sorted(best, key=lambda t: (t.objective(name), t.number))
    points = [f"{words.fixed(t.value)} at {_text(name, t.objective(name))} (trial {t.number})" for t in ends]
    if len(points) < 2:
        return f"{method} {''.join(points) or 'no trial'}"
    return f"{method} from {points[0]} to {points[-1]}, {len(points)} trials"


def _logarithmic(run: Run, name: str) -> bool:
    """Whether numbers of parameters span more than a factor of ten; a method without any has its place left of them."""
    values = [v for t in run.searched() if (v := t.objective(name)) > 0]
    return name == "parameters" and bool(values) and max(values) > 10 * min(values)


def _higher(name: str) -> bool:
    return name in METRICS and METRICS[name].higher


def _first(run: Run) -> str:
    return f"validation {run.metric_title}"


def _text(name: str, value: float) -> str:
    return words.count(value) if name == "parameters" else words.fixed(value)


def _brief(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
