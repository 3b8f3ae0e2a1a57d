"""One rule for identifiers, in logs, tables of features and serving; who has features, and who has two of them, is told."""

from __future__ import annotations

import json
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raytune_rec.data.cells import encoded
from raytune_rec.errors import DataError
from raytune_rec.job.data import DataOptions
from raytune_rec.stages import notes as stage_notes

HEAD = "domain,user,item,label"
ROWS = [("x", n % 9, f"i{n % 7}", n % 2) for n in range(90)]


def notes(summary: dict[str, Any]) -> list[str]:
    return stage_notes.notes(summary, DataOptions(source="tabular"))


def log(users: list[Any], tmp_path: Path, kind: pa.DataType | None = None) -> str:
    table = {"domain": ["x"] * len(users), "user": pa.array(users, kind), "item": [f"i{n % 7}" for n in range(len(users))]}
    pq.write_table(pa.table({**table, "label": [n % 2 for n in range(len(users))]}), tmp_path / "log.parquet")
    return str(tmp_path / "log.parquet")


IDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='",\n\r'), min_size=1, max_size=6),
    st.integers(-(10**25), 10**25),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["NA", "null", "nan", "None", "01", " 1", "1\u00a0", "e\u0301", "\u00e9", "34.0", "TRUE"]),
)


@given(st.lists(IDS, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_id_is_the_same_in_every_format(tmp_path_factory: pytest.TempPathFactory, ids: list[Any]) -> None:
    from raytune_rec.data.files.delimited import Format
    from raytune_rec.data.files.reading import read_file

    folder = tmp_path_factory.mktemp("ids")
    texts = ["x" if str(v).strip() == "" else v for v in ids]
    (folder / "log.jsonl").write_text("".join(json.dumps({"user": v, "item": "i"}) + "\n" for v in texts))
    plain = [v if isinstance(v, str) else encoded(pa.array([v] if isinstance(v, float) else [str(v)]))[0].as_py() for v in texts]
    pd.DataFrame({"user": plain, "item": "i"}).to_csv(folder / "log.csv", index=False)
    pq.write_table(pa.table({"user": pa.array(plain, pa.large_string()), "item": ["i"] * len(plain)}), folder / "log.parquet")
    found = []
    for name in ("log.jsonl", "log.csv", "log.parquet"):
        blocks = list(read_file(folder / name, {"user": "user", "item": "item"}, Format()))
        found.append([value for block in blocks for value in encoded(block.table["user"]).to_pylist()])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("kind", "users"),
    [
        (pa.int8(), list(range(9))),
        (pa.uint64(), list(range(9))),
        (pa.float16(), [float(n) for n in range(9)]),
        (pa.float64(), [float(n) for n in range(9)]),
        (pa.decimal128(12, 2), [Decimal(n) for n in range(9)]),
        (pa.binary(), [str(n).encode() for n in range(9)]),
        (pa.large_string(), [f" {n}" for n in range(9)]),
        (pa.dictionary(pa.int8(), pa.string()), [f"{n}\u00a0" for n in range(9)]),
    ],
)
def test_types_of_parquet_give_the_ids_of_text(kind: pa.DataType, users: list[Any], make, tmp_path: Path) -> None:
    store = make("tabular", {"files": log(users * 10, tmp_path, kind)})
    assert sorted(store.vocabulary("user")["raw"].to_pylist()) == list("012345678")
    raw = {"domain": ["x"], "item": ["i1"]}
    served = [store.encode({**raw, "user": [value]})["user"][0] for value in (3, 3.0, "3", " 3 ", np.int32(3), Decimal(3))]
    assert served[0] > 0 and len(set(served)) == 1


def test_ids_of_64_bits_and_more_are_kept(make, write, tmp_path: Path) -> None:
    big = [2**63 + 7 * n for n in range(9)]
    lines = [json.dumps({"domain": "x", "user": big[n % 9], "item": 10**30 + n % 7, "label": n % 2}) for n in range(90)]
    store = make("tabular", {"files": write("log.jsonl", lines)})
    typed = make("tabular", {"files": log(big * 10, tmp_path, pa.uint64())}, "typed")
    raws = sorted(map(str, big))
    assert sorted(store.vocabulary("user")["raw"].to_pylist()) == sorted(typed.vocabulary("user")["raw"].to_pylist()) == raws
    for given_ids in ([2**63, 5], [2**63 + 7, -1]):
        assert (typed.encode({"domain": ["x"] * 2, "item": ["i1"] * 2, "user": given_ids})["user"] > 0).tolist() == [True, False]


def test_odd_types_are_refused_together_with_file_and_column(make, tmp_path: Path) -> None:
    table = {"domain": ["x"], "user": [{"a": 1}], "item": [[1]], "label": pa.array([1], pa.duration("s")), "time": [time(3)]}
    table |= {"age": pa.array([timedelta(1)]), "tags": [[["a"]]], "town": [b"\xff"]}
    pq.write_table(pa.table(table), tmp_path / "odd.parquet")
    columns = {"domain": "domain", "user": "user", "item": "item", "label": "label", "timestamp": "time"}
    columns["position"] = "item"
    features = {"age": {"role": "context", "kind": "numerical"}, "tags": {"role": "context", "kind": "multi"}}
    features |= {"town": {"role": "context"}}
    with pytest.raises(DataError) as error:
        make("tabular", {"files": str(tmp_path / "odd.parquet"), "columns": columns, "features": features})
    names = ["user", "item", "label", "timestamp", "position", "age", "tags", "town"]
    assert [problem.split(": ")[0] for problem in error.value.problems] == [f"{tmp_path}/odd.parquet, column {n}" for n in names]


def test_dates_may_be_ids_and_an_empty_column_is_empty(make, tmp_path: Path) -> None:
    store = make("tabular", {"files": log([date(2024, 5, n + 1) for n in range(9)] * 10, tmp_path)})
    assert store.vocabulary("user")["raw"].to_pylist()[0].startswith("2024-05-0")
    with pytest.raises(DataError, match=r"user is empty \(value: ''\); 9 rows in all"):
        make("tabular", {"files": log([None] * 9, tmp_path, pa.null())}, "none")


@pytest.mark.parametrize(("form", "covered"), [("{}", 9), ("{:02d}", 0), ("{}.0", 0), (" {} ", 9)])
def test_features_that_meet_nobody_are_refused(form: str, covered: int, make, write) -> None:
    users = write("users.csv", ["user,age", *(f"{form.format(n)},{n + 20}" for n in range(9)), "stranger,5"])
    options = {"files": write("log.csv", [HEAD, *(",".join(map(str, row)) for row in ROWS)]), "users": {"files": users}}
    options["features"] = {"age": {"role": "user", "kind": "numerical"}}
    if not covered:
        with pytest.raises(DataError, match=r"none of 9 users of the interactions has a row in .*users\.csv: the log says '5', "):
            make("tabular", options)
        return
    summary = json.loads((make("tabular", options).path / "summary.json").read_text())
    assert "9 of 9 users have a row in users.csv" in notes(summary)


def test_a_file_of_users_without_a_row_or_a_header(make, write) -> None:
    options = {
        "files": write("log.csv", [HEAD, *(",".join(map(str, row)) for row in ROWS)]),
        "features": {"age": {"role": "user"}},
    }
    with pytest.raises(DataError, match=r"none of 9 users .* the file nothing"):
        make("tabular", {**options, "users": {"files": write("none.csv", ["user,age"])}})
    bare = write("bare.csv", [f"{n},{n + 20}" for n in range(9)])
    with pytest.raises(DataError, match=r"bare\.csv: there are no columns .*data\.options\.users\.header"):
        make("tabular", {**options, "users": {"files": bare}}, "bare")
    make("tabular", {**options, "users": {"files": bare, "header": ["user", "age"]}}, "mended")


def test_numbers_that_are_not_finite_are_no_text(make, tmp_path: Path) -> None:
    users = [float(n % 9) for n in range(198)] + [float("nan"), float("inf")]
    make("tabular", {"files": log(users, tmp_path)}, max_rejected=0.01)
    found = pd.read_parquet(tmp_path / "store" / "rejected.parquet")
    assert found["line"].tolist() == [199, 200] and set(found["reason"]) == {"user is not a finite number"}


def test_repeated_rows_and_other_values_are_counted(make, write) -> None:
    lines = ["user,age,town,tags,text", *(f"{n},20,Rome,a|b,hello" for n in range(7))]
    lines += [
        "0,20.0,Rome,b|a,hello",
        "1,99,Rome,a|b,hello",
        "2,20,Bonn,a|b,hello",
        "3,20,Rome,a,hello",
        "4,20,Rome,a|b,bye",
        "4,1,,,",
    ]
    features = {"age": {"role": "user", "kind": "numerical"}, "town": {"role": "user"}, "tags": {"role": "user", "kind": "multi"}}
    features |= {"text": {"role": "user", "kind": "text"}}
    options = {"files": write("log.csv", [HEAD, *(",".join(map(str, row)) for row in ROWS)]), "features": features}
    store = make("tabular", {**options, "users": {"files": write("users.csv", lines)}})
    summary = json.loads((store.path / "summary.json").read_text())
    counts = {"files": ["users.csv"], "with_row": 7, "all": 9, "repeated_rows": 6, "other_values": 4}
    counts |= {"empty": dict.fromkeys(("age", "town", "tags", "text"), 2), "cut": {}}
    assert summary["features"]["users"] == counts
    told = notes(summary)
    assert "rows of users that come after another of the same: 6; the first one counts" in told
    assert "users whose later rows have other values than the first, which counts: 4" in told
    assert "rows that repeat a domain, user and item of another row: 27" in told


def test_features_in_the_log_that_change_are_told(make, write) -> None:
    rows = [f"x,{n % 9},i{n % 7},{n % 2},{20 + (n == 88)}" for n in range(90)]
    store = make("tabular", {"files": write("log.csv", [HEAD + ",age", *rows]), "features": {"age": {"role": "user"}}})
    told = notes(json.loads((store.path / "summary.json").read_text()))
    assert "users whose later rows have other values than the first, which counts: 1" in told
    assert not any("have a row" in line for line in told)


def test_domains_alike_are_told(make, write) -> None:
    names = ["North", "north", "South", "no rth", "Süd"]
    rows = [f"{names[n % 5]},u{n % 9},i{n % 7},{n % 2}" for n in range(150)]
    summary = json.loads((make("tabular", {"files": write("log.csv", [HEAD, *rows])}).path / "summary.json").read_text())
    assert "domains that differ in case or blanks alone are kept apart: 'North', 'no rth', 'north'" in notes(summary)


def test_users_and_items_alike_are_told(make, write) -> None:
    """Full-width letters and digits, case and blanks inside."""
    users, items = ["Anna", "anna", "Bea", "an na"], ["I1", "i1", "\uff491", "i2"]
    rows = [f"x,{users[n % 4]},{items[n // 4 % 4]},{n % 2}" for n in range(160)]
    summary = json.loads((make("tabular", {"files": write("log.csv", [HEAD, *rows])}).path / "summary.json").read_text())
    how = "that differ from another in case, blanks or the form of a letter alone are kept apart"
    assert {f"users {how}: 3 ('Anna', 'anna', 'an na')", f"items {how}: 3 ('x/I1', 'x/i1', 'x/\uff491')"} <= set(notes(summary))
    apart = write("b.csv", [HEAD, *(f"x,u{n % 4},i{n % 5},{n % 2}" for n in range(160))])
    assert "alike" not in json.loads((make("tabular", {"files": apart}, "b").path / "summary.json").read_text())


def test_an_empty_text_in_a_list_is_no_value(make, write, tmp_path: Path) -> None:
    options = {"features": {"tags": {"role": "context", "kind": "multi"}}}
    lines = [
        json.dumps({"domain": "x", "user": n % 9, "item": "i", "label": n % 2, "tags": ["a", None, "", " "]}) for n in range(90)
    ]
    rows = [f"x,{n % 9},i,{n % 2},a||" for n in range(90)]
    pq.write_table(
        pa.table(
            {"domain": ["x"] * 9, "user": range(9), "item": ["i"] * 9, "label": [1, 0, 1] * 3, "tags": [["a", "", None]] * 9}
        ),
        tmp_path / "log.parquet",
    )
    for name, path in {"json": write("log.jsonl", lines), "csv": write("log.csv", [HEAD + ",tags", *rows])}.items():
        assert make("tabular", {**options, "files": path}, name).vocabulary("tags")["raw"].to_pylist() == ["a"]
    typed = make("tabular", {**options, "files": str(tmp_path / "log.parquet")}, "parquet")
    assert typed.vocabulary("tags")["raw"].to_pylist() == ["a"]
