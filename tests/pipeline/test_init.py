"""`raytune-rec init`: from messy logs to jobs that check and run, without a line of TOML written by hand."""

from __future__ import annotations

import gzip
import json
import random
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import raytune_rec
from raytune_rec import cli, config, pipeline
from raytune_rec.storage.files import read_json
from tests.pipeline.here import without_ray

FEW = ["pretrain.trials=0", "pretrain.workers=0", "tune.trials=1", "training.epochs=1", "evaluate.bootstrap=100"]
SITES = ("nord", "süd", "west")


def _rows(draw: random.Random) -> list[dict[str, Any]]:
    """Clicks of three sites, by who clicks and on what; prices and tags are the articles', ages the users'."""
    price = {f"art-{i}": draw.uniform(1, 1500) for i in range(40)}
    tags = {item: draw.sample(["käse", "sport", "politik", "musik", "technik"], draw.randint(0, 3)) for item in price}
    age = {f"u{u}": draw.choice([None, *range(18, 70)]) for u in range(60)}
    rows = []
    for n in range(1500):
        user, item = draw.choice([*age]), draw.choice([*price])
        click = draw.random() < 0.15 + 0.35 * (int(user[1:]) % 3 == 0) + 0.4 * (int(item[4:]) % 2)
        row = {"site": SITES[n % 3], "User ID": user, "article": item, "clicked": click, "row_id": f"r{n}"}
        rows.append({**row, "ts": datetime(2024, 5, 1, tzinfo=UTC) + timedelta(minutes=draw.randint(0, 60_000)),
                     "price": price[item], "age": age[user], "device": draw.choice(["mobile", "tablet", None]),
                     "tags": tags[item], "dwell": draw.randint(3, 99) if click else None})  # fmt: skip
    return rows


def _german(value: Any) -> str:
    if value is None:
        return "NA"
    if isinstance(value, float):
        return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))
    if isinstance(value, datetime):
        return value.isoformat()
    return "|".join(value) if isinstance(value, list) else str(value)


def _semicolons(folder: Path, rows: list[dict[str, Any]]) -> list[str]:
    """latin-1, decimal commas, NA, and ten rows of nobody."""
    lines = [";".join(rows[0])] + [";".join(map(_german, row.values())) for row in rows]
    lines[5:15] = [line.replace(line.split(";")[1], "", 1) for line in lines[5:15]]
    (folder / "log.csv").write_text("\n".join(lines) + "\n", encoding="latin-1")
    return ["log.csv"]


def _one_file_per_site(folder: Path, rows: list[dict[str, Any]]) -> list[str]:
    for site in SITES:
        own = [{k: v for k, v in row.items() if k != "site"} for row in rows if row["site"] == site]
        lines = ["\t".join(own[0])] + ["\t".join(map(_german, row.values())) for row in own]
        (folder / f"{site}.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return ["*.tsv.gz"]


def _parquet(folder: Path, rows: list[dict[str, Any]]) -> list[str]:
    pd.DataFrame(rows).to_parquet(folder / "log.parquet")
    return ["log.parquet"]


def _json_lines(folder: Path, rows: list[dict[str, Any]]) -> list[str]:
    text = "\n".join(json.dumps({**row, "ts": row["ts"].timestamp(), "nested": {"a": 1}}) for row in rows)
    (folder / "log.jsonl").write_text(text + "\n")
    return ["log.jsonl"]


def _tables(folder: Path, rows: list[dict[str, Any]]) -> list[str]:
    """A log, and a file of articles and one of users beside it."""
    table = pd.DataFrame(rows)
    table["tags"] = table["tags"].map("|".join)
    for name, key, features in (("articles", "article", ["price", "tags"]), ("users", "User ID", ["age"])):
        table.drop_duplicates(key)[[key, *features]].to_csv(folder / f"{name}.csv", index=False)
    table[["site", "User ID", "article", "clicked", "ts", "device"]].to_csv(folder / "log.csv", index=False)
    return ["log.csv", "articles.csv", "users.csv"]


LOGS: dict[str, Callable[[Path, list[dict[str, Any]]], list[str]]] = {
    "semicolons": _semicolons, "files": _one_file_per_site, "parquet": _parquet, "json": _json_lines, "tables": _tables,
}  # fmt: skip


@pytest.mark.parametrize("kind", LOGS)
def test_a_messy_log_becomes_a_job_that_check_passes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files = LOGS[kind](tmp_path, _rows(random.Random(5)))
    assert cli.main(["init", *files, "--out", "shop.toml"]) == 0
    said = capsys.readouterr().out
    data = tomllib.loads(Path("shop.toml").read_text())["data"]
    options = data["options"]
    columns = {"user": "User ID", "item": "article", "label": "clicked", "timestamp": "ts"}
    assert options["columns"] == columns | ({} if kind == "files" else {"domain": "site"})
    features = {name: (f["role"], f["kind"]) for name, f in options["features"].items()}
    assert features == {
        "price": ("item", "numerical"), "age": ("user", "numerical"), "tags": ("item", "multi"),
        "device": ("context", "categorical"),
    }  # fmt: skip
    assert data["split"]["kind"] == "time" and options["shared_items"]
    if kind != "tables":
        assert "dwell: it gives the label away" in said and "row_id: as many values as rows" in said
    assert cli.main(["check", "shop.toml"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "3 domains (nord, süd, west)" in told and "60 users and 40 items" in told and "steps on" in told


def test_the_job_runs_to_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    files = _semicolons(tmp_path, _rows(random.Random(5)))
    assert cli.main(["init", *files, "--out", "shop.toml"]) == 0
    without_ray(monkeypatch)
    few = [*FEW, "training.batch_size=512", "evaluate.replicates=1"]
    pipeline.run(config.read(Path("shop.toml"), few), tmp_path / "run")
    run = raytune_rec.open("run")
    told = read_json(tmp_path / "run" / "results.json")["methods"]
    auc = run.results.set_index(["method", "unit", "metric"])["value"].unstack()["auc"]
    assert auc["plate", "nord"] == told["plate"]["units"]["nord"]["auc"]["mean"] and set(run.trials.method) == {*told}
    assert set(run.winners.unit) == {*SITES} == {*run.artifacts} and run.report.is_file()
    written = pd.read_csv(tmp_path / "run" / "results.csv")
    pd.testing.assert_frame_equal(written[["method", "metric"]], run.results[["method", "metric"]])
    assert len(pd.read_csv(tmp_path / "run" / "trials.csv")) == len(run.trials)
    capsys.readouterr()
    assert cli.main(["compare", "run", "run"]) == 0 and cli.main(["compare", "run", "run", "--out", "both.html"]) == 0
    assert f"{auc['plate', 'nord']:.4f}" in capsys.readouterr().out and "plate" in Path("both.html").read_text()
    table = raytune_rec.compare([run, "run"])
    assert (table.iloc[:, 0].dropna() == table.iloc[:, 1].dropna()).all() and table.index[0][0] == "auc"
    assert cli.main(["compare", "run"]) == 2 and cli.main(["compare", "run", "nowhere"]) == 2
    assert cli.main(["runs", "."]) == 0 and "all" in capsys.readouterr().out
    again = raytune_rec.run("shop.toml", out="run", set=few)
    assert again.results.equals(run.results), "what is done is not done again"


def _histories(folder: Path, header: bool) -> None:
    draw = random.Random(2)
    lines = ["user,item,rating,timestamp"] * header
    for user in range(60):
        start = draw.randint(0, 5000)
        for n in range(9):
            lines.append(f"{user},{(start + n * (1 + user % 3)) % 37},{draw.randint(1, 5)},{1_600_000_000 + start * 50 + n * 60}")
    draw.shuffle(rest := lines[header:])
    (folder / "views.csv").write_text("\n".join([*lines[:header], *rest]) + "\n")


@pytest.mark.parametrize("header", [True, False])
def test_a_log_of_times_becomes_histories(header: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _histories(tmp_path, header)
    assert cli.main(["init", "views.csv", "--out", "views.toml"]) == 0
    job = config.read(Path("views.toml"))
    assert job.data.sequences and job.backbone.name == "sasrec"
    names = ("user", "item", "timestamp") if header else ("column_1", "column_2", "column_4")
    assert tuple(job.data.options["columns"][role] for role in ("user", "item", "timestamp")) == names
    assert cli.main(["check", "views.toml"]) == 0
    if header:
        without_ray(monkeypatch)
        pipeline.run(config.read(Path("views.toml"), FEW), tmp_path / "run")
        assert (tmp_path / "run" / "report" / "index.html").is_file()
    assert cli.main(["init", "views.csv", "--out", "rated.toml", "--rows", "interactions"]) == 0
    rated = config.read(Path("rated.toml")).data
    assert rated.positive_above in (2, 3) and rated.sequences is None


def test_what_cannot_be_told_is_asked_and_the_answer_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(3)
    lines = [f"p{draw.randint(0, 30)},w{draw.randint(0, 20)},{draw.randint(0, 1)},x" for _ in range(600)]
    (tmp_path / "log.csv").write_text("\n".join(["who,what,took,kind", *lines]) + "\n")
    assert cli.main(["init", "log.csv"]) == 2
    assert "--column user=NAME --column item=NAME" in capsys.readouterr().err
    assert cli.main(["init", "log.csv", "--column", "user=who", "--column", "item=what"]) == 0
    assert "kind: the same in every row" in capsys.readouterr().out
    assert cli.main(["check", "job.toml"]) == 0
    assert cli.main(["init", "log.csv", "--column", "user=who", "--column", "item=what"]) == 2, "it is there already"
    assert cli.main(["init", "log.csv", "--column", "user=nobody", "--out", "x.toml"]) == 2
    (tmp_path / "empty.csv").write_text("")
    assert cli.main(["init", "empty.csv", "--out", "x.toml"]) == 2
    assert cli.main(["init", "nothing*.csv", "--out", "x.toml"]) == 2


def test_check_tells_mistakes_of_job_and_files_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", *_semicolons(tmp_path, _rows(random.Random(5))), "--out", "shop.toml"]) == 0
    wrong = ["--set", "data.options.formats.label=decimal", "--set", "methods.plate.space=['nowhere']"]
    assert cli.main(["check", "shop.toml", *wrong]) == 2
    said = capsys.readouterr().err
    assert "label is not a finite number" in said and "nowhere" in said
    assert cli.main(["check", "shop.toml", *wrong[:2], "--set", "tune.trails=3"]) == 2
    said = capsys.readouterr().err
    assert "label is not a finite number" in said and "trails" in said and "Did you mean trials?" in said
