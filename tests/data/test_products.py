"""Metadata of Amazon's products beside the sequences: both published forms, and what is told of what they lack."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks import beauty_metadata
from raytune_rec import components
from raytune_rec.data.files import on_disk
from raytune_rec.data.sources.amazon import Amazon
from raytune_rec.errors import DataError, JobError
from raytune_rec.job.data import DataOptions
from raytune_rec.stages import notes

LONG = "x" * 2001
SAID = 'Rose soap, for "him" \\d'
OLD = [  # 2014: Python literals, paths of categories
    """{'asin': 'B1', 'title': 'Rose soap, for "him" \\d', 'price': 4.5, 'brand': "Dove's",""" +
    """ 'categories': [['Beauty', 'Soap'], ['Gifts']]}""",
    """{'asin': 'B2', 'title': 'Soap', 'categories': [[]], 'related': {'also_bought': ['B1']}}""",
]  # fmt: skip
NEW = [  # 2018: JSON, a flat list
    json.dumps({"asin": "B1", "title": SAID, "price": "$4.50", "brand": "Dove's", "category": ["Beauty", "Soap", "Gifts"]}),
    json.dumps({"asin": "B2", "title": "Soap", "brand": "", "price": "", "category": [], "also_buy": ["B1"]}),
]
BOTH = [
    {"domain": "Beauty", "item": "B1", "brand": "Dove's", "categories": ["Beauty", "Soap", "Gifts"], "price": 4.5,
     "title": SAID, "words": ["rose", "soap", "for", "him", "d"]},
    {"domain": "Beauty", "item": "B2", "brand": None, "categories": [], "price": None, "title": "Soap", "words": ["soap"]},
]  # fmt: skip


@pytest.fixture
def opened(tmp_path: Path):
    """opened(lines of metadata, options) -> the source, on ten users of three products each."""
    (tmp_path / "Beauty").mkdir()
    sequences = [f"u{n} B{4 + n % 4} B{1 + n % 3} B{1 + (n + 1) % 3} B{1 + (n + 2) % 3}" for n in range(10)]
    (tmp_path / "Beauty" / "user_sequence.txt").write_text("\n".join(sequences) + "\n")

    def made(lines: list[str], **options: Any) -> tuple[Amazon, dict[str, Any]]:
        (tmp_path / "meta.json.gz").write_bytes(gzip.compress("\n".join(lines).encode("utf-8", "surrogatepass")))
        given = {"path": str(tmp_path), "domains": ["Beauty"], "metadata": {"Beauty": str(tmp_path / "meta.json.gz")}, **options}
        return Amazon(Amazon.Options(**given)), given

    return made


def cells(source: Amazon) -> list[dict[str, Any]]:
    """The rows, with None for a blank cell, and without the blanks of lists."""
    rows = [row for block in source.items() for row in block.table.to_pylist()]
    return [
        {key: [w for w in cell if w] if isinstance(cell, list) else cell or None for key, cell in row.items()} for row in rows
    ]


@pytest.mark.parametrize("lines", [OLD, NEW], ids=["2014", "2018"])
@pytest.mark.parametrize("block_bytes", [8 << 20, 16])
def test_both_published_forms_say_the_same(opened, monkeypatch: pytest.MonkeyPatch, lines: list[str], block_bytes: int) -> None:
    monkeypatch.setattr(on_disk, "BLOCK_BYTES", block_bytes)
    source, _ = opened(lines)
    assert cells(source) == BOTH
    assert not any(block.rejects or block.emptied for block in source.items())
    kinds = [(field.name, field.kind, field.role) for field in source.fields()]
    assert kinds == [("brand", "categorical", "item"), ("categories", "multi", "item"), ("price", "numerical", "item"),
                     ("title", "text", "item"), ("words", "multi", "item")]  # fmt: skip


def test_the_words_that_most_titles_have_are_kept(opened) -> None:
    titles = ["red soap", "Soap soap soap bar", "blue bar soap", "zest soap"]  # a title counts once: soap 4, bar 2
    lines = [json.dumps({"asin": f"B{n}", "title": title}) for n, title in enumerate(titles)]
    source, _ = opened(lines, words=3, features=["words"])
    assert [row["words"] for row in cells(source)] == [["soap"], ["soap"] * 3 + ["bar"], ["blue", "bar", "soap"], ["soap"]]


def test_what_metadata_lack_is_counted_and_told(opened, make) -> None:
    """Of seven products in the log one has no line, one blanks, one many words, one a page as its title and no price."""
    lines = [
        *OLD,
        json.dumps({"asin": "B3", "title": LONG, "brand": "<b></b>", "price": "call us", "category": ["Soap", LONG]}),
        json.dumps({"asin": "B4", "title": "  ", "brand": " ", "category": "Beauty", "price": "$3 - $9"}),
        json.dumps({"asin": "B6", "title": " ".join(map(str, range(17))), "brand": "Dove", "category": "Gifts", "price": 2}),
        '{"asin": "B5", "title": "Bar \\ud800", "brand": "Dove"}',
        "not a product", "[1, 2]", '{"title": "whose?"}', "{'asin': f(1)}",
    ]  # fmt: skip
    _, options = opened(lines)
    data = {"split": {"kind": "leave_one_out"}, "sequences": {"negatives": 1}, "max_rejected": 0.5}
    store = make("amazon", options, **data)
    summary = json.loads((store.path / "summary.json").read_text())
    found = summary["features"]["items"]
    assert (found["with_row"], found["all"]) == (6, 7)
    assert found["cut"] == {"words": [1, 16]}
    assert found["empty"] == {"brand": 4, "categories": 3, "price": 4, "title": 3, "words": 3}
    assert {reason: told["count"] for reason, told in found["emptied"].items()} == {
        "title is longer than 2,000 letters": 1, "brand holds a page and no text": 1, "price is none in dollars": 1,
        "categories is longer than 2,000 letters": 1,
    }  # fmt: skip
    told = notes.notes(summary, DataOptions(source="amazon", options=options, **data))
    assert "6 of 7 items have a row in meta.json.gz" in told
    assert (
        "of 7 items some lack a feature, which then tells nothing of them: brand 4, categories 3, price 4, title 3, words 3"
        in told
    )
    assert (
        "cells of items that are read as empty, since price is none in dollars: 1 (the first in meta.json.gz, line 3: 'call us')"
        in told
    )
    assert "items that have more values of words than are kept: 1; their first 16 count" in told
    known = store.items(("brand", "categories", "price", "words")).columns
    bar = store.vocabulary("item")["raw"].to_pylist().index("Beauty/B6") + 1
    assert known["price"][bar] == 2 and known["brand"][bar] > 0 and (known["words"][bar] > 0).sum() == 16
    reasons = pq.read_table(store.path / "rejected.parquet")["reason"].to_pylist()
    assert sorted(reasons) == ["item is empty", *["neither a JSON object nor a Python dictionary"] * 3]
    kept = dict(zip(*(pq.read_table(store.path / "items.parquet")[name].to_pylist() for name in ("raw", "title")), strict=True))
    assert kept["Beauty/B5"] == "Bar" and kept["Beauty/B3"] == ""


def test_half_a_letter_in_an_id_or_a_cell_is_replaced(opened, make) -> None:
    """JSON may hold one half of a pair of surrogates, which no file and no table can."""
    _, options = opened(
        [*OLD, '{"asin": "B3\\ud800", "brand": "Dove"}', '{"asin": "B4", "title": "\\ud800", "price": "\\ud800"}']
    )
    store = make("amazon", options, split={"kind": "leave_one_out"}, sequences={"negatives": 1})
    found = json.loads((store.path / "summary.json").read_text())["features"]["items"]
    assert [told["value"] for told in found["emptied"].values()] == ["?", "?"]
    assert found["with_row"] == 3, "no item of the log is called B3?"


def test_a_file_of_metadata_is_named_for_a_domain_that_is_read(opened, tmp_path: Path) -> None:
    made = [opened(OLD), opened(OLD, metadata={}), opened(OLD, features=["brand"])]
    (source, options), (bare, _), _ = made
    assert bare.fields() == () and list(bare.items()) == []
    assert "metadata" not in bare.fingerprint_inputs(), "jobs without them are what they were"
    inputs = {str(each.fingerprint_inputs()) for each, _ in made}
    opened(NEW)
    assert len(inputs | {str(source.fingerprint_inputs())}) == 4
    with pytest.raises(JobError, match=r"metadata of Toys: none of domains \(Beauty\); name it there too"):
        components.options_of("data.sources", "amazon", {**options, "metadata": {"Toys": "x"}})
    with pytest.raises(JobError, match="features: each once"):
        components.options_of("data.sources", "amazon", {**options, "features": ["brand", "brand"]})
    (tmp_path / "meta.json.gz").unlink()
    with pytest.raises(DataError, match=r"meta.json.gz: no such file; mend data.options.metadata.Beauty, or leave it out"):
        next(iter(source.read()))


def test_real_metadata_of_gift_cards(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "amazon2018" / "raw" / "meta_Gift_Cards.json.gz"
    if not path.is_file():
        pytest.skip(f"no such file: {path}")
    source = Amazon(Amazon.Options(path=str(tmp_path), domains=("Cards",), metadata={"Cards": str(path)}))
    rows = cells(source)
    assert len(rows) == 1_547 and sum(bool(row["categories"]) for row in rows) == 1_542
    assert sum(row["brand"] is not None for row in rows) == 527


def test_real_titles_brands_and_categories_of_beauty(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "amazon2014-5core"
    if not (folder / "beauty_text").is_dir():
        pytest.skip(f"no such folder: {folder / 'beauty_text'}")
    beauty_metadata.write(folder / "beauty_text", tmp_path / "meta.json.gz")
    options = {
        "path": str(folder / "asin_sequences"),
        "domains": ("Beauty",),
        "metadata": {"Beauty": str(tmp_path / "meta.json.gz")},
    }
    source = Amazon(Amazon.Options(**options, features=("brand", "title")))
    rows = cells(source)
    assert len({row["item"] for row in rows}) == 12_101
    assert sum(row["brand"] is None for row in rows) == 2_098 and sum(row["title"] is None for row in rows) == 7
    matched = [row["brand"].lower() in row["title"].lower() for row in rows if row["brand"] and row["title"]]
    assert sum(matched) > 0.7 * len(matched), "a brand stands in its products' titles, so that the join is right"
    log = {item for block in source.read() for item in block.table["item"].unique().to_pylist()}
    assert log == {row["item"] for row in rows}
