"""Cold items: which rows of theirs train, validate and test, and that nothing else knows of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from raytune_rec.config import parse
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError, JobError
from raytune_rec.schema.prepared import ALL_DOMAINS
from raytune_rec.stages.notes import notes
from raytune_rec.storage.files import read_json

KEPT, HELD, LEAST = 3, 6, 20
DATA: dict[str, Any] = {
    "split": {"kind": "cold_items", "cold": 0.3, "cold_least": LEAST, "cold_kept": KEPT, "cold_held": HELD},
    "sequences": {"length": 5, "negatives": 8},
}
JOB: dict[str, Any] = {"name": "a", "backbone": {"name": "sasrec"}, "methods": {}, "training": {"metric": "ndcg@10"}}
USERS, ITEMS = 60, 40


def log(domains: tuple[str, ...] = ("x",)) -> list[tuple[str, str, str, int]]:
    """Each user takes some items, none twice in a domain, no two at one time; the first items are the most popular."""
    draw, rows = np.random.default_rng(5), []
    for domain in domains:
        for user in range(USERS):
            weights = 1 / np.arange(2.0, ITEMS + 2)
            rows += [(domain, f"u{user}", f"i{i}") for i in draw.choice(ITEMS, 14, replace=False, p=weights / weights.sum())]
    times = draw.permutation(len(rows)) + 1000
    return [(*row, int(time)) for row, time in zip(rows, times, strict=True)]


@pytest.fixture
def store(write: Callable[..., str], make: Callable[..., Store]) -> Callable[..., Store]:
    def made(rows: list[tuple[str, str, str, int]], shared: bool = False, out: str = "store", **data: Any) -> Store:
        lines = ["domain,user,item,label,timestamp", *(f"{d},{u},{i},1,{t}" for d, u, i, t in rows)]
        columns = {name: name for name in ("domain", "user", "item", "label", "timestamp")}
        options = {"files": write(f"{out}.csv", lines), "columns": columns, "shared_items": shared}
        return make("tabular", options, out=out, **{**DATA, **data})

    return made


def names(own: Store, field: str) -> np.ndarray:
    return own.lookup.catalogue[0] if field == "item" else np.array(["", *own.vocabulary(field)["raw"].to_pylist()])


def cold(own: Store) -> dict[str, list[str]]:
    """Unit -> the raw ids of its items."""
    return {unit.name: names(own, "item")[list(unit.members)].tolist() for unit in own.schema.units}


def test_of_a_cold_item_the_first_rows_train_and_of_the_next_the_earlier_half_validates(store: Callable[..., Store]) -> None:
    rows = log()
    own = store(rows)
    of_item = defaultdict(list)
    for _, user, item, time in sorted(rows, key=lambda row: row[3]):
        of_item[item].append((user, time))
    (members,) = cold(own).values()
    assert 3 <= len(members) < ITEMS / 2 and all(len(of_item[item]) >= LEAST for item in members)
    user, item = names(own, "user"), names(own, "item")
    (unit,) = own.schema.units
    for split, (first, last) in {
        "train": (0, KEPT),
        "valid": (KEPT, KEPT + HELD // 2),
        "test": (KEPT + HELD // 2, KEPT + HELD),
    }.items():
        table = own.load(unit, split)  # type: ignore[arg-type]
        columns = table.columns
        positive = columns["target"].max(1) if split == "train" else columns["candidates"][:, 0]
        found = sorted(zip(item[positive], user[columns["user"]], strict=True))
        assert found == sorted((name, who) for name in members for who, _ in of_item[name][first:last])
        assert own.schema.rows[unit.name, split] == len(table)  # type: ignore[index]


def test_a_row_knows_what_its_user_took_before_and_no_row_of_a_cold_item_that_does_not_train(store: Callable[..., Store]) -> None:
    rows = log()
    own = store(rows)
    (members,) = cold(own).values()
    of_item, of_user = defaultdict(list), defaultdict(list)
    for _, user, item, _ in sorted(rows, key=lambda row: row[3]):
        of_item[item].append(user)
        of_user[user].append(item)
    trains = {(user, item) for item in of_item for user in of_item[item][: KEPT if item in members else None]}
    user, item = names(own, "user"), names(own, "item")
    (unit,) = own.schema.units
    for split in ("train", "valid", "test"):
        columns = own.load(unit, split).columns  # type: ignore[arg-type]
        positive = columns["target"].max(1) if split == "train" else columns["candidates"][:, 0]
        for row, (who, what) in enumerate(zip(user[columns["user"]], item[positive], strict=True)):
            before = of_user[who][: of_user[who].index(what)]
            shown = [i for i in item[columns["history"][row]] if i]
            assert shown == [i for i in before if (who, i) in trains][-5:]
            if split == "train":
                assert columns["target"][row].nonzero()[0].tolist() == [len(shown)]
            else:
                assert not set(item[columns["candidates"][row, 1:]]) & set(of_user[who])
    whole = own.load(ALL_DOMAINS, "train").columns
    assert all((who, i) in trains for who, row in zip(user[whole["user"]], item[whole["history"]], strict=True) for i in row if i)
    last = own.load(ALL_DOMAINS, "valid").columns
    assert not set(item[last["candidates"][:, 0]]) & set(members) and len(last["user"]) == USERS
    counts = {name: sum((who, name) in trains for who in of_user) for name in members}
    assert dict.fromkeys(members, KEPT) == counts
    assert own.items().count[list(unit.members)].tolist() == [KEPT] * len(members)


def test_all_items_are_ranked_but_those_that_the_user_took(store: Callable[..., Store]) -> None:
    own = store(log())
    (unit,) = own.schema.units
    table = own.tests()["cold items"][unit.name]
    for positive, seen, candidates in zip(*(table.columns[c] for c in ("positive", "seen", "candidates")), strict=True):
        assert positive == candidates[0] and positive not in seen and not set(seen) & set(candidates)


@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
def test_each_domain_has_groups_of_its_own(store: Callable[..., Store], shared: bool) -> None:
    rows = log(("x", "y"))
    sequences = {**DATA["sequences"], "item_groups": 2, "grouped_by": "arrival"}
    own = store(rows, shared, sequences=sequences)
    groups = cold(own)
    assert list(groups) == ["x.cold.1", "x.cold.2", "y.cold.1", "y.cold.2"]
    assert {unit.domain for unit in own.schema.units} == {"x", "y"} and all(unit.kind == "items" for unit in own.schema.units)
    assert set(own.tests()["cold items"]) == set(groups)
    for domain in ("x", "y"):
        first, second = (groups[f"{domain}.cold.{n}"] for n in (1, 2))
        assert first and second and not set(first) & set(second) and abs(len(first) - len(second)) <= 1
        arrived = {item: min(t for d, _, name, t in rows if d == domain and name == item) for item in first + second}
        assert shared or max(arrived[item] for item in first) < min(arrived[item] for item in second)
    by_hash = cold(store(rows, shared, "hash", sequences={**sequences, "grouped_by": "hash"}))
    assert by_hash != groups and {i for g in by_hash.values() for i in g} == {i for g in groups.values() for i in g}


def test_what_was_taken_before_is_ranked_only_where_repeats_count(store: Callable[..., Store]) -> None:
    rows = log()
    own = store(rows)
    (members,) = cold(own).values()
    item = members[0]
    held = sorted((time, user) for _, user, name, time in rows if name == item)[KEPT:]
    again = [*rows, ("x", held[0][1], item, held[0][0] - 1)]  # he took it twice, in a row
    assert len(cold(store(again, out="again"))["cold.1"]) == len(members)
    counts = {
        how: sum(
            store(again, out=how, sequences={**DATA["sequences"], "repeats": how}).schema.rows["cold.1", s]
            for s in ("valid", "test")
        )
        for how in ("leave_out", "count")
    }
    assert counts["count"] == counts["leave_out"] + 1


def test_where_domains_share_items_what_was_taken_in_another_is_not_ranked(store: Callable[..., Store]) -> None:
    """As with all other rows: no recommendation could ever name it."""
    rows = log(("x", "y"))
    own = store(rows, shared=True)
    taken = defaultdict(set)
    for domain, who, what, _ in rows:
        taken[who, what].add(domain)
    user, item, met = names(own, "user"), names(own, "item"), 0
    for unit in own.schema.units:
        for split in ("valid", "test"):
            columns = own.load(unit, split).columns  # type: ignore[arg-type]
            ranked = [(user[u], item[c[0]]) for u, c in zip(columns["user"], columns["candidates"], strict=True)]
            assert [(pair, unit.domain, taken[pair]) for pair in ranked if taken[pair] != {unit.domain}] == []
            met += len(ranked)
    counted = store(rows, shared=True, out="count", sequences={**DATA["sequences"], "repeats": "count"})
    assert 0 < met < sum(counted.schema.rows[unit.name, split] for unit in counted.schema.units for split in ("valid", "test"))  # type: ignore[index]


def test_rows_behind_those_that_test_are_counted(store: Callable[..., Store]) -> None:
    rows = log()
    own = store(rows)
    (members,) = cold(own).values()
    behind = sum(max(0, sum(name == item for _, _, name, _ in rows) - KEPT - HELD) for item in members)
    summary = read_json(own.path / "summary.json")
    assert summary["domains"]["x"]["left_out_of_cold_items"] == behind > 0
    job = parse({**JOB, "data": {"source": "tabular", "options": {"files": "a"}, **DATA}})
    assert f"x: rows of cold items behind those that test (data.split.cold_held), used nowhere: {behind}" in notes(
        summary, job.data
    )


def test_an_item_with_few_rows_is_never_cold_and_where_none_is_the_job_is_refused(store: Callable[..., Store]) -> None:
    split = {**DATA["split"], "cold_least": 500}
    with pytest.raises(DataError, match=r"no item is cold: .*cold_least = 500 rows; lower cold_least, or raise cold\."):
        store(log(), split=split)
    assert cold(store(log(), out="mended", split={**split, "cold_least": LEAST}))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"split": {**DATA["split"], "cold_kept": 19}}, r"cold_least = 20 is too small for cold_kept = 19.*set cold_least to 21"),
        ({"split": DATA["split"], "sequences": None}, r"'cold_items' is of histories; set data\.sequences"),
        ({"split": {"kind": "leave_one_out"}, "sequences": {"item_groups": 2}}, r"item_groups = 2 is of cold items"),
        (
            {"split": {"kind": "leave_one_out"}, "sequences": {"grouped_by": "arrival"}},
            r"'arrival' is of cold items",
        ),
        ({"split": DATA["split"], "sequences": {"tasks": ["few"]}}, r"of cold users, and split\.kind = 'cold_items'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(data: dict[str, Any], says: str) -> None:
    with pytest.raises(JobError, match=says):
        parse({**JOB, "data": {"source": "tabular", "options": {"files": "a"}, **{k: v for k, v in data.items() if v}}})
