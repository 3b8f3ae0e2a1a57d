"""Bad input: named by file, line and value, counted, and fatal past the limit."""

from __future__ import annotations

import gzip
import json
from datetime import time, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_rec.errors import DataError, JobError

GOOD = [f"x,u{n % 20},i{n % 15},{n % 2},{n % 5 + 1},{n}" for n in range(400)]
HEAD = "domain,user,item,label,rating,time"
OPTIONS = {
    "columns": {"domain": "domain", "user": "user", "item": "item", "label": "label", "rating": "rating", "timestamp": "time"},
    "rating_range": (1, 5),
}
BAD = [  # raw line, value, reason
    (b"x,u1,i1,nan,3,5", "nan", "label is not a finite number"),
    (b"x,u1,i1,2,3,5", "2", "label is neither 0 nor 1"),
    (b"x,u1,i1,,3,5", "", "label is neither 0 nor 1"),
    (b"x,u1,i1,yes,3,5", "yes", "label is not a finite number"),
    (b"x,u1,i1,1,inf,5", "inf", "rating is not a finite number"),
    (b"x,u1,i1,1,9,5", "9", "rating outside 1 to 5"),
    (b"x,u1,i1,1,3,-5", "-5", "timestamp is negative"),
    (b"x,u1,i1,1,3,", "", "timestamp is empty"),
    (b"x,,i1,1,3,5", "", "user is empty"),
    (b"x,u1,  ,1,3,5", "  ", "item is empty"),
    (b",u1,i1,1,3,5", "", "domain is empty"),
    (b"all,u1,i1,1,3,5", "all", "not a name for a domain"),
    (b"x,u1,i1,1,3", "x,u1,i1,1,3", "a row has 6 cells"),
    (b'x,"u1,i1,1,3,5', 'x,"u1,i1,1,3,5', "a quote is not closed on its line"),
    (b"x,u\xff1,i1,1,3,5", "x,u\\xff1,i1,1,3,5", "not utf-8"),
]


def test_every_kind_of_bad_row_is_reported(make, tmp_path: Path) -> None:
    lines, expected = [HEAD.encode()], []
    for n, (raw, value, reason) in enumerate(BAD):
        lines += [row.encode() for row in GOOD[n * 20 : n * 20 + 20]]
        lines.append(raw)
        expected.append((str(tmp_path / "log.csv"), len(lines), value, reason))
    lines.insert(10, b"")  # an empty line is no row, but it counts as a line
    expected = [(file, line + 1, value, reason) for file, line, value, reason in expected]
    (tmp_path / "log.csv").write_bytes(b"\n".join(lines) + b"\n")
    store = make("tabular", {**OPTIONS, "files": str(tmp_path / "log.csv")}, max_rejected=0.1)
    found = pd.read_parquet(store.path / "rejected.parquet")
    assert list(found.itertuples(index=False, name=None)) == expected
    summary = json.loads((store.path / "summary.json").read_text())
    assert summary["interactions"] == {"read": 315, "rejected": 15, "kept": 300, "duplicates": 240}
    assert sum(summary["rejected_by_reason"].values()) == 15
    assert summary["rejected_by_reason"]["label is neither 0 nor 1"] == 2
    assert sum(store.schema.rows.values()) == 300
    assert store.schema.domains == ("x",)


def test_numbers_found_bad_by_arrow_itself(make, write) -> None:
    """Every line can be read, so the fast way is taken; values are judged all the same."""
    log = write("log.csv", [HEAD, *GOOD, "x,u1,i1,1,NaN,5", "x,fresh,i1,7,3,5"])
    store = make("tabular", {**OPTIONS, "files": log})
    found = pd.read_parquet(store.path / "rejected.parquet")
    assert found["line"].tolist() == [402, 403] and found["value"].tolist() == ["NaN", "7"]
    assert "fresh" not in pd.read_parquet(store.path / "users.parquet")["raw"].tolist()


def test_json_lines_and_parquet_name_their_rows(make, write, tmp_path: Path) -> None:
    rows = [{"domain": "x", "user": n % 7, "item": n % 5, "label": n % 2} for n in range(300)]
    log = write(
        "log.jsonl", [*(json.dumps(r) for r in rows), "{broken", "[1]", '{"domain": "x", "user": 1, "item": 2, "label": NaN}']
    )
    store = make("tabular", {"files": log}, max_rejected=0.02)
    found = pd.read_parquet(store.path / "rejected.parquet")
    assert found["line"].tolist() == [301, 302, 303] and found["value"].tolist() == ["{broken", "[1]", "NaN"]
    table = pd.DataFrame([*rows, {"domain": "x", "user": None, "item": 2, "label": 1}])
    table.to_parquet(tmp_path / "log.parquet")
    store = make("tabular", {"files": str(tmp_path / "log.parquet")}, out="parquet", max_rejected=0.02)
    found = pd.read_parquet(store.path / "rejected.parquet")
    assert found["line"].tolist() == [301] and found["reason"].tolist() == ["user is empty"]
    assert sorted(store.vocabulary("user")["raw"].to_pylist()) == list("0123456")


def test_too_many_bad_rows_end_the_preparation(make, write, tmp_path: Path) -> None:
    log = write("log.csv", [HEAD, *GOOD[:95], *["x,u1,i1,5,3,5"] * 5])
    with pytest.raises(DataError) as error:
        make("tabular", {**OPTIONS, "files": log})
    assert "5 of 100 rows of interactions cannot be used, more than data.max_rejected = 0.01 allows" in str(error.value)
    assert f"{log}, line 97: label is neither 0 nor 1 (value: '5')" in str(error.value)
    assert len(pd.read_parquet(tmp_path / "store" / "rejected.parquet")) == 5
    assert not (tmp_path / "store" / "_complete.json").exists()
    make("tabular", {**OPTIONS, "files": log}, max_rejected=0.05)


def test_bad_numbers_of_users_are_rejected_too(make, write) -> None:
    log = write("log.csv", ["domain,user,item,label", *(f"x,u{n % 9},i{n % 4},{n % 2}" for n in range(90))])
    users = write("users.csv", ["user,age", *(f"u{n},{n + 20}" for n in range(8)), "u8,old"])
    options = {"files": log, "users": {"files": users}, "features": {"age": {"role": "user", "kind": "numerical"}}}
    with pytest.raises(DataError, match="1 of 9 rows of users cannot be used"):
        make("tabular", options)
    store = make("tabular", options, max_rejected=0.2)
    found = pd.read_parquet(store.path / "rejected.parquet")
    assert found.values.tolist() == [[users, 10, "old", "age is not a finite number"]]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("cut.csv.gz", gzip.compress(b"domain,user,item,label\n" + b"x,a,1,1\n" * 5000)[:-20], "damaged"),
        ("not.csv.gz", b"domain,user\n", "its name ends in .gz, and it is not gzip-compressed"),
        ("not.parquet", b"PAR1 no", r"cannot be read as Parquet \(.*\); the file is damaged, fetch or write it again"),
        ("empty.csv", b"", "has no header line"),
        ("no_rows.csv", b"domain,user,item,label\n", "no usable row"),
    ],
)
def test_damaged_files_are_told_in_a_sentence(name: str, content: bytes, text: str, make, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=text):
        make("tabular", {"files": str(tmp_path / name)})


def test_files_that_cannot_be_read_are_told_together_and_what_many_share_once(make, write, tmp_path: Path) -> None:
    """Damaged text and odd types, in files of interactions, users and items; what else is wrong is judged beside them."""
    head = "domain,user,item,label\n"
    (tmp_path / "0.csv.gz").write_bytes(gzip.compress(head.encode() + b"x,a,1,1\n" * 5000)[:-20])
    odd = {"domain": ["x"], "user": ["a"], "item": [1], "label": pa.array([1], pa.duration("s"))}
    for n in range(3):
        pq.write_table(pa.table(odd), tmp_path / f"odd{n}.parquet")
    pq.write_table(pa.table({**odd, "user": [{"a": 1}], "label": [1]}), tmp_path / "user.parquet")
    bad = write("bad.csv", ["domain,user,item,label", *(f"x,u{n},i,7" for n in range(60))])
    pq.write_table(pa.table({"user": ["a"], "age": [[1]]}), tmp_path / "users.parquet")
    pq.write_table(pa.table({"domain": ["x"], "item": [1], "price": pa.array([1], pa.duration("s"))}), tmp_path / "items.parquet")
    names = ["0.csv.gz", *(f"odd{n}.parquet" for n in range(3)), "user.parquet"]
    options = {
        "files": [*(str(tmp_path / name) for name in names), bad],
        "users": {"files": str(tmp_path / "users.parquet")}, "items": {"files": str(tmp_path / "items.parquet")},
        "features": {"age": {"role": "user", "kind": "numerical"}, "price": {"role": "item", "kind": "numerical"}},
    }  # fmt: skip
    with pytest.raises(DataError) as error:
        make("tabular", options)
    told = [problem.strip().removeprefix(f"{tmp_path}/").split(": ")[0].split(", more")[0] for problem in error.value.problems]
    assert told == [
        "odd0.parquet, column label", "user.parquet, column user", "0.csv.gz",
        "60 of 60 rows of interactions cannot be used",
        "bad.csv, line 2", "users.parquet, column age", "items.parquet, column price",
    ]  # fmt: skip
    assert "The same holds for 2 more, up to" in error.value.problems[0]
    assert "cannot be read on after line 1" in error.value.problems[2]


def test_a_missing_file_a_missing_column_and_an_encoding_are_told_together(make, write, tmp_path: Path) -> None:
    log, users = write("log.csv", ["domain,who,item,label", "x,a,1,1"]), write("users.csv", ["user,age", "a,1"])
    files = {"files": [log, str(tmp_path / "none.csv")], "users": {"files": users, "encoding": "utf-99"}}
    with pytest.raises(DataError) as error:
        make("tabular", {**files, "features": {"age": {"role": "user"}}})
    none, column, encoding = error.value.problems
    assert "none.csv: no such file" in none and "log.csv: there is no column 'user'" in column
    assert f"{users}: encoding 'utf-99': not one in which lines can be told apart" in encoding


@pytest.mark.parametrize("missing", [True, False])
def test_a_wrong_header_and_odd_types_are_told_together_and_alike(missing: bool, make, write, tmp_path: Path) -> None:
    """Beside a missing file, or none; the sentences on types are those of a job whose headers are right."""
    odd = {"domain": ["x"], "user": [{"a": 1}], "item": [[1]], "label": pa.array([1], pa.duration("s")), "town": [{"b": 1}]}
    odd |= {"time": [time(3)], "tags": [[["a"]]], "age": pa.array([1], pa.duration("s"))}
    pq.write_table(pa.table(odd), tmp_path / "odd.parquet")
    pq.write_table(pa.table({"user": ["a"], "height": [[1.5]]}), tmp_path / "users.parquet")
    context = {"age": "numerical", "tags": "multi", "town": "categorical"}
    features = {name: {"role": "context", "kind": kind} for name, kind in context.items()}
    columns = {"domain": "domain", "user": "user", "item": "item", "label": "label", "timestamp": "time", "position": "item"}
    options = {
        "columns": columns, "users": {"files": str(tmp_path / "users.parquet")},
        "features": {**features, "height": {"role": "user", "kind": "numerical"}},
    }  # fmt: skip
    files = [str(tmp_path / "odd.parquet"), write("who.csv", ["domain,who,item,label,time,age,tags,town", "x,a,1,1,5,3,u,v"])]
    files += [str(tmp_path / "none.csv")] * missing
    with pytest.raises(DataError) as apart:
        make("tabular", {**options, "files": files[0]})
    with pytest.raises(DataError) as error:
        make("tabular", {**options, "files": files})
    told = list(error.value.problems)
    assert [problem.split("/")[-1].split(";")[0] for problem in told[: 1 + missing]] == [
        *["none.csv: no such file"] * missing, "who.csv: there is no column 'user' (wanted as user)",
    ]  # fmt: skip
    assert told[1 + missing :] == list(apart.value.problems) and len(apart.value.problems) == 9


def test_what_is_wrong_with_a_file_of_rows_and_features_is_told_once(make, tmp_path: Path) -> None:
    table = {"domain": ["x"], "user": [{"a": 1}], "item": [1], "label": [1], "age": pa.array([1], pa.duration("s"))}
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    with pytest.raises(DataError) as error:
        make(
            "tabular",
            {
                "files": str(tmp_path / "log.parquet"),
                "features": {"age": {"role": "context", "kind": "numerical"}, "label2": {"role": "user", "column": "label"}},
            },
        )
    assert [problem.split(": ")[0] for problem in error.value.problems] == [
        f"{tmp_path}/log.parquet, column user",
        f"{tmp_path}/log.parquet, column age",
    ]


def test_a_column_of_lists_is_no_identifier(make, tmp_path: Path) -> None:
    table = pd.DataFrame({"domain": ["x"], "user": [[1, 2]], "item": [1], "label": [1]})
    table.to_parquet(tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"column user: a column of type .* cannot be read as string; map another column"):
        make("tabular", {"files": str(tmp_path / "log.parquet")})


@pytest.mark.parametrize("name", ["mean", "..", "."])
def test_names_that_no_domain_may_have(make, write, name: str) -> None:
    path = write("log.csv", ["domain,user,item,label", *(f"x,u{n},i{n},{n % 2}" for n in range(20)), f"{name},u1,i1,1"])
    with pytest.raises(DataError, match="not a name for a domain"):
        make("tabular", {"files": path})


LOG = [HEAD.removesuffix(",time"), *(row.rpartition(",")[0] for row in GOOD)]
NO_USER = {"domain": "domain", "item": "item", "label": "label"}
RATED = {"domain": "domain", "user": "user", "item": "item", "rating": "rating"}
USERS = {"features": {"age": {"role": "user"}}, "users": {"files": "users.csv"}}


def stars(role: str, name: str = "stars", kind: str = "categorical") -> dict:
    return {"features": {name: {"role": role, "kind": kind, "column": "rating"}}}


@pytest.mark.parametrize(
    ("files", "wrong", "text", "remedies"),
    [
        ({"log.csv": ["domain,who,item,label,rating", *LOG[1:]]}, {}, "has domain, who, item, label, rating. Map user to",
         [{"columns": {**NO_USER, "user": "who"}}]),
        ({"log.csv": LOG[1:]}, {}, "or give the names of its columns as data.options.header", [{"header": LOG[0].split(",")}]),
        ({"log.csv": [" ", *LOG[1:]]}, {}, "no header line; write one, or give its column names as data.options.header",
         [{"files": "good.csv"}, {"files": "bare.csv", "header": LOG[0].split(",")}]),
        ({"log.csv": ['domain,"user,item,label,rating', *LOG[1:]]}, {}, "a quote is not closed in it; close it",
         [{"files": "good.csv"}]),
        ({"log.csv": ["domain,user,item,label,user", *LOG[1:]]}, {}, "columns 'user' .*; let each have a name of its own",
         [{"files": "good.csv"}]),
        ({}, {"encoding": "utf-16"}, "convert the file to utf-8, and leave the encoding out", [{}]),
        ({}, {"files": "none.csv"}, "no such file; mend the path under data.options", [{"files": "good.csv"}]),
        ({"part/a.csv": LOG}, {"files": "part"}, r"name its files, such as part/\*\.csv", [{"files": "part/*.csv"}]),
        ({"users.csv": ["user,age", *(f"U{n},{n}" for n in range(20))]}, USERS, "write them alike, or map another column",
         [{**USERS, "users": {"files": "alike.csv"}}, {**USERS, "users": {"files": "both.csv", "columns": {"user": "key"}}}]),
        ({}, stars("context", "raw"), "'raw': this name has a meaning of its own; choose another", [stars("context")]),
        ({}, stars("context", kind="text"), "text belongs to users and items",
         [stars("user", kind="text"), stars("item", kind="text"), stars("context")]),
        ({}, {"columns": {**NO_USER, "user": "item"}}, "are both 'item'; map each to a column of its own", [{}]),
        ({}, {"columns": {**RATED, "label": "label"}, "score": ["rating"]}, "are two ratings; give one",
         [{"columns": {**RATED, "label": "label"}}, {"columns": {**NO_USER, "user": "user"}, "score": ["rating"]}]),
        ({}, {"columns": {**NO_USER, "user": "user"}, "domain": "x"}, "either columns.domain or the constant domain",
         [{"columns": {**NO_USER, "user": "user"}}, {"columns": {"label": "label"}, "domain": "x"}]),
        ({}, {"columns": RATED}, "no label; map a label, or a rating and set data.positive_above",
         [{}, {"columns": RATED, "positive_above": 3}]),
    ],
)  # fmt: skip
def test_what_an_error_of_files_and_columns_names_is_read(
    files: dict, wrong: dict, text: str, remedies: list[dict], make, write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "part").mkdir()
    alike = {"alike.csv": ["user,age", *(f"u{n},{n}" for n in range(20))]}
    both = {"both.csv": ["user,key,age", *(f"U{n},u{n},{n}" for n in range(20))]}
    for name, lines in {"log.csv": LOG, "good.csv": LOG, "bare.csv": LOG[1:], **alike, **both, **files}.items():
        write(name, lines)

    def rows(options: dict, out: str = "store") -> int:
        above = {name: value for name, value in options.items() if name == "positive_above"}
        own = {name: value for name, value in options.items() if name not in above}
        return sum(make("tabular", {"files": "log.csv", **own}, out, **above).schema.rows.values())

    with pytest.raises((DataError, JobError), match=text):
        rows(wrong)
    assert [rows(remedy, f"mended{n}") for n, remedy in enumerate(remedies)] == [400] * len(remedies)


@pytest.mark.parametrize(
    ("cell", "kind", "text", "mended"),
    [
        ([1, 2], "categorical", "cannot be read as string; map another column, or change its kind", "multi"),
        (timedelta(1), "numerical", "holds no numbers; map another column, or change its kind", "categorical"),
        ([["a"]], "multi", r"holds no lists of single values; map another column\.", ""),
    ],
)
def test_a_column_of_another_type_is_refused_and_another_kind_or_column_is_read(
    cell: object, kind: str, text: str, mended: str, make, tmp_path: Path
) -> None:
    rows = [{"domain": "x", "user": n % 9, "item": n % 7, "label": n % 2, "odd": cell, "even": 1.5} for n in range(90)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")

    def made(kind: str, column: str, out: str) -> int:
        features = {"f": {"role": "context", "kind": kind, "column": column}}
        return sum(make("tabular", {"files": str(tmp_path / "log.parquet"), "features": features}, out).schema.rows.values())

    with pytest.raises(DataError, match=text):
        made(kind, "odd", "store")
    assert made(kind, "even", "column") == 90
    assert not mended or made(mended, "odd", "kind") == 90
