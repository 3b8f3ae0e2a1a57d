"""Cold items: which rows of theirs train, validate and test, and that nothing else knows of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest

from raytune_rec.config import parse
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError, JobError
from raytune_rec.schema.prepared import ALL_DOMAINS, Table
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


def kept(count: int, begin: int = 0) -> dict[str, Any]:
    return {**DATA["split"], "cold_kept": count, "cold_from": begin}


def expected(
    rows: list[tuple[str, str, str, int]], members: list[str], count: int = KEPT, begin: int = KEPT
) -> dict[tuple[str, str], str]:
    """(user, item) -> which split it stands in, of one domain; an empty text for what stands in none."""
    split, of_item, of_user = {}, defaultdict(list), defaultdict(list)
    for _, user, item, _ in sorted(rows, key=lambda row: row[3]):
        of_item[item].append(user)
        if item not in members:
            of_user[user].append(item)
    for user, items in of_user.items():
        ends = ["valid", "test"] if len(items) > 2 else []
        split |= {(user, item): how for item, how in zip(items, ["train"] * (len(items) - len(ends)) + ends, strict=True)}
    for item in members:
        halves = ["train"] * count + [""] * (begin - count) + ["valid"] * (HELD // 2) + ["test"] * (HELD - HELD // 2)
        split |= {(user, item): how for user, how in zip_longest(of_item[item], halves, fillvalue="")}
    return split


def positives(table: Table) -> np.ndarray:
    columns = table.columns
    return columns["target"].max(1) if "target" in columns else columns["candidates"][:, 0]


PROTOCOLS = {"kept": (KEPT, 0), "none": (0, 0), "none, later": (0, KEPT + 4), "kept, later": (KEPT, KEPT + 4)}
"""Rows of a cold item that train, and from which on they validate; 0: from the next."""
protocols = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)


def test_with_few_training_rows_items_are_cold_and_the_last_row_of_each_user_tests(store: Callable[..., Store]) -> None:
    """Held to a plain count; no row that tests or validates stands in a history."""
    rows = log()
    own = store(rows, split={"kind": "cold_items", "cold_most": 16})
    user, item = names(own, "user"), names(own, "item")
    of_user = defaultdict(list)
    for _, who, what, _ in sorted(rows, key=lambda row: row[3]):
        of_user[who].append(what)
    trained = Counter(what for taken in of_user.values() for what in taken[:-2])
    members = {what for what, times in trained.items() if times <= 16}
    assert set(cold(own)["cold.1"]) == members and 5 < len(members) < ITEMS - 5
    tests = {name: units["cold.1"] for name, units in own.tests().items()}
    for name, chosen in (("cold items", True), ("warm items", False)):
        table = tests[name]
        found = set(zip(user[table.columns["user"]].tolist(), item[positives(table)].tolist(), strict=True))
        last = {(who, taken[-1]) for who, taken in of_user.items() if trained[taken[-1]]}
        assert found == {pair for pair in last if (pair[1] in members) == chosen} and found
        for who, past in zip(user[table.columns["user"]].tolist(), table.columns["history"], strict=True):
            assert item[past[past > 0]].tolist() == of_user[who][:-2][-5:]
    train = own.load(own.schema.units[0], "train")
    found = Counter(zip(user[train.columns["user"]].tolist(), item[positives(train)].tolist(), strict=True))
    assert found == Counter((who, what) for who, taken in of_user.items() for what in taken[:-2] if what in members)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (
            {"kind": "leave_one_out", "cold_most": 5},
            r"cold_most = 5 is of cold items, and kind = 'leave_one_out'; set it to 'cold_",
        ),
        ({"kind": "cold_items", "cold_most": 5, "cold_kept": 3}, r"cold_kept would have no effect; leave them out, or cold_most"),
    ],
)
def test_few_training_rows_are_asked_of_cold_items_alone(split: dict[str, Any], said: str) -> None:
    with pytest.raises(JobError, match=said):
        parse({**JOB, "data": {**DATA, "source": "tabular", "split": split}})


def test_where_no_item_has_few_training_rows_the_fewest_are_told_and_make_it_cold(store: Callable[..., Store]) -> None:
    with pytest.raises(
        DataError, match=r"none has data\.split\.cold_most = 1 training rows or fewer; the item with fewest has \d"
    ) as error:
        store(log(), split={"kind": "cold_items", "cold_most": 1})
    of_user = defaultdict(list)
    for _, who, what, _ in sorted(log(), key=lambda row: row[3]):
        of_user[who].append(what)
    times = Counter(what for taken in of_user.values() for what in taken[:-2])
    least = min(times.values())
    assert f"the item with fewest has {least}; set it to {least} or more" in str(error.value)
    own = store(
        log(), split={"kind": "cold_items", "cold_most": least}, sequences={**DATA["sequences"], "item_groups": 1}, out="mended"
    )
    assert set(cold(own)["cold.1"]) == {what for what, n in times.items() if n == least}


@protocols
@pytest.mark.parametrize("tied", [False, True], ids=["clocks", "ties"])
def test_of_a_cold_item_the_first_rows_train_and_of_the_next_the_earlier_half_validates(
    store: Callable[..., Store], tied: bool, protocol: tuple[int, int]
) -> None:
    """With them as many last rows of users with warm items validate, and all of them test, in a table of their own."""
    rows = log()
    if tied:  # each user's rows of warm items have one time; whose is last, a hash says
        rows = [(domain, user, item, 5000 if int(item[1:]) % 2 else time) for domain, user, item, time in rows]
    own = store(rows, split=kept(*protocol))
    (members,) = cold(own).values()
    if tied:
        members = [item for item in members if not int(item[1:]) % 2]
    assert 2 <= len(members) < ITEMS / 2 and all(sum(item == row[2] for row in rows) >= LEAST for item in members)
    user, item = names(own, "user"), names(own, "item")
    (unit,) = own.schema.units
    tests = own.tests()
    assert set(tests) == {"cold items", "warm items", "all items", "cold items among cold", "warm items among warm"}
    both = [len(tests[name][unit.name]) for name in ("cold items", "warm items")]
    assert len(tests["all items"][unit.name]) == sum(both)
    for name in ("cold", "warm"):
        among, every = tests[f"{name} items among {name}"][unit.name], tests[f"{name} items"][unit.name]
        np.testing.assert_array_equal(among.columns["positive"], every.columns["positive"])
        assert "candidates" not in among.columns and among.item_domains is not None
        ranked = set(item[among.item_domains == among.columns["domain"][0]].tolist()) - {""}
        assert ranked == {i for i in item.tolist() if i and (i in cold(own)["cold.1"]) == (name == "cold")}
    tests = {name: tests[name] for name in ("cold items", "warm items")}
    split = expected(rows, [*cold(own)["cold.1"]], protocol[0], max(protocol))
    tables = {"train": own.load(unit, "train"), "valid": own.load(unit, "valid")}
    tables |= {name: by_unit[unit.name] for name, by_unit in tests.items()}
    for name, table in tables.items():
        found = Counter(zip(user[table.columns["user"]].tolist(), item[positives(table)].tolist(), strict=True))
        assert max(found.values(), default=1) == 1
        of_cold = {pair for pair in found if pair[1] in members}
        if name != "warm items":
            how = "test" if name == "cold items" else name
            assert of_cold == {pair for pair, where in split.items() if where == how and pair[1] in members}
        warm = {pair for pair in found if pair[1] not in cold(own)["cold.1"]}
        if name in ("train", "cold items"):
            assert not warm
        elif name == "valid":
            assert len(warm) == len(found) - len(warm)
        else:
            assert not of_cold and len(warm) == USERS
        if not tied:
            assert all(split[pair] == ("test" if "items" in name else name) for pair in found)
    assert own.schema.rows[unit.name, "valid"] == len(tables["valid"])
    assert own.schema.rows[unit.name, "train"] == len(tables["train"])
    assert own.schema.rows[unit.name, "test"] == len(tables["cold items"]) + len(tables["warm items"])


@protocols
def test_a_history_holds_what_trains_and_stands_in_front_of_its_row(
    store: Callable[..., Store], protocol: tuple[int, int]
) -> None:
    """So no row that is held out is learnt from, by any way, although items that train stand behind it."""
    late = cold(store(log(), out="first"))["cold.1"][0]
    rows = [(domain, user, item, time + 10**6 * (item == late)) for domain, user, item, time in log()]
    own = store(rows, sequences={**DATA["sequences"], "windows": "all"}, split=kept(*protocol))
    (members,) = cold(own).values()
    split, of_user = expected(rows, members, protocol[0], max(protocol)), defaultdict(list)
    for _, who, what, _ in sorted(rows, key=lambda row: row[3]):
        of_user[who].append(what)
    behind = [who for who, items in of_user.items() if "train" in [split[who, i] for i in items[items.index(last(split, who)) :]]]
    assert behind or not protocol[0], "the log has users whose held-out row is followed by one that trains"
    user, item = names(own, "user"), names(own, "item")
    (unit,) = own.schema.units
    tests = own.tests()
    tables = [own.load(unit, "train"), own.load(unit, "valid"), own.load(ALL_DOMAINS, "valid")]
    for table in [*tables, tests["cold items"][unit.name], tests["warm items"][unit.name]]:
        columns = table.columns
        for row, (who, what) in enumerate(zip(user[columns["user"]], item[positives(table)], strict=True)):
            before = of_user[who][: of_user[who].index(what)]
            shown = [i for i in item[columns["history"][row]] if i]
            assert shown == [i for i in before if split[who, i] == "train"][-5:]
            if "target" in columns:
                assert columns["target"][row].nonzero()[0].tolist() == [len(shown)]
            else:
                assert not set(item[columns["candidates"][row, 1:]]) & set(of_user[who])
    trained = defaultdict(list)
    windows = own.load(ALL_DOMAINS, "train").columns
    for who, first, target in zip(user[windows["user"]], windows["history"][:, 0], windows["target"], strict=True):
        trained[who].append([item[first], *item[target[target > 0]]])
    for who, items in of_user.items():
        of_who = [i for i in items if split[who, i] == "train"]
        assert {i for window in trained[who] for i in window} == set(of_who)
        assert all(window == of_who[of_who.index(window[0]) :][: len(window)] for window in trained[who])
    last_rows = own.load(ALL_DOMAINS, "valid")
    assert not set(item[positives(last_rows)]) & set(members) and len(last_rows) == USERS
    told = own.items(feedback=True)
    assert told.feedback is not None and told.count[list(unit.members)].tolist() == [protocol[0]] * len(members)
    for number, what in zip(unit.members, members, strict=True):
        took = user[told.feedback.user[told.feedback.start[number] : told.feedback.start[number + 1]]].tolist()
        assert took == [w for _, w, i, _ in sorted(rows, key=lambda r: r[3]) if i == what and split[w, i] == "train"]


def last(split: dict[tuple[str, str], str], who: str) -> str:
    """His warm item that validates."""
    return next(what for (user, what), how in split.items() if user == who and how == "valid")


def test_what_keeps_no_row_is_known_to_no_pretraining_by_nothing(write: Callable[..., str], make: Callable[..., Store]) -> None:
    """Its id is behind those of training, its features count in no vocabulary and no mean; the rows that test are those of any
    other count.
    """
    rows, tested, stores = log(), [], {}
    lines = [f"{d},{u},{i},1,{t},{i},{int(i[1:]) ** 2}" for d, u, i, t in rows]
    names_ = ["domain", "user", "item", "label", "timestamp"]
    features = {"name": {"role": "item", "kind": "categorical"}, "size": {"role": "item", "kind": "numerical"}}
    for count in (0, 2, 5):
        files = write(f"{count}.csv", [",".join([*names_, "name", "size"]), *lines])
        options = {"files": files, "columns": {name: name for name in names_}, "features": features}
        own = stores[count] = make("tabular", options, out=str(count), **{**DATA, "split": kept(count, 5)})
        user, item = names(own, "user"), names(own, "item")
        (unit,) = own.schema.units
        tables = [own.load(unit, "valid"), *(table[unit.name] for table in own.tests().values())]
        pairs = [[(user[u], item[i]) for u, i in zip(t.columns["user"], _positive(t), strict=True)] for t in tables]
        tested.append([sorted(each) for each in pairs])
    assert tested[0] == tested[1] == tested[2]
    own, (unit,) = stores[0], stores[0].schema.units
    (members,), field = cold(own).values(), own.schema.field("item")
    assert field.new == len(members) and own.schema.for_pretraining().field("item").size == field.known == min(unit.members)
    warm = [int(i[1:]) ** 2 for _, u, i, _ in rows if expected(rows, members, 0, 5)[u, i] == "train"]
    assert own.schema.field("size").mean == pytest.approx(np.mean(warm))
    assert not set(own.vocabulary("name")["raw"].to_pylist()) & set(members)
    about = own.by_id(unit).items
    assert about.columns["name"][list(unit.members)].max() == 0 and len(about) == field.size
    assert about.columns["size"][list(unit.members)].tolist() == [int(i[1:]) ** 2 for i in members]
    assert len(own.by_id(ALL_DOMAINS).items) == field.known
    assert own.load(ALL_DOMAINS, "valid").columns["candidates"].max() < field.known
    assert own.load(unit, "valid").columns["candidates"].max() >= field.known


def _positive(table: Table) -> np.ndarray:
    return table.columns["positive"] if "positive" in table.columns else table.columns["candidates"][:, 0]


def test_users_with_few_rows_train_on_all_of_them_and_items_with_few_rows_are_warm(store: Callable[..., Store]) -> None:
    rows = [*log(), ("x", "little", "i1", 10**6), ("x", "little", "i2", 10**6 + 1)]
    first = [("x", f"u{u}", u) for u in range(1, USERS, 10)]
    rare = [("x", f"u{u}", 10**7 + u) for u in range(0, USERS, 10)]
    for name in (f"rare{n}" for n in range(20)):  # some of these would be cold by their hash
        own = store([*rows, *((d, u, name, t) for d, u, t in first + rare)], out=name)
        user, item = names(own, "user"), names(own, "item")
        warm = own.tests()["warm items"]["cold.1"]
        tested = dict(zip(user[warm.columns["user"]].tolist(), item[positives(warm)].tolist(), strict=True))
        assert "little" not in tested and len(tested) == USERS
        assert {who for who, what in tested.items() if what == name} == {u for _, u, _ in rare}, "his last row, whatever the hash"


def test_the_groups_of_a_domain_divide_its_users(store: Callable[..., Store]) -> None:
    own = store(log(("x", "y")), sequences={**DATA["sequences"], "item_groups": 3})
    tests = own.tests()["warm items"]
    for domain in ("x", "y"):
        tested = [u for name, table in tests.items() if name.startswith(domain) for u in table.columns["user"].tolist()]
        assert sorted(tested) == list(range(1, USERS + 1))
        assert all(len(tests[f"{domain}.cold.{n}"]) > USERS / 6 for n in (1, 2, 3))


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
    assert set(own.tests()["cold items"]) == set(own.tests()["warm items"]) == set(groups)
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
    assert counts["count"] == counts["leave_out"] + 2, "the row, which validates, and one of a warm item beside it"


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
        ({"split": kept(0, 19)}, r"cold_least = 20 is too small for cold_from = 19.*set cold_least to 21"),
        ({"split": kept(3, 2)}, r"cold_from = 2 is smaller than cold_kept = 3.*set cold_from to 3 or more"),
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
