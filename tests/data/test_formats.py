"""Labels in words, dates as text, decimal commas: read where a job says so, and otherwise refused together, with the remedy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_rec.data.formats import PARSERS, suggested
from raytune_rec.errors import DataError, JobError

COLUMNS = {"domain": "site", "user": "who", "item": "what", "label": "liked", "timestamp": "at", "rating": "stars"}
FEATURES = {"price": {"role": "context", "kind": "numerical"}, "height": {"role": "user", "kind": "numerical"}}
LINES = ["site;who;what;liked;at;stars;price;height"] + [
    f"x;u{n % 9};i{n % 7};{('No', 'YES')[n % 2]};2024-05-{n % 28 + 1:02d}T10:00:00.5+02:00;{n % 5},5;€ {n},50;1,{70 + n % 9}"
    for n in range(90)
]


def test_what_text_does_not_say_plainly_is_refused_together_and_the_remedies_help(make, write) -> None:
    log = write("log.csv", LINES)
    options = {"files": log, "columns": COLUMNS, "features": FEATURES, "delimiter": ";"}
    with pytest.raises(DataError) as error:
        make("tabular", options)
    told = dict(re.findall(r'set data\.options\.formats\.(\w+) = "(\w+)"', str(error.value)))
    assert told == {"label": "bool", "timestamp": "iso", "rating": "decimal", "price": "decimal", "height": "decimal"}
    assert str(error.value).count("90 rows in all") == 5 and len(error.value.problems) == 7
    store = make("tabular", {**options, "formats": told}, "mended")
    rows = pd.read_parquet(next(store.path.glob("interactions/*/*.parquet")), partitioning=None)
    assert sorted(rows["price"]) == [n + 0.5 for n in range(90)]
    assert rows["timestamp"].min() == 1_714_550_400_500_000_000 and set(rows["label"]) == {0.0, 1.0}
    assert sorted(set(rows["rating"])) == [0.5, 1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize(
    ("text", "auto", "comma", "point"),
    [
        ("3,5", 3.5, 3.5, None),
        ("1.234,56", 1234.56, 1234.56, None),
        ("$1,234.50", 1234.5, None, 1234.5),
        ("1,234", None, 1.234, 1234.0),
        ("1.234", None, 1234.0, 1.234),
        ("0,125", 0.125, 0.125, None),
        ("1,234,567", 1234567.0, None, 1234567.0),
        ("12", 12.0, 12.0, 12.0),
        ("1\u00a0234,5 €", 1234.5, 1234.5, None),
        ("1'234.5", 1234.5, None, 1234.5),
        ("-£3.20", -3.2, None, -3.2),
        ("1,2,3", None, None, None),
        ("12 apples", None, None, None),
        ("\u2212" + "4,5", -4.5, -4.5, None),
    ],
)
def test_decimals(text: str, auto: float | None, comma: float | None, point: float | None) -> None:
    assert [PARSERS[name](text) for name in ("decimal", "decimal_comma", "decimal_point")] == [auto, comma, point]


def test_a_number_that_may_be_two_is_not_guessed() -> None:
    assert [suggested(text) for text in ("1,234", "1.234", "3,5", "true", "2024-05-01", "hello")] == [
        "decimal_comma", "decimal_point", "decimal", "bool", "iso", "",
    ]  # fmt: skip


def test_formats_name_columns_of_numbers(make, write) -> None:
    options = {"files": write("log.csv", LINES), "columns": COLUMNS, "features": FEATURES}
    with pytest.raises(
        JobError, match=r"formats\.colour: no column of numbers is called so; there are label, rating, timestamp, price"
    ):
        make("tabular", {**options, "formats": {"colour": "bool"}})
    with pytest.raises(JobError, match=r"a timestamp is iso or a plain number"):
        make("tabular", {**options, "formats": {"timestamp": "bool"}})
    with pytest.raises(JobError, match=r"Input should be 'bool'"):
        make("tabular", {**options, "formats": {"label": "truth"}})


def test_all_files_are_judged_before_the_job_is_refused(make, write) -> None:
    log = write("log.csv", ["domain,user,item,label", *(f"x,u{n % 9},i{n % 7},yes" for n in range(90))])
    users = write("users.csv", ["user,age", *(f"u{n},old" for n in range(9))])
    items = write("items.csv", ["domain,item,price", *(f"x,i{n},$5" for n in range(7))])
    features = {"age": {"role": "user", "kind": "numerical"}, "price": {"role": "item", "kind": "numerical"}}
    options = {"files": log, "users": {"files": users}, "items": {"files": items}, "features": features}
    with pytest.raises(DataError) as error:
        make("tabular", options)
    for part in ("90 of 90 rows of interactions", "9 of 9 rows of users", "7 of 7 rows of items", 'formats.price = "decimal"'):
        assert part in str(error.value)
    for name in (log, users, items):
        assert f"{name}, line 2: " in str(error.value)


def test_numbers_beyond_a_float32_are_rejected(make, write, tmp_path: Path) -> None:
    rows = [f"x,u{n % 9},i{n % 7},{n % 2},{n}" for n in range(95)]
    big = ["1e39", "-3e38", "9" * 400, "1e400", "1e38"]
    log = write("log.csv", ["domain,user,item,label,price", *rows, *(f"x,u1,i1,1,{text}" for text in big)])
    options = {"files": log, "features": {"price": {"role": "context", "kind": "numerical"}}}
    store = make("tabular", options, max_rejected=0.1)
    assert np.isfinite(
        [store.schema.field("price").mean, store.schema.field("price").std, *store.schema.field("price").edges]
    ).all()
    found = pd.read_parquet(tmp_path / "store" / "rejected.parquet")
    beyond, none = "price is beyond 1e+38", "price is not a finite number"
    assert found["reason"].tolist() == [beyond, beyond, none, none]
    raw = {"domain": ["x"], "user": ["u1"], "item": ["i1"]}
    for price in (1e39, 10**400, "9" * 400):
        with pytest.raises(DataError, match="must be a finite number"):
            store.encode({**raw, "price": [price]})


def test_vectors_beyond_a_float32_and_lists_of_another_length_are_rejected(make, write, tmp_path: Path) -> None:
    log = write("log.csv", ["domain,user,item,label", *(f"x,u{n % 9},i{n % 7},{n % 2}" for n in range(90))])
    vectors = [[1.0, n] for n in range(9)]
    vectors[3], vectors[4], vectors[5] = [1e39, 1.0], [1.0, None, 2.0], [1.0, None]
    pq.write_table(pa.table({"user": [f"u{n}" for n in range(9)], "taste": vectors}), tmp_path / "users.parquet")
    lines = [json.dumps({"user": f"u{n}", "taste": vector}) for n, vector in enumerate(vectors)]
    for out, path in {"a": str(tmp_path / "users.parquet"), "b": write("users.jsonl", lines)}.items():
        options = {"files": log, "users": {"files": path}, "features": {"taste": {"role": "user", "kind": "vector"}}}
        store = make("tabular", options, out, max_rejected=0.5)
        found = pd.read_parquet(store.path / "rejected.parquet")
        reasons = ["taste is beyond 1e+38", "taste has not 2 numbers, as most have", "taste is not finite numbers alone"]
        assert found["line"].tolist() == [4, 5, 6] and found["reason"].tolist() == reasons


def test_a_job_cannot_ask_for_buckets_without_end(make, write) -> None:
    with pytest.raises(ValueError, match="less than or equal to 10000"):
        make("tabular", {"files": write("log.csv", LINES), "columns": COLUMNS}, buckets=10**9)
