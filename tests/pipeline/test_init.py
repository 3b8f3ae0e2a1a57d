"""`raytune-rec init`: from messy logs to jobs that check and run, without a line of TOML written by hand."""

from __future__ import annotations

import gzip
import html
import json
import random
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raytune_rec
from raytune_rec import cli, config, pipeline
from raytune_rec.data.sources import tabular
from raytune_rec.storage.files import read_json
from tests.pages import blocks
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


def _scored_as_the_log_is_written(folder: Path) -> None:
    """Files in the form of the log, and the same rows with types, have the same scores; UTF-8 and another delimiter are seen."""
    rows = _rows(random.Random(6))[:60]
    lines = [";".join(rows[0]), *(";".join(map(_german, row.values())) for row in rows)]
    for name, encoding, delimiter in (("day.csv", "latin-1", ";"), ("utf8.csv", "utf-8", "\t")):
        (folder / name).write_text("\n".join(lines).replace(";", delimiter) + "\n", encoding=encoding)
    typed = [{**row, "price": round(row["price"], 2)} for row in rows]
    pd.DataFrame(typed).drop(columns=["ts", "clicked"]).to_parquet(folder / "day.parquet")
    for name in ("day.parquet", "day.csv", "utf8.csv"):
        carried = ["--carry", "row_id", "--carry", "dwell"]
        assert cli.main(["score", "run", "--input", name, "--output", f"scored-{name}", *carried]) == 0
    by_types = pd.read_parquet("scored-day.parquet")
    assert by_types["score"].nunique() > 30
    for name, delimiter in (("scored-day.csv", ";"), ("scored-utf8.csv", "\t")):
        answers = pd.read_csv(name, dtype=str, keep_default_na=False, sep=delimiter)  # as the rows are
        assert answers["price"].tolist() == [_german(row["price"]) for row in rows], "cells stay as they are written"
        assert answers["site"].tolist() == [row["site"] for row in rows]
        assert answers["score"].astype(float).tolist() == pytest.approx(by_types["score"].tolist(), abs=1e-6)
        assert (answers["unknown"] == by_types["unknown"]).all()


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


def test_what_a_user_did_with_a_row_is_no_feature_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of these gives the label away alone; together they did. What was counted before is kept, and what a user adds too."""
    monkeypatch.chdir(tmp_path)
    draw = random.Random(9)
    deeds = {"is_follow": lambda y: y * (draw.random() < 0.4), "playTime": lambda y: draw.randint(1, 60) + 20 * y,
             "long_view": lambda y: int(draw.random() < 0.2 + 0.5 * y)}  # fmt: skip
    before = {"like_count": 500, "hour": 24, "network": 4}
    rows: list[dict[str, int]] = []
    for label in (draw.randint(0, 1) for _ in range(900)):
        rows.append({"user_id": draw.randint(0, 60), "item_id": draw.randint(0, 40), "label": label})
        rows[-1] |= {name: int(of(label)) for name, of in deeds.items()}
        rows[-1] |= {name: draw.randrange(n) for name, n in before.items()}
    pd.DataFrame(rows).to_csv("log.csv", index=False)
    assert cli.main(["init", "log.csv"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    text = Path("job.toml").read_text()
    assert set(tomllib.loads(text)["data"]["options"]["features"]) == set(before)
    assert all(f"{name}: by its name what a user did with the row, known only afterwards; if it is known before" in said
               for name in deeds)  # fmt: skip
    added = '\n[data.options.features.long_view]\nrole = "context"\n'
    Path("job.toml").write_text(text.replace("\n[data.options.features.hour]", f"{added}\n[data.options.features.hour]"))
    assert cli.main(["check", "job.toml"]) == 0


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
    shutil.copytree("run", "torn")
    for content in ("{", '{"format": 0}', json.dumps({**read_json(Path("run/results.json")), "methods": 3})):
        Path("torn/results.json").write_text(content)
        assert cli.main(["runs", "."]) == 2, "it is told, and the others are listed"
        out, err = capsys.readouterr()
        assert "(auc 0." in out and "cannot be read" in out and "torn" in err and "results.json" in err
    again = raytune_rec.run("shop.toml", out="run", set=few)
    assert again.results.equals(run.results), "what is done is not done again"
    _scored_as_the_log_is_written(tmp_path)
    _as_the_page_says(run.folder, monkeypatch)
    _as_the_pages_show(tmp_path / "run", monkeypatch)


def _as_the_page_says(run: Path, patch: pytest.MonkeyPatch) -> None:
    """Its command repeats the run, from wherever it is given: the same data, by the same job."""
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    (command,) = re.findall(r'<pre id="repeat">(.*?)</pre>', page)
    cd, where, then, *words = shlex.split(html.unescape(command))
    assert (cd, then, *words[:2]) == ("cd", "&&", "raytune-rec", "run")
    patch.chdir("/")
    patch.chdir(where)
    assert cli.main(["prepare", *words[2:]]) == 0
    for name in ("job.toml", "data/schema.json"):
        assert (Path(words[-1]) / name).read_bytes() == (run / name).read_bytes()


def _as_the_pages_show(run: Path, patch: pytest.MonkeyPatch) -> None:
    """The code that the pages show, of two runs that are done."""
    for name in ("quickstart", "second"):
        shutil.copytree(run, Path("runs") / name)
    started: list[tuple[str, Path]] = []
    patch.setattr(pipeline, "run", lambda job, out: started.append((job.name, out)))
    names: dict[str, Any] = {}
    shown = [code for code in blocks("python") if "raytune_rec.run(" in code]
    for code in shown:
        exec(code, names)
    assert started == [("quickstart", Path("runs/quickstart").absolute())] * len(shown)
    assert list(names["both"].columns) == ["quickstart", "second"] and names["both"].notna().any(axis=None)
    assert names["run"].report.is_file() and all(folder.is_dir() for folder in names["run"].artifacts.values())


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


def test_line_breaks_within_quotes_leave_quotes_what_they_are_and_parquet_keeps_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(6)
    rows = [(f"u{draw.randint(0, 30)}", f'pan, {draw.randint(0, 20)}"', draw.randint(0, 1), "a") for _ in range(600)]
    rows[::10] = [(*row[:3], "two\nlines, here") for row in rows[::10]]
    table = pd.DataFrame(rows, columns=["user", "item", "click", "note"])
    table.to_csv("log.csv", index=False)
    assert cli.main(["init", "log.csv"]) == 0
    said = capsys.readouterr().out
    assert "60 rows at the head of the files have a line break within quotes" in said and "540 rows in 1 domain" in said
    assert "quote" not in config.read(Path("job.toml")).data.options
    pd.read_csv("log.csv").to_parquet("log.parquet")  # as it was told to
    assert cli.main(["init", "log.parquet", "--force"]) == 0 and "600 rows in 1 domain" in capsys.readouterr().out
    stray = [f'"{user},{item[:-1].replace(", ", "")},{click}' for user, item, click, _ in rows]
    (tmp_path / "stray.csv").write_text("\n".join(["user,item,click", *stray]) + "\n")
    assert cli.main(["init", "stray.csv", "--force"]) == 0 and config.read(Path("job.toml")).data.options["quote"] == ""


def test_a_column_of_a_type_that_is_no_feature_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(7)
    ids = {name: [draw.randint(0, 20) for _ in range(600)] for name in ("user", "item", "size")}
    odd = {"parts": [[{"a": n}] for n in ids["size"]], "bytes": [bytes([200 + n]) for n in ids["size"]]}
    pq.write_table(pa.table({**ids, **odd, "clicked": [draw.random() < 0.5 for _ in range(600)]}), "log.parquet")
    assert cli.main(["init", "log.parquet"]) == 0 and cli.main(["check", "job.toml"]) == 0
    assert list(config.read(Path("job.toml")).data.options["features"]) == ["size"]


def test_two_numbers_that_say_no_and_yes_are_a_rating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(8)
    lines = [f"u{draw.randint(0, 30)},i{draw.randint(0, 20)},{draw.choice([-1, 1])}" for _ in range(600)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,label", *lines]) + "\n")
    assert cli.main(["init", "log.csv", "--column", "label=label"]) == 2
    assert "give its numbers as --column rating=label" in capsys.readouterr().err
    assert cli.main(["init", "log.csv", "--column", "rating=label"]) == 0
    assert config.read(Path("job.toml")).data.positive_above == -1 and cli.main(["check", "job.toml"]) == 0


@pytest.mark.parametrize(
    ("text", "out", "said"),
    [
        ("\n\n", "job.toml", "its first lines are blank"),
        ("user,item,label\n", "job.toml", "holds no rows that can be read"),
        ("user,item,label\na,b,1\n", "my shop.toml", "the file is called as the job"),
    ],
)
def test_what_is_no_log_is_told(
    text: str, out: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.csv").write_text(text)
    assert cli.main(["init", "log.csv", "--out", out]) == 2
    assert said in capsys.readouterr().err and not Path(out).exists()


def test_check_finds_the_sources_of_a_job_that_is_wrong_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", *_semicolons(tmp_path, _rows(random.Random(5))), "--out", "shop.toml"]) == 0
    source = Path(str(tabular.__file__)).read_text(encoding="utf-8")
    (tmp_path / "mine" / "data" / "sources").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "sources" / "shop.py").write_text(source, encoding="utf-8")
    wrong = ["--set", "components=['mine']", "--set", "data.source=shop", "--set", "data.options.encoding=utf-8"]
    assert cli.main(["check", "shop.toml", *wrong, "--set", "tune.trails=3"]) == 2
    said = capsys.readouterr().err
    assert "no such option" in said and "not utf-8" in said and "shop.py" not in said and "source" not in said
    settings = {"data.split": {"kind": "hash", "seed": 3}, "tune.trials": 2, "data.options.missing": ["NA", "-"]}
    job = config.read(Path("shop.toml"), settings)
    assert (job.data.split.kind, job.data.split.seed, job.tune.trials, job.data.options["missing"]) == ("hash", 3, 2, ["NA", "-"])
