"""What a row is and which rows are a unit's are values: kept in the store and in the artifact, never told by a name."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raytune_rec.artifacts import prompt
from raytune_rec.artifacts.prompt_facts import from_first
from raytune_rec.data.schema_file import schema_from, schema_values
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import SPLITS, DataSchema, Field
from raytune_rec.task import Task, Unit
from tests.data.conftest import Make
from tests.golden.make import prompt_parts

_PACKAGE = Path(__file__).parents[2] / "raytune_rec"
_FIELDS = tuple(Field(name, "categorical", name, size) for name, size in (("user", 5), ("item", 9), ("domain", 2)))  # type: ignore[arg-type]
SCHEMA = DataSchema((*_FIELDS[:2], replace(_FIELDS[2], size=3)), ("x", "y"), "f")
_ROWS = [f"u{u},i{i},{(u + i) % 2}" for u in range(40) for i in range(9)]


def test_the_data_section_chooses_the_task() -> None:
    sequences = {"length": 7, "repeats": "count"}
    cold = {"split": {"kind": "cold_users"}, "sequences": {**sequences, "predict": "age"}}
    assert DataOptions(source="x").task == Task()
    items = DataOptions.model_validate({"source": "x", "split": {"kind": "leave_one_out"}, "sequences": sequences}).task
    assert items == Task("lists", 7, repeats=True) == items.pretrained and "ndcg@10" in items.metrics
    told = DataOptions.model_validate({"source": "x", **cold}).task
    assert told == Task("classes", 7, "age", repeats=True) and told.pretrained == items and told.telling("age") == told
    assert Task().metrics == ("auc", "logloss") and Task().pretrained == Task()


def test_a_schema_keeps_task_and_units_and_reads_those_of_the_first_release() -> None:
    units = (Unit.of_fold("few", 1), Unit("new", "items", "a", members=(2, 5)))
    schema = DataSchema(_FIELDS, ("a",), "f", {(n, s): 3 for n in ("a", "few.1", "new") for s in SPLITS}, Task("lists", 7), units)
    values = json.loads(json.dumps(schema_values(schema)))
    assert schema_from(values) == schema and schema.unit("new").members == (2, 5) and schema.unit("all").kind == "all"
    old = {
        "fields": [*values["fields"], {**values["fields"][0], "name": "few"}],
        "domains": ["a"],
        "fingerprint": "f",
        "rows": {},
        "length": 7,
        "cohorts": ["few.1"],
    }
    old |= {"rows": {n: dict.fromkeys(SPLITS, 3) for n in ("a", "few.1")}, "sequences": {"options": {"repeats": "count"}}}
    read = schema_from(old)
    assert read.task == Task("lists", 7, repeats=True) and read.units == units[:1]
    assert schema_from({**old, "predicts": "few"}).task == Task("classes", 7, "few", repeats=True)
    with pytest.raises(DataError, match=r"there is no unit 'b'; the data have few\.1, new"):
        schema.unit("b")


def test_artifacts_of_the_first_release_have_a_task_and_a_unit() -> None:
    old = {"format": 1, "unit": "few.1", "about": "New users.", "history": 50, "predicts": ""}
    assert from_first(old)["unit"] == vars(Unit.of_fold("few", 1)) and from_first(old)["task"] == vars(Task("lists", 50))
    assert from_first({**old, "about": ""})["unit"] == vars(Unit("few.1", domain="few.1"))
    assert from_first({**old, "predicts": "few"})["task"] == vars(Task("classes", 50, "few"))
    assert from_first({"format": 1, "unit": "music"})["task"] == vars(Task())


def test_a_group_of_cold_items_is_a_unit(make: Make, write: Callable[..., str], tmp_path: Path) -> None:
    """Written into a store, opened, and kept in an artifact."""
    columns = {"user": "user", "item": "item", "label": "label"}
    whole = make("tabular", {"files": [write("log.csv", ["user,item,label", *_ROWS])], "columns": columns, "domain": "shop"})
    group = Unit("new.1", "items", whole.schema.domains[0], members=(2, 5))
    path = Path(whole.path) / "schema.json"
    values = json.loads(path.read_text())
    schema = replace(whole.schema, groups=(group,), rows={**whole.schema.rows, **{("new.1", s): 1 for s in SPLITS}})
    path.write_text(json.dumps({**values, **schema_values(schema)}))
    opened = Store.open(whole.path)
    assert opened.schema.units == (group,)
    for split in SPLITS:
        every, rows = whole.load(group.domain, split), opened.load("new.1", split)
        here = np.isin(every.columns["item"], group.members)
        assert here.any() and all(np.array_equal(c[here], rows.columns[n]) for n, c in every.columns.items())
    (table,) = opened.tests()["new.1"].values()
    assert table.owner is not None and len(table.owner) == len(table)
    facts, tensors = prompt_parts("0" * 16)
    prompt.save(tmp_path / "prompt", replace(facts, unit=group), tensors)
    assert prompt.read(tmp_path / "prompt").unit == group


def test_nobody_else_asks_what_rows_are() -> None:
    """Neither task nor unit: `data/` reads them, `tasks/` says what differs, `schema` and `config` hold the values."""
    old = r"schema\.(length|predicts|cohorts)|\.histories\b|task\.name\s*[!=]="
    asks = re.compile(old + r"|(if|not|and|or) [\w.]*task\.(length|attribute)")
    apart = re.compile(r"unit\w*(\.name)?\.(partition|rpartition|split|startswith|endswith)\(")
    theirs = ("data", "tasks", "task.py", "schema", "config.py")
    files = [p for p in _PACKAGE.rglob("*.py") if p.relative_to(_PACKAGE).parts[0] not in theirs]
    assert [(p.name, m[0]) for p in files if (m := asks.search(p.read_text()))] == []
    assert [(p.name, m[0]) for p in _PACKAGE.rglob("*.py") if (m := apart.search(p.read_text()))] == []


def test_a_small_group_of_items_takes_the_search_of_its_domains_largest() -> None:
    groups = tuple(Unit(f"{d}.cold.{n}", "items", d, "cold items", n, (n,)) for d in ("x", "y") for n in (1, 2, 3))
    rows = dict(zip([u.name for u in groups], (250, 90, 400, 30, 60, 10), strict=True))
    schema = replace(SCHEMA, groups=groups, rows={(name, "valid"): count for name, count in rows.items()})
    own = {u.name: u.name for u in groups}
    assert schema.searched(200) == own | {"x.cold.2": "x.cold.3"} | {f"y.cold.{n}": "y.cold.2" for n in (1, 2, 3)}
    assert schema.searched(0) == own == replace(schema, rows={}).searched(200), "where rows are not known yet all are searched"
    folds = tuple(Unit.of_fold("few", n) for n in (1, 2))
    assert replace(schema, groups=folds, rows={("few.1", "valid"): 3}).searched(200) == {u.name: u.name for u in folds}
    assert replace(schema, groups=(), rows={(d, "valid"): 3 for d in schema.domains}).searched(9) == {
        d: d for d in schema.domains
    }
