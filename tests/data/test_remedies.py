"""Remedies that errors of splits, folds, groups and candidates name are followed: the log is then prepared."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.stages.prepare import check_groups

TASKS: dict[str, Any] = {"length": 5, "tasks": ["few"], "events": 3, "folds": 2, "negatives": 4, "valid": 0.4}
COLD_ITEMS: dict[str, Any] = {"kind": "cold_items", "cold": 0.3, "cold_least": 8, "cold_kept": 2, "cold_held": 4}

Changes = dict[str, Any]
CASES: list[tuple[str, Changes, str, list[Changes]]] = [
    (
        "more candidates than a user left",
        {"split": {"kind": "leave_one_out"}, "sequences": {"length": 5, "negatives": 33}},
        r"data\.sequences\.negatives = 33, but some user of 'x/valid' has only 20 items never taken; lower it",
        [{"sequences": {"length": 5, "negatives": 20}}],
    ),
    (
        "all users cold, by their rows",
        {"split": {"kind": "cold_users", "cold_below": 50}, "sequences": TASKS},
        r"all 30 users are cold \(data\.split\.cold_below = 50\).*; lower data\.split\.cold_below",
        [{"split": {"kind": "cold_users", "cold_below": 13}}],
    ),
    (
        "no user cold",
        {"split": {"kind": "cold_users", "cold_below": 2}, "sequences": TASKS},
        r"none of 30 users is cold \(data\.split\.cold_below = 2\).*; raise data\.split\.cold_below",
        [{"split": {"kind": "cold_users", "cold_below": 13}}],
    ),
    (
        "no item cold",
        {"split": {**COLD_ITEMS, "cold_least": 400}, "sequences": {"length": 5, "negatives": 4}},
        r"no item is cold.*lower cold_least, or raise cold",
        [{"split": COLD_ITEMS}],
    ),
    (
        "a fold without rows",
        {"split": {"kind": "cold_users", "cold": 0.3}, "sequences": {**TASKS, "folds": 30}},
        r"no row of .*with.*Make more users cold \(data\.split\), raise data\.sequences\.valid, or lower data\.sequences\.folds",
        [
            {"split": {"kind": "cold_users", "cold": 0.9}, "sequences": {**TASKS, "folds": 3}},
            {"sequences": {**TASKS, "folds": 2}},
        ],
    ),
    (
        "a fold too small to validate",
        {"split": {"kind": "cold_users", "cold": 0.4}, "sequences": {**TASKS, "valid": 0.01}},
        r"no row of .* to validate with.*raise data\.sequences\.valid",
        [{"sequences": {**TASKS, "valid": 0.4}}],
    ),
    (
        "more groups than items",
        {"split": COLD_ITEMS, "sequences": {"length": 5, "negatives": 4, "item_groups": 20}},
        r"domain 'x': \d+ cold items, and \d+ of 20 groups get none of them\.\nLower data\.sequences\.item_groups or make more "
        r"items cold \(data\.split\)",
        [
            {"sequences": {"length": 5, "negatives": 4, "item_groups": 1}},
            {"split": {**COLD_ITEMS, "cold": 0.9}, "sequences": {"length": 5, "negatives": 4, "item_groups": 2}},
        ],
    ),
    (
        "a group that a hash leaves empty",
        {"split": {**COLD_ITEMS, "cold": 0.4}, "sequences": {"length": 5, "negatives": 4, "item_groups": 9}},
        r"domain 'x': \d+ cold items, and \d of 9 groups get none of them\.\nLower data\.sequences\.item_groups, set "
        r"data\.sequences\.grouped_by = 'arrival', which divides them evenly, or make more items cold \(data\.split\)",
        [{"sequences": {"length": 5, "negatives": 4, "item_groups": 9, "grouped_by": "arrival"}}],
    ),
    (
        "a group that a hash leaves empty, without times to divide by",
        {"split": {**COLD_ITEMS, "cold": 0.4}, "sequences": {"length": 5, "negatives": 4, "item_groups": 9}, "timed": False},
        r"\d of 9 groups get none of them\.\nLower data\.sequences\.item_groups or make more items cold \(data\.split\)",
        [{"sequences": {"length": 5, "negatives": 4, "item_groups": 2}}],
    ),
    (
        "arrival without times",
        {"split": COLD_ITEMS, "sequences": {"length": 5, "negatives": 4, "grouped_by": "arrival"}, "timed": False},
        r"data\.sequences\.grouped_by = 'arrival' needs timestamps.*set it to 'hash'",
        [{"sequences": {"length": 5, "negatives": 4, "grouped_by": "hash"}}],
    ),
]


@pytest.fixture
def prepared(tmp_path: Path, write: Callable[..., str], make: Callable[..., Store]) -> Callable[[Changes], Store]:
    """Thirty users of one domain take 10 to 14 of 34 items each, the last rows of all the same two."""
    rows = [f"u{u},i{(u * 5 + k * 3) % 34},{100 * u + k}" for u in range(30) for k in range(10 + u % 5)]
    log = write("log.csv", ["user,item,ts", *rows])
    options = {"files": log, "domain": "x", "columns": {"user": "user", "item": "item", "timestamp": "ts"}}
    untimed = {**options, "columns": {"user": "user", "item": "item", "position": "ts"}}
    made: list[Store] = []

    def run(data: Changes) -> Store:
        data = dict(data)
        of = options if data.pop("timed", True) else untimed
        made.append(make("tabular", of, out=f"store{len(made)}-{len(list(tmp_path.iterdir()))}", **data))
        check_groups(made[-1].schema)
        made[-1].reader.check_candidates()
        return made[-1]

    return run


@pytest.mark.parametrize(("wrong", "text", "remedies"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_remedy_that_an_error_of_a_split_names_prepares_the_log(
    prepared: Callable[[Changes], Store], wrong: Changes, text: str, remedies: list[Changes]
) -> None:
    with pytest.raises(DataError) as raised:
        prepared(wrong)
    assert re.search(text, str(raised.value), re.DOTALL), raised.value
    for remedy in remedies:
        assert prepared({**wrong, **remedy}).schema.rows
