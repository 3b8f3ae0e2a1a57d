"""What the page says of cold items beside warm ones, of an invented run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raytune_rec.evaluation.item_map import item_map
from raytune_rec.evaluation.measures.inputs import ListOutcomes, MethodFacts, Outcome
from raytune_rec.evaluation.measures.spread import Spread, of_kinds, spread, together
from raytune_rec.evaluation.measures.tested import ListsTested
from raytune_rec.evaluation.results import plain, summarise
from raytune_rec.report.page.render import build
from raytune_rec.report.pictures import cold_items as pictures
from raytune_rec.report.pictures import panels
from raytune_rec.report.run import Run, read
from raytune_rec.report.tables import cold_items as tables

UNITS = {"cold items": 200, "warm items": 300}
SHIFT = {"pretrained": -1.0, "promo": 1.0, "other": 0.0}
COHORTS = {
    "cold items": {"5 to 9": np.arange(200) < 200},
    "warm items": {"5 to 9": np.arange(300) < 40, "20 to 49": np.arange(300) >= 40},
}


def _spread(shift: float) -> Spread:
    draw = np.random.default_rng(3)
    cold = np.arange(40) % 2 == 0
    ids = np.stack([draw.permutation(40)[:10] for _ in range(100)])
    ids[:, 0] = 2 * draw.integers(0, 20, 100)
    made = spread([of_kinds(draw.normal(size=ids.shape) + shift * cold[ids], cold[ids[:, 1:]])])
    assert made is not None
    pair = together([made, made], axis=0)
    assert pair is not None
    return pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw, outcomes = np.random.default_rng(5), []
    for method, shift in SHIFT.items():
        for unit, n in UNITS.items():
            better = draw.binomial(99, 0.12 - 0.04 * shift, (2, n))
            places = Outcome(better, np.zeros((2, n), int), np.full(n, 100))
            outcomes.append(ListOutcomes(method, unit, places, spread=_spread(shift) if unit == "cold items" else None))
    facts = [MethodFacts(m, "prompt", "promo", "dssm", "plain", m == "pretrained", 1, 1, 10, 1.0) for m in SHIFT]
    tested = ListsTested(outcomes, {unit: np.arange(n) % 50 for unit, n in UNITS.items()})
    results = summarise(
        facts, tested, ["promo"], ["pretrained"], {"metric": "ndcg@10"}, bootstrap=100, cohorts=COHORTS, mean=False
    )
    draw = np.random.default_rng(1)
    before, cold = draw.normal(size=(400, 4)), np.arange(1, 31)
    after = before.copy()
    after[cold] += 9
    made = item_map(before, after, cold, np.arange(31, 400), 7)
    results["item_map"] = plain({"unit": "cold.1", "method": "promo", "replicate": 1, "seed": 7, **made})
    run = tmp_path_factory.mktemp("run")
    (run / "results.json").write_text(json.dumps(results, sort_keys=True))
    (run / "job.toml").write_text('name = "cold"\n')
    return run


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return read(folder)


def test_scores_before_and_after_are_drawn_with_their_values_as_text(run: Run) -> None:
    group = pictures.scores(run)
    assert group is not None and len(group.panels) == 2, "a method that neither claims nor is compared with is in the table alone"
    said = [re.search(r'aria-label="(.*?)"', str(drawn)).group(1) for drawn in group.panels]  # type: ignore[union-attr]
    for method, text in zip(("pretrained", "promo"), said, strict=True):
        scores = run.measures(method, "cold items")["scores"]
        assert text.startswith(f"Scores under {method}, ") and text.endswith(f"with chance {scores['above']:.4f}.")
        mean = f"{scores['cold positives']['mean']:+.4f}".replace("-", "\N{MINUS SIGN}")
        assert f"cold positives {mean}, cold negatives" in text
    assert [name for name, _ in group.key] == ["cold positives", "cold negatives", "warm negatives"]
    table = tables.scores(run, panels.method_colours(run))
    assert table is not None and [line.name for line in table.lines] == list(SHIFT)
    above = [float(line.cells[0].text) for line in table.lines]
    assert above[0] < above[2] < above[1]


def test_accuracy_by_how_often_an_item_was_taken_is_a_picture_and_a_table_with_intervals(run: Run) -> None:
    colour = panels.method_colours(run)
    groups, made = pictures.by_count(run, colour), tables.by_count(run, colour)
    assert [g.name for g in groups] == ["NDCG@10", "HIT@10"] and [len(g.panels) for g in groups] == [2, 2]
    for metric, table in zip(("ndcg@10", "hit@10"), made, strict=True):
        assert table.head[1:] == ["cold items, 5 to 9", "warm items, 5 to 9", "warm items, 20 to 49"]
        assert [cell.text for cell in table.lines[0].cells] == ["200", "40", "260"]
        promo = next(line for line in table.lines if line.name == "promo")
        value = run.measures("promo", "warm items")["cohorts"]["20 to 49"][metric]
        assert (
            promo.cells[2].text == f"{value['mean']:.4f}" and promo.cells[2].below == f"{value['low']:.4f} to {value['high']:.4f}"
        )
        assert promo.cells[0].text == f"{run.measures('promo', 'cold items')[metric]['mean']:.4f}", "one class holds all"
    warm = str(groups[0].panels[1])
    value = run.measures("promo", "warm items")["cohorts"]["5 to 9"]["ndcg@10"]["mean"]
    assert f"NDCG@10 in warm items: promo {value:.4f} at 5 to 9 and " in warm


def test_where_no_method_claims_all_are_drawn(run: Run) -> None:
    methods = {m: {**facts, "claims": False, "baseline": m == "other"} for m, facts in run.results["methods"].items()}
    plain = replace(run, results={**run.results, "methods": methods})
    drawn, by_count = pictures.scores(plain), pictures.by_count(plain, panels.method_colours(plain))
    assert drawn is not None and len(drawn.panels) == 3
    assert [[name for name, _ in group.key] for group in by_count] == [list(SHIFT)] * 2
    for method in SHIFT:
        value = run.measures(method, "cold items")["cohorts"]["5 to 9"]["hit@10"]["mean"]
        assert f"{method} {value:.4f} at 5 to 9" in str(by_count[1].panels[0])


def test_items_are_drawn_before_and_after_and_it_says_what_is_left_out(run: Run) -> None:
    group, told = pictures.item_map(run), run.results["item_map"]
    assert group is not None and len(group.panels) == 2
    assert "30 of 30 cold items of the unit and 200 of 369 warm ones (a sample, seed 7)" in group.caption
    before, after = (f"{100 * told['near'][name]:.3g} %" for name in ("before", "after"))
    assert f"{before} are cold before and {after} after" in group.caption and after == "100 %"
    assert f"of the ten nearest items of a cold one {before} are cold" in str(group.panels[0])
    assert all(str(drawn).count("<use ") > 230 for drawn in group.panels)


def test_the_page_has_them_and_a_run_without_them_has_no_such_part(folder: Path, tmp_path: Path) -> None:
    page = build(folder).read_text(encoding="utf-8")
    assert '<h2 id="cold">' in page and "Cohorts of the test" not in page
    assert page.index('id="results"') < page.index('id="cold"') < page.index('id="comparisons"')
    results = json.loads((folder / "results.json").read_text())
    del results["item_map"]
    for facts in results["methods"].values():
        for measures in facts["units"].values():
            measures.pop("scores", None), measures.pop("cohorts")
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "job.toml").write_text('name = "cold"\n')
    assert 'id="cold"' not in build(tmp_path).read_text(encoding="utf-8")
