"""Items that came after a finished run: which groups they make, and what becomes of those of which there are too few rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raytune_rec.components import component, options_of
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import SPLITS
from raytune_rec.stages import prepare
from tests.data.test_cold_items import DATA, KEPT, cold, log, names

Row = tuple[str, str, str, int]
COLUMNS = ("domain", "user", "item", "label", "timestamp")


@pytest.fixture
def grown(tmp_path: Path, write: Callable[..., str]) -> Callable[..., tuple[Store, list[str]]]:
    """grown(rows, name, known=...) -> the store of a log as a run prepares it, and what it says."""

    def made(
        rows: list[Row],
        name: str,
        known: Store | None = None,
        kept: int = KEPT,
        titles: dict[str, str] | None = None,
        text: dict[str, Any] | None = None,
        **sequences: Any,
    ) -> tuple[Store, list[str]]:
        told, lines = list[str](), [",".join(COLUMNS), *(f"{d},{u},{i},1,{t}" for d, u, i, t in rows)]
        options: dict[str, Any] = {"files": write(f"{name}.csv", lines), "columns": {c: c for c in COLUMNS}}
        if titles:
            items = write(f"{name}.items.csv", ["domain,item,title", *(f"x,{item},{title}" for item, title in titles.items())])
            options |= {"items": {"files": [items]}, "features": {"title": {"role": "item", "kind": "text"}}}
        whose: dict[str, Any] = {"split": {**DATA["split"], "cold_kept": kept}, "sequences": DATA["sequences"] | sequences}
        data = DataOptions(source="tabular", options=options, text=text, known=str(known.path) if known else "", **whose)
        source = component("data.sources", "tabular")(options_of("data.sources", "tabular", options))
        prepare.make(data, "ndcg@10", source, tmp_path / name, told.append, lambda doing: None)
        return Store.open(tmp_path / name), told

    return made


def later(domain: str, item: str, users: range, at: int = 10**5) -> list[Row]:
    return [(domain, f"u{user}", item, at + user) for user in users]


def test_items_of_one_domain_alone_are_its_only_groups(grown: Callable[..., Any]) -> None:
    rows = log(("x", "y"))
    known, _ = grown(rows, "known")
    own, said = grown([*rows, *later("x", "fresh", range(12))], "later", known)
    assert cold(own) == {"x.cold.2": ["fresh"]} and not own.schema.waiting
    assert not any("too few rows" in line for line in said)


def test_a_group_with_too_few_rows_waits_for_more_and_holds_nobody_up(grown: Callable[..., Any]) -> None:
    """Its items have ids, and no prompt: with more rows they are new once more, beside those that are new then."""
    rows = log(("x", "y"))
    known, _ = grown(rows, "known")
    rows += [*later("x", "fresh", range(12)), *later("y", "rare", range(KEPT))]
    first, said = grown(rows, "first", known)
    assert cold(first) == {"x.cold.2": ["fresh"]} and names(first, "item")[list(first.schema.waiting)].tolist() == ["rare"]
    waits = "y.cold.2: 1 item has too few rows to validate and test with; no prompt is made now, and it is new again to the "
    assert f"{waits}next `tune --only-new` with a log that has more" in said
    assert first.schema == Store.open(first.path).schema

    rows += [*later("y", "rare", range(20, 32)), *later("x", "newer", range(12), 2 * 10**5)]
    second, _ = grown(rows, "second", first)
    assert cold(second) == {"x.cold.3": ["newer"], "y.cold.3": ["rare"]} and not second.schema.waiting
    before = names(first, "item").tolist()
    assert names(second, "item")[: len(before)].tolist() == before, "ids stay"
    assert len(second.load("y.cold.3", "train")) == KEPT
    assert all(second.schema.rows["y.cold.3", split] for split in SPLITS)
    with pytest.raises(DataError, match="no item of the log is new"):
        grown(rows, "third", second)


def test_where_all_groups_have_too_few_rows_a_longer_log_or_fewer_that_are_kept_help(grown: Callable[..., Any]) -> None:
    rows = log()
    known, _ = grown(rows, "known")
    rows += later("x", "rare", range(KEPT))
    with pytest.raises(DataError, match=r"to validate with\.\nWait for more rows of them, lower data\.split\.cold_kept, or"):
        grown(rows, "first", known)
    mended = {"longer": ([*rows, *later("x", "rare", range(20, 30))], KEPT), "fewer": (rows, 1)}
    for name, (longer, count) in mended.items():
        own, _ = grown(longer, name, known, kept=count)
        assert cold(own) == {"cold.2": ["rare"]} and len(own.load("cold.2", "train")) == count


def test_where_several_groups_have_too_few_rows_fewer_groups_help(grown: Callable[..., Any]) -> None:
    rows = log()
    known, _ = grown(rows, "known")
    items = [f"late{n}" for n in range(6)]
    rows += [row for n, item in enumerate(items) for row in later("x", item, range(KEPT + (2 if n == 0 else 0)))]
    own, said = grown(rows, "apart", known, item_groups=4)
    assert any("too few rows to validate and test with" in line for line in said)
    together, _ = grown(rows, "together", known, item_groups=1)
    assert cold(together) == {"cold.2": sorted(items)} and not together.schema.waiting
    served = [item for members in cold(own).values() for item in members]
    assert items[0] in served and sorted([*served, *names(own, "item")[list(own.schema.waiting)]]) == sorted(items)


def test_texts_of_items_that_came_later_are_cut_by_the_tokenizer_that_the_run_has(grown: Callable[..., Any]) -> None:
    """The tokens of what it knows stay as they are; a word that nobody knew is unknown."""

    def titles(n: int, words: str = "") -> dict[str, str]:
        return {f"i{i}": f"red pen {i % 7} {words}" for i in range(40)} | {f"late{i}": "violet pen" for i in range(n)}

    rows, words = log(), {"tokenizer": "words", "length": 4}
    known, _ = grown(rows, "known", titles=titles(0), text=words)
    rows += later("x", "late0", range(12))
    own, _ = grown(rows, "later", known, titles=titles(1), text=words)
    assert own.schema.texts == known.schema.texts and own.tokenizer.fingerprint == known.tokenizer.fingerprint
    had, has = (store.items(["title"]).columns["title"] for store in (known, own))
    assert has[: len(had)].tolist() == had.tolist()
    (late,) = own.schema.units[0].members
    pen = known.tokenizer.encode(["pen"], 1)[0, 0]
    assert has[late].tolist() == [1, pen, 0, 0]
    with pytest.raises(
        DataError, match=r"texts are title \(4 tokens\), and data\.text asks for title \(3 tokens\); give data\.text"
    ):
        grown(rows, "shorter", known, titles=titles(1), text={**words, "length": 3})
    vector = {"text": "title", "encoder": "words", "width": 2}
    meant, _ = grown(log(), "meant", titles=titles(0), text={**words, "vectors": {"meaning": vector}})
    own, _ = grown(rows, "vectors", meant, titles=titles(1), text={**words, "vectors": {"meaning": vector}})
    had, has = (store.items(["meaning"]).columns["meaning"] for store in (meant, own))
    assert has[: len(had)].tolist() == had.tolist() and has[late].any()
    differs = r"texts are title \(4 tokens\), meaning \(2 numbers\), and data\.text asks for title \(4 tokens\)"
    for vectors, more in (({}, ";"), ({"sense": vector}, r", sense \(2 numbers\);")):
        with pytest.raises(DataError, match=f"{differs}{more} give data.text as it was there"):
            grown(rows, f"other{len(vectors)}", meant, titles=titles(1), text={**words, "vectors": vectors})
    plain, _ = grown(log(), "plain", titles=titles(0))
    with pytest.raises(DataError, match=r"there are no tokens of texts; leave data\.text out, as it was there"):
        grown(rows, "more", plain, titles=titles(1), text=words)
    assert cold(grown(rows, "left out", plain, titles=titles(1))[0]) == {"cold.2": ["late0"]}
