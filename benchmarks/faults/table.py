"""What all injections come to, a line for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from scipy.stats import beta

COLUMNS = (
    "class", "runs", "completed", "at least", "same", "lost trials", "told twice", "work repeated", "recovery s", "p95", "left",
)  # fmt: skip


def least(completed: int, runs: int) -> float:
    """The share of runs that complete, at least, with 95 % confidence (Clopper and Pearson, one-sided)."""
    return float(beta.ppf(0.05, completed, runs - completed + 1)) if completed else 0.0


def summary(injections: Sequence[Mapping[str, Any]], whole: int) -> dict[str, Any]:
    """One class, or all of them.

    Args:
        injections: what `Injection.made` gave.
        whole: lanes times epochs that an undisturbed run trains in search and winners.
    """
    runs, completed = len(injections), sum(i["completed"] for i in injections)
    recovery = [i["recovery"] for i in injections]
    return {
        "runs": runs,
        "completed": completed,
        "at_least": least(completed, runs),
        "same": sum(i["completed"] and not i["wrong"] for i in injections),
        "lost": sum(i["lost"] for i in injections),
        "twice": sum(i["twice"] for i in injections),
        "repeated": sum(max(0, i["trained"] - whole) for i in injections) / (runs * whole),
        "recovery": float(np.median(recovery)),
        "p95": float(np.quantile(recovery, 0.95)),
        "left": sum(i["left"]["processes"] + i["left"]["shared"] for i in injections),
    }


def table(summaries: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    shown = Table(*COLUMNS, title=title)
    for name, s in summaries.items():
        shares = f"{s['at_least']:.0%}", f"{s['same']}", f"{s['lost']}", f"{s['twice']}", f"{s['repeated']:.1%}"
        shown.add_row(
            name, str(s["runs"]), str(s["completed"]), *shares, f"{s['recovery']:.1f}", f"{s['p95']:.1f}", str(s["left"])
        )
    return shown
