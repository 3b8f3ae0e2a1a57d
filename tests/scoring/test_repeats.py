"""Items taken again: tests, validation and recommendations follow one rule, and what it leaves out is told."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import pyarrow.parquet as pq
import pytest

from raytune_rec.data.preparing.preparation import trained
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import ALL_DOMAINS, Table
from raytune_rec.stages.notes import notes
from raytune_rec.tasks.base import Further
from raytune_rec.tasks.kinds import kind_of
from raytune_rec.tasks.lists import check_ranked
from raytune_rec.training.validation import Validation
from tests.scoring.conftest import COLD, LENGTH, export, log, scorer
from tests.scoring.test_histories import raw_rows

LAST = {"split": {"kind": "leave_one_out"}, "sequences": {"length": LENGTH, "negatives": 6}}
COUNT = {**LAST, "sequences": {**LAST["sequences"], "repeats": "count"}}
USERS = 30


def rounds() -> list[str]:
    """Users who come back: the last item is one of before for every third, the one before it for every fifth."""
    draw = random.Random(8)
    rows = [log()[0]]
    for u in range(USERS):
        mine = draw.sample(range(20), 6)
        valid = mine[0] if u % 5 == 0 else mine[4]
        test = mine[1] if u % 3 == 0 else mine[5]
        rows += [f"shop,u{u},i{i},1,{k},c{u % 4},{20 + u}" for k, i in enumerate([*mine[:4], mine[2], valid, test])]
    return rows


def summary(store: Store) -> dict:
    return dict(json.loads((store.path / "summary.json").read_text()))


@pytest.fixture(scope="module")
def left_out(make: Callable[..., Store]) -> Store:
    return make(rounds(), **LAST)


@pytest.fixture(scope="module")
def counted(make: Callable[..., Store]) -> Store:
    return make(rounds(), **COUNT)


def test_rows_that_repeat_are_neither_tested_nor_validated_with(left_out: Store) -> None:
    tested = left_out.tests()["shop"]["shop"]
    for split, own, gone in (("test", tested, 10), ("valid", left_out.load("shop", "valid"), 6)):
        assert len(own.columns["history"]) == USERS - gone == left_out.schema.rows["shop", split]
    test = tested.columns
    assert not (test["seen"] == test["positive"][:, None]).any()


def test_what_is_left_out_is_told(left_out: Store, counted: Store) -> None:
    for store, told, data in ((left_out, "they are left out", LAST), (counted, "they count", COUNT)):
        assert summary(store)["domains"]["shop"]["repeats"] == {"valid": 6, "valid_of": 30, "test": 10, "test_of": 30}
        (said,) = [line for line in notes(summary(store), DataOptions(source="tabular", **data)) if line.startswith("repeats")]
        assert "6 of 30 valid rows and 10 of 30 test rows repeat an item of their history" in said and told in said


@pytest.mark.parametrize("backbone", ["sasrec", "popularity"])
@pytest.mark.parametrize("kind", ["left_out", "counted"])
def test_every_tested_row_is_recommended_where_it_was_ranked(kind: str, backbone: str, request: pytest.FixtureRequest) -> None:
    """Where repeats count, an item of the history is recommended at the place at which the test saw it."""
    store: Store = request.getfixturevalue(kind)
    served, table = scorer(store, "shop", backbone), store.tests()["shop"]["shop"]
    outcome = kind_of(table.task).test(served.passes, table, Further(full=True))[1]
    assert outcome is not None and len(table) == (USERS if kind == "counted" else 20)
    rows = histories_of(store, table)
    best = served.recommend(rows, k=99)
    names, _ = store.lookup.catalogue
    again = 0
    for row, past, positive, better, ties, size in zip(
        best, rows["history"], table.columns["positive"], outcome.better[0], outcome.ties[0], outcome.candidates, strict=True
    ):
        place = [item for item, _ in row].index(names[positive])
        assert better <= place <= better + ties and len(row) == size
        again += names[positive] in past
    assert again == (10 if kind == "counted" else 0)
    (valid,) = Validation(store.load("shop", "valid"), served.model, ["hit@10"], 64, "cpu").values(served.model)["hit@10"]
    assert 0 < valid <= 1


def histories_of(store: Store, table: Table) -> dict[str, list]:
    """User and whole history before each test row, from what is stored."""
    users = pq.read_table(store.path / "sequences/users.parquet").to_pydict()
    names, _ = store.lookup.catalogue
    known = {u: items[: t + v] for u, items, t, v in zip(*(users[c] for c in ("user", "items", "train", "valid")), strict=True)}
    raw = pq.read_table(store.path / "users.parquet")["raw"].to_pylist()
    owners = table.owner.tolist()
    return {"user": [raw[u] for u in owners], "history": [[names[i] for i in known[u]] for u in owners]}


def test_cold_users_are_tested_on_new_items_alone(make: Callable[..., Store]) -> None:
    lines = [log()[0]]
    for u in range(60):
        mine = [u % 9, 9 + u % 4, u % 9 if u % 2 else 13 + u % 5, 18 + u % 3, (u + 1) % 9]
        lines += [f"shop,u{u},i{i},1,{k},c{u % 4},{20 + u}" for k, i in enumerate(mine)]
    own = make(lines, **COLD)
    tests = own.tests()
    for units in tests.values():
        for unit, table in units.items():
            assert not (table.columns["seen"] == table.columns["positive"][:, None]).any()
            assert len(np.unique(table.owner)) <= own.schema.rows[unit, "test"]
    told = summary(own)["domains"]["shop"]["repeats"]
    cold = sum(own.schema.rows[unit, "test"] for unit in ("joint.1", "joint.2"))
    assert told["test_of"] == 4 * cold and 0 < told["test"] < cold  # one of four, of the odd users
    few = sum(len(table) for table in tests["few"].values())
    assert few == 3 * cold - told["test"]


def test_what_was_taken_in_another_domain_is_left_out_there_and_by_who_serves(make: Callable[..., Store]) -> None:
    """Domains share their items: the first two thirds of the users take their last item of the shop in the club as well."""
    lines, last = rounds(), {}
    for line in lines[1:]:
        _, user, item, *_ = line.split(",")
        last[user] = item
    for u, (user, item) in enumerate(last.items()):
        further = [f"i{(3 * u + k) % 20}" for k in range(3)] + ([item] if u < 20 else [])
        lines += [f"club,{user},{i},1,{k},c{u % 4},{20 + u}" for k, i in enumerate(dict.fromkeys(further))]
    own = make(lines, shared=True, **LAST)
    table = own.tests()["shop"]["shop"]
    owners = [int(pq.read_table(own.path / "users.parquet")["raw"][u].as_py()[1:]) for u in table.owner]
    assert owners and all(u >= 20 for u in owners)
    served, rows = scorer(own, "shop"), histories_of_shop(own, table)
    outcome = kind_of(table.task).test(served.passes, table, Further(full=True))[1]
    assert outcome is not None
    elsewhere = raw_rows(own, table)["history"]
    best = served.recommend({**rows, "taken": elsewhere}, k=99)
    names, _ = own.lookup.catalogue
    places = [[i for i, _ in row].index(names[p]) for row, p in zip(best, table.columns["positive"], strict=True)]
    assert places == outcome.better[0].tolist() and [len(row) for row in best] == outcome.candidates.tolist()


def histories_of_shop(store: Store, table: Table) -> dict[str, list]:
    raw = raw_rows(store, table)
    shop = {}
    users = pq.read_table(store.path / "sequences/users.parquet").to_pydict()
    names, _ = store.lookup.catalogue
    for user, domain, items, t, v in zip(*(users[c] for c in ("user", "domain", "items", "train", "valid")), strict=True):
        if store.schema.domains[domain - 1] == "shop":
            shop[user] = [names[i] for i in items[: t + v]]
    return {"user": raw["user"], "history": [shop[u] for u in table.owner.tolist()], "domain": ["shop"] * len(table)}


def test_a_log_of_repeats_alone_is_refused_and_its_remedies_work(make: Callable[..., Store]) -> None:
    """A log that was given twice: each row stands behind itself."""
    head, *rows = log()
    twice = [head, *(row for row in rows for _ in range(2))]
    own = make(twice, **LAST)
    with pytest.raises(DataError) as caught:
        check_ranked(summary(own), own.schema)
    said = str(caught.value)
    assert "domain 'shop': none of its 40 test rows can be ranked: 40 repeat an item of their history" in said
    (told,) = [line for line in notes(summary(own), DataOptions(source="tabular", **LAST)) if line.startswith("repeats")]
    assert "0 of 40 valid rows and 40 of 40 test rows repeat" in told
    assert "data.sequences.repeats = 'count'" in said and f"{len(rows)} rows of the log repeat" in said
    for mended in (make(twice, **COUNT), make([head, *rows], **LAST)):
        check_ranked(summary(mended), mended.schema)
        assert mended.schema.rows["shop", "test"] == len(mended.load(ALL_DOMAINS, "test")) == 40


def test_a_backbone_says_what_is_recommended_beside_it(counted: Store, tmp_path, make) -> None:
    from raytune_rec.scoring import load_prompt

    served = load_prompt(*export(counted, "shop", tmp_path))
    history = ["i1", "i2", "i3"]
    asked = {"history": [history], "colour": ["c1"], "age": [20]}
    everything = [item for item, _ in served.recommend(asked, k=99)[0]]
    assert set(history) <= set(everything)
    assert not set(history) & {item for item, _ in served.recommend(asked, k=99, seen=False)[0]}
    sequences = {"length": 4, "windows": "last", "repeats": "leave_out", "negatives": 6}
    inputs, fewer, other = (
        {"options": {"split": {"kind": "leave_one_out"}, "sequences": {**sequences, **change}}}
        for change in ({}, {"negatives": 3}, {"repeats": "count"})
    )
    assert trained(inputs) == trained(fewer) != trained(other)
