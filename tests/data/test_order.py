"""Rows of one time: in no order that an id, a file or the popularity of an item could have made."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from raytune_rec.data.preparing.order import in_time
from raytune_rec.data.stored.store import Store
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import SPLITS
from raytune_rec.stages.notes import notes

USERS, TAKEN, ITEMS = 400, 8, 120
HEAD = "domain,user,item,timestamp"
COLUMNS = {"domain": "domain", "user": "user", "item": "item", "timestamp": "timestamp"}
LAST = {"split": {"kind": "leave_one_out"}, "sequences": {"length": 8, "negatives": 5}}
COLD = {"split": {"kind": "cold_users", "cold": 0.4}, "sequences": {"length": 8, "negatives": 5, "tasks": ["few"], "folds": 2}}


def one_time() -> list[str]:
    """Each user takes other items at a single instant; the items of even number ten times as often as the odd ones."""
    draw = random.Random(3)
    weight = [10 if i % 2 == 0 else 1 for i in range(ITEMS)]
    rows = []
    for u in range(USERS):
        mine = sorted(range(ITEMS), key=lambda i: draw.random() ** (1 / weight[i]))[-TAKEN:]
        rows += [f"x,u{u},{i},1600000000" for i in mine]
    return rows


def options(data: dict = LAST) -> DataOptions:
    return DataOptions(source="tabular", **data)


@pytest.fixture
def store(write, make):
    def made(rows: Sequence[str], data: dict = LAST, out: str = "store", head: str = HEAD, **further: str) -> Store:
        options = {"files": write(f"{out}.csv", [head, *rows]), "columns": COLUMNS | further}
        return make("tabular", options, out=out, **data)

    return made


def histories(own: Store) -> dict[tuple[str, str], list[str]]:
    """(domain, user) -> raw items, oldest first."""
    rows = pq.read_table(own.path / "sequences/users.parquet").to_pydict()
    users, items = (pq.read_table(own.path / f"{name}.parquet")["raw"].to_pylist() for name in ("users", "items"))
    return {
        (own.schema.domains[d - 1], users[u]): [items[i].partition("/")[2] for i in mine]
        for d, u, mine in zip(rows["domain"], rows["user"], rows["items"], strict=True)
    }


@pytest.mark.parametrize("data", [LAST, COLD], ids=["leave_one_out", "cold_users"])
def test_items_of_one_time_stand_in_no_pattern(store, data: dict) -> None:
    """Neither by number nor as text, nor the popular ones before or behind the others."""
    mine = [m for m in histories(store(one_time(), data)).values() if len(m) > 3]
    steps = [(a, b) for m in mine for a, b in pairwise(m)]
    assert abs(np.mean([int(b) > int(a) for a, b in steps]) - 0.5) < 0.05
    assert abs(np.mean([b > a for a, b in steps]) - 0.5) < 0.05
    assert abs(np.mean([int(m[-1]) == max(map(int, m)) for m in mine]) - 1 / TAKEN) < 0.05
    popular = [[int(i) % 2 == 0 for i in m] for m in mine]
    assert abs(np.mean([p[-1] for p in popular]) - np.mean([p[0] for p in popular])) < 0.08


def test_the_order_of_a_file_and_another_domain_change_nothing_and_another_seed_does(store) -> None:
    rows = one_time()
    shuffled = random.Random(1).sample(rows, len(rows))
    first, again = histories(store(rows)), histories(store(shuffled, out="b"))
    assert again == first
    more = histories(store([*shuffled, *(row.replace("x,", "y,", 1) for row in rows)], out="c"))
    assert {key: mine for key, mine in more.items() if key[0] == "x"} == first
    assert sum(more["y", user] != mine for (_, user), mine in first.items()) > 0.9 * len(first)
    other = histories(store(rows, {**LAST, "split": {"kind": "leave_one_out", "seed": 5}}, "d"))
    assert sum(other[key] != mine for key, mine in first.items()) > 0.9 * len(first)


def test_two_users_who_took_the_same_at_one_time_took_it_in_different_orders(store) -> None:
    found = histories(store([f"x,u{u},{i},5" for u in range(200) for i in range(6)]))
    assert len({tuple(mine) for mine in found.values()}) > 150
    last = np.bincount([int(mine[-1]) for mine in found.values()], minlength=6)
    assert last.min() > 15, "each of six items is the last of about a sixth of the users"


def test_a_position_orders_what_the_time_does_not(store) -> None:
    """Times have whole days, and the log says which came first within one."""
    days = [f"x,u{u},{i},{k // 3},{k % 3}" for u in range(40) for k, i in enumerate(random.Random(u).sample(range(60), 9))]
    own = store(random.Random(0).sample(days, len(days)), head=f"{HEAD},nth", position="nth")
    for (_, user), mine in histories(own).items():
        asked = random.Random(int(user[1:])).sample(range(60), 9)
        assert [int(i) for i in mine] == [i for i in asked if str(i) in mine]
    assert not any("equal times" in line for line in notes(json.loads((own.path / "summary.json").read_text()), options()))


def test_the_share_of_tied_rows_is_told(store, make, write) -> None:
    """Of each user two rows share a time: the last two, for one user in four."""
    rows = [f"x,u{u},{u % 5 + k},{min(k, 5) if u % 4 == 0 else max(k, 1)}" for u in range(40) for k in range(7)]
    own = store(rows)
    summary = json.loads((own.path / "summary.json").read_text())
    assert summary["domains"]["x"]["tied"] == {"rows": 80, "valid": 10, "test": 10}
    (said,) = [line for line in notes(summary, options()) if line.startswith("equal times")]
    assert "28.6 % of the rows" in said and "25 % of those of valid, 25 % of those of test" in said
    labelled = write("rows.csv", [f"{HEAD},label", *(f"{row},1" for row in rows)])
    alone = make("tabular", {"files": labelled, "columns": {**COLUMNS, "label": "label"}}, "rows", split=LAST["split"])
    assert json.loads((alone.path / "summary.json").read_text())["domains"]["x"]["tied"] == summary["domains"]["x"]["tied"]


def test_rows_alike_in_all_stay_as_they_come() -> None:
    key, time = np.array([2, 1, 2, 1, 2]), np.array([5, 5, 5, 5, 4])
    assert in_time(key, [time], np.full(5, 9, np.uint64)).tolist() == [1, 3, 4, 0, 2]


def test_the_split_and_the_history_agree_on_drawn_orders(store) -> None:
    own = store(one_time())
    rows = pq.read_table(own.path / "interactions", columns=["user", "item", "split"]).to_pydict()
    users = pq.read_table(own.path / "sequences/users.parquet").to_pydict()
    split = {(u, i): s for u, i, s in zip(rows["user"], rows["item"], rows["split"], strict=True)}
    for u, mine, *counts in zip(*(users[name] for name in ("user", "items", *SPLITS)), strict=True):
        assert [split[u, i] for i in mine] == [s for s, n in enumerate(counts) for _ in range(n)]
