"""The report of a run on candidate lists: two tasks without a mean, of which one pools folds, and a row that lacks one."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from raytune_rec.evaluation.measures.inputs import ListOutcomes, MethodFacts, Outcome
from raytune_rec.evaluation.measures.tested import ListsTested
from raytune_rec.evaluation.results import summarise
from raytune_rec.report import words
from raytune_rec.report.page.render import build
from raytune_rec.report.pictures import charts, forest, panels
from raytune_rec.report.run import Run, read, title
from raytune_rec.report.tables import rankings, web
from raytune_rec.report.tables.terminal import console

TABLES = {"few": ["few.1", "few.2", "few.3"], "zero": ["zero"]}
LISTS = {"few": 300, "zero": 240}
ROWS = {  # strategy, prompt, chance that a candidate stands above, tuned parameters
    "pretrained": ("pretrained", "none", 0.150, 0),
    "finetune": ("finetune_all", "none", 0.130, 20_000),
    "light": ("prompt", "soft", 0.115, 1_500),
    "full": ("prompt_backbone", "soft", 0.118, 21_500),
}
CLAIMS = ["light", "full"]
TRIALS = 10


def _trials(g: np.random.Generator) -> list[dict]:
    found = []
    for row, (_, prompt, chance, tuned) in ROWS.items():
        for place, unit in enumerate(f for folds in TABLES.values() for f in folds):
            for n in range(TRIALS if tuned else 1):
                if row == "pretrained" and unit == "zero":
                    continue
                options = {"training.lr.default": float(10 ** g.uniform(-4, -1)), "backbone.dropout": float(g.uniform(0, 0.5))}
                if prompt != "none":
                    options["prompt.heat"] = float(10 ** g.uniform(-2, 1))
                rate = np.log10(options["training.lr.default"])
                best = 0.6 - chance + 0.01 * place - 0.004 * abs(rate + 2) + 0.002 * g.normal()
                curve = [0.3 + (best - 0.3) * (1 - np.exp(-1.2 * e)) for e in range(8 if tuned else 1)]
                found.append({
                    "method": row, "unit": unit, "number": n, "state": "complete", "value": max(curve), "options": options,
                    "best_epoch": len(curve) - 1, "epochs": len(curve) - 1, "curve": curve, "losses": [0.5] * (len(curve) - 1),
                    "seconds": 2.0, "parameters": tuned,
                })  # fmt: skip
    return found


def _content() -> tuple[dict, list[dict]]:
    g = np.random.default_rng(5)
    trials = _trials(g)
    outcomes, facts = [], []
    hard = {u: g.beta(2, 3, n) * 2 for u, n in LISTS.items()}
    for row, (strategy, prompt, chance, tuned) in ROWS.items():
        for u, n in LISTS.items():
            if (row, u) == ("pretrained", "zero"):
                continue
            shape = (5 if tuned else 1, n)
            parts = [
                Outcome(g.binomial(k - 1, np.broadcast_to(chance * hard[u], shape)), np.zeros(shape, dtype=int), np.full(n, k))
                for k in (100, 3000)
            ]
            outcomes.append(ListOutcomes(row, u, parts[0], parts[1] if u == "few" else None))
        own = [t for t in trials if t["method"] == row]
        best: dict[str, dict] = {}
        for t in sorted(own, key=lambda t: t["value"]):
            best[t["unit"]] = t
        facts.append(MethodFacts(
            row, strategy, prompt, "sasrec", "plain", row not in CLAIMS, len(own) if tuned else 0, tuned, 200_000,
            sum(t["seconds"] for t in own), {u: t["value"] for u, t in best.items()}, {u: t["options"] for u, t in best.items()},
            {u: t["number"] for u, t in best.items()},
        ))  # fmt: skip
    protocol = {
        "metric": "ndcg@10", "split": "test users, seed 0", "cohort": "cold users", "full": "all items but those seen",
        "candidates": "the positive and 99 sampled items",
    }  # fmt: skip
    groups = {"few": np.arange(LISTS["few"]) % 60, "zero": np.arange(LISTS["zero"])}
    tested = ListsTested(outcomes, groups)
    results = summarise(facts, tested, CLAIMS, ["pretrained", "finetune"], protocol, bootstrap=300, mean=False, tables=TABLES)
    return results, trials


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("lists")
    results, trials = _content()
    (run / "results.json").write_text(json.dumps(results, sort_keys=True))
    (run / "trials.json").write_text(json.dumps(trials))
    (run / "job.toml").write_text('name = "cold"\n[training]\nmetric = "ndcg@10"\n')
    return run


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return read(folder)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return build(folder).read_text(encoding="utf-8")


def _plain(text: str) -> str:
    """Its words, without second lines; narrow spaces within numbers stay."""
    return re.sub(r"[ \n]+", " ", re.sub(r"<small>.*?</small>|<[^>]*>", " ", text))


def _section(page: str, heading: str) -> str:
    return _plain(page.partition(f"<h3>{heading}</h3>")[2].partition("</figure>")[0])


def test_each_task_has_a_table_and_the_full_ranking_one_of_its_own(page: str, run: Run) -> None:
    """The job's own metric stands in the first table, and so in no other of the same ranking."""
    every = ("auc", "hit@1", "hit@5", "ndcg@5", "hit@10", "ndcg@10", "hit@20", "ndcg@20", "hit@50", "ndcg@50")
    first = _plain(page.partition('<h2 id="results">')[2].partition("</figure>")[0])
    assert "Test NDCG@10, mean over lists and replicates" in first
    for row in ROWS:
        own = [run.measures(row, u).get("ndcg@10", {}).get("mean") for u in LISTS]
        assert re.search(rf"{row} {' '.join(words.fixed(v) for v in own)} ", first)
    for heading, unit, prefix, protocol in [
        ("few: sampled ranking", "few", "", "the positive and 99 sampled items (100 a list)"),
        ("zero: sampled ranking", "zero", "", "the positive and 99 sampled items (100 a list)"),
        ("few: full ranking", "few", "full.", "all items but those seen (3\u202f000 a list)"),
    ]:
        said = _section(page, heading)
        names = [name for name in every if prefix or name != "ndcg@10"]
        assert said.strip().startswith(f"method {' '.join(map(title, names))} pretrained")
        for row in ROWS:
            m = run.measures(row, unit)
            values = [f"{m[prefix + n]['mean']:.4f}" if m else words.NONE for n in names]
            assert f"{row} {' '.join(values)}" in said
        assert f"candidates: {protocol}" in said and "cohort: cold users" in said
    assert "<h3>zero: full ranking</h3>" not in page
    assert "mean" not in re.findall(r'<th scope="col">(.*?)</th>', page)


def test_a_ranking_of_all_items_is_not_called_sampled(folder: Path, tmp_path: Path) -> None:
    results = json.loads((folder / "results.json").read_text())
    results["protocol"]["ranking"] = "full"
    del results["protocol"]["full"]
    for row in results["methods"].values():
        for measures in row["units"].values():
            for name in [n for n in measures if n.startswith("full.")]:
                del measures[name]
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "job.toml").write_text('name = "cold"\n')
    said = build(tmp_path).read_text(encoding="utf-8")
    assert "<h3>few: full ranking</h3>" in said and "ampled ranking" not in said
    shown = io.StringIO()
    Console(file=shown, width=100).print(console(results))
    assert "few: full ranking" in shown.getvalue() and "sampled ranking" not in shown.getvalue()


def test_the_best_of_each_column_is_marked(page: str, run: Run) -> None:
    table = page.partition("<h3>zero: sampled ranking</h3>")[2].partition("</table>")[0]
    best = max(run.measures(r, "zero").get("hit@5", {}).get("mean", 0) for r in ROWS)
    assert f'<td class="best">{best:.4f}<small>' in table and table.count('class="best"') == 8  # all have found HIT@50


def test_a_ranking_has_no_column_that_its_lists_are_too_short_for(folder: Path) -> None:
    """Of ten candidates every order has the positive among the first ten, and no place behind them."""
    results = json.loads((folder / "results.json").read_text())
    facts = results["units"]["few"]

    def shown(prefix: str, **changed: object) -> list[str]:
        results["units"]["few"] = facts | {name.replace("best_", "best 50_"): value for name, value in changed.items()}
        return rankings.metrics(results, "few", prefix)

    assert shown("full.", full_candidates=[10, 10]) == ["auc", "hit@1", "hit@5", "ndcg@5", "ndcg@10"]
    assert shown("full.", full_candidates=[27, 29])[-3:] == ["hit@20", "ndcg@20", "ndcg@50"]
    assert shown("full.", full_candidates=[90, 900]) == list(rankings.METRICS)
    assert shown("best 50.", best_candidates=[50, 50], best_found=0.9) == list(rankings.METRICS)  # some positives are missing


def test_shuffled_histories_have_columns_and_rerankings_tables_of_their_own(folder: Path, tmp_path: Path) -> None:
    results = json.loads((folder / "results.json").read_text())
    results["units"]["few"] |= {f"best {n}_{k}": v for n, found in ((300, 0.5), (50, 0.25)) for k, v in
                                {"candidates": [n, n + 1], "constant": {"hit@10": 0.01}, "found": found}.items()}  # fmt: skip
    results["protocol"]["best"] = "those that sasrec ranks first"
    for place, row in enumerate(results["methods"].values()):
        if few := row["units"].get("few"):
            few |= {f"{ranking}{name}": {"mean": 0.5 + place / 100 + (ranking == "best 50.") / 1000, "sd": None}
                    for ranking in ("shuffled.", "best 300.", "best 50.") for name in rankings.METRICS}  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "job.toml").write_text('name = "cold"\n')
    said = build(tmp_path).read_text(encoding="utf-8")
    few, zero = (_section(said, f"{unit}: sampled ranking") for unit in LISTS)
    assert "HIT@50 NDCG@50 HIT@10 shuffled NDCG@10 shuffled" in few and "0.5000 0.5000" in few and "shuffled" not in zero
    assert said.index("few: full ranking") < said.index("few: reranking (best 50)") < said.index("few: reranking (best 300)")
    table = _section(said, "few: reranking (best 50)")
    assert (
        "pretrained 0.5310 0.5310" in table
        and f"(50 to 51 a list); {words.percent(0.25)} of the positives are among them" in table
    )
    shown = io.StringIO()
    Console(file=shown, width=80).print(console(results))
    assert "few: reranking (best 300)" in shown.getvalue() and "shuffled" in shown.getvalue()


def test_what_only_rows_with_labels_have_is_left_out(page: str) -> None:
    assert "calibration" not in page and "log loss" not in page.lower()
    assert not re.search(r"\b(nan|None)\b", page)


def test_the_table_of_comparisons_names_the_metric(run: Run) -> None:
    table = web.comparisons(run, panels.method_colours(run))
    assert table is not None and table.head[:5] == ["method", "baseline", "task", "metric", "difference"]
    assert table.head[5:] == ["interval", "p", "p, Holm", "users", "pre-trainings", "verdict"] and "by user" in table.caption
    assert "light with pretrained in zero (pretrained has no result there)" in table.caption
    found = [(line.name, *(c.text for c in line.cells[:3])) for line in table.lines]
    assert found[:3] == [
        ("light", "pretrained", "few", "AUC"),
        ("light", "pretrained", "few", "NDCG@10"),
        ("light", "finetune", "few", "AUC"),
    ]
    assert len(found) == len(set(found)) == 2 * 2 * 3


def test_each_metric_has_its_charts_of_the_baselines_that_a_task_has(run: Run) -> None:
    groups = forest.differences(run, panels.method_colours(run))
    assert [g.name for g in groups] == ["NDCG@10", "AUC"] and [len(g.panels) for g in groups] == [2, 2]
    assert "intervals by user" in groups[0].caption
    few, zero = map(str, groups[0].panels)
    assert "light minus pretrained" in few and "pretrained" not in zero and "difference in test NDCG@10" in zero


def test_a_headline_joins_equal_outcomes_with_and(run: Run) -> None:
    by_auc = replace(run, results={**run.results, "protocol": {**run.results["protocol"], "metric": "list_auc"}})
    alike = "light is better than all 2 baselines in few and better than finetune in zero."
    assert words.verdict(by_auc).headline == f"By AUC, {alike}"


def test_the_verdict_speaks_of_both_metrics_and_of_each_task_by_itself(run: Run) -> None:
    verdict = words.verdict(run)
    points = dict(verdict.points)
    assert verdict.headline.startswith("By NDCG@10, ") and "in few" in verdict.headline and "in zero" in verdict.headline
    for unit in ("few", "zero"):
        pattern = r"has NDCG@10 0\.\d{4}, the strongest baseline \w+ 0\.\d{4}: .* has AUC 0\.\d{4}, the strongest"
        assert re.search(pattern, points[f"In {unit}"])
    assert "test lists: 300 in few and 240 in zero" in points["How sure"] and "users are drawn" in points["How sure"]
    assert "over domains" not in " ".join(points.values())


def test_each_task_has_the_leader_that_its_validation_likes_best(run: Run) -> None:
    rows = {r: json.loads(json.dumps(f)) for r, f in run.results["methods"].items()}
    rows["full"]["units"]["zero"]["valid"] = 0.99
    changed = replace(run, results={**run.results, "methods": rows})
    assert words.leaders(changed) == {"few": "light", "zero": "full"}
    assert re.match(r"By NDCG@10, light is .* in few; full is .* in zero\.", words.verdict(changed).headline)


def test_without_a_claim_each_task_names_its_best(run: Run) -> None:
    said = words.verdict(replace(run, results={**run.results, "comparisons": []})).headline
    best = {u: max(ROWS, key=lambda r: run.measures(r, u).get("ndcg@10", {}).get("mean", 0)) for u in LISTS}
    assert said.startswith(f"In few {best['few']} and in zero {best['zero']} has the highest test NDCG@10.")


def test_trials_of_folds_belong_to_the_unit_that_pools_them(run: Run) -> None:
    assert {t.unit for t in run.searched("light", "few")} == set(TABLES["few"])
    assert [t.unit for t in run.winners("light", "few")] == TABLES["few"]
    assert [t.unit for t in run.winners("light", "zero")] == ["zero"]
    for t in run.winners("light", "few"):
        assert t.value == max(o.value for o in run.trials if (o.method, o.unit) == (t.method, t.unit))
    assert [len(study) for study in run.studies("light", "few")] == [TRIALS] * 3
    assert run.winners("pretrained", "zero") == []


def test_the_effect_of_an_option_is_drawn_without_the_level_of_its_fold(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list] = {}
    draw = charts.effect
    monkeypatch.setattr(charts, "effect", lambda *a: drawn.setdefault(a[0], a[1]) and draw(*a))
    trials = [replace(t, value=t.value + 0.3) if t.unit == "few.2" else t for t in run.trials]
    (group, *_) = panels.effects(replace(run, trials=tuple(trials)), panels.method_colours(run))
    light = drawn["few"][0]
    assert max(light.y) - min(light.y) < 0.2 and len(light.marks) == 3 and group.name == "prompt.heat"
    assert "all folds have one median" in group.caption
    assert list(drawn["zero"][0].y) == [t.value for t in run.searched("light", "zero")]


def test_the_effect_of_an_option_in_many_units_is_one_panel(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list] = {}
    draw = charts.effect
    monkeypatch.setattr(charts, "effect", lambda *a: drawn.setdefault(a[0], a[1]) and draw(*a))
    monkeypatch.setattr(panels, "APART", 1)
    (group, *_) = panels.effects(run, panels.method_colours(run))
    (light, *_) = drawn["all 2 tasks"]
    assert len(group.panels) == 1 and len(light.y) == 4 * TRIALS and len(light.marks) == 4
    assert "one ring for each task, and its values are shifted so that all tasks have one median" in group.caption


def test_two_tests_of_the_same_folds_are_one_search(run: Run) -> None:
    rows = {r: {**f, "units": {u: f["units"]["few"] for u in LISTS}} for r, f in run.results["methods"].items()}
    joint = replace(run, results={**run.results, "methods": rows, "tables": dict.fromkeys(LISTS, TABLES["few"])})
    assert joint.searches == {"few, zero": "few"} and joint.winners("light", "zero") == joint.winners("light", "few")
    group = panels.search(joint, panels.method_colours(joint))
    assert group is not None and len(group.panels) == 1 and "Each task pools 3 folds" in group.caption
    assert [place for row, place, *_ in web.winners(joint) if row == "light"] == TABLES["few"]


def test_many_tests_of_the_same_groups_have_a_title_that_a_panel_has_room_for(run: Run) -> None:
    five = ["cold items", "warm items", "all items", "cold items among cold", "warm items among warm"]
    rows = {r: {**f, "units": {u: f["units"]["few"] for u in five}} for r, f in run.results["methods"].items()}
    results = {**run.results, "pools": "group", "methods": rows, "unit_order": five, "units": {unit: {} for unit in five}}
    joint = replace(run, results={**results, "tables": dict.fromkeys(five, TABLES["few"])})
    assert joint.searches == {"cold items and 4 more": "cold items"}
    group = panels.search(joint, panels.method_colours(joint))
    assert group is not None and ">cold items and 4 more<" in str(group.panels[0])
    of_options = panels.importances(joint, panels.method_colours(joint))
    assert of_options is not None and "bars are means over groups, dots single ones" in of_options.caption


def test_every_fold_is_drawn_and_listed(run: Run, page: str) -> None:
    colour = panels.method_colours(run)
    for group in (panels.learning(run, colour), panels.search(run, colour)):
        assert group is not None and len(group.panels) == 2 and "few pools 3 folds" in group.caption
        assert all(f"light ({fold}) best 0." in str(group.panels[0]) for fold in TABLES["few"])
    listed = [(row, place) for row, place, *_ in web.winners(run)]
    assert [place for row, place in listed if row == "light"] == [*TABLES["few"], "zero"]
    assert ("pretrained", "zero") not in listed
    trial, heat = next((t.number, t.options["prompt.heat"]) for t in run.winners("light", "few"))
    assert re.search(rf"light few\.1 {trial} 0\.\d{{4}} backbone.dropout = .*?prompt.heat = {heat:.4g}", _plain(page))


def test_the_terminal_has_the_same_tables(run: Run) -> None:
    printer = Console(width=80, file=io.StringIO())
    printer.print(console(run.results))
    assert isinstance(printer.file, io.StringIO)
    text = printer.file.getvalue()
    places = [text.index(t) for t in ("Test NDCG@10", "few: sampled ranking", "zero: sampled ranking", "few: full ranking")]
    assert places == sorted(places) and "zero: full" not in text and "mean" not in text
    assert f"{run.measures('light', 'few')['full.ndcg@50']['mean']:.4f}" in text[places[3] :]


@pytest.mark.parametrize(
    ("name", "text"),
    [("ndcg@10", "NDCG@10"), ("hit@5", "HIT@5"), ("list_auc", "list AUC"), ("mrr", "MRR"), ("logloss", "log loss")],
)
def test_titles(name: str, text: str) -> None:
    assert title(name) == text


def _with_a_tied_row(run: Run) -> Run:
    """Its `pretrained` row is at chance on `few` and knows it, as on users without a history."""
    units = {**run.results["units"], "few": {**run.results["units"]["few"], "tied": ["pretrained"]}}
    far = [c | {"difference": 9.0, "low": 8.0, "high": 10.0} if (c["baseline"], c["unit"]) == ("pretrained", "few") else c
           for c in run.results["comparisons"]]  # fmt: skip
    return replace(run, results={**run.results, "units": units, "comparisons": far})


def test_a_row_that_tells_no_candidates_apart_widens_no_chart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, limits = _with_a_tied_row(run), []
    draw = charts.forest
    monkeypatch.setattr(charts, "forest", lambda *a: limits.append(a[3]) or draw(*a))
    colour = panels.method_colours(run)
    groups = forest.differences(changed, colour)
    assert all("minus pretrained" not in str(panel) for group in groups for panel in group.panels)
    assert limits and all(high < 1 for _, high in limits)
    assert "Left out: pretrained in few, where all candidates of a list score the same." in groups[0].caption
    for group in (panels.learning(changed, colour), panels.search(changed, colour)):
        assert group is not None and "pretrained" not in str(group.panels[0])


def test_its_tables_show_it_and_say_why_it_is_at_chance(run: Run) -> None:
    changed, colour = _with_a_tied_row(run), panels.method_colours(run)
    few, zero, full = (table for _, table in rankings.tables(changed, colour))
    note = "pretrained scores all candidates of a list the same in few (no history, and nothing else known): chance."
    assert note in few.caption and note in full.caption
    assert note not in zero.caption and "pretrained" in [line.name for line in few.lines]
    compared = web.comparisons(changed, colour)
    assert compared is not None and "pretrained" in {line.cells[0].text for line in compared.lines}
    printer = Console(width=200, file=io.StringIO())
    printer.print(console(changed.results))
    assert isinstance(printer.file, io.StringIO) and note in " ".join(printer.file.getvalue().split())
