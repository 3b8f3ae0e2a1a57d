"""Charts, one set of axes each, from plain numbers. A page lays panels side by side; equal ranges are the caller's business."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from raytune_rec.report.pictures.theme import GRID, INK, LABEL, MUTED, PAPER, cut, panel, tell

Range = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points of one colour. `marks`: indices of the points that are marked; `thin`: one of several lines of its colour; `name`:
    whose they are, told with the values where a reader points at one."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    marks: Sequence[int] = ()
    thin: bool = False
    name: str = ""

    def tell(self, axes: Any, x: str, y: Sequence[float] | NDArray[Any] | None = None) -> None:
        """y: where they are drawn, if that is another place."""
        texts = [f"{self.name}, {x} {at:.4g}: {value:.4f}" for at, value in zip(self.x, self.y, strict=True)]
        tell(axes, self.x, self.y if y is None else y, texts)

    @property
    def pen(self) -> Mapping[str, float]:
        return {"linewidth": 0.8, "alpha": 0.75} if self.thin else {"linewidth": 1.4}


@dataclass(frozen=True)
class Front:
    """Points of one colour. `marked`: indices of those on the front; `ring` is the index of the winner; `name`: whose."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    marked: Sequence[int]
    ring: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Effect:
    """A difference with its interval, on line `line` of a forest plot; a clear one is filled. `said`: it in words."""

    line: float
    mean: float
    low: float
    high: float
    colour: str
    clear: bool
    said: str = ""


def forest(title: str, effects: Sequence[Effect], labels: Sequence[str], limits: Range, x: str) -> Figure:
    """Differences around zero, one line for each label."""
    height = 0.8 + 0.24 * max(len(labels), len(effects) * 0.75)
    with panel(title, height) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for e in effects:
            axes.plot([e.low, e.high], [e.line, e.line], color=e.colour, linewidth=1.6, solid_capstyle="round")
            face = e.colour if e.clear else PAPER
            axes.plot(e.mean, e.line, "o", markersize=5, color=e.colour, markerfacecolor=face, markeredgewidth=1.2)
            tell(axes, [e.mean], [e.line], [e.said])
        axes.set_yticks(range(len(labels)), [cut(label, LABEL) for label in labels])
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlim(*limits)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x)
    return figure


def lines(title: str, series: Sequence[Series], x: str, y: str, limits: Range | None = None) -> Figure:
    """Curves over whole numbers such as epochs."""
    with panel(title) as (figure, axes):
        for s in series:
            axes.plot(s.x, s.y, color=s.colour, marker="." if len(s.x) < 3 else None, **s.pen)
            for i in (i for i in s.marks if i < len(s.x)):
                axes.plot(s.x[i], s.y[i], "o", color=s.colour, markersize=4.5, markeredgecolor=PAPER, markeredgewidth=0.8)
            s.tell(axes, x, np.clip(s.y, *limits) if limits else None)
        _frame(axes, x, y, limits)
    return figure


def history(
    title: str,
    series: Sequence[Series],
    higher: bool,
    y: str,
    limits: Range,
    stopped: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Value of each trial as a dot, the best so far as a step line; dots outside `limits` stand at the edge.

    Args:
        stopped: (trial, value) of those that count for no line, drawn as grey ticks.
    """
    with panel(title) as (figure, axes):
        if stopped:
            at, values = zip(*stopped, strict=True)
            axes.plot(at, np.clip(values, *limits), "|", color=MUTED, markersize=4, markeredgewidth=0.8, alpha=0.7)
        for s in series:
            _dots(axes, s, limits)
            s.tell(axes, "trial", np.clip(s.y, *limits))
            best = (np.maximum if higher else np.minimum).accumulate(np.asarray(s.y, dtype=float))
            axes.step(s.x, best, where="post", color=s.colour, **s.pen)
        _frame(axes, "trial", y, limits)
    return figure


def front(title: str, fronts: Sequence[Front], x: str, y: str, logarithmic: bool, higher: tuple[bool, bool]) -> Figure:
    """Two objectives against each other: all points, and the best of y that is to be had at each x as a step line.

    Args:
        logarithmic: whether x is; what is 0 then stands left of the rest.
        higher: whether a higher x, a higher y is better.
    """
    values = [v for f in fronts for v in f.y]
    kept = [f.y[i] for f in fronts for i in f.marked]
    limits = sensible(values, higher[1])
    limits = min(limits[0], *kept, limits[1]), max(limits[1], *kept, limits[0])
    with panel(title, height=2.5) as (figure, axes):
        if logarithmic:
            _count_axis(axes, [v for f in fronts for v in f.x])
        for f in fronts:
            series = Series(f.x, f.y, f.colour, name=f.name)
            _dots(axes, series, limits, alpha=0.25)
            series.tell(axes, x, np.clip(f.y, *limits))
        for f in fronts:
            corners = _corners([(f.x[i], f.y[i]) for i in f.marked], higher)
            axes.step([x for x, _ in corners], [y for _, y in corners], where="post", color=f.colour, linewidth=1.3)
            at = [f.x[i] for i in f.marked], [f.y[i] for i in f.marked]
            axes.plot(*at, "o", color=f.colour, markersize=4.5, markeredgecolor=PAPER, markeredgewidth=0.6)
            if f.ring is not None:
                axes.plot(
                    f.x[f.ring], f.y[f.ring], "o", color=f.colour, markersize=8.5, markerfacecolor="none", markeredgewidth=1.2
                )
        if not logarithmic:
            axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylim(*_padded(limits))
        axes.set_xlabel(x)
        axes.set_ylabel(y)
    return figure


def effect(title: str, series: Sequence[Series], x: str, y: str, logarithmic: bool, limits: Range) -> Figure:
    """Value against an option, each trial a dot, with the median of groups of equal size."""
    with panel(title, height=2.0) as (figure, axes):
        for s in series:
            _dots(axes, s, limits)
            s.tell(axes, x, np.clip(s.y, *limits))
            centre, median = binned(s.x, s.y)
            axes.plot(centre, np.clip(median, *limits), color=s.colour, linewidth=1.5)
        if logarithmic:
            _logarithmic(axes)
        axes.set_ylim(*_padded(limits))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel(x)
        axes.set_ylabel(y)
    return figure


def shares(title: str, names: Sequence[str], means: Sequence[float], parts: Sequence[Sequence[float]], colour: str) -> Figure:
    """Bars of shares with a dot for each part of the mean."""
    with panel(title, height=0.75 + 0.2 * len(names)) as (figure, axes):
        at = range(len(names))
        axes.barh(at, means, height=0.62, color=colour, alpha=0.55)
        for line, values in zip(at, parts, strict=True):
            axes.plot(values, [line] * len(values), "o", color=colour, markersize=3)
        tell(axes, means, list(at), [f"{name}: {100 * mean:.0f} %" for name, mean in zip(names, means, strict=True)])
        _bars(axes, names, "share of the importance")
        axes.set_xlim(0, 1)
    return figure


def bars(
    title: str, names: Sequence[str], values: Sequence[float], texts: Sequence[str], colours: Sequence[str], x: str
) -> Figure:
    """Bars with their values written behind them; logarithmic where they span more than a hundredfold."""
    with panel(title, height=0.75 + 0.21 * len(names)) as (figure, axes):
        positive = [v for v in values if v > 0]
        logarithmic = bool(positive) and max(positive) / min(positive) > 100
        floor = min(positive) / 3 if logarithmic else 0.0
        axes.barh(
            range(len(names)), [max(v, floor) if v > 0 else floor for v in values], height=0.62, color=list(colours), alpha=0.8
        )
        for line, (value, text) in enumerate(zip(values, texts, strict=True)):
            axes.annotate(
                text, (max(value, floor), line), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5, color=MUTED
            )
        top = max(positive, default=1.0)
        if logarithmic:
            _logarithmic(axes)
            axes.set_xlim(floor, top * (top / floor) ** 0.45)
        else:
            axes.set_xlim(0, top * 1.4)
            axes.xaxis.set_major_locator(MaxNLocator(4))
        _bars(axes, names, x)
    return figure


def binned(x: Sequence[float], y: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians of x and y over groups of neighbours in x of nearly equal size: at least 3 points a group, 10 groups at most.
    Groups of one median x, as where a value was tried often, are one."""
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    order = np.argsort(xs, kind="stable")
    groups = [g for g in np.array_split(order, int(np.clip(len(order) // 3, 1, 10))) if len(g)]
    centres = np.array([np.median(xs[g]) for g in groups])
    alike = [np.concatenate([g for g, at in zip(groups, centres, strict=True) if at == centre]) for centre in np.unique(centres)]
    return np.unique(centres), np.array([np.median(ys[g]) for g in alike])


def sensible(values: Sequence[float], higher: bool) -> Range:
    """A range that shows the good values apart: all of them, less those far on the bad side."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return 0.0, 1.0
    sign = 1.0 if higher else -1.0
    good = finite * sign
    best, middle = good.max(), float(np.median(good))
    worst = max(good.min(), middle - 2.5 * max(best - middle, 1e-4))
    low, high = sorted((worst * sign, best * sign))
    return (low, high) if high > low else (low - 1e-3, high + 1e-3)


def _corners(points: Sequence[tuple[float, float]], higher: tuple[bool, bool]) -> list[tuple[float, float]]:
    """Of some points those that no other beats in both directions, from the best x to the best y."""
    signs = [-1.0 if h else 1.0 for h in higher]
    reached: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (signs[0] * p[0], signs[1] * p[1])):
        if not reached or signs[1] * y < signs[1] * reached[-1][1]:
            reached.append((x, y))
    return reached


def _dots(axes: Any, s: Series, limits: Range, alpha: float = 0.45) -> None:
    y = np.asarray(s.y, dtype=float)
    x = np.asarray(s.x, dtype=float)
    inside = (y >= limits[0]) & (y <= limits[1])
    axes.plot(x[inside], y[inside], "o", color=s.colour, markersize=3, alpha=alpha, markeredgewidth=0)
    axes.plot(x[~inside], np.clip(y[~inside], *limits), "v", color=s.colour, markersize=3, alpha=0.35, markeredgewidth=0)
    for i in s.marks:
        at = x[i], np.clip(y[i], *limits)
        axes.plot(*at, "o", color=s.colour, markersize=6, markerfacecolor="none", markeredgewidth=1.2)


def _frame(axes: Any, x: str, y: str, limits: Range | None) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if limits:
        axes.set_ylim(*_padded(limits))
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _logarithmic(axes: Any) -> None:
    """Decades written as plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _count_axis(axes: Any, values: Sequence[float]) -> None:
    """Counts on a log scale; 0 has a place of its own, left of the smallest of the others."""
    positive = [v for v in values if v > 0] or [1.0]
    low, high = min(positive), max(positive)
    steps = (1, 3) if high < 100 * low else (1,)
    ticks = [s * 10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for s in steps]
    ticks = [t for t in ticks if low * 0.8 <= t <= high * 1.25]
    if min(values) == 0:
        axes.set_xscale("symlog", linthresh=low / 1.5, linscale=0.25)
        axes.set_xlim(-low / 5, high * 1.4)
    else:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.4, high * 1.4)
    axes.xaxis.set_major_locator(FixedLocator([0.0, *ticks] if min(values) == 0 else ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")))
    axes.xaxis.set_minor_locator(NullLocator())


def _padded(limits: Range) -> Range:
    margin = 0.06 * (limits[1] - limits[0])
    return limits[0] - margin, limits[1] + margin


def _bars(axes: Any, names: Sequence[str], x: str) -> None:
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(names)))))
    axes.set_yticks(range(len(names)), [cut(name, LABEL) for name in names])
    axes.tick_params(axis="y", labelcolor=INK, length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x", color=GRID)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x)
