"""Hyperband against training every configuration to the end: the same configurations, through the product's own search."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from rich.table import Table

from benchmarks.sweep.case import Case
from benchmarks.sweep.ours import search
from raytune_rec.tuning.run.cluster import connect
from raytune_rec.tuning.search.records import trials

PROTOCOL = (
    "Random configurations, the same for every rule and one set for each seed; 27 epochs each at most, without patience.",
    "Best: highest validation AUC of a complete trial. Epochs: of all trials together, divided by those of full training.",
    "Patience: what full training would have found and spent if every configuration had stopped 4 epochs after its best.",
)

EPOCHS, PATIENCE = 27, 4
RULES = ("hyperband", "halving", "median")


def measured(case: Case, seeds: Sequence[int], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One entry for each seed: rule -> best and epochs."""
    connect(1)
    found = []
    for seed in seeds:
        full = _search(case, seed, "none")
        of_seed = {"full": _reached(full), "patience": _patient(full)}
        of_seed |= {rule: _reached(_search(case, seed, rule)) for rule in RULES}
        say(f"seed {seed}: " + ", ".join(f"{rule} {of['best']:.4f} in {of['epochs']:,} epochs" for rule, of in of_seed.items()))
        found.append({"seed": seed, **of_seed})
    ray.shutdown()
    return found


def table(found: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table("", "below full training's best, each seed", "mean", "share of the epochs", title="Early stopping")
    for rule in ("patience", *RULES):
        below = [of["full"]["best"] - of[rule]["best"] for of in found]
        share = [of[rule]["epochs"] / of["full"]["epochs"] for of in found]
        each = " ".join(f"{b:.4f}" for b in below)
        shown.add_row(rule, each, f"{statistics.fmean(below):.5f}", f"{min(share):.1%} to {max(share):.1%}")
    return shown


def _search(case: Case, seed: int, rule: str) -> list[dict[str, Any]]:
    folder = Path(case.scratch) / f"stopping-{seed}-{rule}"
    shutil.rmtree(folder, ignore_errors=True)
    own = replace(case, seed=seed, epochs=EPOCHS, tune={"stop": {"rule": rule}})
    search(own, folder)
    found = trials(folder / "journal")
    shutil.rmtree(folder)
    return found


def _reached(found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    best = max(t["value"] for t in found if t["state"] == "complete")
    return {"best": best, "epochs": sum(t["epochs"] for t in found)}


def _patient(found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    stopped = [_stop(t["curve"]) for t in found if t["state"] == "complete"]
    return {"best": max(best for best, _ in stopped), "epochs": sum(epochs for _, epochs in stopped)}


def _stop(curve: Sequence[float]) -> tuple[float, int]:
    """Best value and epochs of a curve with patience."""
    best = 0
    for epoch, value in enumerate(curve):
        if value > curve[best]:
            best = epoch
        if epoch - best >= PATIENCE:
            return curve[best], epoch
    return curve[best], len(curve) - 1
