"""What a model is asked: nothing is answered that was not asked, and what was not known is marked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from raytune_rec import components
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.scoring.scorer import Scorer
from raytune_rec.scoring.tuned import scoring_model
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.training.parts import parts_of
from tests.scoring.conftest import drawn, log, scorer, split


@pytest.fixture(scope="module")
def single(make: Callable[..., Store]) -> Scorer:
    """Single interactions of two domains; the model was tuned on one of them."""
    return untuned(make(log(("shop", "club")), split={"kind": "hash", "valid": 0.1, "test": 0.1}))


def untuned(store: Store) -> Scorer:
    values = {"backbone": ("backbones", "deepfm", {"width": 4, "hidden": [4]}), "prompt": ("prompts", "none", {})}
    options: Any = {owner: [components.options_of(*of)] for owner, of in values.items()}  # type: ignore[arg-type]
    parts = parts_of("deepfm", "none", ALIASES["single"], options, store.schema)
    tuned, start = split(drawn(parts, 1))
    return Scorer(scoring_model(parts, [tuned], start), store, store.schema.unit("shop"))


ROWS = {"user": ["u1", "u2", "u3"], "item": ["i1", "i2", "i3"]}


def test_any_form_of_columns_gives_the_same_scores(single: Scorer) -> None:
    expected = single.score(ROWS)
    assert isinstance(expected, np.ndarray) and expected.shape == (3,) and expected.unknown == {}
    for rows in (
        pd.DataFrame(ROWS, index=[7, 7, 9]),
        {n: np.array(v) for n, v in ROWS.items()},
        {n: pd.Series(v, index=[3, 1, 2]) for n, v in ROWS.items()},
        pa.table(ROWS),
        pa.table(ROWS).to_batches()[0],
        [{"user": u, "item": i} for u, i in zip(*ROWS.values(), strict=True)],
        {**ROWS, "domain": ("shop", " shop", "shop\t")},
        {"user": [" u1", "u2 ", "\u200bu3"], "item": ["i1", " i2 ", "i3\ufeff"]},
    ):
        assert single.score(rows).tolist() == expected.tolist()
    assert single.score({"user": [], "item": []}).shape == (0,)


def test_an_identifier_is_read_as_it_is_in_files(make: Callable[..., Store]) -> None:
    """Cleaned once: a second time would make another user of one whose blanks stand inside."""
    odd = "\u200b \u200bu1"
    lines = [line.replace(",u2,", f",{odd},") for line in log()]
    store = make(lines, split={"kind": "hash", "valid": 0.1, "test": 0.1})
    ids = store.encode({"user": [odd, "u1"], "item": ["i1", "i1"], "domain": ["shop", "shop"]})["user"]
    assert ids[0] not in (0, ids[1])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({**ROWS, "user": ["u1", "\ud83d", "u3"]}, r"'\\ud83d' is no Unicode text .*; decode it anew from its bytes"),
        (
            {**ROWS, "domain": ["shop", "shpo", "club"]},
            r"rows 1 name 'shpo', and there is no such domain; did you mean 'shop'\? This",
        ),
        (
            {**ROWS, "domain": ["club", "SHOP", None]},
            r"rows 0 name 'club', and this artifact was tuned for 'shop' .* artifact of 'club'",
        ),
        ({**ROWS, "domain": ["shop", "shop", None]}, r"rows 2 name none; name shop"),
        ({**ROWS, "user": "u1"}, r"column user: it must be a list .*\(given: 'u1', of type str\); write \['\.\.\.'\]"),
        ({**ROWS, "item": {"i1": 1, "i2": 1, "i3": 1}}, r"column item: it must be a list .* of type dict"),
        ({**ROWS, "item": {"i1", "i2", "i3"}}, r"column item: it must be a list .* of type set"),
        ({**ROWS, "user": 5}, r"column user: it must be a list .*'5', of type int"),
        ({**ROWS, "user": np.array("u1")}, r"column user: it must be a list .* of type ndarray"),
        ({**ROWS, "item": [["i1"], "i2", "i3"]}, r"column item: each row must be one value \(row 0: given: .* of type list"),
        ({**ROWS, "item": np.array([["i1"], ["i2"], ["i3"]])}, r"column item: each row must be one value"),
        ({**ROWS, "colour": [{"c": 1}] * 3}, r"column colour: each row must be one value"),
        ({"user": ["u1"], "item": ["i1", "i2"]}, "unequal length"),
        ({"user": ["u1"]}, "no column item"),
        ({}, "no column user, item"),
        ({**ROWS, "usr": ["u1"] * 3}, "no column 'usr'"),
        ([["u1", "i1"]], r"give a dictionary of columns.* \(given: list\)"),
        (None, r"given: NoneType"),
        (pd.DataFrame([["u1", "u2", "i1"]], columns=["user", "user", "item"]), "column user stands there twice"),
    ],
)
def test_what_is_no_column_of_rows_is_refused_in_words(single: Scorer, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        single.score(rows)


ONE = {"user": ["u1"], "item": ["i1"]}


@pytest.mark.parametrize(
    ("rows", "told", "remedies"),
    [
        ({**ONE, "user": ["\ud83d"]}, "decode it anew from its bytes", [{**ONE, "user": [b"\xf0\x9f\x98\x80".decode()]}]),
        ({**ONE, "domain": ["shpo"]}, r"did you mean 'shop'\?", [{**ONE, "domain": ["shop"]}]),
        ({**ONE, "domain": ["club"]}, "or leave the column out to score them as rows of 'shop'", [ONE]),
        ({**ONE, "domain": [None]}, "name none; name shop", [{**ONE, "domain": ["shop"]}]),
        ({**ONE, "user": "u1"}, r"write \['\.\.\.'\] for one row", [ONE]),
        ({**ONE, "user": [["u1"]]}, r"each row must be one value .*; write \['\.\.\.'\] for one row", [ONE]),
        ({"user": ["u1"], "item": ["i1", "i2"]}, "give one value for each row", [{"user": ["u1", "u1"], "item": ["i1", "i2"]}]),
        ({**ONE, "usr": ["u1"]}, r"they have user, item, domain, colour, age\. Rename it, or leave it out", [ONE]),
        ("u1,i1", r"dictionary of columns, such as {'user': \['u1'\], 'item': \['i1'\]}, a pandas frame, an Arrow table or rec",
         [{"user": ["u1"], "item": ["i1"]}, pd.DataFrame(ONE), pa.table(ONE), [{"user": "u1", "item": "i1"}]]),
        (pd.DataFrame([["u1", "u2", "i1"]], columns=["user", "user", "item"]), "stands there twice; keep one of each",
         [pd.DataFrame(ONE)]),
        ({**ONE, "age": ["old"]}, "give None where it is not known", [{**ONE, "age": [None]}, {**ONE, "age": ["31"]}]),
        ({**ONE, "user": ["u1", 2], "item": ["i1", "i1"]}, "give all of them as text",
         [{"user": ["u1", "2"], "item": ["i1"] * 2}]),
    ],
)  # fmt: skip
def test_rows_as_an_error_names_them_are_scored(single: Scorer, rows: Any, told: str, remedies: list[Any]) -> None:
    with pytest.raises(DataError, match=told):
        single.score(rows)
    for mended in remedies:
        assert np.isfinite(single.score(mended)).all()


def test_rows_of_another_domain_are_scored_by_its_own_artifact(single: Scorer) -> None:
    rows = {**ONE, "domain": ["club"]}
    with pytest.raises(DataError, match="score them with the artifact of 'club'"):
        single.score(rows)
    assert single.store is not None
    assert len(Scorer(single.model, single.store, single.store.schema.unit("club")).score(rows)) == 1


def test_a_domain_is_named_in_any_case_or_refused_all_at_once(single: Scorer) -> None:
    with pytest.raises(DataError) as refused:
        single.score({**ROWS, "domain": ["club", "Shop", "elsewhere"]})
    assert len(refused.value.problems) == 3 and "did you mean 'shop'?" in refused.value.problems[1]


def test_what_training_did_not_know_is_marked_or_refused(single: Scorer) -> None:
    rows = {"user": ["u1", "who", None], "item": ["i1", "i2", "what"], "colour": ["c1", "c9", None]}
    found = single.score(rows)
    assert {n: m.tolist() for n, m in found.unknown.items()} == {
        "user": [False, True, True],
        "item": [False, False, True],
        "colour": [False, True, False],
    }
    assert np.isfinite(found).all()
    with pytest.raises(DataError) as refused:
        single.score(rows, unknown="raise")
    assert "column user: 2 of 3 rows hold what training did not know (rows 1, 2: who, None)" in refused.value.problems[0]
    known = {n: v[:1] for n, v in rows.items()}  # the remedy
    assert single.score(known, unknown="raise").tolist() == found[:1].tolist()
    assert single.score(rows, unknown="backbone").tolist() == found.tolist()
    with pytest.raises(DataError, match="unknown must be 'backbone' or 'raise'"):
        single.score(rows, unknown="ignore")  # type: ignore[arg-type]


def test_histories_mark_what_they_hold_and_refuse_what_is_none(store: Store) -> None:
    own = scorer(store, "joint.1")
    rows = {"history": [["i1", "new"], [], ["i2", None]], "colour": ["c1", "none such", None]}
    found = own.recommend(rows, k=2)
    assert [len(row) for row in found] == [2, 2, 2]
    assert {n: m.tolist() for n, m in found.unknown.items()} == {"colour": [False, True, False], "history": [True, False, False]}
    marked = own.score({**rows, "item": ["i3", "newer", "i4"]}).unknown
    assert marked["item"].tolist() == [False, True, False] and "history" in marked
    for ask in (own.recommend, lambda r, **how: own.score({**r, "item": ["i1"] * 3}, **how)):
        with pytest.raises(DataError, match=r"column history: 1 of 3 rows hold items that training did not know \(rows 0"):
            ask(rows, unknown="raise")
    for history in ("i1", ["i1", "i2"], {"i1": 1}, 7):
        with pytest.raises(DataError, match="column history: "):
            own.recommend({"history": history})
    for k in (0, -1, 2.5, True, None):
        with pytest.raises(DataError, match="k must be a whole number, 1 or more"):
            own.recommend(rows, k=k)  # type: ignore[arg-type]


def test_lists_that_hold_what_training_did_not_know_are_marked_or_refused(store: Store, make: Callable[..., Store]) -> None:
    """The values of a feature, and what a user took elsewhere."""
    own, rows = scorer(store, "joint.1"), {"history": [["i1"], ["i2"]], "taken": [["i3", "nonsense"], ["i4"]]}
    assert {n: m.tolist() for n, m in own.recommend(rows).unknown.items()} == {"taken": [True, False]}
    with pytest.raises(DataError, match=r"column taken: 1 of 2 rows hold items that training did not know"):
        own.recommend(rows, unknown="raise")
    assert own.recommend({**rows, "taken": [["i3"], ["i4"]]}, unknown="raise").unknown == {}  # the remedy
    lines = [f"{line},{'tags' if not i else f't{i % 3}|t{i % 5}'}" for i, line in enumerate(log())]
    tags = make(lines, features={"tags": {"role": "item", "kind": "multi"}}, split={"kind": "hash", "valid": 0.1, "test": 0.1})
    single = untuned(tags)
    asked = {"user": ["u1", "u2", "u3"], "item": ["i1", "i2", "i3"], "tags": [["t1", "typo"], [], ["t2", "t0"]]}
    assert {n: m.tolist() for n, m in single.score(asked).unknown.items()} == {"tags": [True, False, False]}
    with pytest.raises(DataError, match=r"column tags: 1 of 3 rows hold what training did not know \(rows 0: \['t1', 'typo'\]\)"):
        single.score(asked, unknown="raise")
