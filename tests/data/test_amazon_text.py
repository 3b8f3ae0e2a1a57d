"""Amazon domains with item text: every published form of logs and items, in one job."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from raytune_rec import components
from raytune_rec.data.sources._amazon.logs import merged
from raytune_rec.data.sources.amazon_text import AmazonText
from raytune_rec.errors import DataError, JobError
from tests.data.conftest import Make

REVIEWS = [
    {"reviewerID": "A1", "asin": "C1", "overall": 5.0, "unixReviewTime": 300},
    {"reviewerID": "A1", "asin": "C2", "overall": 2.0, "unixReviewTime": 100},
    {"reviewerID": "A2", "asin": "C1", "overall": 4, "unixReviewTime": "200"},
]
CARDS = [
    {"asin": "C1", "title": "Card $25 by\n   Shop", "category": ["Cards", "Cards", "</span>"], "brand": "", "price": "$25.00",
     "description": ["Buy <b>it</b>", "", "now &amp; here"]},
    {"asin": "C2", "title": "var aPageStart = 1;", "category": [], "brand": "Shop", "price": ".a-box{x:y}", "description": []},
]  # fmt: skip
PENS_2014 = ["{'asin': 'P1', 'title': \"Burt's pen\", 'categories': [['Office', 'Pens']], 'price': 1.5}", "{'asin': "]


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    def packed(name: str, text: str) -> None:
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))

    packed("cards_5.json.gz", "".join(json.dumps(row) + "\n" for row in REVIEWS) + "no object\n")
    packed("meta_cards.json.gz", "".join(json.dumps(row) + "\n" for row in CARDS))
    (tmp_path / "user_sequence.txt").write_text("A1 P1 P2 P1\nA9 P2 P1 P3\n")
    (tmp_path / "meta_pens.json").write_text("\n".join(PENS_2014))
    head = "user_id,history_item_title,item_title,history_item_id,item_id\n"
    packed("office.valid.csv.gz", head + "7,\"['a', 'b']\",c,\"[1, 2]\",3\n8,['a'],b,[4],1\n8,x,y,4 1,2\n")
    packed("office.test.csv.gz", head + '7,"[\'b\']",d,"[2, 3]",4\n7,,e,"[4]",5\n')
    packed(
        "office.item.json.gz",
        json.dumps({"1": {"title": "Ink", "description": "['Black', 'ink']", "categories": []}, "2": {}}, indent=2),
    )
    packed("games.inter.gz", "user_id:token\titem_id_list:token_seq\titem_id:token\n0\t5 6 7\t8\n1\t\t5\n")
    (tmp_path / "games.item").write_text('item_id:token\ttitle:token_seq\n5\tFire &quot;Emblem"\n8\tPac-Man\n')
    domains = {
        "cards": {"log": "cards_5.json.gz", "items": "meta_cards.json.gz"},
        "pens": {"log": "user_sequence.txt", "items": "meta_pens.json"},
        "office": {"log": ["office.valid.csv.gz", "office.test.csv.gz"], "items": "office.item.json.gz"},
        "games": {"log": "games.inter.gz", "items": "games.item"},
    }
    return {"path": str(tmp_path), "domains": domains}


def opened(options: dict[str, Any]) -> AmazonText:
    return AmazonText(AmazonText.Options.model_validate(options))


def histories(source: AmazonText) -> dict[tuple[str, str], list[str]]:
    """(domain, user) -> items in the order of their positions."""
    rows = sorted(
        (row["domain"], row["user"], float(row["position"]), row["item"])
        for block in source.read()
        for row in block.table.to_pylist()
    )
    taken: dict[tuple[str, str], list[str]] = {}
    for domain, user, _, item in rows:
        taken.setdefault((domain, user), []).append(item)
    return taken


def test_every_form_of_a_log_is_read_in_the_order_of_time(options: dict[str, Any]) -> None:
    assert histories(opened(options)) == {
        ("cards", "A1"): ["C2", "C1"],
        ("cards", "A2"): ["C1"],
        ("pens", "A1"): ["P1", "P2", "P1"],
        ("pens", "A9"): ["P2", "P1", "P3"],
        ("office", "office/7"): ["1", "2", "3", "4", "5"],
        ("office", "office/8"): ["4", "1"],
        ("games", "games/0"): ["5", "6", "7", "8"],
        ("games", "games/1"): ["5"],
    }
    refused = {(Path(r.file).name, r.line): r.reason for block in opened(options).read() for r in block.rejects}
    assert refused == {
        ("cards_5.json.gz", 4): "neither a JSON object nor a Python dictionary",
        ("office.valid.csv.gz", 4): "a row has a user, a list of items, and the item after them",
    }


def test_of_a_large_domain_a_share_of_the_users_is_read_with_all_that_they_took(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "user_sequence.txt").write_text("".join(f"A{u} P{u} P{u + 1} P0\n" for u in range(300)))
    whole = opened(options)
    options["domains"]["pens"]["share"] = 0.2
    some = opened(options)
    taken, kept = histories(whole), histories(some)
    pens = {key for key in kept if key[0] == "pens"}
    assert 40 < len(pens) < 80 and kept == {key: taken[key] for key in taken if key[0] != "pens" or key in pens}
    assert some.fingerprint_inputs() == {**whole.fingerprint_inputs(), "shares": {"pens": 0.2}}
    (refused,) = [r for block in some.read() for r in block.rejects if r.file.endswith("cards_5.json.gz")]
    assert refused.line == 4, "what cannot be read is told as ever"


def test_every_form_of_items_is_cleaned_text(options: dict[str, Any]) -> None:
    blocks = list(opened(options).items())
    rows = {(row.pop("domain"), row.pop("item")): row for block in blocks for row in block.table.to_pylist()}
    known = {key: {name: text for name, text in row.items() if text} for key, row in rows.items()}
    card = {"title": "Card $25 by Shop", "category": "Cards", "price": "$25.00", "description": "Buy it now & here"}
    assert known == {
        ("cards", "C1"): card,
        ("cards", "C2"): {"brand": "Shop"},
        ("pens", "P1"): {"title": "Burt's pen", "category": "Office, Pens", "price": "$1.50"},
        ("office", "1"): {"title": "Ink", "description": "Black ink"},
        ("office", "2"): {},
        ("games", "5"): {"title": 'Fire "Emblem"'},
        ("games", "8"): {"title": "Pac-Man"},
    }
    emptied = {(cell.line, cell.column): cell.value for block in blocks for cell in block.emptied}
    assert emptied == {(2, "title"): "var aPageStart = 1;", (2, "price"): ".a-box{x:y}"}
    assert [(r.line, r.reason) for b in blocks for r in b.rejects] == [(2, "neither a JSON object nor a Python dictionary")]


def test_reviews_alone_have_ratings_and_times(options: dict[str, Any], make: Make) -> None:
    options["domains"] = {"cards": options["domains"]["cards"]}
    options["label"] = "rating"
    store = make("amazon_text", options, positive_above=3, max_rejected=0.5, split={"kind": "hash", "valid": 0, "test": 0})
    table = store.load("cards", "train")
    assert sorted(table.label.tolist()) == [0, 1, 1] and opened(options).time_unit == "s"
    items = pq.read_table(store.path / "items.parquet").to_pylist()
    assert {row["raw"]: row["title"] for row in items} == {"": "", "cards/C1": "Card $25 by Shop", "cards/C2": ""}
    assert all(field.name != "title" for field in store.schema.fields), "no model but one of words is bothered"


def test_a_history_is_put_together_from_its_pieces() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        whole = [str(i) for i in rng.permutation(30)]
        found: list[str] = []
        for end in range(3, 31):  # each piece: up to 10 items and the one that follows
            found = merged(found, whole[max(0, end - 11) : end])
        assert found == whole
    assert merged(["a", "b"], ["c"]) == ["a", "b", "c"]
    assert merged(["a", "b", "a", "b"], ["a", "b", "c"]) == ["a", "b", "a", "b", "c"]
    assert merged(["a"], []) == ["a"]


@pytest.mark.parametrize(
    ("domains", "told"),
    [
        ({"a": {"log": "a.parquet", "items": "a.item"}}, r"log: files whose names end alike, in .txt, .json"),
        ({"a": {"log": ["a.csv", "b.inter"], "items": "a.item"}}, r"log: files whose names end alike"),
        ({"a": {"log": "a.csv", "items": "a.csv"}}, r"items: a file whose name ends in .json, .jsonl, .ndjson, .item, or"),
        ({"a": {"log": "a.json"}}, r"no domain has items, and so no text; name a file as domains.<name>.items"),
        ({}, r"domains"),
        ({"a": {"log": "a.csv", "items": "a.item"}}, r"label = 'rating' is of reviews, and a domain has a log without ratings"),
    ],
)
def test_files_of_no_known_form_are_refused(domains: dict[str, Any], told: str) -> None:
    with pytest.raises(JobError, match=told):
        components.options_of("data.sources", "amazon_text", {"domains": domains, "label": "rating"})


def test_all_missing_files_are_told_at_once(options: dict[str, Any]) -> None:
    options["domains"]["pens"] = {"log": "gone.txt", "items": "away.json"}
    with pytest.raises(DataError) as error:
        next(iter(opened(options).read()))
    assert "gone.txt: no such file" in str(error.value) and "away.json: no such file" in str(error.value)


def test_a_file_that_is_no_object_of_items_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    for content, told in ((b"[1]", "is no JSON object"), (b'{"1": ', "cannot be read as one JSON object")):
        (tmp_path / "office.item.json.gz").write_bytes(gzip.compress(content))
        with pytest.raises(DataError, match=told):
            list(opened(options).items())


def test_real_files(real_data: Path) -> None:
    """The counts of the data's own description: merged, each user has one history."""
    folder = real_data / "amazon2018"
    if not folder.is_dir():
        pytest.skip(f"no such folder: {folder}")
    office = [f"minionerec/Office_Products.{part}.csv.gz" for part in ("valid", "test")]
    options = {
        "path": str(folder),
        "domains": {
            "office": {"log": office, "items": "minionerec/Office_Products.item.json.gz"},
            "cards": {"log": "raw/Gift_Cards_5.json.gz", "items": "raw/meta_Gift_Cards.json.gz"},
        },
    }
    taken = histories(opened(options))
    assert sum(len(items) for (domain, _), items in taken.items() if domain == "office") == 22_447
    assert sum(domain == "office" for domain, _ in taken) == 3_231
    assert sum(len(items) for (domain, _), items in taken.items() if domain == "cards") == 2_972
    rows = {row["item"]: row for block in opened(options).items() for row in block.table.to_pylist() if row["domain"] == "cards"}
    assert len(rows) == 1_547 and sum(bool(row["title"]) for row in rows.values()) == 1_547
