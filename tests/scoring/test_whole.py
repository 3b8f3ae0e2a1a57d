"""Whole tables: one answer for each row, in its place, whatever happens on the way, and nobody's file is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from raytune_rec import cli
from raytune_rec.data.stored.store import Store
from raytune_rec.job import shipped
from raytune_rec.scoring import load_backbone, load_prompt, whole
from raytune_rec.scoring.prompts import Prompts
from tests.scoring import made
from tests.scoring.conftest import export, log

COUNT = 250


@pytest.fixture(scope="module")
def run(make: Callable[..., Store], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    made.run(make(log(("shop", "club")), split={"kind": "hash", "valid": 0.1, "test": 0.1}), folder, ("shop", "club"))
    return folder


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """Also as `rows.parquet` in row groups that are no parts, and as `rows.csv`."""
    monkeypatch.setattr(whole, "ROWS", {"score": 40, "recommend": 40})
    draw = np.random.default_rng(1)
    table = pa.table(
        {
            "request": [f"r{i}" for i in range(COUNT)],
            "user": [f"u{i}" for i in draw.integers(0, 44, COUNT)],
            "item": [f"i{i}" for i in draw.integers(0, 33, COUNT)],
            "domain": draw.choice(["shop", "club", "mall"], COUNT).tolist(),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=33)
    pa.csv.write_csv(table, tmp_path / "rows.csv")
    return table


def ask(run: Path, given: Path, out: Path, *more: str) -> int:
    return cli.main(["score", str(run), "--input", str(given), "--output", str(out), "--carry", "request", *more])


def expected(run: Path, rows: pa.Table) -> np.ndarray:
    (backbone,) = (run / "backbones").iterdir()
    served = load_backbone(backbone)
    for name in ("shop", "club"):
        served.add(name, run / "artifacts" / name)
    return np.asarray(served.score(rows.drop_columns(["request"])))


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_each_row_has_one_answer_in_its_place(run: Path, rows: pa.Table, tmp_path: Path, name: str) -> None:
    out = tmp_path / f"out{Path(name).suffix}"
    assert ask(run, tmp_path / name, out) == 0
    answers = pq.read_table(out) if out.suffix == ".parquet" else pa.csv.read_csv(out)
    assert answers["request"].to_pylist() == rows["request"].to_pylist()
    np.testing.assert_allclose(answers["score"].to_numpy(), expected(run, rows), rtol=1e-6)
    marks = [(mark or "").split() for mark in answers["unknown"].to_pylist()]
    assert [("domain" in mark) for mark in marks] == [d == "mall" for d in rows["domain"].to_pylist()]
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".parts")] == []


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_csv_is_parted_by_what_parts_its_header(run: Path, rows: pa.Table, tmp_path: Path, delimiter: str) -> None:
    """Where no job is beside the artifacts that says so; and so are the answers."""
    options = pa.csv.WriteOptions(delimiter=delimiter)
    pa.csv.write_csv(rows, tmp_path / "parted.csv", options)
    assert ask(run, tmp_path / "parted.csv", tmp_path / "out.csv") == 0
    answers = pa.csv.read_csv(tmp_path / "out.csv", parse_options=pa.csv.ParseOptions(delimiter=delimiter))
    assert answers["request"].to_pylist() == rows["request"].to_pylist()
    np.testing.assert_allclose(answers["score"].to_numpy(), expected(run, rows), rtol=1e-6)


def test_a_killed_command_goes_on_behind_its_last_part(
    run: Path, rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score, asked = Prompts.score, list[int]()

    def killed(self: Prompts, given: Any, unknown: Any) -> Any:
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(len(given))
        return score(self, given, unknown)

    with monkeypatch.context() as patch:
        patch.setattr(Prompts, "score", killed)
        assert ask(run, tmp_path / "rows.parquet", tmp_path / "out.parquet") == 130
    assert not (tmp_path / "out.parquet").exists() and asked == [40, 40, 40]
    (tmp_path / ".out.parquet.parts" / ".000003.parquet.x.raytune.tmp").write_bytes(b"half")  # as SIGKILL leaves one
    assert ask(run, tmp_path / "rows.parquet", tmp_path / "out.parquet") == 0
    assert "going on after 120 rows" in capsys.readouterr().out
    answers = pq.read_table(tmp_path / "out.parquet")
    assert answers["request"].to_pylist() == rows["request"].to_pylist()
    np.testing.assert_allclose(answers["score"].to_numpy(), expected(run, rows), rtol=1e-6)
    assert ask(run, tmp_path / "rows.parquet", tmp_path / "out.parquet") == 0
    assert "done already" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".parts")] == []


@pytest.mark.parametrize("named", [False, True])
def test_a_command_killed_while_its_file_gets_its_name_knows_it_again(
    run: Path, rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    given, out, rename = tmp_path / "rows.parquet", tmp_path / "out.parquet", os.replace
    assert ask(run, given, out) == 0
    pq.write_table(rows.slice(3), given)

    def killed(source: Path, target: Path) -> None:
        if named or target != out:
            rename(source, target)
        if target == out:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        assert ask(run, given, out) == 130
    assert len(pq.read_table(out)) == (COUNT - 3 if named else COUNT)
    assert ask(run, given, out) == 0
    assert pq.read_table(out)["request"].to_pylist() == rows["request"].to_pylist()[3:]
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".parts")] == []


def test_another_input_is_scored_anew_and_a_folder_file_by_file(run: Path, rows: pa.Table, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i in range(2):
        pq.write_table(rows.slice(i * 100, 100), folder / f"{i}.parquet")
    assert ask(run, folder, out) == 0
    pq.write_table(rows.slice(7, 60), folder / "1.parquet")
    assert ask(run, folder, out) == 0
    assert [pq.read_table(out / f"{i}.parquet")["request"].to_pylist()[0] for i in range(2)] == ["r0", "r7"]
    assert len(pq.read_table(out / "1.parquet")) == 60


def test_what_cannot_be_scored_is_told_with_its_place(
    run: Path, rows: pa.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.parquet"

    def told(given: str, *more: str, to: Path = out) -> str:
        assert ask(run, tmp_path / given, to, *more) == 2
        return capsys.readouterr().err

    ages = [None] * COUNT
    ages[77] = "old"  # type: ignore[call-overload]
    pa.csv.write_csv(rows.append_column("age", pa.array(ages, pa.string())), tmp_path / "ages.csv")
    assert "ages.csv, line 79: column age: each row must be a finite number" in told("ages.csv", to=tmp_path / "out.csv")
    (tmp_path / "blank.csv").write_text("request,user,item,domain,age\nr1,u1,i1,shop,1\n\n\nr2,u2,i2,shop,old\n")
    assert "blank.csv, line 5: column age" in told("blank.csv", to=tmp_path / "out.csv")
    (tmp_path / "head.csv").write_text("request,user,item,domain\n")
    assert "head.csv: holds no rows; leave it out" in told("head.csv", to=tmp_path / "out.csv")
    pq.write_table(rows.append_column("request", rows["user"]), tmp_path / "twice.parquet")
    assert "twice.parquet: column request: stands there twice; let each have a name of its own" in told("twice.parquet")
    pq.write_table(rows.append_column("colr", rows["user"]), tmp_path / "odd.parquet")
    odd = told("odd.parquet")
    assert "odd.parquet: rows to encode: there is no column 'colr'" in odd and "Rename it, or leave it out." in odd
    assert "odd.parquet: --carry colr: keeps in the answers what is no input." in odd
    assert ask(run, tmp_path / "odd.parquet", out, "--carry", "colr") == 0  # a remedy
    assert pq.read_table(out)["colr"] == rows["user"]
    pq.write_table(rows.append_column("a b", rows["user"]).append_column("score", rows["user"]), tmp_path / "odd.parquet")
    assert "odd.parquet: --carry 'a b': keeps in" in told("odd.parquet"), "a column that is called as an answer is cannot be kept"
    again, known = tmp_path / "again.parquet", {"request": ["r"] * 3, "user": ["u1"] * 3, "item": ["i1"] * 3}
    pq.write_table(pa.table({**known, "domain": ["shop", "club", "mall"]}), tmp_path / "mall.parquet")
    assert "mall.parquet, row 3: column domain: no loaded prompt serves" in told("mall.parquet", "--unknown", "raise", to=again)
    (tmp_path / "mine.parquet").write_bytes(b"my own")
    assert "no command of ours wrote it; name another --output" in told("rows.parquet", to=tmp_path / "mine.parquet")
    assert (tmp_path / "mine.parquet").read_bytes() == b"my own"
    (tmp_path / "half.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes()[:500])
    assert "cannot be read as Parquet" in told("half.parquet", to=again)
    assert "there is no such file" in told("none.parquet", to=again)
    assert "answers are written as the input is" in told("rows.csv", to=again)
    assert "must be 'backbone' or 'raise'" in told("rows.parquet", "--unknown", "ignore", to=again)
    assert "rows.parquet: is there, and no command of ours wrote it" in told("rows.parquet", to=tmp_path / "rows.parquet")
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".parts")] == []


@pytest.mark.parametrize("named", ["", "artifacts", "artifacts/shop"])
def test_the_users_own_components_are_those_of_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "job.toml").write_text('components = ["mine"]\n' + (shipped.folder("jobs") / "plate_douban.toml").read_text())
    prompts_of, given = whole.prompts_of, list[Path]()

    def read(path: Path, folders: list[Path]) -> Any:
        given.extend(folders)
        return prompts_of(path, [])

    monkeypatch.setattr(whole, "prompts_of", read)
    pq.write_table(pa.table({"user": ["u1"], "item": ["i1"], "domain": ["shop"], "request": ["r"]}), tmp_path / "one.parquet")
    assert ask(folder / named, tmp_path / "one.parquet", tmp_path / "out.parquet") == 0
    assert given == [folder / "mine"]


def test_recommendations_of_a_table_are_those_of_its_rows(make: Callable[..., Store], tmp_path: Path) -> None:
    store = make(log())
    prompt, backbone = export(store, "joint.1", tmp_path / "run")
    place = tmp_path / "run" / "backbones"
    place.mkdir()
    served = load_prompt(prompt, backbone)
    assert served.base is not None
    histories = pa.table({"history": [["i1", "i2"], [], ["i3"]] * 9, "colour": ["c1", "c2", "none such"] * 9})
    alone = served.recommend(histories, k=3)
    backbone.rename(place / served.base.facts.fingerprint)
    pq.write_table(histories, tmp_path / "users.parquet")
    words = ["recommend", str(prompt), "--input", str(tmp_path / "users.parquet"), "--output", str(tmp_path / "best.parquet")]
    assert cli.main([*words, "--count", "3"]) == 0
    best = pq.read_table(tmp_path / "best.parquet")
    assert best["items"].to_pylist() == [[item for item, _ in row] for row in alone]
    assert best["unknown"].to_pylist() == ["", "", "colour"] * 9
