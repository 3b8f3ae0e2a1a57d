"""The first table: one search of many configurations, by the product and by its yardsticks."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.sweep.case import Case, configurations_of, packs_of
from benchmarks.sweep.measured import YARDSTICKS, measure, spread
from benchmarks.sweep.method import method

OURS = next(iter(YARDSTICKS))
TOLERANCE = 1e-3

PROTOCOL = (
    "Every measurement runs in a fresh process; the yardsticks take turns in each repeat.",
    "The clock runs from the first line of the search to its last result: worker processes start, import and load data in it. "
    "The driver's imports, the drawing of the yardsticks' configurations and the start of Ray stand before it, for all alike.",
    "A ratio is the median over the repeats of seconds per configuration / ours in the same repeat, without the start of Ray.",
)

Say = Callable[[str], None]


def measured(case: Case, repeats: int, plain: int, say: Say) -> dict[str, Any]:
    """Every yardstick, in turns.

    Args:
        case: of the product.
        repeats: of each.
        plain: configurations of plain Ray Tune, which takes longest.
    """
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in YARDSTICKS}
    for i in range(repeats):
        for name in YARDSTICKS:
            own = replace(case, configurations=plain) if name == "ray_processes" else case
            found = measure(name, _in(own, f"{name}-{i}"))
            runs[name].append(found)
            each = found["seconds"] / len(found["best"])
            say(f"repeat {i + 1}: {YARDSTICKS[name]}: {each:.3f} s per configuration, {found['start']:.1f} s to start Ray")
    return {name: _summary(name, found, runs[OURS]) for name, found in runs.items()}


def checked(case: Case) -> dict[str, float]:
    """Differences of the best validation metric between the product and plain PyTorch where what is drawn does not differ."""
    same = replace(case, dropout=0.0, our_noise=True)
    ours, theirs = (measure(name, _in(same, f"check-{name}"))["best"] for name in ("lanes", "loops"))
    lanes = [lane for pack in packs_of(_in(same, "check-plan")) for lane in pack.lanes]
    coldest = method(case.prompt).COLD
    cold = {str(n) for n, own in configurations_of(same, lanes).items() if own.get("temperature", coldest) < coldest}
    warm = {trial: value for trial, value in theirs.items() if trial not in cold}
    off = [abs(theirs[trial] - ours[trial]) for trial in cold]
    return _differences(warm, ours) | {"tolerance": TOLERANCE, "cold": len(off), "most_cold": max(off, default=0.0)}


def table(found: Mapping[str, Any], check: Mapping[str, float] | None, case: Case) -> Table:
    own = method(case.prompt)
    title = f"{case.configurations} configurations, {case.epochs} epochs each, {case.cores} at a time"
    shown = Table(title=title)
    for column in ("", "s each", "min to max", "times ours", "with start", "trained", f"{own.METRIC} off (mean, most)"):
        shown.add_column(column, no_wrap=True)
    for name, of in found.items():
        each, whole, off = of["per_configuration"], of["with_start"], of["difference"]
        differs = "" if name == OURS else f"{off['mean']:.5f}, {off['most']:.5f}"
        shown.add_row(
            of["title"],
            f"{each['median']:.3f}",
            f"{each['min']:.2f} to {each['max']:.2f}",
            f"{of['ratio']['median']:.2f}",
            f"{whole['median']:.3f}",
            str(of["configurations"]),
            differs,
        )
    if check is not None:
        verdict = "" if check["most"] <= TOLERANCE else ": THE YARDSTICK'S MODEL IS NOT OURS"
        shown.caption = (
            f"{own.NOISE}, plain PyTorch and the product differ in a configuration's best "
            f"validation {own.METRIC} by {check['mean']:.6f} in the mean and {check['most']:.6f} at most (allowed: {TOLERANCE})"
            f"{verdict}."
        )
        if own.COLD:
            left = f"{check['cold']} at a temperature below {own.COLD}, which differ by {check['most_cold']:.4f} at most"
            shown.caption += f" Not counted: {left}."
    return shown


def _in(case: Case, name: str) -> Case:
    return replace(case, scratch=str(Path(case.scratch) / name))


def _summary(name: str, runs: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> dict[str, Any]:
    each = [_each(run) for run in runs]
    return {
        "title": YARDSTICKS[name],
        "configurations": len(runs[0]["best"]),
        "per_configuration": spread(each),
        "with_start": spread([(run["seconds"] + run["start"]) / len(run["best"]) for run in runs]),
        "ratio": spread([a / _each(b) for a, b in zip(each, ours, strict=True)]),
        "difference": _differences(runs[0]["best"], ours[0]["best"]),
        "repeats": runs,
    }


def _each(run: Mapping[str, Any]) -> float:
    return float(run["seconds"] / len(run["best"]))


def _differences(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    """Of the values of common trials."""
    found = [abs(a[trial] - b[trial]) for trial in a]
    return {"mean": statistics.fmean(found), "most": max(found)}
