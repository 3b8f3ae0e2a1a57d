"""Numbers that others published, beside ours."""

from __future__ import annotations

from pathlib import Path

from raytune_rec.report.page.render import build
from raytune_rec.report.run import read
from raytune_rec.report.tables import published
from raytune_rec.report.words import NONE, fixed

BLOCKS = """
[[published]]
source = "A paper, Table 1"
protocol = "another split"
[published.values]
linear = { music = 0.71, opera = 0.5 }

[[published]]
source = "A paper, Table 1"
protocol = "another split"
metric = "logloss"
[published.values]
linear = { mean = 0.61 }

[[published]]
source = "A paper, section 4"
protocol = "of all ids."
metric = "tuned_share"
[published.values]
soft_prompt = { mean = 0.0636 }
"""


def test_ours_stands_above_the_published_value_with_both_protocols(folder: Path) -> None:
    (folder / "job.toml").write_text((folder / "job.toml").read_text() + BLOCKS)
    run = read(folder)
    table = published.table(run, {"linear": "#123456"})
    assert table is not None and table.head == ["method", "music", "mean", "opera"]
    area, loss, share = ([(c.text, c.below) for c in line.cells] for line in table.lines)
    linear = run.results["methods"]["linear"]
    assert area[0] == (fixed(linear["units"]["music"]["auc"]["mean"]), "published 0.7100")
    assert area[1] == (fixed(linear["mean"]["auc"]["mean"]), "")
    assert area[2] == (NONE, "published 0.5000"), "a unit that was not tested here is not lost"
    assert loss[1] == (fixed(linear["mean"]["logloss"]["mean"]), "published 0.6100")
    assert share[1] == ("0.55 %", "published 6.36 %")
    assert [line.note for line in table.lines][2] == "A paper, section 4 · tuned"
    assert table.caption.count("A paper, Table 1: another split.") == 1
    assert "A paper, section 4: of all ids. Ours: split test, by hash of seed 0" in table.caption
    assert table.dash in table.explained
    page = build(folder).read_text(encoding="utf-8")
    assert "Published numbers" in page and "<small>published 0.7100</small>" in page


def test_a_job_that_names_none_has_no_such_table(folder: Path) -> None:
    assert published.table(read(folder), {}) is None
    assert "Published numbers" not in build(folder).read_text(encoding="utf-8")
