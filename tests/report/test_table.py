"""The main table keeps the names of its rows and all numbers, however many domains there are and however narrow it is shown."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from raytune_rec.report.tables.terminal import console
from raytune_rec.report.words import count

UNITS = [f"domain_{n:02d}" for n in range(12)] + ["Arts, Crafts and Sewing of the northern shops"]
ROWS = ["single", "finetune_all_of_the_backbone", "plate_prompt_linear"]


def results() -> dict[str, Any]:
    def value(i: int, j: int) -> dict[str, Any]:
        mean = 0.5 + i / 100 + j / 1000
        return {"auc": {"mean": mean, "low": mean - 0.0012, "high": mean + 0.0012, "replicates": [mean]}}

    rows = {
        name: {
            "units": {unit: value(i, j) for j, unit in enumerate(UNITS)},
            "mean": value(i, 20),
            "trials": 832,
            "tuned_parameters": 1024 + i,
            "tuned_share": 0.01,
            "pretrainings": 0,
        }
        for i, name in enumerate(ROWS)
    }
    protocol = {"split": "leave_one_out", "cohort": "every test row", "candidates": "the rows of the split", "confidence": 0.95}
    return {
        "kind": "rows",
        "lead": "auc",
        "methods": rows,
        "method_order": ROWS,
        "units": {unit: {"n": 100} for unit in UNITS},
        "unit_order": UNITS,
        "winners": {"mean": {"test": "plate_prompt_linear"}},
        "protocol": protocol,
        "comparisons": [],
    }


@pytest.mark.parametrize("width", [80, 100, 120, 400])
def test_no_column_and_no_name_is_lost(width: int) -> None:
    out = Console(file=io.StringIO(), width=width)
    out.print(console(results()))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line) for line in text.splitlines()) <= width and "…" not in text
    blocks = len(re.findall(r"│ single +│", text))
    assert (blocks == 1) is (width == 400)
    for name in ROWS:
        assert text.count(f"│ {name} ") == blocks
    for i in range(len(ROWS)):
        for j in (*range(len(UNITS)), 20):
            assert f"{0.5 + i / 100 + j / 1000:.4f} ±0.0012" in text
    words = "".join(text.split())
    assert all(unit in text for unit in UNITS[:-1]) and text.count("Test AUC") == 1 and words.count("±halfofthe95%interval") == 1
    assert count(832) in text and count(1026) in text and "recipes" not in text


def test_recipes_stand_beside_the_trials_of_their_own_search() -> None:
    told = results()
    told["methods"][ROWS[1]]["recipes"] = 64
    out = Console(file=io.StringIO(), width=400)
    out.print(console(told))
    head, *lines = [line for line in out.file.getvalue().splitlines() if line.startswith(("┃", "│"))]  # type: ignore[attr-defined]
    place = [cell.strip() for cell in head.split("┃")].index("recipes")
    assert [line.split("│")[place].strip() for line in lines] == ["0", "64", "0"]
