"""The five indicators against plain loops, on corpora whose answers are known."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from raytune_rec.data.text import indicators as module
from raytune_rec.data.text.indicators import Indicators, divergence, entropy, indicators, propose
from raytune_rec.data.text.ngrams import CONTEXT, Counts, alphabet, numbered, perplexity
from raytune_rec.report.tables import item_texts
from tests.data.conftest import Make


def chance(letter: str, before: str, texts: list[str], letters: int) -> float:
    """Witten and Bell's, by recursion; `^` starts a text and `$` ends it."""
    if before is None:
        return 1 / (letters + 2)
    follows = Counter(
        padded[place]
        for padded in ("^" * CONTEXT + text + "$" for text in texts)
        for place in range(CONTEXT, len(padded))
        if padded[place - len(before) : place] == before
    )
    lower = chance(letter, before[1:] if before else None, texts, letters)  # type: ignore[arg-type]
    n, t = sum(follows.values()), len(follows)
    return (follows[letter] + t * lower) / (n + t) if n else lower


@pytest.mark.parametrize("read", [["red pen", "red ink pen"], ["qqq"], ["a"], ["red pen", "", "blue"]])
def test_perplexity_is_that_of_a_plain_recursion(read: list[str]) -> None:
    learned = ["red pens", "a red pen", "blue ink"]
    letters = alphabet([*read, *learned])
    found = perplexity(Counts.of(numbered(read, letters)), Counts.of(numbered(learned, letters)), len(letters))
    bits, places = 0.0, 0
    for text in read:
        padded = "^" * CONTEXT + text + "$"
        for place in range(CONTEXT, len(padded)):
            bits -= math.log2(chance(padded[place], padded[place - CONTEXT : place], learned, len(letters)))
            places += 1
    assert found == pytest.approx(2 ** (bits / places), rel=1e-9)


def test_counts_of_parts_are_the_counts_of_all() -> None:
    letters = alphabet(["abc", "bcd"])
    parts = [Counts.of(numbered(texts, letters)) for texts in (["abc", "ab"], ["bcd"])]
    whole, together = Counts.of(numbered(["abc", "ab", "bcd"], letters)), Counts.together(parts)
    pairs = [(whole, together), (parts[0], whole.without(parts[1])), (parts[1], together.without(parts[0]))]
    for one, other in [(a.grams, b.grams) for a, b in pairs] + [(a.counts, b.counts) for a, b in pairs]:
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_chances_of_all_letters_sum_to_one() -> None:
    learned, letters = ["abab", "abba"], alphabet(["abab", "abba"])
    counts = Counts.of(numbered(learned, letters))
    for start in ("", "a", "abab"):
        ends = [start + letter for letter in "ab"]
        one = [numbered([text], letters)[len(start)] for text in ends] + [numbered([start], letters)[-1]]
        unseen = numbered([start + "?"], letters)[len(start)]
        chances = [1 / perplexity(Counts.of(np.array([place])), counts, 2) for place in [*one, unseen]]
        assert sum(chances) == pytest.approx(1)


def test_entropy_and_divergence_of_known_counts() -> None:
    assert entropy([1, 1, 1, 1]) == 2 and entropy([5]) == 0 and entropy([]) == 0
    assert entropy([3, 1]) == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))
    assert divergence(Counter({"a": 2, "b": 2}), Counter({"a": 1, "b": 1})) == pytest.approx(0)
    assert divergence(Counter({"a": 1}), Counter({"b": 9})) == pytest.approx(1)
    apart = (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25) + math.log2(1 / 0.75)) / 2  # from the middle of both
    assert divergence(Counter({"a": 1, "b": 1}), Counter({"a": 1})) == pytest.approx(apart)
    assert divergence(Counter({}), Counter({"a": 1})) == 1


TEXTS = {
    "title": {"pens": ["red pen", "red pen", "blue pen pen", ""], "toys": ["red car", "red bus", "a bear", "a doll"]},
    "kind": {"pens": ["Office", "Office", "Office", "Office"], "toys": ["", "", "", ""]},
}


def test_indicators_of_a_small_catalogue() -> None:
    found = indicators(TEXTS)
    assert list(found["title"]) == ["pens", "toys"] and list(found["kind"]) == ["pens"], "not where no item has it"
    title = found["title"]["pens"]
    assert (title.covered, title.ambiguity) == (0.75, pytest.approx(2 / 3))
    assert title.length == pytest.approx(7 / 3) and title.entropy == pytest.approx((1 + 1 + entropy([1, 2])) / 3)
    pens = {"red": 2, "pen": 4, "blue": 1}
    toys = {"red": 2, "car": 1, "bus": 1, "a": 2, "bear": 1, "doll": 1}
    assert title.divergence == found["title"]["toys"].divergence == pytest.approx(divergence(Counter(pens), Counter(toys)))
    letters = alphabet([text for of in TEXTS.values() for texts in of.values() for text in texts])
    own = Counts.of(numbered([text for text in TEXTS["title"]["pens"] if text], letters))
    others = Counts.of(numbered(TEXTS["title"]["toys"], letters))
    assert title.perplexity == pytest.approx(perplexity(own, others, len(letters))), "of its own domain nothing is counted"
    kind = found["kind"]["pens"]
    assert (kind.covered, kind.ambiguity, kind.entropy, kind.length, kind.divergence) == (1, 1, 0, 1, None)


def test_one_domain_has_nothing_to_compare_with() -> None:
    only = indicators({"title": {"pens": ["red pen", "ink"]}})["title"]["pens"]
    assert (only.perplexity, only.divergence) == (None, None)


def test_of_many_texts_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"pen {number}" for number in range(50)]
    monkeypatch.setattr(module, "ITEMS", 10)
    drawn = module._drawn(texts)
    assert len(drawn) == 10 and drawn == sorted(drawn, key=texts.index) and drawn != texts[:10] and drawn == module._drawn(texts)


def known(perplexity: float, length: float, covered: float = 1.0) -> dict[str, Indicators]:
    return {"pens": Indicators(covered, perplexity, 0.5, 2.0, 0.1, length)}


def test_the_proposal_follows_its_rule_and_gives_the_papers_order() -> None:
    of = {
        "title": known(14, 10),
        "brand": known(27, 1.6),
        "category": known(10, 4),
        "price": known(4470, 2),
        "description": known(6, 74),
    }
    assert propose(of, 40) == (["category", "title"], ["category", "title", "brand", "price", "description"])
    assert propose(of, 100)[0] == ["category", "title", "description"], "a longer limit takes what fits"
    assert propose({**of, "rank": known(1, 1, covered=0.05)}, 40) == propose(of, 40), "what few items have is left out"
    assert propose({}, 40) == ([], [])


def test_a_preparation_measures_its_texts_and_they_are_printed(make: Make, write: Callable[..., str]) -> None:
    rows = [f"{d},u{u},i{(u + k) % 5},1" for d in ("pens", "toys") for u in range(10) for k in range(5)]
    items = ["domain,item,title,kind"] + [
        f"{d},i{i},{d} number {i},{'Office' if d == 'pens' else ''}" for d in ("pens", "toys") for i in range(5)
    ]
    options = {
        "files": write("log.csv", ["domain,user,item,label", *rows]),
        "items": {"files": write("items.csv", items)},
        "features": {name: {"role": "item", "kind": "text"} for name in ("title", "kind")},
    }
    store = make("tabular", options, text={"length": 8})
    told = json.loads((store.path / "summary.json").read_text())["item_texts"]
    texts = {
        "title": {d: [f"{d} number {i}" for i in range(5)] for d in ("pens", "toys")},
        "kind": {"pens": ["Office"] * 5, "toys": [""] * 5},
    }
    assert {name: list(of) for name, of in told["found"].items()} == {"title": ["pens", "toys"], "kind": ["pens"]}
    expected = indicators(texts)["title"]["pens"]
    assert told["found"]["title"]["pens"]["divergence"] == pytest.approx(expected.divergence)
    assert told["found"]["title"]["pens"]["entropy"] == pytest.approx(math.log2(3))
    lines = item_texts.lines(told)
    assert any(line.split()[:4] == ["kind", "pens", "100", "%"] and "100 %" in line[20:] for line in lines)
    assert lines[-1].startswith("Proposed item text: to pre-train ") and "title" in lines[-1]
    table = item_texts.table(told)
    assert table is not None and [(line.name, line.note) for line in table.lines] == [
        ("title", "pens"),
        ("title", "toys"),
        ("kind", "pens"),
    ]
    assert item_texts.lines({}) == [] and item_texts.table({}) is None
