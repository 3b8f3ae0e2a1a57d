"""Runs that keep different numbers of a cold item's rows, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.cold_curve import by_kept, picture, table
from raytune_rec.errors import ArtifactError
from raytune_rec.evaluation.results import FORMAT
from raytune_rec.job import shipped

VALUES = {0: {"promo": 0.25, "pretrained": 0.24}, 5: {"promo": 0.5, "pretrained": 0.3}, 20: {"promo": 0.75, "late": 0.1}}


def run(folder: Path, kept: int, begin: int = 20) -> Path:
    """As much of a run folder as is read."""
    job = (shipped.folder("jobs") / "promo_curve.toml").read_text()
    folder.mkdir()
    (folder / "job.toml").write_text(job.replace("cold_kept = 5, cold_from = 20", f"cold_kept = {kept}, cold_from = {begin}"))
    methods = {}
    for name, mean in VALUES[kept].items():
        whole = {"mean": mean, "low": mean - 0.125, "high": mean + 0.125}
        methods[name] = {"units": {"cold items": {"hit@10": {"mean": 0.9}, "full.hit@10": whole, "full.ndcg@10": whole}}}
    written = {"format": FORMAT, "methods": methods, "units": ["cold items"], "comparisons": [], "method_order": list(methods)}
    (folder / "results.json").write_text(json.dumps(written))
    return folder


def test_a_curve_has_a_line_for_each_method_that_all_runs_have_ascending_by_rows(tmp_path: Path) -> None:
    runs = by_kept([run(tmp_path / str(kept), kept) for kept in (20, 0, 5)])
    made = table(runs, "cold items")
    assert list(runs) == [0, 5, 20] and len(made.columns) == 7
    cells = [[*column.cells] for column in made.columns]
    assert cells[:4] == [["promo"], ["0.2500\n0.1250 to 0.3750"], ["0.5000\n0.3750 to 0.6250"], ["0.7500\n0.6250 to 0.8750"]]
    (axes,) = picture(runs, "cold items", "hit@10").axes
    line, *intervals = axes.lines
    assert list(line.get_xdata()) == [0, 5, 20] and list(line.get_ydata()) == [0.25, 0.5, 0.75]
    assert [list(each.get_ydata()) for each in intervals] == [[0.125, 0.375], [0.375, 0.625], [0.625, 0.875]]
    assert table(runs, "all items").columns[1]._cells == ["-"]


def test_runs_that_do_not_test_the_same_rows_make_no_curve(tmp_path: Path) -> None:
    first = run(tmp_path / "first", 0)
    for other in (run(tmp_path / "same", 0), run(tmp_path / "later", 5, 30)):
        with pytest.raises(ArtifactError, match=r"give all of them the same \[data\] and data\.split\.cold_from, but for"):
            by_kept([first, other])
    assert list(by_kept([first, run(tmp_path / "mended", 5)])) == [0, 5]
