"""Values of product pages come out as the text that a reader of the page sees."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_rec.data.text.cleaning import listed, plain, price


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  Starbucks card $25 by\n    \n    Apple ", "Starbucks card $25 by Apple"),
        ("Cavallini Papers &amp;amp; Co. &quot;A4&quot;", 'Cavallini Papers & Co. "A4"'),
        ("<b>Bold</b> and<br/>plain", "Bold and plain"),
        ("a < b, 3 <4, uses <2W", "a < b, 3 <4, uses <2W"),
        ("kept <span class=", "kept"),
        ('Industrial &amp; Scientific" />', ""),
        ("class='logo' /> Gifts", "Gifts"),
        ('a 24" > b 20", c / d > e', 'a 24" > b 20", c / d > e'),
        ("seen <!-- .headerM {color:#000} --> too", "seen too"),
        ("seen <script>if (a < b) { var x = 1; }</script> too", "seen too"),
        ("seen <style> p {a: b}", "seen"),
        (".a-box-inner{background-color:#fff}#aloha .selected{margin:0}", ""),
        ("var aPageStart = (new Date()).getTime();", ""),
        ("zero\u200bwidth \ufeffmark\u00ad", "zerowidth mark"),
        ("tab\tnul\x00bell\x07", "tab nul bell"),
        ("Café ﬁne №5", "Café fine No5"),
        ("lone \ud800 surrogate", "lone surrogate"),
        (None, ""),
        (float("nan"), ""),
        (True, ""),
        ({"a": "b"}, ""),
        (12.5, "12.5"),
        (["one<br>", ["two"], "", "one"], "one two"),
    ],
)
def test_text_of_a_value(value: object, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize("text", ["." + "a" * 50_000, "a.b " * 12_500, "{" + ":" * 50_000, "#a{" * 16_000, "<!--" * 12_500])
def test_a_long_cell_without_an_end_takes_no_more_than_its_length(text: str) -> None:
    """A reading that begins again at every letter takes minutes to hours of these."""
    assert plain(text) in (text.strip(), "")


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ([["Beauty", "Hair Care"], ["Beauty", "Gifts"]], ["Beauty", "Hair Care", "Gifts"]),
        (["Gift Cards", "Gift Cards", "</span></span></span>", ""], ["Gift Cards"]),
        ("['Pens &amp; Ink', \"Paper\"]", ["Pens & Ink", "Paper"]),
        ("[[1, 2], 3]", ["1", "2", "3"]),
        ("[New] pens, [blue]", ["[New] pens, [blue]"]),
        ("Beauty", ["Beauty"]),
        ("", []),
        ("[" * 5000 + "]" * 5000, ["[" * 5000 + "]" * 5000]),
    ],
)
def test_parts_of_a_value(value: object, parts: list[str]) -> None:
    assert listed(value) == parts


def test_lists_may_lie_deep() -> None:
    deep: object = "core"
    for _ in range(5000):
        deep = [deep]
    assert listed(deep) == ["core"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("$40.00", "$40.00"),
        ("\n  $1,250 \n", "$1250.00"),
        ("$10.99 - $23.9", "$10.99 - $23.90"),
        ("&#36;7", "$7.00"),
        (7.49, "$7.49"),
        (0, "$0.00"),
        ("", ""),
        ("free", ""),
        ("12.50", ""),
        (".a-box-inner{x:y} $5.00 delivery", ""),
        (-1, ""),
        (float("nan"), ""),
        (True, ""),
        (["$5.00"], ""),
    ],
)
def test_price_of_a_value(value: object, text: str) -> None:
    assert price(value) == text


@given(st.text(st.characters(exclude_characters="<>&{}[];$"), max_size=60))
@settings(max_examples=200, deadline=None)
def test_cleaned_text_is_clean(text: str) -> None:
    once = plain(text)
    assert plain(once) == once
    assert once == " ".join(once.split()) and once.isprintable()
