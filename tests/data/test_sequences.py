"""Histories: what trains, what is ranked, and who is cold."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_rec.backbones._fields import FieldLayer
from raytune_rec.config import parse
from raytune_rec.data.cold_users import about
from raytune_rec.data.preparing.preparation import stage_inputs
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import AssemblyError, DataError, JobError
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import ALL_DOMAINS, SPLITS
from raytune_rec.task import Task

USERS, ITEMS = 60, 40
FEATURES = {"colour": {"role": "user"}}
LEAVE = {"split": {"kind": "leave_one_out"}, "sequences": {"length": 5, "negatives": 8}}
COLD = {
    "split": {"kind": "cold_users", "cold": 0.5},
    "sequences": {"length": 5, "negatives": 8, "tasks": ["few", "zero", "joint"], "events": 4, "folds": 3, "valid": 0.3},
}


def log() -> list[str]:
    """Each user goes through the items in a row of steps of one size: user u takes item (u + k * step) % ITEMS at time k."""
    rows = []
    for u in range(USERS):
        step, length = 1 + u % 3, 3 + u % 12
        rows += [f"x,u{u},i{(u + k * step) % ITEMS},1,{u % 4},{k}" for k in range(length)]
    return sorted(rows)  # not in the order of time


@pytest.fixture
def store(write, make):
    def made(data: dict, out: str = "store", lines: list[str] | None = None, shared: bool = False) -> Store:
        files = write("log.csv", ["domain,user,item,label,colour,position", *(lines or log())])
        columns = {n: n for n in ("domain", "user", "item", "label", "position")}
        options = {"files": files, "features": FEATURES, "columns": columns, "shared_items": shared}
        return make("tabular", options, out=out, **data)

    return made


def taken(own: Store) -> dict[int, list[int]]:
    """User row -> all its items, as ids."""
    histories = own.reader
    assert histories is not None
    return {u: list(i) for u, i in zip(histories._users["user"].to_pylist(), histories._items, strict=True)}


def row_of(items: list[int], history: np.ndarray) -> int:
    """After how many of a user's items this history ends."""
    own = [i for i in history if i]
    ends = [k for k in range(len(items) + 1) if items[max(0, k - len(own)) : k] == own and k >= len(own)]
    assert ends, (items, own)
    return ends[-1] if own else 0


def test_the_last_item_tests_and_the_one_before_validates(store) -> None:
    own = store(LEAVE)
    items = taken(own)
    for split, back in (("test", 1), ("valid", 2)):
        table, test = own.load(ALL_DOMAINS, split), own.reader._last(own.schema.unit(ALL_DOMAINS), split)
        assert len(table) == USERS
        for user, history, candidates in zip(test["user"], table.columns["history"], table.columns["candidates"], strict=True):
            mine = items[user]
            assert candidates[0] == mine[-back]
            assert [i for i in history if i] == mine[max(0, len(mine) - back - 5) : len(mine) - back]


def test_of_many_users_some_validate_and_test(store) -> None:
    """The same ones, whom a hash chooses; the others' last items are nobody's, and training and its fingerprint are the same."""
    whole = store(LEAVE, "whole")
    own = store({**LEAVE, "sequences": {**LEAVE["sequences"], "users": 7}})
    other = store({"split": {**LEAVE["split"], "seed": 1}, "sequences": {**LEAVE["sequences"], "users": 7}}, "other")
    everyone = own.schema.unit(ALL_DOMAINS)
    tested, valid = (set(own.reader._last(everyone, s)["user"].tolist()) for s in ("test", "valid"))
    assert len(tested) == 7 and valid == tested != set(other.reader._last(everyone, "test")["user"].tolist())
    assert [own.schema.rows["x", s] for s in SPLITS] == [whole.schema.rows["x", "train"], 7, 7]
    a, b = own.reader._windows(everyone), whole.reader._windows(everyone)
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert own.schema.trained == whole.schema.trained and own.schema.fingerprint != whole.schema.fingerprint
    few = store({**LEAVE, "sequences": {**LEAVE["sequences"], "users": 7, "valid_users": 3}}, "few")
    again, some = (few.reader._last(everyone, s)["user"].tolist() for s in ("test", "valid"))
    assert {*again} == tested and len(some) == few.schema.rows["x", "valid"] == 3 and {*some} < tested


@pytest.mark.parametrize("ahead", [2, 3])
def test_several_last_items_are_tested_apart(store, ahead: int) -> None:
    """A plain loop: of a user with two items more, each of the last ones after all before it; the one before them validates."""
    own = store({**LEAVE, "sequences": {**LEAVE["sequences"], "ahead": ahead}})
    items, everyone = taken(own), own.schema.unit(ALL_DOMAINS)
    enough = {u: mine for u, mine in items.items() if len(mine) >= ahead + 2}
    assert 0 < len(enough) < len(items)
    tables = own.tests()
    assert list(tables) == [f"x next {k}" for k in range(1, ahead + 1)]
    for k, units in enumerate(tables.values(), 1):
        (table,) = units.values()
        assert set(table.owner.tolist()) == set(enough) and own.schema.rows["x", "test"] == len(enough) * ahead
        for user, history, candidates, seen in zip(
            table.owner, *(table.columns[name] for name in ("history", "candidates", "seen")), strict=True
        ):
            mine = enough[user]
            place = len(mine) - ahead + k - 1
            assert candidates[0] == mine[place] and not set(candidates[1:]) & set(mine)
            assert [i for i in history if i] == mine[max(0, place - 5) : place] and [i for i in seen if i] == mine[:place]
    valid = own.reader._last(everyone, "valid")
    assert {u: c[0] for u, c in zip(valid["user"], valid["candidates"], strict=True)} == {
        u: mine[-ahead - 1] for u, mine in enough.items()
    }
    shown = {
        u: [i for i in h if i] for u, h in zip(*(own.reader._windows(everyone)[n] for n in ("user", "history")), strict=True)
    }
    assert all(set(known) <= set(items[u][: -ahead - 1] if u in enough else items[u]) for u, known in shown.items())
    assert own.schema.trained != store(LEAVE, "one").schema.trained, "a backbone of one job has met what the other tests"


def test_at_equal_times_the_split_and_the_history_agree_which_item_is_the_last(store) -> None:
    """Else tested interactions would count for ids and popularity."""
    lines = [line.split(",") for line in log()]
    own = store(LEAVE, lines=[",".join([*line[:-1], str(int(line[-1]) // 3)]) for line in lines])
    rows = pq.read_table(own.path / "interactions", columns=["user", "item", "split"]).to_pydict()
    for user, mine in taken(own).items():
        of = {s: i for u, i, s in zip(rows["user"], rows["item"], rows["split"], strict=True) if u == user and s}
        assert of == {SPLITS.index("test"): mine[-1], SPLITS.index("valid"): mine[-2]}


def test_no_row_knows_what_follows_it(store) -> None:
    """The planted leak: were the positive or a later item in a history, or among the others, these would find it."""
    for data in (LEAVE, COLD):
        own = store(data, out=data["split"]["kind"])
        items = taken(own)
        for name, units in own.tests().items():
            for unit, table in units.items():
                columns = table.columns
                for i, user in enumerate(table.owner):
                    mine, positive = items[user], columns["positive"][i]
                    place = mine.index(positive)
                    assert columns["candidates"][i, 0] == positive
                    assert set(columns["history"][i]) - {0} <= set(mine[:place]), (name, unit)
                    assert [s for s in columns["seen"][i] if s] == mine[:place]
                    assert not set(columns["candidates"][i, 1:]) & set(mine)
                    assert len(set(columns["candidates"][i])) == 9


@pytest.mark.parametrize("data", [LEAVE, COLD], ids=["leave_one_out", "cold_users"])
@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
def test_lists_of_several_domains_hold_what_the_user_could_take_there(store, data: dict, shared: bool) -> None:
    """Users of both domains take other items in the second, which has two thirds of the items."""
    here = [row.split(",") for row in log()]
    there = [["y", u, f"i{(int(u[1:]) * 5 + int(k) * 7) % 25}", label, colour, k] for _, u, _, label, colour, k in here]
    own = store(data, lines=[",".join(row) for row in [*here, *there]], shared=shared)
    names, domains = own.lookup.catalogue
    took = {(d, u): list(i) for d, u, i in zip(*(own.reader._users[c].to_pylist() for c in ("domain", "user")),
                                              own.reader._items, strict=True)}  # fmt: skip
    assert own.schema.domains == ("x", "y") and set(domains[1:]) == ({0} if shared else {1, 2})
    met = set()
    for units in own.tests().values():
        for table in units.values():
            columns = table.columns
            assert (table.item_domains is None) == shared
            for d, u, positive, seen, candidates in zip(
                columns["domain"], table.owner, *(columns[c] for c in ("positive", "seen", "candidates")), strict=True
            ):
                mine, elsewhere = took[d, u], took.get((3 - d, u), [])
                others = set(candidates[1:].tolist())
                assert candidates[0] == positive and len(others) == 8 and not others & set(mine)
                before = mine[: mine.index(positive)]
                if shared:
                    assert not others & set(elsewhere) and set(seen) - {0} == set(before) | set(elsewhere)
                else:
                    assert set(domains[candidates]) == {d} and set(seen) - {0} == set(before)
                met |= {(d, i) for i in others}
    reached = {i for _, i in met} if shared else {i for d, i in met if domains[i] == d}
    assert len(reached) > 0.9 * (len(names) - 1), "every item of a domain may be drawn"


def test_training_histories_hold_no_item_that_validates_or_tests(store) -> None:
    own = store(LEAVE)
    items, train = taken(own), own.reader._windows(own.schema.unit(ALL_DOMAINS))
    for user, history, target in zip(train["user"], train["history"], train["target"], strict=True):
        known = items[user][:-2]
        shown = [i for i in (*history, *target) if i]
        assert set(shown) <= set(known)
        assert target[0] == 0 and [i for i in target if i] == known[-5:][-(len([t for t in target if t])) :]


def test_all_windows_predict_every_item_but_the_first_once(store) -> None:
    data = {**LEAVE, "sequences": {**LEAVE["sequences"], "windows": "all"}}
    own = store(data)
    train, items = own.reader._windows(own.schema.unit(ALL_DOMAINS)), taken(own)
    for user, mine in items.items():
        found = [t for u, row in zip(train["user"], train["target"], strict=True) if u == user for t in row if t]
        assert sorted(found) == sorted(mine[1:-2])


def test_cold_users_are_tested_once_and_never_train_where_they_test(store) -> None:
    own = store(COLD)
    warm = set(own.reader._windows(own.schema.unit(ALL_DOMAINS))["user"])
    tested: list[int] = []
    for fold in (1, 2, 3):
        parts = {s: set(own.reader.columns(own.schema.unit(f"few.{fold}"), s)["user"]) for s in ("train", "valid", "test")}
        assert not parts["train"] & parts["valid"] and not (parts["train"] | parts["valid"]) & parts["test"]
        assert not warm & set.union(*parts.values())
        assert all(parts[s] == set(own.reader.columns(own.schema.unit(f"joint.{fold}"), s)["user"]) for s in parts)
        tested += sorted(parts["test"])
    assert len(tested) == len(set(tested))
    users = own.reader._users
    assert set(tested) == {u for u, f in zip(users["user"].to_pylist(), users["fold"].to_pylist(), strict=True) if f}
    assert 0.3 * USERS < len(tested) < 0.7 * USERS
    few = own.load("few.1", "train")
    assert not few.columns["user"].any() and few.columns["colour"].any(), "a cold user has a profile and no id"


def test_tasks_train_and_test_on_their_own_items(store) -> None:
    own = store(COLD)
    items = taken(own)
    for task, first, last in (("few", 1, 4), ("zero", 0, 1), ("joint", 0, 4)):
        train = own.reader.columns(own.schema.unit(f"{task}.1"), "train")
        for user, target in zip(train["user"], train["target"], strict=True):
            assert [(k, i) for k, i in enumerate(target) if i] == list(enumerate(items[user][:4]))[first:last]
        assert train["history"].shape[1] == 3 and bool(train["history"].any()) == (task != "zero")
    tables = own.tests()
    assert list(tables) == ["few", "zero", "joint few", "joint zero"]
    assert sum(len(t) for t in tables["zero"].values()) == sum(len(t) for t in tables["joint zero"].values())
    for units in (tables["zero"], tables["joint zero"]):
        assert all(not t.columns["history"].any() for t in units.values())


def test_k_shot_histories_hold_k_items_in_training_and_test(store) -> None:
    own = store({**COLD, "sequences": {**COLD["sequences"], "tasks": ["few", "1-shot", "2-shot"]}})
    few = own.load("few.1", "train").columns
    for k in (1, 2):
        shot = own.load(f"{k}-shot.1", "train").columns
        assert shot["history"].shape == few["history"].shape, "tasks may share a pack"
        assert np.array_equal(shot["target"][:, : k + 1], few["target"][:, : k + 1]) and not shot["target"][:, k + 1 :].any()
        assert all((t.columns["history"] > 0).sum(1).max() == k for t in own.tests()[f"{k}-shot"].values())
        told = about(own.schema.unit(f"{k}-shot.2"), own.reader.options)
        assert f"It serves new users who have taken at most {k} items." in told


@pytest.mark.parametrize("windows", ["last", "all"])
def test_units_may_train_on_warm_users_too(store, windows: str) -> None:
    """On windows of their training histories, as wide as those of the cold users; who tests or validates is not among them."""
    tasks = ["few", "zero", "joint", "1-shot"]
    sequences = {**COLD["sequences"], "tasks": tasks, "windows": windows}
    plain = store({**COLD, "sequences": sequences}, "plain")
    own = store({**COLD, "sequences": {**sequences, "warm": True}}, "warm")
    items, users = taken(own), own.reader._users
    known = dict(zip(users["user"].to_pylist(), users["train"].to_pylist(), strict=True))
    warm = {u for u, n in known.items() if n}
    for unit in (f"{task}.{fold}" for task in tasks for fold in (1, 2, 3)):
        cold, both = plain.reader.columns(plain.schema.unit(unit), "train"), own.reader.columns(own.schema.unit(unit), "train")
        later = {u for s in ("valid", "test") for u in own.reader.columns(own.schema.unit(unit), s)["user"]}
        assert set(both["user"]) - warm == set(cold["user"]) and not set(both["user"]) & later
        assert own.schema.rows[unit, "train"] == len(both["user"]) > plain.schema.rows[unit, "train"] == len(cold["user"])
        assert both["target"].shape[1] == cold["target"].shape[1] == 4
        trained: dict[int, list[int]] = {u: [] for u in warm}
        for u, history, target in zip(both["user"], both["history"], both["target"], strict=True):
            if u in warm:
                assert set(history) | set(target) <= {0, *items[u][: known[u]]}
                trained[u] += [i for i in target if i]
        first = 0 if unit[0] in "zj" else 1
        for u, found in trained.items():
            if unit.startswith("zero"):
                assert found == items[u][:1]
            elif windows == "all":
                assert sorted(found) == sorted(items[u][first : known[u]])
            else:
                window = items[u][: known[u]][-2 if "shot" in unit else -4 :]
                assert found == window[first if known[u] <= 4 else 1 :]
        for split in ("valid", "test"):
            a, b = plain.load(unit, split), own.load(unit, split)
            assert all(np.array_equal(a.columns[n], b.columns[n]) for n in a.columns)
    assert "tuned on warm users and the cold users of the other 2 folds" in about(own.schema.unit("few.1"), own.reader.options)


def test_users_with_few_rows_are_the_cold_ones(store) -> None:
    own = store({**COLD, "split": {"kind": "cold_users", "cold_below": 6}})
    users = own.reader._users
    cold = [len(i) for i, f in zip(users["items"].to_pylist(), users["fold"].to_pylist(), strict=True) if f]
    warm = [len(i) for i, f in zip(users["items"].to_pylist(), users["fold"].to_pylist(), strict=True) if not f]
    assert max(cold) < 6 <= min(warm)


def test_items_that_training_does_not_know_are_left_out_and_counted(store) -> None:
    own = store(LEAVE, lines=[*log(), "x,u5,only once,1,1,99"])
    table = own.load(ALL_DOMAINS, "test")
    assert table.columns["candidates"].min() > 0 and len(table) == USERS - 1
    summary = json.loads((own.path / "summary.json").read_text())
    kept, domain = sum(map(len, taken(own).values())), summary["domains"]["x"]
    assert domain["left_out_of_histories"] == 1 == summary["interactions"]["kept"] - kept
    assert domain["users_without_test"] == 1 and domain["users_without_valid"] == 0


def test_rows_that_nobody_took_are_in_no_history(store) -> None:
    """They come last of all, and one user has no others: were they taken, they would be tested."""
    own, other = store(LEAVE), "x,nobody,i1,0,9,5"
    late = [f"x,u{u},i{(u + 20) % ITEMS},0,{u % 4},98" for u in range(USERS)]
    passed = store(LEAVE, "passed", [other, *late, "x,u3,new,0,3,99", *log()])
    for name in ("sequences/users.parquet", "items.parquet", "users.parquet", "vocabulary/colour.parquet"):
        assert pq.read_table(passed.path / name).equals(pq.read_table(own.path / name)), name
    summary = json.loads((passed.path / "summary.json").read_text())
    assert summary["interactions"]["not_taken"] == USERS + 2 and summary["interactions"]["kept"] == len(log())
    with pytest.raises(DataError, match="none of 1 rows was taken: all have label 0"):
        store(LEAVE, "none", [other])


def test_ratings_say_what_was_taken_and_without_them_all_of_a_log_was(write, make, store) -> None:
    own, columns = store(LEAVE), {n: n for n in ("domain", "user", "item", "position")}
    rated = [",".join([*row.split(",")[:3], str(4 + n % 2), *row.split(",")[4:]]) for n, row in enumerate(log())]
    header = "domain,user,item,rating,colour,position"
    options = {"files": write("rated.csv", [header, *rated, "x,u3,i1,3,1,99"]), "features": FEATURES}
    above = make("tabular", {**options, "columns": {**columns, "rating": "rating"}}, "above", positive_above=3, **LEAVE)
    options["files"] = write("plain.csv", [header, *rated])
    plain = make("tabular", {**options, "columns": columns}, "plain", **LEAVE)
    users = pq.read_table(own.path / "sequences/users.parquet")
    assert all(pq.read_table(s.path / "sequences/users.parquet").equals(users) for s in (above, plain))
    with pytest.raises(DataError, match="no label; map a label"):
        make("tabular", {**options, "columns": columns}, "rows", split=LEAVE["split"])


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"cold_below": 1}, r"none of 60 users is cold \(data.split.cold_below = 1\).*; raise data.split.cold_below"),
        ({"cold_below": 99}, r"all 60 users are cold \(data.split.cold_below = 99\).*; lower data.split.cold_below"),
        ({"cold": 0.0001}, r"none of 60 users is cold \(data.split.cold = 0.0001\).*; raise data.split.cold\."),
    ],
)
def test_a_split_without_cold_or_without_warm_users_says_how_to_mend_it(store, split: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        store({**COLD, "split": {"kind": "cold_users", **split}})


def test_a_log_without_a_time_that_can_be_read_says_what_is_wanted(write, make) -> None:
    files = write("log.csv", ["user,item,at", *(f"u{n % 9},i{n},2024-05-0{n % 9 + 1}T10:00:00Z" for n in range(40))])
    options: dict = {"files": files, "domain": "x", "columns": {"user": "user", "item": "item"}}
    with pytest.raises(DataError, match="the source gives neither; map timestamp or position in data"):
        make("tabular", options, "none", **LEAVE)
    with pytest.raises(DataError, match="timestamp is not a finite number, such as seconds since 1970"):
        make("tabular", {**options, "columns": {**options["columns"], "timestamp": "at"}}, "iso", **LEAVE)


def test_preparing_twice_gives_the_same_and_another_seed_another_draw(store) -> None:
    first, again = store(COLD, out="a"), store(COLD, out="b")
    other = store({**COLD, "split": {**COLD["split"], "seed": 1}}, out="c")
    for name in ("few.1", "zero.2"):
        for split in ("train", "valid", "test"):
            a, b = first.load(name, split), again.load(name, split)
            assert all(np.array_equal(a.columns[n], b.columns[n]) for n in a.columns)
    assert not np.array_equal(first.reader._users["fold"].to_numpy(), other.reader._users["fold"].to_numpy())


def test_streamed_windows_are_the_rows_in_memory(store) -> None:
    own = store(COLD)
    rows = pq.read_table(own.train_files()[0])
    streamed = own.join({n: rows[n].combine_chunks() for n in rows.column_names})
    whole = own.load(ALL_DOMAINS, "train")
    assert all(np.array_equal(streamed.columns[n], whole.columns[n]) for n in whole.columns)


def test_stores_of_before_an_attribute_could_be_predicted_are_the_same() -> None:
    own = DataOptions(source="tabular", **COLD)
    told = stage_inputs(own, SimpleNamespace(fingerprint_inputs=dict))["options"]["sequences"]
    assert not {"predict", "users", "valid_users", "ahead"} & told.keys()


def test_a_store_opens_again_as_it_was(store) -> None:
    own = store(COLD)
    again = Store.open(Path(own.path))
    assert again.schema == own.schema and again.schema.task == Task("lists", 5)
    assert again.schema.unit_names == tuple(f"{t}.{f}" for t in ("few", "zero", "joint") for f in (1, 2, 3))


def test_too_many_negatives_are_refused(store) -> None:
    own = store({**LEAVE, "sequences": {**LEAVE["sequences"], "negatives": 39}})
    with pytest.raises(DataError, match=r"negatives = 39, but some user .* has only \d+ items never taken; lower it"):
        own.load(ALL_DOMAINS, "test")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"split": {"kind": "cold_users"}}, "there are none; name few, zero or joint"),
        ({"sequences": {"tasks": ["few"]}}, "tasks are of cold users, and split.kind = 'hash'"),
        ({"split": {"kind": "cold_users"}, "sequences": {"tasks": ["9-shot"]}}, "9-shot need more than events = 9 items"),
        ({"split": {"kind": "cold_users"}, "sequences": {"tasks": ["few"], "events": 1}}, "few predict .* set events to 2"),
        ({"split": {"kind": "cold_users"}, "sequences": {"tasks": ["few", "few"]}}, r"each once \(given: few, few\)"),
        ({"split": {"kind": "cold_users"}, "sequences": {"tasks": ["0-shot"]}}, "is few, zero, joint, or 1-shot, 2-shot"),
        ({"split": {"kind": "cold_users"}, "sequences": {"tasks": ["few"], "length": 7}}, "set length to 8 or more, or lower"),
        ({"split": {"kind": "leave_one_out"}, "sequences": {"warm": True}}, "there are no tasks; name some, or leave it out"),
        ({"sequences": {"predict": "age"}}, "sequences.predict is of cold users, and split.kind = 'hash'"),
        ({"split": {"kind": "cold_users"}, "sequences": {"predict": "age", "tasks": ["few"]}}, "of its own; leave out tasks few"),
        (
            {"split": {"kind": "cold_users"}, "sequences": {"tasks": ["few"], "users": 9}},
            "users = 9 is .* 'leave_one_out', or leave",
        ),
        (
            {"split": {"kind": "leave_one_out"}, "sequences": {"users": 5, "valid_users": 6}},
            "valid_users = 6 is more than users = 5, of whom they are; lower it, or leave it out",
        ),
        (
            {"split": {"kind": "cold_items"}, "sequences": {"ahead": 3}},
            "ahead = 3 is of users whose last items .* leave ahead out",
        ),
        ({"sequences": {}}, "need split.kind = 'leave_one_out' or 'cold_users'"),
    ],
)
def test_what_does_not_go_together_is_refused(data: dict, message: str) -> None:
    job = {"name": "x", "data": {"source": "tabular", **data}, "backbone": {"name": "sasrec"}, "rows": {}}
    with pytest.raises(JobError, match=message):
        parse(job)


def vectors(tmp_path: Path, rows: dict[str, list[float] | None]) -> dict:
    """Options of a source whose users have the vectors of a file."""
    pq.write_table(pa.table({"user": list(rows), "taste": pa.array(list(rows.values()))}), tmp_path / "taste.parquet")
    feature = {"role": "user", "kind": "vector"}
    return {"features": {"taste": feature}, "users": {"files": str(tmp_path / "taste.parquet")}}


@pytest.fixture
def with_vectors(write, make, tmp_path):
    def made(rows: dict[str, list[float] | None], data: dict = COLD, out: str = "store") -> Store:
        files = write("log.csv", ["domain,user,item,label,colour,position", *log()])
        columns = {n: n for n in ("domain", "user", "item", "label", "position")}
        return make("tabular", {"files": files, "columns": columns, **vectors(tmp_path, rows)}, out=out, **data)

    return made


def test_vectors_of_users_stand_beside_their_histories(with_vectors) -> None:
    """Of warm and of cold ones; standardised by the warm, who alone train; missing ones are not zeros."""
    own = with_vectors({f"u{u}": [u, 2.0 * u] for u in range(USERS) if u % 7})
    (field,) = own.schema.fields[3:]
    assert (field.name, field.kind, field.role, field.length, field.has_ids) == ("taste", "vector", "user", 2, False)
    again = Store.open(Path(own.path))
    raws = [int(raw[1:]) for raw in again.lookup.vocabulary("user")["raw"].to_pylist()]
    weight = {u: 3 + u % 12 - 1 for u in raws if u % 7}
    numbers, weights = np.array(list(weight)), list(weight.values())
    mean = np.average(numbers, weights=weights)
    assert field.means == pytest.approx((mean, 2 * mean))
    std = np.sqrt(np.average((numbers - mean) ** 2, weights=weights))
    assert field.stds == pytest.approx((std, 2 * std))
    assert again.schema == own.schema
    rows = again.load("few.1", "train")
    owner = own.reader.columns(own.schema.unit("few.1"), "train")["user"]
    names = pq.read_table(own.path / "users.parquet")["raw"].to_pylist()
    for user, found in zip(owner, rows.columns["taste"], strict=True):
        u = int(names[user][1:])
        assert found.tolist() == [u, 2 * u] if u % 7 else np.isnan(found).all()
    assert rows.columns["taste"].dtype == np.float32 and not any(u % 7 == 0 for u in weight)


def test_vectors_are_served_by_user_or_as_they_are_given(with_vectors) -> None:
    own = with_vectors({f"u{u}": [u, 0.5] for u in range(USERS)})
    raw = {"history": [["i1"]] * 3, "user": ["u7", "who", "u9"]}
    assert own.encode(raw)["taste"][[0, 2]].tolist() == [[7, 0.5], [9, 0.5]] and np.isnan(own.encode(raw)["taste"][1]).all()
    given = own.encode({**raw, "taste": [[1, 2], None, np.array([3.0, 4])]})["taste"]
    assert given[[0, 2]].tolist() == [[1, 2], [3, 4]] and np.isnan(given[1]).all()
    with pytest.raises(DataError, match=r"taste: each row must be a list of 2 finite numbers, or None \(row 0 is '\[1\]'\)"):
        own.encode({"history": [[]], "taste": [[1]]})


def test_vectors_that_cannot_be_used_are_refused(with_vectors) -> None:
    good: dict[str, list[float] | None] = {f"u{u}": [1.0, u] for u in range(USERS)}
    with pytest.raises(DataError, match="taste has not 2 numbers, as most have"):
        with_vectors({"u0": [1.0]} | {u: v for u, v in good.items() if u != "u0"}, {**COLD, "max_rejected": 0}, "a")
    with pytest.raises(DataError, match="taste is not finite numbers alone"):
        with_vectors(good | {"u5": [1.0, float("inf")]}, {**COLD, "max_rejected": 0}, "b")
    with pytest.raises(DataError, match="none of 60 users of the interactions has a row in"):
        with_vectors({"nobody": [1.0]}, COLD, "c")
    with pytest.raises(AssemblyError, match=r"embeds ids and numbers, and taste is a vector; leave it out of data.options"):
        FieldLayer(with_vectors(good, COLD, "d").schema, 4, "field", 0.1)
