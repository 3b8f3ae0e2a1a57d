"""The second table: what a lane costs in packs of different widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.sweep.case import Case, packs_of
from benchmarks.sweep.measured import measure, spread
from benchmarks.sweep.method import method
from benchmarks.sweep.width import PACK
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.tuning.packs import packing

TIMED = 2
"""Epochs that count."""

PROTOCOL = (
    "One process, one thread, no Ray. A fresh process for each width and repeat; widths take turns.",
    f"Seconds of a lane-epoch: the median of {TIMED} epochs after a first one, divided by the lanes; the median of the repeats.",
    "Memory of a lane: the peak of the process over that of a process with one lane, divided by the further lanes.",
)


def measured(case: Case, widths: Sequence[int], repeats: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every width, in turns."""
    own = replace(case, epochs=1 + TIMED, configurations=max(widths))
    lanes = [lane for pack in packs_of(own) for lane in pack.lanes]
    runs: dict[int, list[dict[str, Any]]] = {width: [] for width in widths}
    for i in range(repeats):
        for width in widths:
            runs[width].append(_measure(replace(own, scratch=str(Path(own.scratch) / f"width-{width}-{i}")), lanes[:width]))
            each = spread(runs[width][-1]["seconds"])["median"] / width
            say(f"repeat {i + 1}: {width} lanes: {each:.4f} s per lane-epoch, {runs[width][-1]['peak_mib']:.0f} MiB")
    return [_summary(width, found, runs) for width, found in runs.items()]


def table(found: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table("lanes", "s per lane-epoch", "min to max", "times one lane", "peak MiB", "MiB a lane", title="Lanes of a pack")
    for of in found:
        each = of["per_lane_epoch"]
        more = "" if of["mib_per_lane"] is None else f"{of['mib_per_lane']:.2f}"
        shown.add_row(
            str(of["lanes"]),
            f"{each['median']:.4f}",
            f"{each['min']:.4f} to {each['max']:.4f}",
            f"{each['median'] / found[0]['per_lane_epoch']['median']:.2f}",
            f"{of['peak_mib']['median']:.0f}",
            more,
        )
    return shown


def _measure(case: Case, lanes: Sequence[Lane]) -> dict[str, Any]:
    Path(case.scratch).mkdir(parents=True)
    (Path(case.scratch) / PACK).write_text(packing.to_text(Pack("width", method(case.prompt).ROW, tuple(lanes))))
    return measure("width", case)


def _summary(width: int, runs: Sequence[dict[str, Any]], every: Mapping[int, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    peak = spread([run["peak_mib"] for run in runs])
    narrow = min(every)
    alone = spread([run["peak_mib"] for run in every[narrow]])["median"]
    return {
        "lanes": width,
        "per_lane_epoch": spread([spread(run["seconds"])["median"] / width for run in runs]),
        "peak_mib": peak,
        "mib_per_lane": (peak["median"] - alone) / (width - narrow) if width > narrow else None,
        "repeats": list(runs),
    }
