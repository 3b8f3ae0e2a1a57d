"""Amazon sequences as clicks and sampled negatives, in domains cut by attribute and by cluster."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raytune_rec import components
from raytune_rec.data.sources._amazon.cuts import REST, by_attribute, by_taker
from raytune_rec.data.sources._amazon.sampled import not_taken
from raytune_rec.data.sources.amazon_ctr import AmazonCtr
from raytune_rec.errors import DataError, JobError

TAKEN = {f"{u}": [f"i{(7 * u + 3 * k) % 40}" for k in range(6)] for u in range(80)}
"""80 users who took 6 of 40 items each."""
KINDS = {f"i{i}": [0, 1 + i % 2, 3 + i // 8] for i in range(40)}
"""0 is of all items, 1 and 2 of a half, 3 to 7 of eight items each."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [" ".join([user, *items]) for user, items in TAKEN.items()]
    (tmp_path / "log.txt").write_text("\n".join(lines))
    (tmp_path / "named.txt").write_text("\n".join(f"R{line}" for line in lines))
    (tmp_path / "kinds.json").write_text(json.dumps(KINDS))
    return tmp_path


def rows(folder: Path, **options: Any) -> list[dict[str, Any]]:
    source = AmazonCtr(AmazonCtr.Options(path=str(folder), logs={"shop": "log.txt"}, **options))
    return [
        {**row, "line": line}
        for block in source.read()
        for row, line in zip(block.table.to_pylist(), block.lines.tolist(), strict=True)
    ]


def test_every_click_is_a_row_and_has_negatives_of_its_domain_that_its_user_never_took(folder: Path) -> None:
    made = rows(folder, attributes={"shop": "kinds.json"}, parts=3, least_items=8, negatives=2, seed=4)
    clicks = [r for r in made if r["label"] == 1]
    assert Counter((r["user"], r["item"]) for r in clicks) == Counter(
        (f"shop/{u}", i) for u, items in TAKEN.items() for i in items
    )
    assert all(r["line"] == int(r["user"].removeprefix("shop/")) + 1 for r in made)
    domain_of, split_of = {r["item"]: r["domain"] for r in clicks}, Counter((r["user"], r["domain"], r["split"]) for r in clicks)
    drawn = [r for r in made if r["label"] == 0]
    assert all(r["item"] not in TAKEN[r["user"].removeprefix("shop/")] and domain_of[r["item"]] == r["domain"] for r in drawn)
    assert Counter((r["user"], r["domain"], r["split"]) for r in drawn) == {k: 2 * n for k, n in split_of.items()}
    assert {*Counter((r["user"], r["item"]) for r in drawn).values()} == {1}, "no split knows the negatives of another"
    shares = Counter(r["split"] for r in clicks)
    assert shares["valid"] > 20 and shares["test"] > 20 and shares["train"] > 300


def test_what_is_drawn_depends_on_the_seed_and_not_on_the_order_of_lines(folder: Path) -> None:
    options = {"attributes": {"shop": "kinds.json"}, "parts": 3, "least_items": 8}
    key = lambda r: (r["domain"], r["user"], r["item"], r["label"], r["split"])  # noqa: E731
    first, other = Counter(map(key, rows(folder, **options))), Counter(map(key, rows(folder, **options, seed=1)))
    lines = (folder / "log.txt").read_text().split("\n")
    (folder / "log.txt").write_text("\n".join(lines[::-1]))
    assert Counter(map(key, rows(folder, **options))) == first != other


def test_the_attribute_that_most_and_the_one_that_fewest_items_have_make_domains_in_turn() -> None:
    attributes = {0: [9, 1], 1: [9, 1], 2: [9, 1, 2], 3: [9, 2], 4: [9, 3], 5: [9, 3], 6: [9, 4], 7: [9], 8: [9]}
    pairs = np.array([(i, a) for i, listed in attributes.items() for a in listed])
    cut = by_attribute(pairs[:, 0], pairs[:, 1], 9, parts=5, least=1)
    # 9 is of all; most: 1 (three items); fewest of what is left: 2 (item 3); most: 3; fewest: 4; nobody has another
    assert cut.tolist() == [1, 1, 1, 2, 3, 3, 4, REST, REST]
    large = by_attribute(pairs[:, 0], pairs[:, 1] * 10**15, 9, parts=5, least=1)  # attributes are names, not places
    assert large.tolist() == [a if a == REST else a * 10**15 for a in cut.tolist()]
    assert by_attribute(pairs[:, 0], pairs[:, 1], 9, parts=1, least=1).tolist() == [1, 1, 1, *[REST] * 6]
    assert by_attribute(pairs[:, 0], pairs[:, 1], 9, parts=5, least=2).tolist() == [1, 1, 1, REST, 3, 3, REST, REST, REST]


def test_items_of_users_apart_are_clusters_apart_and_the_largest_comes_first() -> None:
    draw, user, item = np.random.default_rng(0), [], []
    for u in range(300):
        pool = np.arange(12) if u < 100 else np.arange(12, 40)
        for i in draw.choice(pool, 5, replace=False):
            user.append(u), item.append(int(i))
    cut = by_taker(np.array(user), np.array(item), 300, 41, parts=2, seed=3)
    assert set(cut[12:40]) == {0} and set(cut[:12]) == {1} and cut[40] == REST


def test_popular_items_are_drawn_more_often() -> None:
    user, item = np.arange(6000), np.full(6000, 3)
    hashes = np.random.default_rng(1).integers(0, 2**63, 6000).astype(np.uint64)
    ((_, drawn),) = not_taken(user, item, hashes, np.arange(4), np.array([1.0, 2.0, 3.0, 50.0]), 1)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 6000, np.array([1, 2, 3, 0]) / 6, atol=0.03)


def test_who_took_all_has_no_negatives() -> None:
    item = np.array([0, 1, 0])
    ((places, drawn),) = not_taken(np.array([0, 0, 1]), item, np.arange(3).astype(np.uint64), np.arange(2), np.ones(2), 1)
    assert places.tolist() == [2] and drawn.tolist() == [1]


def test_users_of_shared_logs_are_the_same_and_a_store_is_made(folder: Path, make: Callable[..., Any]) -> None:
    logs = {"one": "log.txt", "two": "named.txt", "three": "log.txt"}
    options = {"path": str(folder), "logs": logs, "users": {"one": "named.txt"}, "shared": ["one", "two"], "parts": 2}
    store = make("amazon_ctr", options, split={"kind": "given"})
    assert set(store.schema.domains) == {f"{log}.cluster{c}" for log in logs for c in range(2)}
    assert set(store.vocabulary("user")["raw"].to_pylist()) == {f"R{u}" for u in TAKEN} | {f"three/{u}" for u in TAKEN}
    fewer = make("amazon_ctr", {**options, "users_share": 0.5}, out="half", split={"kind": "given"})
    (whole, half) = (AmazonCtr(AmazonCtr.Options(**options, users_share=part)).cohort for part in (1, 0.5))
    assert not whole and half == "of the users in the files a part was read, by a hash: 50 %"
    some = set(fewer.vocabulary("user")["raw"].to_pylist())
    assert some < set(store.vocabulary("user")["raw"].to_pylist()) and 0.35 < len(some) / (2 * len(TAKEN)) < 0.65


def test_bad_files_are_told_with_line_value_and_remedy(folder: Path) -> None:
    (folder / "named.txt").write_text("Ra i1 i2\n" + (folder / "named.txt").read_text().split("\n", 1)[1])
    with pytest.raises(DataError, match=r"log.txt, line 1: 0 has 6 items, and line 1 of .*named.txt 2; .* data.options.users"):
        rows(folder, users={"shop": "named.txt"})
    for text, why in (
        ('{"i1": ["a"]}', "'str' object cannot be interpreted as an integer"),
        ('{"i1": "12"}', "'str' object cannot be interpreted as an integer"),
        ('{"i1": [1.5]}', "'float' object cannot be interpreted as an integer"),
        ('{"i1": [9223372036854775808]}', "int too large"),
        ("[1]", "JSON object"),
        ("{", "JSON object"),
        ('{"i1": [-2]}', "-2 is below 0"),
    ):
        (folder / "kinds.json").write_text(text)
        with pytest.raises(DataError, match=f"kinds.json: .*{why}"):
            rows(folder, attributes={"shop": "kinds.json"})
    with pytest.raises(DataError, match=r"none.json: no such file; mend data.options."):
        rows(folder, attributes={"shop": "none.json"})
    (folder / "log.txt").write_bytes(b"ALONE\nu \xff\nu i1 i2\n")
    blocks = list(AmazonCtr(AmazonCtr.Options(path=str(folder), logs={"shop": "log.txt"}, parts=1)).read())
    assert [(r.line, r.value, r.reason) for b in blocks for r in b.rejects] == [
        (2, "u \\xff", "not utf-8"), (1, "ALONE", "a line has a reviewer and one item or more"),
    ]  # fmt: skip
    with pytest.raises(JobError, match=r"attributes of shoe: none of logs \(shop\); name it there too"):
        components.options_of("data.sources", "amazon_ctr", {"path": "x", "logs": {"shop": "a"}, "attributes": {"shoe": "b"}})
