"""What `prepare` says of data whose numbers could be taken for something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raytune_rec.config import parse
from raytune_rec.errors import DataError
from raytune_rec.stages import prepare
from raytune_rec.stages.context import Context

HEAD = "domain,user,item,label,timestamp,plan"
TIME = {"kind": "time", "valid": 0.2, "test": 0.2}


@pytest.fixture
def prepared(tmp_path: Path):
    """prepared(lines, data) -> what was said, and the summary."""

    def made(lines: list[str], split: dict[str, Any], metric: str = "auc", **data: Any) -> tuple[list[str], dict[str, Any]]:
        (tmp_path / "log.csv").write_text("\n".join([HEAD, *lines]) + "\n")
        columns = {name: name for name in ("domain", "user", "item", "label", "timestamp")}
        options = {"files": str(tmp_path / "log.csv"), "columns": columns, "features": {"plan": {"role": "user"}}}
        job = {
            "name": "x",
            "data": {"source": "tabular", "options": options, "split": split, **data},
            "backbone": {"name": "deepfm"},
            "training": {"metric": metric},
            "rows": {"a": {"strategy": "single"}},
        }
        said: list[str] = []
        out = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        prepare.run(Context(parse(job), out, said.append, {}))
        return said, json.loads((out / "data/summary.json").read_text())

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
    assert any(line.startswith("sure: its 20 test rows have one label, and AUC needs both") for line in said)


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
