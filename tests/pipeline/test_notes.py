"""What `prepare` says of data whose numbers could be taken for something else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from raytune_rec.config import parse
from raytune_rec.errors import DataError
from raytune_rec.evaluation.measures.inputs import MethodFacts, Predictions
from raytune_rec.report.tables.terminal import console
from raytune_rec.stages import evaluate, prepare
from raytune_rec.stages.context import Context

HEAD = "domain,user,item,label,timestamp,plan"
TIME = {"kind": "time", "valid": 0.2, "test": 0.2}


def context_of(folder: Path, lines: list[str], said: list[str], metric: str = "auc", **data: Any) -> Context:
    """A run of two rows on a log."""
    (folder / "log.csv").write_text("\n".join([HEAD, *lines]) + "\n")
    columns = {name: name for name in ("domain", "user", "item", "label", "timestamp")}
    options = {"files": str(folder / "log.csv"), "columns": columns, "features": {"plan": {"role": "user"}}}
    job = {
        "name": "x",
        "data": {"source": "tabular", "options": options, **data},
        "backbone": {"name": "deepfm"},
        "training": {"metric": metric},
        "methods": {"a": {"strategy": "single"}, "b": {"strategy": "single", "baseline": True}},
        "evaluate": {"compare": ["a"], "bootstrap": 100},
    }
    return Context(parse(job), folder / f"run{len(list(folder.glob('run*')))}", said.append, {})


@pytest.fixture
def prepared(tmp_path: Path):
    """prepared(lines, data) -> what was said, and the summary."""

    def made(lines: list[str], split: dict[str, Any], metric: str = "auc", **data: Any) -> tuple[list[str], dict[str, Any]]:
        said: list[str] = []
        context = context_of(tmp_path, lines, said, metric, split=split, **data)
        prepare.run(context)
        return said, json.loads((context.store_path / "summary.json").read_text())

    return made


def domain(name: str, times: range, ones: int = 2) -> list[str]:
    return [f"{name},u{t % 6},i{t % 5},{int(t % ones == 0)},{t},p{t % 6 % 3}" for t in times]


def test_a_domain_that_ended_before_the_test_is_named(prepared) -> None:
    """Its rows are three of ten, so that the cuts fall behind its last row, and one row validates."""
    lines = [*domain("long", range(0, 100)), *domain("ended", range(20, 71)), "long,u1,i1,1,65,p1"]
    said, summary = prepared(lines, {**TIME, "valid": 0.3})
    assert summary["domains"]["ended"]["test"]["rows"] == 0 < summary["domains"]["ended"]["valid"]["rows"]
    assert summary["domains"]["ended"]["untested"] == "no test row" and "untested" not in summary["domains"]["long"]
    assert "ended: no test row; it has no value in the results, and the mean over domains leaves it out" in said


def test_a_domain_with_one_class_of_test_rows_is_named(prepared) -> None:
    late = [f"sure,u{t % 6},i{t % 5},1,{t},p1" for t in range(80, 100)]
    said, _ = prepared([*domain("long", range(0, 100)), *domain("sure", range(0, 80)), *late], TIME)
    assert any(line.startswith("sure: one label in all its test rows (20), and AUC needs both") for line in said)


def test_the_results_name_what_has_none_and_average_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four domains one has no test row and one a single class; scores are drawn."""
    late = [f"sure,u{t % 6},i{t % 5},1,{t},p1" for t in range(60, 100)]
    lines = [*domain("long", range(0, 100)), *domain("sure", range(0, 60)), *late, *domain("also", range(0, 100, 2), 4)]
    lines += [*domain("ended", range(0, 66)), *domain("ended", range(60, 70))]
    context = context_of(tmp_path, lines, [], split={**TIME, "valid": 0.3})

    def pooled(context: Context, kind: Any, of_methods: Any, tests: Any, chosen: Any) -> list[Predictions]:
        draw = np.random.default_rng(1)
        return [Predictions(m, u, draw.normal(size=(2, len(t[u])))) for u, t in tests.items() for m in ("a", "b")]

    def facts(context: Context, row: str, units: list[str]) -> MethodFacts:
        return MethodFacts(row, "single", "none", "deepfm", "", row == "b", 1, 1, 1, 1.0, valid=dict.fromkeys(units, 0.5))

    monkeypatch.setattr(evaluate, "outcomes", lambda *_: {})
    monkeypatch.setattr(evaluate, "pooled", pooled)
    monkeypatch.setattr(evaluate, "_facts", facts)
    prepare.run(context)
    evaluate.run(context)
    results = json.loads((context.folder / "results.json").read_text())
    assert results["untested"].keys() == {"ended", "sure"} and results["untested"]["ended"] == "no test row"
    assert set(results["units"]) == {"long", "also", "sure"} and results["averaged"]["auc"] == ["also", "long"]
    for row in results["methods"].values():
        auc = [row["units"][u]["auc"]["mean"] for u in ("also", "long", "sure")]
        assert auc[2] is None and row["mean"]["auc"]["mean"] == pytest.approx(np.mean(auc[:2]))
    printer = Console(width=110, file=io.StringIO())
    printer.print(console(results))
    shown = " ".join(printer.file.getvalue().split())
    assert "there is no AUC in sure, whose test rows have one class. No result in ended (no test row)" in shown


def test_a_domain_without_training_rows_is_refused_and_the_remedy_works(prepared) -> None:
    lines = [*domain("old", range(0, 100)), *domain("new", range(95, 195))]
    with pytest.raises(DataError, match=r"'new': no row to train with") as caught:
        prepared([*domain("old", range(0, 300)), *domain("new", range(295, 395))], TIME)
    assert "Set data.split.cut = 'each', which cuts every domain at its own times" in str(caught.value)
    with pytest.raises(DataError, match=r"'old': no row to validate with"):
        prepared(lines, TIME, metric="logloss")
    said, _ = prepared(lines, {**TIME, "cut": "each"})
    assert any("sees rows of one that are later than test rows of another (data.split.cut = 'all'" in line for line in said)


@pytest.mark.parametrize("kind", ["leave_one_out", "cold_users"])
def test_what_is_learned_of_later_times_is_told(prepared, kind: str) -> None:
    lines = [f"x,u{u},i{(u + 3 * k) % 20},1,{k},p{u % 2}" for u in range(40) for k in range(6)]
    tasks = {"tasks": ["few"], "folds": 2, "valid": 0.4} if kind == "cold_users" else {}
    split = {"kind": kind, **({"cold": 0.5} if kind == "cold_users" else {})}
    said, _ = prepared(lines, split, "ndcg@10", sequences={"negatives": 5, **tasks})
    (line,) = [line for line in said if line.startswith("later times")]
    assert "at no common time; what trains on all users sees what others did after a test row" in line


def test_where_few_rows_make_an_item_cold_the_last_rows_of_users_are_said_to_be_held_out(prepared) -> None:
    """Every user takes five of ten popular items and one of ten rare ones, which stands last, last but one or before these."""
    lines = []
    for u in range(120):
        items = [(u + k) % 10 for k in range(5)]
        items.insert(5 - u // 10 % 3, 10 + u % 10)
        lines += [f"x,u{u},i{item},1,{place},p{u % 2}" for place, item in enumerate(items)]
    sequences = {"negatives": 5, "item_groups": 1}
    said, _ = prepared(lines, {"kind": "cold_items", "cold_most": 6}, "ndcg@10", sequences=sequences)
    (line,) = [line for line in said if line.startswith("later times")]
    assert line.startswith("later times: each user's last row is held out, at no common time")


def test_nothing_is_said_where_nothing_is_to_say(prepared) -> None:
    said, summary = prepared([*domain("x", range(0, 100)), *domain("y", range(0, 100))], TIME)
    assert not any(line.startswith(("later", "equal", "repeats", "x:", "y:")) for line in said) and "units" not in summary


def test_classes_that_a_fold_cannot_learn_are_told(prepared) -> None:
    """A plan of one user alone: the fold that tests him has nobody to learn it from."""
    lines = [f"x,u{u},i{(u + 3 * k) % 20},1,{k},{'gold' if u == 3 else 'free'}" for u in range(24) for k in range(6)]
    lines += [f"x,w{u},i{(u + 3 * k) % 20},1,{k},{'gold' if u == 0 else 'free'}" for u in range(30) for k in range(12)]
    split = {"kind": "cold_users", "cold_below": 10}
    said, summary = prepared(lines, split, "ndcg@10", sequences={"negatives": 5, "predict": "plan", "folds": 3, "valid": 0.4})
    told = summary["units"]
    assert sorted(told) == ["plan.1", "plan.2", "plan.3"]
    (own,) = [u for u in told if told[u]["classes"] == {"test": 2, "unseen": 1}]
    assert f"{own}: of the 2 classes of its test users nobody has 1 on whom it is tuned" in said
    for unit in told.keys() - {own}:
        assert f"{unit}: all its test users have one class, so that always saying it is right" in said
