"""The jobs of UPSR that vary one thing, in small: sizes of model and data, attributes, how many items are ranked again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raytune_rec import pipeline
from raytune_rec.config import parse
from raytune_rec.storage.files import read_json
from tests.pipeline.here import without_ray
from tests.pipeline.text_jobs import small, write_log

LARGE, PART, NEW = ("games", "industrial", "tools"), ("industrial", "tools"), ("beauty", "office")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    monkeypatch.chdir(tmp_path)


def ran(name: str, domains: tuple[str, ...], epochs: int = 1) -> dict[str, Any]:
    """The run of a shipped job where its other jobs look for it, with one trial of each method."""
    values = small(name, write_log(Path(), domains))
    values["pretrain"] = {"workers": 0, "training": {"epochs": epochs, "patience": epochs, "lr.default": 5e-3}}
    values["training"]["epochs"] = 1
    values["tune"] = {"trials": 1}
    out = Path("runs").absolute() / name
    pipeline.run(parse(values), out, say=lambda line: None)
    results = read_json(out / "results.json")
    assert {*results["methods"]} == {*values["methods"]} and not any(row.get("failed") for row in results["methods"].values())
    return results


def areas(results: dict[str, Any]) -> dict[str, float]:
    return {name: row["mean"]["auc"]["mean"] for name, row in results["methods"].items()}


def test_models_of_two_sizes_and_of_more_and_less_data_are_tuned_and_tried_as_they_are() -> None:
    ran("upsr_sizes_pretrain", LARGE, epochs=12)
    made = read_json(Path("runs/upsr_sizes_pretrain/pretrain.json"))
    assert made["small"]["parameters"] < made["base"]["parameters"]
    ran("upsr_sizes_part", PART, epochs=12)
    found = areas(ran("upsr_sizes", NEW))
    none = read_json(Path("runs/upsr_sizes/pretrain.json"))["none"]
    assert none["best_epoch"] == 0 and none["curve"][0] == none["curve"][-1], "its recipe trains nothing"
    assert found["base_zero_shot"] > 0.6 > found["none_zero_shot"], "titles name the kinds"
    again = ran("upsr_rerank", NEW)["units"]["beauty"]
    assert [again[f"best {size}_found"] for size in (100, 200, 300, 400, 500)] == [1] * 5, "of 36 items"


def test_models_that_read_other_attributes_are_trained_and_taken_to_new_domains() -> None:
    ran("upsr_attributes", NEW[:1])
    ran("upsr_selection_pretrain", PART, epochs=12)
    found = areas(ran("upsr_selection", NEW[:1]))
    assert min(found[f"{text}_zero_shot"] for text in ("t", "ct")) > 0.55, "titles name the kinds"
