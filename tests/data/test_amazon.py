"""Amazon 2014: sequences of raw ids, one domain a category."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_rec import components
from raytune_rec.data.files import on_disk
from raytune_rec.data.layout import domain_folder
from raytune_rec.data.sources.amazon import Amazon
from raytune_rec.errors import DataError, JobError

LINES = [b"AR2 B9 B1 B5", b"", b"AR1 B1", b"ALONE", b"AR\xff B1 B2", b"AR3 B2 7806397051 B2\r", b"\x1c"]
ROWS = [("AR2", "B9", 0, 1), ("AR2", "B1", 1, 1), ("AR2", "B5", 2, 1), ("AR1", "B1", 0, 3),
        ("AR3", "B2", 0, 6), ("AR3", "7806397051", 1, 6), ("AR3", "B2", 2, 6)]  # fmt: skip


def opened(folder: Path, *domains: str) -> Amazon:
    return Amazon(Amazon.Options(path=str(folder), domains=domains))


def rows(source: Amazon) -> list[tuple[str, str, int, int]]:
    """(user, item, position, line) of every row."""
    return [
        (row["user"], row["item"], row["position"], line)
        for block in source.read()
        for row, line in zip(block.table.to_pylist(), block.lines.tolist(), strict=True)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Beauty", "Toys"):
        (tmp_path / name).mkdir()
    (tmp_path / "Beauty" / "user_sequence.txt.gz").write_bytes(gzip.compress(b"\n".join(LINES)))
    (tmp_path / "Toys" / "user_sequence.txt").write_bytes(b"AR2 B9 B8\nAR4 B7\n")
    return tmp_path


@pytest.mark.parametrize("block_bytes", [8 << 20, 16])
def test_a_line_is_a_sequence_in_its_order(folder: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(on_disk, "BLOCK_BYTES", block_bytes)
    source = opened(folder, "Beauty")
    assert rows(source) == ROWS
    assert all(row["label"] == 1 and row["domain"] == "Beauty" for block in source.read() for row in block.table.to_pylist())
    found = [(r.line, r.value, r.reason) for block in source.read() for r in block.rejects]
    assert sorted(found) == [
        (4, "ALONE", "a line has a reviewer and one item or more"),
        (5, "AR\\xff B1 B2", "not utf-8"),
        (7, "", "a line has a reviewer and one item or more"),
    ]


def test_reviewers_are_shared_and_items_are_not(folder: Path, make) -> None:
    options = {"path": str(folder), "domains": ["Toys", "Beauty"]}
    store = make("amazon", options, max_rejected=0.5, split={"kind": "hash", "valid": 0, "test": 0})
    assert store.schema.domains == ("Toys", "Beauty")
    assert sorted(store.vocabulary("user")["raw"].to_pylist()) == ["AR1", "AR2", "AR3", "AR4"]
    items = store.vocabulary("item")["raw"].to_pylist()
    assert {"Toys/B9", "Beauty/B9"} <= set(items) and len(items) == 8


def test_the_last_item_of_a_reviewer_can_be_left_out(folder: Path, make) -> None:
    (folder / "Toys" / "user_sequence.txt").write_text("a B1 B2 B3 B4\nb B4 B3 B2 B1\nc B2 B1 B3 B4\n")
    store = make("amazon", {"path": str(folder), "domains": ["Toys"]}, split={"kind": "leave_one_out"})
    raws = ["", *store.vocabulary("item")["raw"].to_pylist()]
    for split, expected in (("valid", ["Toys/B2", "Toys/B3", "Toys/B3"]), ("test", ["Toys/B1", "Toys/B4", "Toys/B4"])):
        assert sorted(raws[i] for i in store.load("Toys", split).columns["item"]) == expected


def test_all_missing_files_are_told_before_the_first_row(folder: Path) -> None:
    with pytest.raises(DataError) as error:
        next(iter(opened(folder, "Beauty", "Sport", "Books").read()))
    for name in ("Sport", "Books"):
        assert f"{folder / name}: there is no user_sequence.txt.gz or user_sequence.txt; mend data.options" in str(error.value)


def test_a_domain_is_named_once() -> None:
    with pytest.raises(JobError, match="Toys: named twice; name each domain once"):
        components.options_of("data.sources", "amazon", {"path": "x", "domains": ["Toys", "Beauty", "Toys"]})


def test_real_files(real_data: Path) -> None:
    folder = real_data / "amazon2014-5core" / "asin_sequences"
    if not folder.is_dir():
        pytest.skip(f"no such folder: {folder}")
    users: dict[str, set[str]] = {}
    for name, counts in {"Beauty": (22_363, 12_101, 198_502), "Toys": (19_412, 11_924, 167_597)}.items():
        blocks = list(opened(folder, name).read())
        assert not any(block.rejects for block in blocks)
        users[name] = {user for block in blocks for user in block.table["user"].unique().to_pylist()}
        items = {item for block in blocks for item in block.table["item"].unique().to_pylist()}
        assert (len(users[name]), len(items), sum(len(block.table) for block in blocks)) == counts
    assert len(users["Beauty"] & users["Toys"]) == 2_073


def vectors(path: Path, **columns: object) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_users_outside_the_overlap_are_passed_over(folder: Path, tmp_path: Path) -> None:
    file = vectors(tmp_path / "v.parquet", user=["AR3", "AR2", "WHO"], vector=[[1.0, 2], None, [3, 4]])
    options = Amazon.Options(path=str(folder), domains=("Beauty", "Toys"), vectors=file)
    assert [row[:2] for row in rows(Amazon(options))][:7] == [row[:2] for row in ROWS]
    own = Amazon(options.model_copy(update={"overlap": True}))
    assert [row for row in rows(own) if row[1][0] != "B" or row[3] < 9][:6] == [r for r in ROWS if r[0] != "AR1"]
    assert {user for user, *_ in rows(own)} == {"AR2", "AR3"}
    assert own.cohort == "of the users in the files those alone were read who have a vector" and not Amazon(options).cohort
    inputs = [source.fingerprint_inputs() for source in (own, Amazon(options), opened(folder, "Beauty", "Toys"))]
    assert inputs[0] != inputs[1] != inputs[2]
    assert "vectors" not in opened(folder, "Beauty").fingerprint_inputs(), "jobs without them are what they were"


def test_a_file_of_vectors_that_will_not_do_is_refused(folder: Path, tmp_path: Path) -> None:
    options = Amazon.Options(path=str(folder), domains=("Beauty",), vectors=str(tmp_path / "v.parquet"), overlap=True)
    with pytest.raises(DataError, match=r"v.parquet: no such file; write it with `raytune-rec vectors`"):
        next(Amazon(options).read())
    vectors(tmp_path / "v.parquet", reviewer=["AR2"], vector=[[1.0]])
    with pytest.raises(DataError, match=r"there is no column 'user' \(wanted as user\); the file has reviewer, vector"):
        next(Amazon(options).read())
    with pytest.raises(JobError, match="overlap reads the users of the file of vectors alone, and there is none"):
        components.options_of("data.sources", "amazon", {"path": "x", "domains": ["Toys"], "overlap": True})


def test_shared_users_of_the_real_files(real_data: Path, make, tmp_path: Path) -> None:
    """The counts of the cross-domain job: 2,073 users of Beauty are in Toys, 965 of them with fewer than ten items there."""
    folder = real_data / "amazon2014-5core" / "asin_sequences"
    if not folder.is_dir():
        pytest.skip(f"no such folder: {folder}")
    names = sorted({user for block in opened(folder, "Beauty").read() for user in block.table["user"].unique().to_pylist()})
    file = vectors(tmp_path / "v.parquet", user=names, vector=[[float(i), 1.0] for i in range(len(names))])
    options = {"path": str(folder), "domains": ["Toys"], "vectors": file, "overlap": True}
    own = make(
        "amazon", options, split={"kind": "cold_users", "cold_below": 10}, sequences={"tasks": ["few"], "folds": 3, "warm": True}
    )
    users = pq.read_table(own.path / "users.parquet")
    assert len(users) - 1 == 2_073 and users["vector"].null_count == 1, "the row of the unknown has none"
    log = pq.read_table(domain_folder(own.path, "Toys") / "part-00000.parquet", partitioning=None)
    taken = log.group_by("user").aggregate([("item", "count")])
    assert sum(n < 10 for n in taken["item_count"].to_pylist()) == 965
    folds = pq.read_table(own.path / "sequences" / "users.parquet")["fold"].to_pylist()
    assert sum(fold > 0 for fold in folds) == 960, "five took only what no warm user trains on"
    assert (own.schema.field("vector").length, own.schema.rows["Toys", "train"]) == (2, 2_073 - 965)


def test_users_of_an_overlap_are_told_by_the_rule_for_identifiers(tmp_path: Path, make) -> None:
    (tmp_path / "Toys").mkdir()
    (tmp_path / "Toys" / "user_sequence.txt").write_text("1 B1 B2 B3\n2 B3 B2 B1\nAme\u0301lie B2 B1 B3\n", encoding="utf-8")
    table = pa.table({"user": ["1 ", "Am\u00e9lie"], "vector": [[1.0, 2.0], [3.0, 4.0]]})
    pq.write_table(table, tmp_path / "v.parquet")
    options = {"path": str(tmp_path), "domains": ["Toys"], "vectors": str(tmp_path / "v.parquet"), "overlap": True}
    store = make("amazon", options, split={"kind": "hash", "valid": 0, "test": 0})
    assert sorted(store.vocabulary("user")["raw"].to_pylist()) == ["1", "Am\u00e9lie"]
