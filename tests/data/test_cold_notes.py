"""What `prepare` says of a log that tells little of its cold items, what happens instead, and that a remedy helps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from raytune_rec.config import parse
from raytune_rec.data.layout import domain_file
from raytune_rec.errors import DataError
from raytune_rec.stages import prepare
from raytune_rec.stages.context import Context
from tests.data.test_cold_items import DATA, JOB, log

Said = Callable[..., tuple[list[str], Context]]
COLUMNS = ["user", "item", "split"]
NAMES = ["domain", "user", "item", "timestamp"]


@pytest.fixture
def said(tmp_path: Path, write: Callable[..., str]) -> Said:
    """said(rows, names of further columns, options of the source, sequences=...) -> what `prepare` says, and the run."""

    def made(
        rows: list[tuple],
        *more: str,
        sequences: dict[str, Any] | None = None,
        split: dict[str, Any] | None = None,
        **options: Any,
    ) -> tuple[list[str], Context]:
        names, told = [*NAMES, "label", *more], list[str]()
        log = write("log.csv", [",".join(names), *(",".join(map(str, (*row[:4], 1, *row[4:]))) for row in rows)])
        columns = {name: name for name in names if name in (*NAMES, "label", "stay", "rating", "position")}
        source = {"files": log, "columns": columns, **options}
        parts = {"sequences": DATA["sequences"] | (sequences or {}), "split": DATA["split"] | (split or {})}
        data = {"source": "tabular", "options": source, **parts}
        run = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        context = Context(parse({**JOB, "data": data}), run, told.append, {})
        prepare.run(context)
        return told, context

    return made


def members(context: Context) -> list[str]:
    names = context.store.lookup.catalogue[0]
    return [str(names[i]).removeprefix("x/") for unit in context.store.schema.units for i in unit.members]


def test_cold_items_without_a_feature_are_counted(said: Said) -> None:
    """Every third item has no colour, every second no tags, none of the first ten a price; they train on."""
    known = {i: ("" if i % 3 == 0 else f"c{i % 4}", "" if i % 2 == 0 else "a|b", "" if i < 10 else i) for i in range(40)}
    rows = [(*row, *known[int(row[2][1:])]) for row in log()]
    features = {
        "colour": {"role": "item"},
        "tags": {"role": "item", "kind": "multi"},
        "price": {"role": "item", "kind": "numerical"},
    }
    told, context = said(rows, "colour", "tags", "price", features=features)
    cold = [known[int(name[1:])] for name in members(context)]
    lacking = {name: sum(cell[n] == "" for cell in cold) for n, name in enumerate(features)}
    assert min(lacking.values()) > 0
    counts = ", ".join(f"{name} {count}" for name, count in lacking.items())
    assert f"x: of {len(cold)} cold items some lack a feature; their others and users tell them: {counts}" in told
    every = ", ".join(f"{name} {sum(cell[n] == '' for cell in known.values())}" for n, name in enumerate(features))
    assert f"of 40 items some lack a feature, which then tells nothing of them: {every}" in told
    (unit,) = context.store.schema.units
    assert len(context.store.load(unit, "train")) == 3 * len(cold), "none of them is left out"
    whole, _ = said([(*row, "red") for row in log()], "colour", features={"colour": {"role": "item"}})
    assert not any("lack a feature" in line for line in whole)


@pytest.mark.parametrize("column", ["stay", "rating", "score.0"])
def test_a_value_without_a_number_counts_as_nothing_and_is_told(said: Said, column: str) -> None:
    name, options = column.removesuffix(".0"), {"score": ["score"]} if column == "score.0" else {}
    rows = log()
    told, context = said([(*row, "") for row in rows], name, **options)
    line = f"rows without a number in {column}: {len(rows)} of {len(rows)}; they count as 0 there"
    assert f"{line}; nothing is told by it: map another column, or leave it out" in told
    feedback = context.store.items(feedback=True).feedback
    assert feedback is not None and not np.nan_to_num(feedback.stay if column == "stay" else feedback.value).any()
    told, _ = said([(*row, "" if n < 7 else 3) for n, row in enumerate(rows)], name, **options)
    assert f"rows without a number in {column}: 7 of {len(rows)}; they count as 0 there" in told
    with pytest.raises(DataError, match=r"is not a finite number \(value: 'long'\); 840 rows in all"):
        said([(*row, "long") for row in rows], name, **options)


def test_clocks_that_run_backwards_are_counted_and_the_timestamp_decides(said: Said) -> None:
    rows, of_user = log(), defaultdict(list)
    for row in sorted(rows, key=lambda row: row[3]):
        of_user[row[1]].append(row)
    place = {row: n for own in of_user.values() for n, row in enumerate(own)}
    right = [(*row, place[row]) for row in rows]
    assert not any("backwards" in line for line in said(right, "position")[0])
    late, early = ({own[n] for own in list(of_user.values())[:5] for n in places} for places in ((4, 9), (5, 10)))
    told, context = said([(*row, place[row] + (row in late) - (row in early)) for row in rows], "position")
    assert any(
        line.startswith("clocks that run backwards: 10 rows of 5 users have a later position and an earlier") for line in told
    )
    _, plain = said(rows)
    tables = [pq.read_table(domain_file(c.store_path, "x"), columns=COLUMNS, partitioning=None) for c in (context, plain)]
    assert tables[0].equals(tables[1]), "as where there is no position"


def test_cold_items_of_one_user_are_counted(said: Said) -> None:
    """One user takes an item again and again before all others: in a row of his nobody else tells it."""
    rows = log()
    _, context = said(rows)
    one, *others = members(context)
    early = [("x", "fan", one, n) for n in range(3)]
    told, context = said([*early, *rows])
    assert set(members(context)) == {one, *others}
    assert any(line.startswith(f"x: of {len(others) + 1} cold items 1 have one user alone in training") for line in told)
    assert not any("one user alone" in line for line in said(rows)[0])


def test_groups_without_rows_are_refused_with_their_number_and_fewer_groups_do(said: Said) -> None:
    with pytest.raises(DataError) as error:
        said(log(), sequences={"item_groups": 30})
    assert "domain 'x': 5 cold items, and 25 of 30 groups get none of them" in str(error.value)
    assert "Lower data.sequences.item_groups or make more items cold" in str(error.value)
    _, context = said(log(), sequences={"item_groups": 1})
    assert len(context.store.schema.units) == 1


def test_cold_items_that_nothing_tells_are_counted_and_a_kept_row_or_a_feature_tells_them(said: Said) -> None:
    """Without a row in training, and without any of two features."""
    known = {i: ("" if i % 4 else "red", "" if i % 5 else i) for i in range(40)}
    features = {"colour": {"role": "item"}, "price": {"role": "item", "kind": "numerical"}}

    def lines(kept: int, known: dict[int, tuple]) -> tuple[list[str], list[int]]:
        rows = [(*row, *known[int(row[2][1:])]) for row in log()]
        told, context = said(rows, *features, features=features, split={"cold_kept": kept})
        return [line for line in told if "nothing tells them apart" in line], [int(name[1:]) for name in members(context)]

    told, cold = lines(0, known)
    untold = sum(i % 4 > 0 and i % 5 > 0 for i in cold)
    assert 0 < untold < len(cold)
    assert told == [
        f"x: of {len(cold)} cold items {untold} have neither a row in training nor a feature: nothing tells them apart, and "
        "every model scores them alike (data.split.cold_kept = 1 or more keeps rows)"
    ]
    assert not lines(1, known)[0] and not lines(0, dict.fromkeys(known, ("red", "")))[0]


def test_where_too_many_items_are_cold_a_smaller_share_or_more_rows_of_each_help(said: Said) -> None:
    all_of_them = {"cold": 0.99, "cold_least": 5}
    with pytest.raises(
        DataError, match=r"no row to validate with\.\nLower data\.split\.cold or raise data\.split\.cold_least, so"
    ):
        said(log(), split=all_of_them)
    for mended in ({"cold": 0.3}, {"cold_least": 25}):
        assert said(log(), split=all_of_them | mended)[1].store.schema.rows["x", "valid"]
