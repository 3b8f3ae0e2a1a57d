"""Item text, the prompt of a sequence, and which items a sample masks."""

from __future__ import annotations

import numpy as np
import pytest

from raytune_rec.data.text.items import item_text, truncated
from tests.data.sequences import draws, masked_places, sample

PEN = {"title": "Blue pen", "brand": "Bic", "category": "Office, Pens", "price": "$2.00", "description": ""}


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        (["category", "title"], "(category: Office, Pens) Blue pen"),
        (["title", "category"], "Blue pen (category: Office, Pens)"),
        (
            ["category", "title", "brand", "price", "description"],
            "(category: Office, Pens) Blue pen (brand: Bic) (price: $2.00)",
        ),
        (["description"], ""),
        ([], ""),
    ],
)
def test_item_text_has_the_attributes_in_their_order(attributes: list[str], text: str) -> None:
    assert item_text(PEN, attributes) == text


@pytest.mark.parametrize("most", range(8))
def test_a_text_is_cut_to_the_longest_start_that_fits(most: int) -> None:
    text = "one twoo three fourr five six"
    count = lambda part: sum(1 + (len(word) > 3) for word in part.split())  # noqa: E731
    starts = [" ".join(text.split()[:n]) for n in range(7)]
    assert truncated(text, most, count) == max((s for s in starts if count(s) <= most), key=len)


def test_the_sequence_of_the_paper() -> None:
    made = sample(["A pen", "Ink", "Paper"], [False, False, True], 512, words)
    assert made.source == (
        "Given the following purchase history of user: A pen, Ink, <extra_id_0>, predict masked item purchased by the user?"
    )
    assert made.target == "<extra_id_0> Paper"
    made = sample(["A pen", "Ink", "Paper"], [True, False, True], 512, words)
    assert ": <extra_id_0>, Ink, <extra_id_1>, predict" in made.source
    assert made.target == "<extra_id_0> A pen <extra_id_1> Paper"


def test_the_oldest_items_leave_a_sequence_that_is_too_long() -> None:
    items, masked = ["a a a", "b", "c c", "d"], [True, False, True, True]
    whole = words(sample(items, masked, 512, words).source)
    short = sample(items, masked, whole - 1, words)
    assert ": b, <extra_id_0>, <extra_id_1>, predict" in short.source, "sentinels count from what is left"
    assert short.target == "<extra_id_0> c c <extra_id_1> d"
    assert sample(items, masked, 1, words).target == "<extra_id_0> d", "the last one stays"


def test_draws_hang_on_seed_user_epoch_and_place_alone() -> None:
    drawn = draws(7, ["u", "v"], 3, 5)
    assert drawn.shape == (2, 6) and ((drawn >= 0) & (drawn < 1)).all()
    np.testing.assert_array_equal(draws(7, ["v"], 3, 5)[0], drawn[1])
    np.testing.assert_array_equal(draws(7, ["v"], 3, 2)[0, :2], drawn[1, :2])
    for other in (draws(8, ["v"], 3, 5), draws(7, ["v"], 4, 5), draws(7, ["w"], 3, 5)):
        assert (other[0] != drawn[1]).all()


def test_items_are_masked_as_a_plain_loop_would() -> None:
    rng = np.random.default_rng(0)
    drawn, lengths = rng.random((400, 9)), rng.integers(1, 9, 400)
    ratio, last = 0.3, 0.1
    masked = masked_places(drawn, lengths, ratio, last)
    for row, n, draw in zip(masked, lengths, drawn, strict=True):
        own = [draw[n - 1 - place] for place in range(n)]  # draws count from the last item back
        expected = [u < ratio for u in own]
        if not any(expected):
            expected[int(np.argmin(own))] = True
        if draw[8] < last:
            expected = [place == n - 1 for place in range(n)]
        assert row.tolist() == [*expected, *[False] * (8 - n)]


def test_shares_of_masked_items_are_those_asked_for() -> None:
    users = [f"u{n}" for n in range(4000)]
    lengths = np.full(4000, 40)
    drawn = draws(1, users, 0, 40)
    masked = masked_places(drawn, lengths, 0.1, 0.1)
    alone = masked[:, -1] & (masked.sum(1) == 1)
    assert masked.any(1).all()
    # binomial, 5 standard deviations: the tenth, and those of 40 items where chance masks the last one alone
    chance = 0.9 * (0.1 * 0.9**39 + 0.9**40 / 40)
    assert abs(alone.mean() - 0.1 - chance) < 5 * np.sqrt(0.1 * 0.9 / 4000)
    several = masked[drawn[:, -1] >= 0.1]
    assert abs(several.mean() - 0.1) < 5 * np.sqrt(0.09 / several.size) + 0.9**40 / 40
    np.testing.assert_array_equal(masked_places(drawn, lengths, np.full((4000, 1), 0.1), 0.1), masked)


def test_no_more_items_are_masked_than_there_are_sentinels() -> None:
    masked = masked_places(draws(1, ["u"], 0, 300), np.array([300]), 0.9, 0.0)
    assert masked.sum() == 100
