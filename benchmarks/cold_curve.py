"""What the first rows of a cold item are worth: finished runs of a job that keep different numbers of them, side by side.

    python -m benchmarks.cold_curve runs/promo_curve_0 runs/promo_curve_5 runs/promo_curve_10 runs/promo_curve_20 --out runs/curve

Prints HIT@10 and NDCG@10 of each method by how many rows are kept (`data.split.cold_kept`), of cold items among all items and
among cold ones, and of all rows, with the runs' intervals by user, and writes a picture of each into --out. Runs that do not test
the same rows (other data options, or no common `cold_from`) are refused.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.mistakes import told
from raytune_rec import config
from raytune_rec.data.cold_items import ALL, AMONG, COLD
from raytune_rec.errors import ArtifactError
from raytune_rec.job.data import DataOptions
from raytune_rec.report.pictures.panels import method_colours
from raytune_rec.report.pictures.theme import panel
from raytune_rec.report.run import Run, read, title

TABLES, METRICS = (COLD, next(name for name, kind in AMONG.items() if kind == COLD), ALL), ("hit@10", "ndcg@10")
Runs = Mapping[int, Run]
"""Rows of a cold item that are kept -> the run, ascending."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    options = parser.parse_args()
    runs = by_kept(options.runs)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        Console(width=140).print(table(runs, name))
        for metric in METRICS:
            picture(runs, name, metric).savefig(options.out / f"{name.replace(' ', '_')}_{metric.replace('@', '')}.svg")


def by_kept(folders: Sequence[Path]) -> Runs:
    """The runs of some folders.

    Raises:
        ArtifactError: one is no run, two keep the same number of rows, or they do not test the same rows.
    """
    data = {folder: config.read(folder / "job.toml").data for folder in folders}
    kept = [each.split.cold_kept for each in data.values()]
    if len(set(kept)) < len(folders) or len({str(_tested(each)) for each in data.values()}) > 1:
        raise ArtifactError(
            f"runs that keep {', '.join(map(str, kept))} rows of a cold item do not make a curve: each must keep another number, "
            "and all must test the same rows; give all of them the same [data] and data.split.cold_from, but for "
            "data.split.cold_kept."
        )
    runs = dict(zip(kept, map(read, folders), strict=True))
    return {count: runs[count] for count in sorted(runs)}


def table(runs: Runs, name: str) -> Table:
    """A line for each method, a column for each metric and number of rows."""
    made = Table("method", *(f"{title(metric)}\n{kept} kept" for metric in METRICS for kept in runs), title=name)
    for method in _methods(runs):
        cells = (_value(run, method, name, metric) for metric in METRICS for run in runs.values())
        made.add_row(method, *("-" if v is None else f"{v['mean']:.4f}\n{_interval(v)}" for v in cells))
    return made


def picture(runs: Runs, name: str, metric: str) -> Figure:
    """A line for each method over the rows that are kept, with intervals."""
    colours = method_colours(next(iter(runs.values())))
    with panel(name, height=3.0) as (figure, axes):
        for place, method in enumerate(_methods(runs)):
            found = {kept: v for kept, run in runs.items() if (v := _value(run, method, name, metric))}
            axes.plot([*found], [v["mean"] for v in found.values()], ".-", color=colours[method], label=method)
            for kept, v in found.items():
                if v["low"] is not None:  # beside one another, not on top
                    axes.plot([kept + 0.15 * place] * 2, [v["low"], v["high"]], color=colours[method], linewidth=1)
        axes.set_xticks([*runs])
        axes.set_xlabel("rows of a cold item that are kept")
        axes.set_ylabel(f"test {title(metric)}")
        axes.legend(fontsize=6, frameon=False)
    return figure


def _tested(data: DataOptions) -> DataOptions:
    """What decides which rows test: all but how many are kept in front of them."""
    split = data.split.model_copy(update={"cold_kept": 0, "cold_from": data.split.cold_first})
    return data.model_copy(update={"split": split})


def _methods(runs: Runs) -> list[str]:
    """Those of the first run that all have."""
    first, *others = runs.values()
    return [method for method in first.methods if all(method in run.methods for run in others)]


def _value(run: Run, method: str, name: str, metric: str) -> Mapping[str, Any] | None:
    """Among all items where the table has sampled candidates too."""
    of_unit = run.results["methods"][method]["units"].get(name, {})
    found: Mapping[str, Any] | None = of_unit.get(f"full.{metric}", of_unit.get(metric))
    return found


def _interval(value: Mapping[str, Any]) -> str:
    return "" if value["low"] is None else f"{value['low']:.4f} to {value['high']:.4f}"


if __name__ == "__main__":
    with told():
        main()
