"""Users with histories are served as they were evaluated: raw rows, recommendations, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.evaluation.metrics.candidate_lists import ndcg
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import ALL_DOMAINS, Table
from raytune_rec.scoring import Scorer, load_prompt
from raytune_rec.scoring.scorer import EVERYBODY, top
from raytune_rec.stages.export import domains_to_name
from raytune_rec.task import Unit
from raytune_rec.tasks.base import Further
from raytune_rec.tasks.kinds import kind_of
from raytune_rec.training.validation import Validation
from tests.scoring.conftest import COLD, LENGTH, export, log, scorer

LEAVE = {"split": {"kind": "leave_one_out"}, "sequences": {"length": LENGTH, "negatives": 8}}


@pytest.fixture(scope="module")
def warm(make: Callable[..., Store]) -> Store:
    return make(log(), **LEAVE)


def raw_rows(store: Store, table: Table) -> dict[str, list[Any]]:
    """What a caller knows of test rows: the user, and everything that the user had taken before."""
    items, _ = store.lookup.catalogue
    users = store.lookup.vocabulary("user")["raw"].to_pylist()
    every = pd.read_parquet(store.path / "users.parquet")["raw"].tolist()
    assert every[1 : len(users) + 1] == users
    past = [[items[i] for i in row if i] for row in table.columns["seen"]]
    return {"user": [every[u] for u in table.owner], "history": past}


FEW = Unit.of_fold("few", 1)


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)


@pytest.mark.parametrize("unit", ["few.1", "joint.2"])
def test_an_artifact_scores_raw_histories_as_they_were_evaluated(store: Store, tmp_path: Path, unit: str) -> None:
    served = load_prompt(*export(store, unit, tmp_path))
    assert not (tmp_path / "backbone" / "data" / "sequences").exists()
    items, _ = store.lookup.catalogue
    for units in store.tests().values():
        for table in [t for name, t in units.items() if name == unit]:
            raw, candidates = raw_rows(store, table), table.columns["candidates"]
            expected = scorer(store).logits(table)
            assert expected.std() > 0.1 and len(expected) > 4
            for place in (0, 3):
                scores = served.score({**raw, "item": [items[i] for i in candidates[:, place]]})
                np.testing.assert_allclose(logit(scores), expected[:, place], atol=1e-5)


@pytest.mark.parametrize(("unit", "data"), [("few.1", COLD), ("shop", LEAVE)])
def test_without_negatives_validation_and_test_rank_all_items(make: Callable[..., Store], unit: str, data: dict) -> None:
    own = make(log(), **{**data, "sequences": {**data["sequences"], "negatives": 0}})
    table, model, items = own.load(unit, "valid"), scorer(own).model, own.schema.field("item").size
    assert "candidates" not in table.columns and len(table) > 4
    better, logits = [], scorer(own).logits(table)
    for scores, positive, seen in zip(logits, table.columns["positive"], table.columns["seen"], strict=True):
        others = set(range(1, items)) - {positive, *seen.tolist()}
        assert len(others) >= items - 2 - len(set(seen.tolist()) - {0})
        better.append(sum(scores[i] > scores[positive] for i in others) / len(others))
    found = Validation(table, model, ["list_auc"], 4, "cpu").values(model)
    assert found["list_auc"] == pytest.approx([1 - np.mean(better)]) and 0.05 < np.mean(better) < 0.95
    (tests,) = (units[unit] for units in own.tests().values() if unit in units)
    outcome, further, *_ = kind_of(tests.task).test(Scorer(model).passes, tests, Further(full=True))
    assert further is None and outcome.better.shape == (1, len(tests)) and outcome.candidates.min() > 20


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec", "popularity"])
def test_a_recommended_place_is_the_evaluated_one(warm: Store, backbone: str) -> None:
    """Among all items, whose users took more than the L items that the model reads."""
    own, table = scorer(warm, "shop", backbone), warm.tests()["shop"]["shop"]
    outcome = kind_of(table.task).test(Scorer(own.model).passes, table, Further(full=True))[1]
    assert outcome is not None and not outcome.ties.any() and table.columns["seen"].shape[1] > LENGTH
    items, _ = warm.lookup.catalogue
    best = own.recommend(raw_rows(warm, table), k=len(items))
    places = [[item for item, _ in row].index(items[p]) for row, p in zip(best, table.columns["positive"], strict=True)]
    assert places == outcome.better[0].tolist()
    assert [len(row) for row in best] == outcome.candidates.tolist()


@pytest.mark.parametrize("backbone", ["sasrec", "popularity"])
@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
def test_domains_rank_alike_in_validation_test_and_serving(make: Callable[..., Store], backbone: str, shared: bool) -> None:
    """Sampled and full: items of another domain are no candidates; shared ones that the user took there are none either."""
    data = {**LEAVE, "sequences": {**LEAVE["sequences"], "negatives": 0}}
    # the second domain has fewer items, and a user takes others there
    lines = log() + [f"club,u{u},i{(7 * u + 2 * k) % 20},1,{k},c{u % 4},{20 + u}" for u in range(40) for k in range(4 + u % 4)]
    own = make(lines, shared=shared, **data)
    names, domains = own.lookup.catalogue
    told = kind_of(own.schema.task).protocol(DataOptions(source="tabular", **data), own)
    said = "all items of the training split{}, without those that the user had taken before{}"
    assert told["candidates"] == said.format(*(("", ", or in another domain") if shared else (" of the list's domain", "")))
    for place, unit in enumerate(own.schema.domains, 1):
        served, table = scorer(own, unit, backbone), own.tests()[unit][unit]
        (outcome, *_), raw = (
            kind_of(table.task).test(Scorer(served.model).passes, table, Further(full=True)),
            raw_rows(own, table),
        )
        best = [[item for item, _ in row] for row in served.recommend({**raw, "domain": [unit] * len(table)}, k=99)]
        of_domain = set(names[1:]) if shared else set(names[domains == place])
        for row, positive, history, size in zip(best, table.columns["positive"], raw["history"], outcome.candidates, strict=True):
            left_out = set(history) - {names[positive]}
            assert set(row) | {names[positive]} == of_domain - left_out and size == len(of_domain - left_out)
        if not shared:  # where they share items, what was taken elsewhere is no part of the history that the model read
            places = [row.index(names[p]) for row, p in zip(best, table.columns["positive"], strict=True)]
            assert places == outcome.better[0].tolist() and not outcome.ties.any() and len(set(places)) > 5
        tested = ndcg(torch.tensor(outcome.better), torch.tensor(outcome.ties), 10).mean().item()
        assert Validation(table, served.model, ["ndcg@10"], 64, "cpu").values(served.model)["ndcg@10"] == pytest.approx([tested])


def test_recommendations_are_the_best_in_order_and_leave_out_the_history(warm: Store) -> None:
    own = scorer(warm, "shop")
    history = [f"i{i}" for i in range(9)]  # i0 ... i4 are no longer read, and still are not recommended
    (row,) = own.recommend({"history": [history]}, k=4)
    (every,) = own.recommend({"history": [history]}, k=999, seen=True)
    assert len(row) == 4 and len(every) == 30
    assert row == [pair for pair in every if pair[0] not in history][:4]
    scores = own.score({"history": [history] * 30, "item": [item for item, _ in every]})
    np.testing.assert_allclose(scores, [score for _, score in every], rtol=1e-6)
    assert sorted(scores, reverse=True) == scores.tolist()


def test_equal_scores_stand_in_the_order_of_ids() -> None:
    scores = np.array([-np.inf, 1.0, 3.0, 1.0, 2.0, 1.0])
    assert top(scores, 3).tolist() == [2, 4, 1] and top(scores, 4).tolist() == [2, 4, 1, 3]
    assert top(scores, 99).tolist() == [2, 4, 1, 3, 5] and not len(top(np.full(3, -np.inf), 2))


def test_a_user_without_a_history_has_recommendations(store: Store) -> None:
    rows = scorer(store, "joint.1").recommend({"history": [[], None, float("nan")], "colour": ["c1", "c1", "c1"]}, k=5)
    assert rows[0] == rows[1] == rows[2] and len(rows[0]) == 5
    assert scorer(store).recommend({"history": []}) == []
    assert scorer(store).score({"history": [], "item": []}).shape == (0,)


def test_unknown_items_are_left_out_of_a_history_and_stand_below_all_others(warm: Store) -> None:
    own = scorer(warm, "shop")
    known = {"history": [["i1", "i2"]]}
    assert own.recommend({"history": [["new", "i1", None, "newer", "i2"]]}) == own.recommend(known)
    assert own.score({**known, "item": ["new"]}).tolist() == [0.0]
    assert (own.score({"history": [["i1"]] * 30, "item": [f"i{i}" for i in range(30)]}) > 0).all()


def test_the_last_items_count(warm: Store) -> None:
    columns = warm.encode({"history": [["i1", "i2", "i3", "i4", "new", "i5"], ["i7"]]})
    items, _ = warm.lookup.catalogue
    assert items[columns["history"][0]].tolist() == ["i2", "i3", "i4", "i5"]
    assert items[columns["history"][1, :1]].tolist() == ["i7"] and not columns["history"][1, 1:].any()


def test_profiles_are_looked_up_or_given(store: Store) -> None:
    own = scorer(store)
    cold = int(store.tests()["few"]["few.1"].owner[0])
    raw = pd.read_parquet(store.path / "users.parquet")["raw"][cold]
    number = int(raw[1:])
    rows = {"history": [["i1"]] * 4, "user": [raw, "who", raw, None], "item": ["i3"] * 4}
    columns = store.encode(rows)
    assert columns["user"].tolist() == [0, 0, 0, 0], "a cold user has a profile and no id"
    assert columns["colour"][0] == columns["colour"][2] > 0 and not columns["colour"][[1, 3]].any()
    assert columns["age"][0] == 20 + number and np.isnan(columns["age"][[1, 3]]).all()
    given = {**rows, "user": ["who"] * 4, "colour": [f"c{number % 4}"] * 4, "age": [20 + number] * 4}
    looked_up, told = own.score(rows), own.score(given)
    assert told[0] == looked_up[0] != looked_up[1]
    assert own.score({**rows, "colour": [None] * 4})[0] != looked_up[0], "what is given stands in for what is stored"
    alone = {name: rows[name] for name in ("history", "item")}
    assert own.score(alone).tolist() == own.score({**alone, "user": ["who"] * 4}).tolist()


def test_a_frame_and_numbers_for_identifiers_will_do(make: Callable[..., Store]) -> None:
    own = scorer(make([re.sub(r",i(\d)", r",\1", row) for row in log()], **LEAVE), "shop")
    frame = pd.DataFrame({"history": [[1, 2], [3]], "item": [4, 5]})
    given = {"history": [["1", "2"], ["3"]], "item": ["4", "5"]}
    assert own.score(frame).tolist() == own.score(given).tolist()
    assert own.recommend(frame, k=3) == own.recommend(given, k=3)


def test_each_domain_has_items_of_its_own(make: Callable[..., Store]) -> None:
    own = make(log(("shop", "club"))[: -7 * 39], **LEAVE)  # of the club, the first user alone: most items do not occur there
    names, domains = own.lookup.catalogue
    assert own.schema.domains == ("club", "shop")
    club = set(names[domains == 1])
    assert club < {f"i{i}" for i in range(30)} == set(names[domains == 2])
    rows = {"history": [["i0", "i3"]] * 2, "domain": ["shop", "club"]}
    columns = own.encode(rows)
    assert columns["domain"].tolist() == [2, 1] and not set(columns["history"][0][:2]) & set(columns["history"][1][:2])
    shop, other = scorer(own, FEW).recommend(rows, k=30)
    assert len(shop) == 28 and {name for name, _ in other} == club - {"i0", "i3"}
    (alone,) = scorer(own, "club").recommend({"history": [["i0", "i3"]]}, k=30)
    assert [name for name, _ in alone] == [name for name, _ in other], "the unit's domain is the default"
    with pytest.raises(DataError, match="no column domain; name club or shop"):
        scorer(own).recommend({"history": [["i0"]]})
    with pytest.raises(DataError, match=r"rows 0 name 'shop', and this artifact was tuned for 'club' and serves it alone"):
        scorer(own, "club").recommend(rows)
    with pytest.raises(DataError, match=r"name 'pub', and there is no such domain.* serves club, shop"):
        scorer(own).recommend({"history": [["i0"]], "domain": ["pub"]})
    assert domains_to_name(own, FEW) == ("club", "shop")
    assert domains_to_name(own, own.schema.unit("club")) == ()


def test_shared_items_need_no_domain(make: Callable[..., Store]) -> None:
    own = make(log(("shop", "club")), shared=True, **LEAVE)
    found = [scorer(own, unit).recommend({"history": [["i0"]]}, k=99) for unit in ("club", EVERYBODY)]
    assert found[0] == found[1] and len(found[0][0]) == 29
    assert own.encode({"history": [["i0"]]})["domain"].tolist() == [1] and domains_to_name(own, FEW) == ()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"user": ["u1"]}, r"there is no column history; there are .* Give a list of raw item ids"),
        ({"history": ["i1"]}, r"a list of raw item ids, oldest first \(row 0 is 'i1', of type str\); write \[\['i1'\]\]"),
        ({"history": [["i1"], 7]}, r"row 1 is 7, of type int"),
        ({"history": [["i1"]], "age": ["old"]}, r"column age: each row must be a finite number, or None \(row 0 is 'old'"),
        ({"history": [["i1"]], "colr": ["c1"]}, r"no column 'colr' in these data; they have history, .*colour, age\. Rename"),
        ({"history": [["i1", 2]]}, r"must be of one kind .* give all of them as text"),
        ({"history": [["i1"]], "user": ["u1", "u2"]}, r"columns of unequal length \(\{'history': 1, 'user': 2"),
    ],
)
def test_rows_that_cannot_be_served_are_refused(store: Store, rows: dict[str, Any], message: str) -> None:
    own = scorer(store)
    with pytest.raises(DataError, match=message):
        own.recommend(rows)
    with pytest.raises(DataError, match=message):
        own.score({**rows, "item": ["i1"] * len(next(iter(rows.values())))})


@pytest.mark.parametrize(
    ("rows", "told", "mended"),
    [
        ({"history": ["i1"]}, r"write \[\['i1'\]\] for one user who took this item", {"history": [["i1"]]}),
        ({"history": ["i1"]}, r"\[\[\]\] for one who took none", {"history": [[]]}),
        (
            {"colour": ["c1"]},
            "Give a list of raw item ids for each row, oldest first",
            {"history": [["i1", "i2"]], "colour": ["c1"]},
        ),
        ({"colour": ["c1"]}, "and an empty one where there is no history", {"history": [[]], "colour": ["c1"]}),
        ({"history": [["i1"]], "age": ["old"]}, "give None where it is not known", {"history": [["i1"]], "age": [None]}),
        ({"history": [["i1"]], "colr": ["c1"]}, "Rename it, or leave it out", {"history": [["i1"]], "colour": ["c1"]}),
        ({"history": [["i1", 2]]}, "give all of them as text", {"history": [["i1", "2"]]}),
    ],
)
def test_rows_as_an_error_names_them_are_served(store: Store, rows: dict[str, Any], told: str, mended: dict[str, Any]) -> None:
    own = scorer(store)
    with pytest.raises(DataError, match=told):
        own.recommend(rows, k=2)
    assert [len(best) for best in own.recommend(mended, k=2)] == [2]


def test_what_cannot_be_asked_is_refused(store: Store, make: Callable[..., Store]) -> None:
    own = scorer(store)
    with pytest.raises(DataError, match=r"k must be a whole number, 1 or more \(given: 0\)"):
        own.recommend({"history": [["i1"]]}, k=0)
    with pytest.raises(DataError, match=r"no column item; there are history. .* or ask `recommend`"):
        own.score({"history": [["i1"]]})
    assert len(own.score({"history": [["i1"]], "item": ["i2"]})) == len(own.recommend({"history": [["i1"]]}, k=1)) == 1
    data = make(log(), split={"kind": "leave_one_out"})
    single = Scorer(own.model, data, data.schema.unit("shop"))
    with pytest.raises(DataError, match="the artifact of 'shop' scores single interactions; give `score`"):
        single.recommend({"history": [["i1"]]})


def test_a_pass_over_many_users_is_cut(warm: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    own = scorer(warm, "shop")
    table = warm.load(ALL_DOMAINS, "test")
    rows = {"history": [["i1"], ["i2"], [], ["i3", "i4"], ["i5"]]}
    whole, logits = own.recommend(rows, k=3), own.logits(table)
    monkeypatch.setattr("raytune_rec.scoring.scorer._SCORES", 40)
    monkeypatch.setattr("raytune_rec.scoring.scorer.PASS", 3)
    cut = own.recommend(rows, k=3)
    assert [[item for item, _ in row] for row in cut] == [[item for item, _ in row] for row in whole]
    np.testing.assert_allclose(own.logits(table), logits, atol=1e-5)
