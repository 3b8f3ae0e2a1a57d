"""The store on disk, the join, and the ids of a unit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from raytune_rec.data.stored.store import Store
from raytune_rec.data.stored.units import localise, unit_data
from raytune_rec.errors import ArtifactError, DataError
from raytune_rec.schema.prepared import ALL_DOMAINS
from raytune_rec.storage.files import read_json

SMALL = {"interactions": {"a": 3000, "b": 1500}, "users": 200, "items": 80}


def test_what_is_not_complete_is_no_store(make, tmp_path: Path) -> None:
    store = make("synthetic", SMALL)
    (store.path / "_complete.json").rename(store.path / "_begun.json")  # as an interruption leaves it
    (store.path / "train" / "part-00007.parquet").write_bytes(b"half")
    with pytest.raises(DataError, match="no prepared data here"):
        Store.open(store.path)
    again = make("synthetic", SMALL)
    assert again.schema == store.schema and len(again.train_files()) == 1 and not (store.path / "_begun.json").exists()


@pytest.mark.parametrize("damage", [b"\xff{", b"[]", b"{}"])
def test_a_store_whose_marker_is_damaged_is_made_anew(damage: bytes, make) -> None:
    store = make("synthetic", SMALL)
    marker = (store.path / "_complete.json").read_bytes()
    (store.path / "_complete.json").write_bytes(damage)
    assert make("synthetic", SMALL).schema == store.schema and (store.path / "_complete.json").read_bytes() == marker


def test_files_of_others_are_left_alone(make, tmp_path: Path) -> None:
    (tmp_path / "store" / "train").mkdir(parents=True)
    (tmp_path / "store" / "train" / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"holds files that stage 'prepare' did not write, .* empty the folder"):
        make("synthetic", SMALL)
    assert (tmp_path / "store" / "train" / "mine.txt").exists()


def test_second_preparation_changes_nothing_and_another_is_refused(make) -> None:
    store = make("synthetic", SMALL)
    before = {p: p.stat().st_mtime_ns for p in store.path.rglob("*")}
    make("synthetic", SMALL)
    assert {p: p.stat().st_mtime_ns for p in store.path.rglob("*")} == before
    with pytest.raises(ArtifactError, match=r"options\.split\.seed was 0 when 'prepare' ran there, and is 1 now"):
        make("synthetic", SMALL, split={"seed": 1})


def test_train_files_hold_all_training_rows_mixed_in_even_groups(make) -> None:
    store = make("synthetic", SMALL, block_rows=1024)
    (path,) = store.train_files()
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups[:-1] == [1024] * (len(groups) - 1) and sum(groups) == file.metadata.num_rows
    table = store.load(ALL_DOMAINS, "train")
    assert table.columns["domain"].tolist() == file.read()["domain"].to_pylist()
    share = (table.columns["domain"][:1024] == 1).mean()
    assert abs(share - (table.columns["domain"] == 1).mean()) < 0.06
    a = store.load("a", "train")
    here = table.columns["domain"] == 1
    assert all(np.array_equal(a.columns[n], c[here], equal_nan=c.dtype == np.float32) for n, c in table.columns.items())


def test_join_takes_numpy_blocks(make) -> None:
    store = make("synthetic", SMALL)
    raw = pq.read_table(store.train_files()[0])
    joined = store.join({name: raw[name].to_numpy() for name in raw.column_names})
    loaded = store.load(ALL_DOMAINS, "train")
    for name, column in loaded.columns.items():
        np.testing.assert_array_equal(joined.columns[name], column)
    np.testing.assert_array_equal(joined.label, loaded.label)


def test_context_lists_join_from_object_arrays(make, write) -> None:
    log = write(
        "log.csv",
        ["domain,user,item,label,tags", *(f"x,u{n % 9},i{n % 7},{n % 2},{'|'.join('abc'[: n % 4])}" for n in range(90))],
    )
    store = make("tabular", {"files": log, "features": {"tags": {"role": "context", "kind": "multi"}}})
    field = store.schema.field("tags")
    assert (field.size, field.length) == (4, 3)
    table = store.load("x", "train")
    assert {int((row > 0).sum()) for row in table.columns["tags"]} == {0, 1, 2, 3}
    raw = pq.read_table(store.train_files()[0])
    joined = store.join({name: raw[name].to_pandas().to_numpy() for name in raw.column_names})
    np.testing.assert_array_equal(joined.columns["tags"], store.load(ALL_DOMAINS, "train").columns["tags"])


def test_ids_fall_with_training_count(make) -> None:
    store = make("synthetic", SMALL)
    counts = np.bincount(store.load(ALL_DOMAINS, "train").columns["item"])[1:]
    assert (np.diff(counts) <= 0).all() and counts.min() > 0


def test_statistics_of_a_number_are_those_of_the_training_rows(make) -> None:
    store = make("synthetic", SMALL, buckets=4)
    age = store.load(ALL_DOMAINS, "train").columns["age"]
    field = store.schema.field("age")
    known = age[~np.isnan(age)]
    assert field.mean == pytest.approx(known.mean(), rel=1e-5) and field.std == pytest.approx(known.std(), rel=1e-5)
    np.testing.assert_allclose(field.edges, np.quantile(known, [0.25, 0.5, 0.75], method="inverted_cdf"))


def test_local_ids_stand_for_the_global_ones(make) -> None:
    store = make("synthetic", SMALL)
    local, whole = unit_data(store, "b"), unit_data(store, "b", compact=False)
    assert not whole.rows and not whole.seen
    for name, rows in local.rows.items():
        seen = local.seen[name]
        assert rows[0] == 0 and not seen[0] and len(np.unique(rows)) == len(rows)
        assert (np.diff(seen[1:].astype(int)) <= 0).all()  # the trained ids stand before those of valid alone
        assert (np.diff(rows[seen]) > 0).all() and (np.diff(rows[1:][~seen[1:]]) > 0).all()
        for mine, full in ((local.train, whole.train), (local.valid, whole.valid)):
            np.testing.assert_array_equal(rows[mine.columns[name]], full.columns[name])
        trained = set(np.unique(whole.train.columns[name]).tolist()) - {0}
        assert set(rows[seen].tolist()) == trained
        assert set(rows.tolist()) == trained | {0} | set(np.unique(whole.valid.columns[name]).tolist())
    assert "age" not in local.rows


def test_localise_sends_strangers_to_zero(make) -> None:
    store = make("synthetic", {**SMALL, "interactions": {"a": 3000, "b": 100}})
    unit, other = unit_data(store, "b"), store.load("a", "test")
    table = localise(other, unit.rows)
    ids, rows = other.columns["user"], unit.rows["user"]
    expected = [rows.tolist().index(i) if i in rows else 0 for i in ids.tolist()]
    assert table.columns["user"].tolist() == expected and 0 in expected


def test_unknown_raw_values_are_zero_and_features_may_be_brought(make) -> None:
    store = make("synthetic", SMALL)
    raw = {"domain": ["a", "elsewhere"], "user": ["u1", "nobody"], "item": ["nothing", "i2"]}
    columns = store.encode(raw)
    assert columns["user"][1] == columns["item"][0] == columns["domain"][1] == columns["category"][0] == 0
    assert np.isnan(columns["age"][1])
    given = {"category": ["category-1", "category-1"], "interests": [["interest-1", "no such"], None], "age": [30, "40"]}
    brought = store.encode({**raw, **given})
    assert brought["category"][0] == brought["category"][1] > 0
    assert (brought["interests"] > 0).sum(1).tolist() == [1, 0] and brought["age"].tolist() == [30, 40]
    with pytest.raises(DataError, match="there is no column item"):
        store.encode({"domain": ["a"], "user": ["u1"]})
    logged = {"label": [1, 0], "rating": [5, 1], "timestamp": [1, 2], "position": [0, 1], "split": ["test", "test"]}
    again = store.encode({**raw, **given, **logged})
    assert all(np.array_equal(again[name], column, equal_nan=True) for name, column in brought.items()), "a log's columns will do"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"interests": ["interest-1"]}, r"interests: each row must be a list of raw values, or None \(row 0 is 'interest-1', of "
         r"type str\); write \[\['interest-1'\]\]"),
        ({"age": ["forty"]}, r"age: each row must be a finite number, or None \(row 0 is 'forty', of type str\); give None"),
        ({"age": [""]}, r"age: each row must be a finite number, or None \(row 0 is ''"),
        ({"age": [float("inf")]}, r"age: each row must be a finite number, or None \(row 0 is 'inf', of type float\)"),
        ({"agee": [3]}, r"no column 'agee' in these data; they have user, item, domain, .*age.*\. Rename it, or leave it out"),
    ],
)  # fmt: skip
def test_a_given_value_is_never_dropped_in_silence(make, given: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make("synthetic", SMALL).encode({"domain": ["a"], "user": ["u1"], "item": ["i2"], **given})


def test_summary_tells_what_was_found(make) -> None:
    store = make("synthetic", SMALL)
    summary = json.loads((store.path / "summary.json").read_text())
    assert list(summary["domains"]) == ["a", "b"]
    assert summary["domains"]["a"]["rows"] == 3000 == sum(summary["domains"]["a"][s]["rows"] for s in ("train", "valid", "test"))
    assert summary["vocabulary"]["user"] == store.schema.field("user").size - 1


def test_users_whom_training_does_not_know_are_told_apart(make) -> None:
    """Their id is 0, and resampling them as one user would make one of many."""
    sparse = {"interactions": {"a": 400, "b": 300}, "users": 300, "items": 20}
    store = make("synthetic", sparse, split={"valid": 0.3, "test": 0.4})
    users, unknown = {}, 0
    for unit in "ab":
        table, users[unit] = store.load(unit, "test"), store.reader.test(store.schema.unit(unit)).owner
        known = table.columns["user"] > 0
        np.testing.assert_array_equal(users[unit][known], table.columns["user"][known])
        unknown += len(np.unique(users[unit][~known]))
    assert unknown > 10 and len(np.intersect1d(users["a"], users["b"])) > 10  # a user of both domains is one


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda v: v["task"].update(attribute=[]), r"task\.attribute: .*string.*given: \[\]"),
        (lambda v: v["task"].update(name="songs"), r"task\.name: .*'rows', 'lists' or 'classes'"),
        (lambda v: v["task"].update(attribute="hue"), "the task tells 'hue', and there is no such field"),
        (lambda v: v["task"].update(color=1), "color"),
        (lambda v: v.update(fingerprint=None), "fingerprint: .*string"),
        (lambda v: v["fields"].pop(0), "there is no field user"),
        (lambda v: v["fields"].append(v["fields"][0]), "two fields have one name"),
        (lambda v: v["fields"][1].update(size=0), "the field 'item' has no size"),
        (lambda v: v["fields"][1].update(size="many"), r"fields\.1\.size: .*integer.*'many'"),
        (lambda v: v["fields"][1].update(kind={}), r"fields\.1\.kind"),
        (lambda v: v["domains"].append(v["domains"][0]), "the domains are not as many"),
        (lambda v: v["domains"].append({}), r"domains\.\d"),
        (
            lambda v: v.update(groups=[{"name": "few.2", "kind": "fold", "task": "few", "number": 1, "members": []}]),
            "'few.2' is none",
        ),
        (lambda v: v.update(rows={v["domains"][0]: dict.fromkeys(("train", "valid", "test"), "x")}), "rows.*integer"),
        (lambda v: v.pop("rows"), "rows"),
    ],
)
def test_a_schema_that_no_preparation_wrote_is_refused(make, damage: Callable[[dict[str, Any]], Any], says: str) -> None:
    own = make("synthetic", SMALL)
    path = own.path / "schema.json"
    values = read_json(path)
    damage(values)
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=rf"schema\.json: cannot be read \(.*{says}.*prepare the data again"):
        Store.open(own.path)
