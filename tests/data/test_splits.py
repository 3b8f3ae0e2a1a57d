"""Who trains and who tests: by nothing but the row itself, and without a leak."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from raytune_rec.data.hashing import row_hash, text_hash
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import ALL_DOMAINS, SPLITS

ROWS = [f"{d},u{u},i{i},{(u + i) % 2},{(7 * u + 3 * i) % 50}" for d in ("x", "y") for u in range(30) for i in range(12)]
OPTIONS = {"columns": {"domain": "domain", "user": "user", "item": "item", "label": "label", "timestamp": "time"}}


def stored(store) -> pd.DataFrame:
    """Raw ids and the split of every row."""
    users, items = (pd.read_parquet(store.path / f"{name}.parquet")["raw"].to_numpy() for name in ("users", "items"))
    parts = []
    for domain in store.schema.domains:
        part = pd.read_parquet(store.path / "interactions" / f"domain={domain}" / "part-00000.parquet")
        parts.append(part.assign(domain=domain, user=users[part["user"]], item=items[part["item"]]))
    return pd.concat(parts, ignore_index=True)


def test_hash_is_fixed_for_ever() -> None:
    x, u, i = text_hash(["x"]), text_hash(["u"]), text_hash(["i"])
    assert row_hash(0, x, u, i)[0] == 316438015269399784
    assert len({int(row_hash(*parts)[0]) for parts in ((0, x, u, i), (1, x, u, i), (0, x, i, u), (0, u, x, i))}) == 4


@pytest.mark.parametrize("kind", ["hash", "leave_one_out", "time"])
def test_store_does_not_depend_on_the_order_of_rows(kind: str, make, write) -> None:
    repeated = [f"x,u1,i1,{n % 2},{n}" for n in range(40)]  # equal hashes: told apart by what they hold
    all_rows = [*ROWS, *repeated]
    shuffled = random.Random(1).sample(all_rows, len(all_rows))
    stores = [
        make(
            "tabular",
            {**OPTIONS, "files": write(f"{n}.csv", ["domain,user,item,label,time", *rows])},
            out=n,
            split={"kind": kind},
        )
        for n, rows in (("a", all_rows), ("b", shuffled))
    ]
    for path in ("users.parquet", "items.parquet", "train/part-00000.parquet", "interactions/domain=x/part-00000.parquet"):
        assert (stores[0].path / path).read_bytes() == (stores[1].path / path).read_bytes(), path


def test_hash_split_does_not_depend_on_other_rows(make, write) -> None:
    few, all_rows = (
        stored(make("tabular", {**OPTIONS, "files": write(f"{n}.csv", ["domain,user,item,label,time", *rows])}, out=n))
        for n, rows in (("few", ROWS[::3]), ("all", ROWS))
    )
    both = few.merge(all_rows, on=["domain", "user", "item"])
    assert len(both) == len(few) and (both["split_x"] == both["split_y"]).all()
    assert set(few["split"]) == {0, 1, 2}
    shares = all_rows["split"].value_counts(normalize=True)
    assert abs(shares[0] - 0.8) < 0.05 and abs(shares[2] - 0.1) < 0.04


def test_repeated_interactions_fall_together(make, write) -> None:
    twice = [*ROWS, *(row.rsplit(",", 1)[0] + ",99" for row in ROWS)]
    rows = stored(make("tabular", {**OPTIONS, "files": write("log.csv", ["domain,user,item,label,time", *twice])}))
    assert len(rows) == 2 * len(ROWS)
    assert (rows.groupby(["domain", "user", "item"])["split"].nunique() == 1).all()


def test_leave_one_out_takes_the_last_two(make, write) -> None:
    lone = ["x,lone,i1,1,5", "x,lone,i2,1,6"]
    log = write("log.csv", ["domain,user,item,label,time", *ROWS, *lone])
    rows = stored(make("tabular", {**OPTIONS, "files": log}, split={"kind": "leave_one_out"}))
    for (_, user), group in rows.groupby(["domain", "user"]):
        if user == "lone":
            assert set(group["split"]) == {0}
            continue
        assert (group["split"] == 2).sum() == 1 and (group["split"] == 1).sum() == 1
        time = {s: group.loc[group["split"] == i, "timestamp"] for i, s in enumerate(SPLITS)}
        assert time["train"].max() <= time["valid"].min() <= time["test"].min()


def two_eras(make, write, cut: str, valid: float = 0.1) -> pd.DataFrame:
    """An old domain (times 0 to 99), a new one (60 to 159), and one with a row at each third time."""
    lines = [f"old,u{t % 7},i{t % 5},1,{t}" for t in range(100)] + [f"new,u{t % 7},i{t % 5},1,{t + 60}" for t in range(100)]
    lines += [f"sparse,u{t % 7},i{t % 5},1,{t}" for t in range(0, 160, 3)]
    log = write(f"{cut}.csv", ["domain,user,item,label,time", *random.Random(2).sample(lines, len(lines))])
    split = {"kind": "time", "valid": valid, "test": 0.2, "cut": cut}
    return stored(make("tabular", {**OPTIONS, "files": log}, out=cut, split=split))


def test_one_cut_in_time_serves_all_domains(make, write) -> None:
    """Nothing of any domain trains that is later than a row that validates or tests in another one."""
    rows = two_eras(make, write, "all")
    train, valid, test = (rows.loc[rows["split"] == s, "timestamp"] for s in range(3))
    assert train.max() < valid.min() and valid.max() < test.min()
    assert len(train) / len(rows) == pytest.approx(0.7, abs=0.02) and len(test) / len(rows) == pytest.approx(0.2, abs=0.02)
    assert set(rows.loc[rows["domain"] == "old", "split"]) == {0}, "it had ended by then"


def test_each_domain_may_be_cut_at_its_own_times(make, write) -> None:
    rows = two_eras(make, write, "each")
    for domain, first in (("old", 0), ("new", 60)):
        of = rows[rows["domain"] == domain].sort_values("timestamp")
        assert of["split"].tolist() == [0] * 70 + [1] * 10 + [2] * 20 and of["timestamp"].nunique() == 100, first
    train, test = (rows.loc[rows["split"] == s, "timestamp"] for s in (0, 2))
    assert train.max() > test.min()


def test_rows_of_one_instant_stand_on_one_side(make, write) -> None:
    """Half of the log has the time at which it would be cut."""
    lines = [f"{'xy'[t % 2]},u{t % 9},i{t % 8},1,{min(max(t, 40), 90)}" for t in range(120)]
    log = write("log.csv", ["domain,user,item,label,time", *lines])
    for cut in ("all", "each"):
        rows = stored(make("tabular", {**OPTIONS, "files": log}, out=cut, split={"kind": "time", "test": 0.2, "cut": cut}))
        groups = ["timestamp"] if cut == "all" else ["domain", "timestamp"]
        assert (rows.groupby(groups)["split"].nunique() == 1).all()


def test_ids_and_statistics_come_from_training_alone(make, write) -> None:
    """A planted user, item, value and number that only the test split has must leave no trace in what a model knows."""
    head = "domain,user,item,label,colour,age,height"
    train = [f"x,u{n % 5},i{n % 4},{n % 2},red,{n % 5},{n % 5}" for n in range(20)]
    clean, planted = (
        make(
            "tabular",
            {
                "train": write(f"{n}-train.csv", [head, *train]),
                "valid": write(f"{n}-valid.csv", [head, "x,u1,i1,1,red,1,1"]),
                "test": write(f"{n}-test.csv", [head, "x,u2,i2,1,red,2,2", *extra]),
                "features": {
                    "colour": {"role": "context"},
                    "age": {"role": "context", "kind": "numerical"},
                    "height": {"role": "user", "kind": "numerical"},
                },
            },
            out=n,
            split={"kind": "given"},
        )
        for n, extra in (("clean", []), ("planted", ["x,spy,leak,1,blue,1000000,1000000"]))
    )
    assert clean.schema.fields == planted.schema.fields
    for name in ("user", "item", "colour"):
        assert planted.vocabulary(name).equals(clean.vocabulary(name))
    test = planted.load(ALL_DOMAINS, "test")
    row = int(np.argmax(test.columns["age"]))
    assert [int(test.columns[name][row]) for name in ("user", "item", "colour")] == [0, 0, 0]


def test_features_of_users_outside_training_are_kept(make, write) -> None:
    head = "domain,user,item,label,job"
    files = {"train": [head, "x,a,1,1,cook", "x,b,1,0,pilot"], "valid": [head, "x,a,1,1,cook"], "test": [head, "x,new,1,1,pilot"]}
    options = {**{s: write(f"{s}.csv", rows) for s, rows in files.items()}, "features": {"job": {"role": "user"}}}
    store = make("tabular", options, split={"kind": "given"})
    test = store.load("x", "test")
    jobs = ["", *store.vocabulary("job")["raw"].to_pylist()]
    assert test.columns["user"].tolist() == [0] and jobs[test.columns["job"][0]] == "pilot"
    assert store.encode({"domain": ["x"], "user": ["new"], "item": ["1"]})["job"].tolist() == test.columns["job"].tolist()


_TIMED, _SPLIT = {"timestamp": "time"}, {"split": "split"}
_HISTORIES = {"length": 5, "negatives": 2}
_COLD = {**_HISTORIES, "tasks": ["few"], "events": 4, "folds": 2, "valid": 0.3}


@pytest.mark.parametrize(
    ("columns", "wrong", "text", "remedies"),
    [
        ({}, {"split": {"kind": "time"}}, "gives neither; choose hash", [({}, {"split": {"kind": "hash"}})]),
        ({}, {"split": {"kind": "given"}}, "has no split; name its train, valid and test files, or choose hash",
         [({}, {"split": {"kind": "hash"}}), (None, {"split": {"kind": "given"}})]),
        (_SPLIT, {"split": {"kind": "hash"}}, "set data.split.kind = 'given'", [(_SPLIT, {"split": {"kind": "given"}})]),
        (_SPLIT | _TIMED, {"split": {"kind": "leave_one_out"}, "sequences": _HISTORIES}, "leave out columns.split, or name",
         [(_TIMED, {"split": {"kind": "leave_one_out"}, "sequences": _HISTORIES})]),
        ({}, {"split": {"kind": "leave_one_out"}, "sequences": _HISTORIES}, "map timestamp or position in data.options.columns",
         [({name: "time"}, {"split": {"kind": "leave_one_out"}, "sequences": _HISTORIES}) for name in ("timestamp", "position")]),
        (_TIMED, {"split": {"kind": "cold_users", "cold": 0.0001}, "sequences": _COLD}, "raise data.split.cold",
         [(_TIMED, {"split": {"kind": "cold_users", "cold": 0.5}, "sequences": _COLD})]),
        (_TIMED, {"split": {"kind": "cold_users", "cold": 0.9999}, "sequences": _COLD}, "lower data.split.cold",
         [(_TIMED, {"split": {"kind": "cold_users", "cold": 0.5}, "sequences": _COLD})]),
        (_TIMED, {"split": {"kind": "cold_users", "cold_below": 1}, "sequences": _COLD}, "raise data.split.cold_below",
         [(_TIMED, {"split": {"kind": "cold_users", "cold_below": 13}, "sequences": _COLD})]),
        (_TIMED, {"split": {"kind": "cold_users", "cold_below": 99}, "sequences": _COLD}, "lower data.split.cold_below",
         [(_TIMED, {"split": {"kind": "cold_users", "cold_below": 13}, "sequences": _COLD})]),
        (_TIMED, {"split": {"kind": "cold_items", "cold": 0.01}, "sequences": _HISTORIES}, "lower cold_least, or raise cold",
         [(_TIMED, {"split": {"kind": "cold_items", "cold": 0.5, "cold_least": 20}, "sequences": _HISTORIES})]),
    ],
)  # fmt: skip
def test_a_split_that_the_data_do_not_allow_is_refused_and_the_one_that_is_named_is_made(
    columns: dict, wrong: dict, text: str, remedies: list, make, write
) -> None:
    """Remedies are (columns, data options), None for files of the splits' own."""
    head = "domain,user,item,label,time,split"
    of = {s: [f"x,{s[0]}{u},i{i},1,{12 * u + i},{s}" for u in range(20) for i in range(12 + u % 3)] for s in SPLITS}
    files = {"files": write("log.csv", [head, *(row for rows in of.values() for row in rows)])}
    named = {s: write(f"{s}.csv", [head, *rows]) for s, rows in of.items()}
    plain = {"domain": "domain", "user": "user", "item": "item", "label": "label"}
    with pytest.raises(DataError, match=text):
        make("tabular", {**files, "columns": plain | columns}, **wrong)
    for n, (mapped, data) in enumerate(remedies):
        options = named if mapped is None else {**files, "columns": plain | mapped}
        rows = make("tabular", options, f"mended{n}", **data).schema.rows
        assert all(any(count for (_, split), count in rows.items() if split == s) for s in SPLITS)
