"""The page and the terminal's table of a run of many domains."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from raytune_rec.evaluation.measures.inputs import MethodFacts, Predictions
from raytune_rec.evaluation.measures.tested import RowsTested
from raytune_rec.evaluation.results import summarise
from raytune_rec.report import words
from raytune_rec.report.page.render import build
from raytune_rec.report.run import read
from raytune_rec.report.tables import many
from raytune_rec.report.tables.terminal import console
from raytune_rec.storage.files import write_json

UNITS = {f"shop {i:02d}": 40 + 12 * i for i in range(40)}
FAR = {f"shop {i:02d}": (i * 7 % 40) / 40 for i in range(40)}
METHODS = {"ours": 1.0, "plain": 0.7, "weak": 0.4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw, run = np.random.default_rng(1), tmp_path_factory.mktemp("many")
    labels = {u: (np.arange(n) % 2).astype(np.float32) for u, n in UNITS.items()}
    predictions = [
        Predictions(m, u, (skill * labels[u] + draw.normal(size=n))[None].astype(np.float32))
        for m, skill in METHODS.items()
        for u, n in UNITS.items()
    ]
    facts = [
        MethodFacts(m, "single", "none", "deepfm", "", m != "ours", 40, 9, 90, 3.0, dict.fromkeys(UNITS, 0.5 + skill / 10),
                    {u: {"training.lr.default": 0.1} for u in UNITS}, dict.fromkeys(UNITS, 0))
        for m, skill in METHODS.items()
    ]  # fmt: skip
    trials = [
        {"method": m, "unit": u, "number": 0, "state": "complete", "value": 0.6, "curve": [0.5, 0.6], "options": {}}
        for m in METHODS
        for u in UNITS
    ]
    groups = {u: draw.integers(0, 30, n) for u, n in UNITS.items()}
    cohorts = {u: {"cold": np.arange(n) % 4 == 0} for u, n in UNITS.items()}
    tested = RowsTested(predictions, labels, groups)
    results = summarise(
        facts, tested, ["ours"], ["plain", "weak"], {"metric": "auc"}, bootstrap=100, cohorts=cohorts, distances=FAR
    )
    for name, value in (("results.json", results), ("trials.json", trials)):
        write_json(run / name, value)  # its keys are sorted, as a run's are
    (run / "job.toml").write_text('name = "many"\n')
    return run


def test_the_page_has_few_columns_and_few_panels_and_every_domain_once_below(folder: Path) -> None:
    page = build(folder).read_text(encoding="utf-8")
    heads = [re.findall(r'<th scope="col">([^<]*)</th>', head) for head in re.findall(r"<thead>(.*?)</thead>", page, re.S)]
    assert heads[0][:6] == ["method", "mean", "mean by rows", "small third", "middle third", "large third"]
    assert heads[0][6:] == ["mean log loss", "best in", "trials", "tuned", "search"]
    assert max(map(len, heads)) <= 11 and page.count("<svg") < 30
    assert "3 methods on 40 domains" in page and "Gain by size and distance of the domains" in page
    (domains,) = re.findall(r"40 domains, one by one</summary>(.*?)</table>", page, re.S)
    assert re.findall(r'<th scope="row">(shop \d\d)', domains) == list(UNITS)
    assert "Panels are of 6 of 40 domains, from the smallest to the largest." in page


def test_its_words_speak_of_means_and_its_numbers_are_those_of_the_results(folder: Path) -> None:
    run = read(folder)
    said = words.verdict(run)
    assert said.headline == "ours is better than all 2 baselines on average over domains."
    assert "shop" not in " ".join(text for _, text in said.points) and "in each of 40 domains" in dict(said.points)["How sure"]
    caption = many.main(run, dict.fromkeys(METHODS, "")).caption
    assert "by size (small 40 to 184, middle 196 to 340 and large 352 to 508)" in caption
    means = dict(many.columns(run.results))
    first = run.results["sizes"]["thirds"]["small"]
    assert means["small third"]["ours"]["mean"] == pytest.approx(
        np.mean([run.results["methods"]["ours"]["units"][u]["auc"]["mean"] for u in first])
    )
    table = many.gains(run, dict.fromkeys(run.methods, ""))
    assert table is not None and [(line.name, line.note) for line in table.lines] == [
        ("ours", "minus plain"),
        ("ours", "minus weak"),
    ]
    assert sum(many.best_in(run.results).values()) == 40


def test_gain_by_distance_stands_beside_that_by_size(folder: Path) -> None:
    run = read(folder)
    colour = dict.fromkeys(run.methods, "")
    gains, levels = many.gains(run, colour), many.by_distance(run, colour)
    assert gains is not None and gains.head[-3:] == ["near third", "third between", "far third"] and levels is not None
    told = {(c["method"], c["baseline"], c["of"]): c["difference"] for c in run.results["sizes"]["differences"]}
    assert [cell.text for cell in gains.lines[0].cells[-3:]] == [
        words.signed(told["ours", "plain", part]) for part in ("near", "between", "far")
    ]
    near, between, far = (sorted(FAR.values())[part] for part in (slice(0, 13), slice(13, 26), slice(26, 40)))
    ranges = [f"{name} {of[0]:.2f} to {of[-1]:.2f}" for name, of in (("near", near), ("between", between), ("far", far))]
    assert words.listed(ranges) in gains.caption and words.listed(ranges) in levels.caption
    assert "Morisita" in gains.caption and "Morisita" in levels.caption
    of_far = [run.results["methods"]["weak"]["units"][u]["auc"]["mean"] for u in run.results["sizes"]["nearness"]["far"]]
    assert levels.lines[2].cells[2].text == f"{np.mean(of_far):.4f}"
    assert many.domains(run).lines[0].note == "40 rows, distance 0.00"


def test_a_run_of_before_has_no_distances_and_its_page_is_made(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    parts = {"rows", "small", "middle", "large"}
    del results["sizes"]["distances"], results["sizes"]["nearness"]
    results["sizes"]["differences"] = [c for c in results["sizes"]["differences"] if c["of"] in parts]
    (tmp_path / "run" / "results.json").write_text(json.dumps(results))
    page = build(tmp_path / "run").read_text(encoding="utf-8")
    assert "Gain by size of the domains" in page and "Morisita" not in page


def test_a_job_whose_own_metric_is_not_told_by_size_has_it_domain_by_domain(folder: Path) -> None:
    run = read(folder)
    run = replace(run, results={**run.results, "protocol": {**run.results["protocol"], "metric": "logloss"}})
    assert many.main(run, dict.fromkeys(run.methods, "")).caption.startswith("Test AUC, mean over 40 domains")
    table = many.domains(run)
    assert table.caption.startswith("Test log loss of each domain") and len(table.lines) == 40
    for line in table.lines:
        values = {m: run.results["methods"][m]["units"][line.name]["logloss"]["mean"] for m in run.methods}
        lowest = min(values, key=lambda m: values[m])
        assert [(c.text, c.best) for c in line.cells] == [(f"{v:.4f}", m == lowest) for m, v in values.items()]


def test_the_terminal_shows_it_on_one_screen(folder: Path) -> None:
    shown = Console(width=150)
    with shown.capture() as caught:
        shown.print(console(json.loads((folder / "results.json").read_text())))
    text = caught.get()
    assert "mean by rows" in text and "best in" in text and "shop" not in text and len(text.splitlines()) < 16, text
