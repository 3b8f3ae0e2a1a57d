"""An attribute of cold users that is predicted: no table of a unit shows it, nothing learns it but from what users took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raytune_rec.config import parse
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import AssemblyError, JobError
from raytune_rec.schema.prepared import ALL_DOMAINS, Table, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.settings import settings

DATA = {
    "split": {"kind": "cold_users", "cold": 0.85},
    "sequences": {"length": 6, "negatives": 8, "predict": "colour", "events": 4, "folds": 2, "valid": 0.2},
}
SPLITS = ("train", "valid", "test")
TRAINING = {"objective": "softmax", "metric": "hit@1", "batch_size": 16, "epochs": 15, "patience": 15, "lr": {"default": 0.01}}


def log(told: bool) -> list[str]:
    """Users of four colours. Where it is told, a colour has items of its own; otherwise nothing but the profile says it."""
    draw, rows = np.random.default_rng(4), ["domain,user,item,label,position,colour,age"]
    for u in range(240):
        colour = draw.integers(4)
        items = draw.permutation(24)[:8] if not told else 6 * colour + draw.integers(0, 6, 8)
        rows += [f"shop,u{u},i{i},1,{k},{'' if u == 7 else f'c{colour}'},{draw.integers(20, 60)}" for k, i in enumerate(items)]
    return rows


@pytest.fixture(scope="module")
def hidden(make: Callable[..., Store]) -> Store:
    return make(log(told=False), **DATA)


def accuracy(store: Store, tables: dict[str, Table], backbone: str = "sasrec") -> float:
    """Of the test users of a fold, after training everything and PPR's prompt on the others."""
    own = parse({
        "name": "x", "data": {"source": "tabular", **DATA}, "training": TRAINING, "methods": {},
        "backbone": {"name": backbone, "options": {"width": 16, "inner": 16, "dropout": 0.0}},
        "prompts": {"ppr": {"tokens": 2, "hidden_width": 8, "weight": 0.01}},
    })  # fmt: skip
    row = Method("own", Strategy("own", "scratch", ("all", "prompt"), "on"), backbone, "ppr")
    pack = Pack("p", "own", (Lane(0, 0, {}, "colour.1"),))
    units = {"colour.1": UnitData("colour.1", tables["train"], tables["test"])}
    of = [settings(own, row, pack.lanes[0])]
    result = train_with(own, pack, row, of, store.schema, units, table_feed(own, pack, units, 16)).run()[0]
    assert result.status == "complete" and result.losses[-1] < result.losses[0]
    return result.curve[-1]


def tables(store: Store) -> dict[str, Table]:
    return {split: store.load("colour.1", split) for split in SPLITS}


def test_no_table_of_a_unit_shows_what_it_predicts(hidden: Store) -> None:
    assert hidden.schema.unit_names == ("colour.1", "colour.2") and hidden.load(ALL_DOMAINS, "train").columns["colour"].any()
    every, known = hidden.lookup.users["colour"], []
    for unit in hidden.schema.unit_names:
        for table in (*(hidden.load(unit, split) for split in SPLITS), hidden.tests()["colour"][unit]):
            columns = table.columns
            assert not columns["colour"].any() and not columns["user"].any() and columns["class"].min() > 0
            assert columns["age"].any() and columns["history"].shape[1] == 4 and "candidates" not in columns
            assert len(table) and hidden.schema.rows[unit, "test"]
            last = (columns["history"] > 0).sum(1)
            target = columns.get("target")
            assert target is None or (target[np.arange(len(last)), last] == columns["class"]).all()
            assert target is None or (target > 0).sum() == len(last)
        table = hidden.tests()["colour"][unit]
        test, owner = table.columns, table.owner
        assert np.array_equal(test["positive"], test["class"]) and np.array_equal(every[owner], test["class"])
        known += owner.tolist()
    assert len(known) == len(set(known)) and hidden.lookup.rows("user", pa.array(["u7"]))[0] not in known, "u7 has no colour"
    served = hidden.encode({"history": [["i1", "i2"], []], "colour": ["c1", "c2"], "user": ["u1", "u2"]})
    assert not served["colour"].any() and "candidates" not in served


def test_an_attribute_that_the_profile_alone_gives_away_is_not_found(hidden: Store) -> None:
    """The planted leak: were the attribute's column there, the same training would read it."""
    own = tables(hidden)
    assert accuracy(hidden, own) < 0.42, "chance is 0.25, give or take 0.04"
    leaking = {s: replace(t, columns={**t.columns, "colour": t.columns["class"]}) for s, t in own.items()}
    assert accuracy(hidden, leaking) > 0.9


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec"])
def test_an_attribute_that_histories_tell_is_found(make: Callable[..., Store], backbone: str) -> None:
    store = make(log(told=True), **DATA)
    assert accuracy(store, tables(store), backbone) > 0.8


@pytest.mark.parametrize(
    ("predict", "said"),
    [("size", "'size' does not exist"), ("age", "'age' is numerical"), ("user", "'user' is no attribute of users")],
)
def test_what_cannot_be_predicted_is_refused(make: Callable[..., Store], predict: str, said: str) -> None:
    data = {**DATA, "sequences": {**DATA["sequences"], "predict": predict}}
    with pytest.raises(JobError, match=f"{said}; it must be a categorical attribute of users, and there are colour"):
        make(log(told=True)[:200], **data)


@pytest.mark.parametrize(
    ("strategy", "objective", "said", "remedies"),
    [
        (
            "prompt",
            "softmax",
            "does not train the classifier of 'colour', which is new; choose one .*, such as prompt_output or prompt_backbone",
            [("prompt_output", "softmax"), ("prompt_backbone", "softmax")],
        ),
        (
            "prompt_output",
            "bpr",
            "set training.objective for this method to sampled_softmax or softmax",
            [("prompt_output", "sampled_softmax"), ("prompt_output", "softmax")],
        ),
    ],
)
def test_a_row_that_cannot_learn_it_is_refused_and_its_remedies_are_taken(
    hidden: Store, strategy: str, objective: str, said: str, remedies: list[tuple[str, str]]
) -> None:
    from raytune_rec.strategies.aliases import ALIASES
    from raytune_rec.training.build import assemble

    def assembled(strategy: str, objective: str) -> Any:
        training = {**TRAINING, "objective": objective}
        values = {"name": "x", "data": {"source": "tabular", **DATA}, "training": training, "methods": {}}
        own = parse({**values, "backbone": {"name": "sasrec"}})
        row = Method("own", ALIASES[strategy], "sasrec", "ppr")
        return assemble(own, row, [settings(own, row, Lane(0))], hidden.schema, None)

    with pytest.raises(AssemblyError, match=said):
        assembled(strategy, objective)
    for remedy in remedies:
        assert "output" in assembled(*remedy).trained_groups
