"""Item texts that a job composes: their tokens, and what is told of texts that are missing, alike or too long."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError, JobError
from raytune_rec.job.data import DataOptions, TextOptions
from raytune_rec.stages.notes import notes
from tests.data.conftest import ITEMS

COMPOSED = {"general": ["kind", "title"], "whole": ["kind", "title", "brand"]}


def test_item_texts_have_tokens_in_the_order_of_their_columns(shop: Callable[..., Store]) -> None:
    store = shop("store", text={"length": 20, "items": COMPOSED})
    assert [field.name for field in store.schema.texts] == ["general", "whole"], "in place of the columns alone"
    texts = {
        "Red pen Bic Pens": "(kind: Pens) Red pen (brand: Bic)",
        "Blue pen of great length  Pens": "(kind: Pens) Blue pen of great length",
    }
    names = store.vocabulary("item")["raw"].to_pylist()
    read = store.items(["general", "whole"]).columns
    for row, raw in enumerate(names, 1):
        title, brand, kind = ITEMS[raw.removeprefix("shop/")]
        whole = " ".join([*([f"(kind: {kind})"] if kind else []), title, *([f"(brand: {brand})"] if brand else [])]).strip()
        assert whole == texts.get(f"{title} {brand} {kind}", whole)
        assert np.array_equal(read["whole"][row], store.tokenizer.encode([whole], 20)[0])
        assert np.array_equal(read["general"][row], store.tokenizer.encode([whole.partition(" (brand")[0]], 20)[0])


def test_texts_that_are_missing_alike_or_long_are_counted_and_told(shop: Callable[..., Store]) -> None:
    text = {"length": 4, "items": COMPOSED}
    store = shop("store", text=text)
    summary = json.loads((store.path / "summary.json").read_text())
    general = {"of": "item", "longer": 1, "all": 5, "empty": 1, "different": 2, "alike": 3, "example": "(kind: Pens) Red pen"}
    assert summary["texts"]["general"] == general
    assert summary["texts"]["whole"] | {"example": ""} == general | {"longer": 4, "different": 3, "alike": 2, "example": ""}
    told = notes(summary, DataOptions(source="tabular", text=TextOptions.model_validate(text)))
    assert "text general: 1 of 5 items have none; a model of texts alone knows nothing of them" in told
    assert any(line.startswith("text general: 3 of 5 items have one that another of their domain has too") for line in told)
    assert "text whole: 4 of 5 are longer than 4 tokens, the rest of which is not read (data.text.length)" in told


def test_texts_that_are_all_alike_are_told(shop: Callable[..., Store]) -> None:
    store = shop("store", dict.fromkeys(ITEMS, ("Pen", "", "")), text={"items": {"general": ["title"]}})
    told = notes(json.loads((store.path / "summary.json").read_text()), DataOptions(source="tabular", text=TextOptions()))
    assert "text general: all items that have one have the same ('Pen'); it tells none of them apart" in told


def test_jobs_without_item_texts_are_what_they_were(shop: Callable[..., Store]) -> None:
    store = shop("store", text={"length": 4})
    assert [field.name for field in store.schema.texts] == ["title", "brand", "kind"]
    marker = json.loads((store.path / "_complete.json").read_text())
    assert marker["inputs"]["options"]["text"] == {"tokenizer": "words", "length": 4}, "else their stores would be made anew"


@pytest.mark.parametrize(
    ("items", "told", "mended"),
    [
        (
            {"general": ["title", "colour"]},
            r"data.text.items.general: 'colour' is no text column .* there are title, brand, kind",
            {"general": ["title", "brand", "kind"]},
        ),
        ({"general": ["price"]}, r"'price' is no text column", {}),
    ],
)
def test_item_texts_of_columns_that_are_not_there_are_refused(
    items: dict[str, list[str]], told: str, mended: dict[str, list[str]], shop: Callable[..., Store]
) -> None:
    with pytest.raises(DataError, match=told):
        shop("store", text={"items": items})
    assert shop("mended", text={"items": mended}).schema.texts


def test_a_text_that_nobody_has_is_refused(shop: Callable[..., Store]) -> None:
    with pytest.raises(DataError, match=r"data.text: nobody has a text brands; map another column, or leave it out"):
        shop("store", dict.fromkeys(ITEMS, ("Pen", "", "")), text={"items": {"brands": ["brand"], "general": ["title"]}})
    for n, items in enumerate(({"brands": ["title"], "general": ["title"]}, {"general": ["title"]})):
        store = shop(f"mended{n}", dict.fromkeys(ITEMS, ("Pen", "", "")), text={"items": items})
        assert [field.name for field in store.schema.texts] == list(items)


def test_a_column_is_named_once() -> None:
    for items in ({"general": []}, {"general": ["title", "title"]}):
        with pytest.raises((JobError, ValueError), match=r"items.general: text columns, each once"):
            TextOptions(items=items)
