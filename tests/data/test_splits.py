"""Who trains and who tests: by nothing but the row itself, and without a leak."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from raytune_rec.data.splits import row_hash
from raytune_rec.data.vocabulary import text_hash
from raytune_rec.errors import DataError
from raytune_rec.schema import ALL_DOMAINS, SPLITS

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


def test_time_split_cuts_each_domain_by_time(make, write) -> None:
    log = write("log.csv", ["domain,user,item,label,time", *(f"x,u{t % 7},i{t % 5},1,{t}" for t in range(100)), "y,u1,i1,1,3"])
    rows = stored(make("tabular", {**OPTIONS, "files": log}, split={"kind": "time", "valid": 0.1, "test": 0.2}))
    x = rows[rows["domain"] == "x"]
    assert [sorted(x.loc[x["split"] == s, "timestamp"] // 10**9) for s in range(3)] == [  # nanoseconds -> seconds
        list(range(70)),
        list(range(70, 80)),
        list(range(80, 100)),
    ]


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


def test_split_without_what_it_needs_is_refused(make, write) -> None:
    log = write("log.csv", ["domain,user,item,label", "x,a,1,1"])
    for kind, text in (("time", "needs a timestamp or a position"), ("given", "the source has no split")):
        with pytest.raises(DataError, match=text):
            make("tabular", {"files": log}, out=kind, split={"kind": kind})
    with pytest.raises(DataError, match="leave nothing to train on"):
        make("tabular", {"files": log}, out="all", split={"valid": 0.5, "test": 0.5})
