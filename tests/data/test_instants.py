"""Times are read exactly, in whatever unit and type they come; files of two units are never mixed in silence."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_rec.data.instants import Instants, parts, parts_of_iso
from raytune_rec.errors import DataError

BASE = 1_650_000_000_987_654_300
COLUMNS = {"domain": "domain", "user": "user", "item": "item", "label": "label", "timestamp": "time"}


def read(values: pa.Array, **options: object) -> list[int]:
    """The instants of the rows that stand."""
    found, problems = Instants(**options).read(values, "a file")  # type: ignore[arg-type]
    bad = np.logical_or.reduce([mask for mask, _ in problems])
    return found[~bad].tolist()


def stored(make, path: str, out: str = "store", **options: object) -> pd.DataFrame:
    store = make("tabular", {"files": path, "columns": COLUMNS, **options}, out=out)
    return pd.concat([pd.read_parquet(f, partitioning=None) for f in sorted(store.path.glob("interactions/*/*.parquet"))])


@given(st.integers(10**17, 2**63 - 2 * 10**9), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_nanosecond_is_the_same_as_text_number_decimal_and_date(at: int, zone: bool) -> None:
    seconds, share = divmod(at, 10**9)
    date = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert read(pa.array([f"{seconds}.{share:09d}"]), unit="s") == [at]
    assert read(pa.array([str(at)])) == read(pa.array([at])) == read(pa.array([at], pa.uint64())) == [at]
    assert read(pa.array([Decimal(at).scaleb(-9)], pa.decimal128(38, 9)), unit="s") == [at]
    assert read(pa.array([at], pa.timestamp("ns", "Asia/Tokyo" if zone else None))) == [at]
    assert read(pa.array([f"{date}.{share:09d}{'Z' if zone else ''}"]), iso=True) == [at]


@given(st.lists(st.sampled_from(["5", "17.25", " 8 ", "-3", "1e3", "x", "", "nan", "1_0", "0x10", "9" * 400]), min_size=1))
@settings(max_examples=100, deadline=None)
def test_a_number_is_read_alike_whatever_stands_beside_it(texts: list[str]) -> None:
    together = [column.tolist() for column in parts(pa.array(texts))]
    alone = [[column.tolist()[0] for column in parts(pa.array([text]))] for text in texts]
    assert [list(row) for row in zip(*together, strict=True)] == alone


@pytest.mark.parametrize("text", ["2024-02-30", "2024-13-01", "20240501", "2024-05-01T25:00", "1714550400", "2024-5-1"])
def test_what_is_no_iso_date(text: str) -> None:
    assert parts_of_iso(text) is None


def test_neighbouring_nanoseconds_keep_their_order_in_the_store(make, write, tmp_path: Path) -> None:
    rows = [("x", f"u{n % 3}", f"i{n}", n % 2, BASE + (n * 7) % 30) for n in range(30)]
    log = write("log.csv", ["domain,user,item,label,time", *(",".join(map(str, row)) for row in rows)])
    frame = pd.DataFrame(rows, columns=["domain", "user", "item", "label", "time"])
    frame["time"] = pd.to_datetime(frame["time"]).dt.tz_localize("UTC").dt.tz_convert("America/Lima")
    frame.to_parquet(tmp_path / "log.parquet")
    text, typed = stored(make, log), stored(make, str(tmp_path / "log.parquet"), "typed")
    assert sorted(text["timestamp"]) == sorted(typed["timestamp"]) == [BASE + n for n in range(30)]


def test_dates_out_of_range_are_rejected_rows(make, tmp_path: Path) -> None:
    times = [1_700_000_000 + n for n in range(199)] + [9_223_372_036_854_775]
    table = {"domain": ["x"] * 200, "user": [f"u{n % 9}" for n in range(200)], "item": [f"i{n % 7}" for n in range(200)]}
    table |= {"label": [n % 2 for n in range(200)], "time": pa.array(times, pa.timestamp("s"))}
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    assert len(stored(make, str(tmp_path / "log.parquet"))) == 199
    found = pd.read_parquet(tmp_path / "store" / "rejected.parquet")
    assert found[["line", "reason"]].values.tolist() == [[200, "timestamp is past the year 2262 (read as a date)"]]
    with pytest.raises(DataError, match=r"\(value: '\d+'\)$"):  # a unit is no remedy for dates
        make("tabular", {"files": str(tmp_path / "log.parquet"), "columns": COLUMNS}, out="none", max_rejected=0.0)


def test_files_of_two_units_are_refused_and_an_option_settles_it(make, write) -> None:
    def log(name: str, unit: int, shift: int = 0) -> str:
        rows = [f"x,u{n % 9},i{n % 7},{n % 2},{(1_700_000_000 + n + shift) * unit}" for n in range(100)]
        return write(name, ["domain,user,item,label,time", *rows])

    seconds, millis = log("old.csv", 1), log("new.csv", 1000)
    told = r"in seconds in .*old\.csv \(1700000000\), in milliseconds in .*new\.csv \(1700000000000\)"
    with pytest.raises(DataError, match=told):
        stored(make, [seconds, millis])
    alike = stored(make, [millis, log("next.csv", 1000, 100)], "alike")
    assert alike["timestamp"].min() == 1_700_000_000 * 10**9
    with pytest.raises(DataError, match="timestamp is past the year 2262"):
        stored(make, [seconds, millis], "given", time_unit="s")
    counters = write("counters.csv", ["domain,user,item,label,time", *(f"x,u{n % 9},i{n % 7},{n % 2},{n}" for n in range(100))])
    assert stored(make, counters, "counters", time_unit="ms")["timestamp"].max() == 99 * 10**6
    with pytest.raises(DataError, match=r"of no clear unit in .*counters\.csv \(0\)"):
        stored(make, [counters, millis], "unclear")
    assert len(stored(make, [counters, millis], "one", time_unit="ms")) == 200  # the remedy where they are alike


def test_a_row_of_another_unit_than_its_file_is_rejected(make, write, tmp_path: Path) -> None:
    rows = [f"x,u{n % 9},i{n % 7},{n % 2},{1_700_000_000 + n}" for n in range(199)]
    log = write("log.csv", ["domain,user,item,label,time", *rows, "x,u1,i1,1,1700000000000"])
    assert len(stored(make, log)) == 199
    found = pd.read_parquet(tmp_path / "store" / "rejected.parquet")
    assert found[["line", "value"]].values.tolist() == [[201, "1700000000000"]]


def test_positions_are_whole_numbers(make, write, tmp_path: Path) -> None:
    rows = [f"x,u{n % 9},i{n % 7},{n % 2},{2**60 + n}" for n in range(199)]
    columns = {**COLUMNS, "position": "time"}
    del columns["timestamp"]
    log = write("log.csv", ["domain,user,item,label,time", *rows, "x,u1,i1,1,2.5"])
    store = make("tabular", {"files": log, "columns": columns})
    kept = pd.read_parquet(store.path / "interactions" / "domain=x" / "part-00000.parquet", partitioning=None)
    assert sorted(kept["position"]) == [2**60 + n for n in range(199)]
    found = pd.read_parquet(tmp_path / "store" / "rejected.parquet")
    assert found["reason"].tolist() == ["position is no whole number of 64 bits"]
