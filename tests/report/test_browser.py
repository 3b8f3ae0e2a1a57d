"""The page in a real browser: tables sort, files come down, values are told, and a phone shows it without a bar of its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raytune_rec.evaluation.measures.inputs import MethodFacts, Predictions
from raytune_rec.evaluation.measures.tested import RowsTested
from raytune_rec.evaluation.results import summarise
from raytune_rec.report.page.render import build
from raytune_rec.storage.files import write_json
from tests.report.conftest import ROWS, write

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra `test`)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")


@pytest.fixture(scope="module")
def run(content: dict, page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the page and the CSV."""
    folder = write(content, tmp_path_factory.mktemp("browsed"))
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def _open(browser: Any, run: Path, width: int) -> Any:
    shown = browser.new_context(viewport={"width": width, "height": 844}, accept_downloads=True).new_page()
    shown.set_default_timeout(60_000)
    shown.goto((run / "report" / "index.html").as_uri())
    return shown


def test_a_table_sorts_and_the_csv_comes_down(browser: Any, run: Path, content: dict) -> None:
    shown = _open(browser, run, 1280)
    table = shown.locator("table").first

    def names() -> list[str]:
        return [text.split("\n")[0].strip() for text in table.locator("tbody th").all_inner_texts()]

    values = {name: content["results"]["methods"][name]["units"]["music"]["auc"]["mean"] for name in ROWS}
    order, head = content["results"]["method_order"], table.locator("thead th", has_text=re.compile(r"^\s*music\s*$"))
    assert names() == order
    for way, expected in [
        ("descending", sorted(ROWS, key=lambda name: -values[name])),
        ("ascending", sorted(ROWS, key=lambda name: values[name])),
        (None, order),
    ]:
        head.locator("button").click()
        assert names() == expected and head.get_attribute("aria-sort") == way
    table.locator("thead th", has_text="tuned").locator("button").click()  # numbers with narrow spaces, equal ones in order
    assert names() == sorted(order, key=lambda name: -ROWS[name][4])
    with shown.expect_download() as coming:
        shown.get_by_role("link", name="results.csv").click()
    pd.testing.assert_frame_equal(pd.read_csv(coming.value.path()), pd.read_csv(run / "results.csv"))


def test_a_chart_tells_the_value_that_is_pointed_at(browser: Any, run: Path) -> None:
    shown = _open(browser, run, 1280)
    chart = shown.locator("svg[data-tips]").first
    x, y, text = chart.get_attribute("data-tips").split("\n")[0].split(" ", 2)
    chart.scroll_into_view_if_needed()
    box, width = chart.bounding_box(), float(chart.get_attribute("viewBox").split()[2])
    shown.mouse.move(box["x"] + float(x) * box["width"] / width, box["y"] + float(y) * box["width"] / width)
    assert shown.locator(".tip").inner_text() == text and shown.locator(".tip").is_visible()
    shown.mouse.move(0, 0)
    assert not shown.locator(".tip").is_visible()


def test_a_phone_scrolls_tables_and_not_the_page(browser: Any, run: Path) -> None:
    """At 390 px, all that folds laid open; a table's first column stays where it is."""
    shown = _open(browser, run, 390)
    shown.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    table = shown.locator(".scroll").first
    first = table.locator("tbody th").first
    before = first.bounding_box()["x"]
    assert table.evaluate("each => (each.scrollLeft = 200, each.scrollLeft)") > 100
    assert first.bounding_box()["x"] == pytest.approx(before, abs=1)


def test_paper_shows_every_column(browser: Any, tmp_path: Path) -> None:
    """Of a table of eight domains too, which has a page across for itself."""
    draw, units = np.random.default_rng(2), {f"domain {i}": 60 for i in range(8)}
    labels = {u: (np.arange(n) % 2).astype(np.float32) for u, n in units.items()}
    scores = {m: {u: draw.normal(size=(1, n)).astype(np.float32) for u, n in units.items()} for m in ("ours", "plain")}
    predictions = [Predictions(m, u, value) for m, values in scores.items() for u, value in values.items()]
    none: dict[str, Any] = dict.fromkeys(units, 0)
    facts = [
        MethodFacts(m, "prompt_linear", "plate", "deepfm", "", m == "plain", 1000, 90000, 90, 3.0, dict.fromkeys(units, 0.5),
                    {u: {} for u in units}, none)
        for m in scores
    ]  # fmt: skip
    tested = RowsTested(predictions, labels, {u: np.arange(n) for u, n in units.items()})
    results = summarise(facts, tested, ["ours"], ["plain"], {"metric": "auc"}, bootstrap=50)
    trial = {"number": 0, "state": "complete", "value": 0.6, "curve": [0.5, 0.6], "options": {}}
    write_json(tmp_path / "results.json", results)
    write_json(tmp_path / "trials.json", [{**trial, "method": m, "unit": u} for m in scores for u in units])
    (tmp_path / "job.toml").write_text('name = "wide"\n')
    build(tmp_path)
    for across, width in ((False, 8.5), (True, 11.0)):
        shown = _open(browser, tmp_path, int((width - 28 / 25.4) * 96))  # of Letter, in CSS pixels, less the margins
        shown.emulate_media(media="print")
        tables = shown.locator(".scroll.wide table" if across else ".scroll:not(.wide) table")
        assert tables.count() >= 1 and all(
            tables.nth(i).evaluate("t => t.scrollWidth <= document.documentElement.clientWidth") for i in range(tables.count())
        )
