"""Rows to be scored are written as the job's log is, where its source says how."""

from __future__ import annotations

import pyarrow as pa
import pytest

from raytune_rec import config
from raytune_rec.command.answers import written_of
from raytune_rec.components import component, names
from raytune_rec.data.files.written import Written

_JOB = {"name": "a", "backbone": {"name": "linear"}, "methods": {}}


@pytest.mark.parametrize("source", [name for name in names("data.sources") if name != "tabular"])
def test_a_source_with_files_of_its_own_says_nothing_and_reads_none(source: str) -> None:
    """Its options are of any shape, and its files may be on another machine."""
    example = dict(component("data.sources", source).example)
    assert written_of(config.parse({**_JOB, "data": {"source": source, "options": example}})) == Written()


def test_a_table_says_how_its_cells_are_written() -> None:
    options = {
        "files": "nowhere.csv", "delimiter": ";", "encoding": "latin-1", "missing": ["NA"],
        "header": ["user", "item", "Preis", "tags", "v"],
        "domain": "x", "formats": {"price": "decimal_comma", "label": "bool"}, "columns": {"label": "click"},
        "features": {
            "price": {"role": "item", "kind": "numerical", "column": "Preis"}, "tags": {"role": "item", "kind": "multi"},
            "v": {"role": "user", "kind": "vector", "separator": " "}, "age": {"role": "user", "kind": "numerical"},
        },
    }  # fmt: skip
    written = written_of(config.parse({**_JOB, "data": {"source": "tabular", "options": options}}))
    table = pa.table(
        {
            "Preis": ["1.234,50", " NA ", "12.5", "dear", "€ 3,-"], "tags": ["a|b", "", None, "NA", "|c| "],
            "v": ["0.5 1", "NA", "", "2 3", "4"], "age": ["7", "NA", "", "8,5", "9"], "user": ["NA", "u", "", "v", "w"],
        }
    )  # fmt: skip
    assert written.read(table).to_pydict() == {
        "Preis": ["1234.5", None, "12.5", "dear", "€ 3,-"], "tags": [["a", "b"], [], [], [], ["c"]],
        "v": [["0.5", "1"], [], [], ["2", "3"], ["4"]], "age": ["7", None, "", "8,5", "9"], "user": [None, "u", "", "v", "w"],
    }  # fmt: skip
    assert written.form.delimiter == ";" and not written.form.header, "rows to be scored have a header of their own"


def test_where_nothing_is_said_cells_stay() -> None:
    table = pa.table({"user": ["NA", "1,5"], "item": [None, ""]})
    assert Written().read(table).equals(table)
