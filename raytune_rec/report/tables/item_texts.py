"""What each attribute of items is worth as text, by domain, and which are proposed: for a terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_rec.report.tables.web import Cell, Line, WebTable
from raytune_rec.report.words import NONE, percent

_COLUMNS = (
    ("items with it", "covered"),
    ("perplexity", "perplexity"),
    ("divergence", "divergence"),
    ("entropy", "entropy"),
    ("ambiguous", "ambiguity"),
    ("words", "length"),
)
_SHARES = ("covered", "ambiguity")
WHAT = (
    "Perplexity of a letter under counts of letters in the other domains' texts (lower: more natural; no language model is "
    "asked), Jensen-Shannon divergence of its words from the other domains' in bits (0: the same words), entropy of a text's "
    "words in bits, share of texts that name several items, and words of a text; of up to 2,000 items of a domain, shares of all."
)


def lines(told: Mapping[str, Any]) -> list[str]:
    """For a terminal; none where no text of items was measured."""
    if not told:
        return []
    rows = [("attribute", "domain", *(name for name, _ in _COLUMNS)), *_rows(told)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<", "<", *[">"] * len(_COLUMNS)]
    aligned = ["  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows]
    return [WHAT, *aligned, proposal(told)]


def table(told: Mapping[str, Any]) -> WebTable | None:
    """For the page; None where no text of items was measured."""
    if not told:
        return None
    found = [Line(row[0], "transparent", row[1], [Cell(cell) for cell in row[2:]]) for row in _rows(told)]
    return WebTable(f"{WHAT} {proposal(told)}", ["attribute", *(name for name, _ in _COLUMNS)], found)


def proposal(told: Mapping[str, Any]) -> str:
    """The attributes that the indicators speak for, and by which rule."""
    pretrain, tune = (", ".join(told[stage]) or "none" for stage in ("pretrain", "tune"))
    return (
        f"Proposed item text: to pre-train {pretrain}; to tune {tune}. Pre-training takes what is as natural as the middle of "
        "the attributes or more and no longer than data.text.length; shorter ones come first."
    )


def _rows(told: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (attribute, domain or "all", *(_cell(name, values[name]) for _, name in _COLUMNS))
        for attribute, of in told["found"].items()
        for domain, values in of.items()
    ]


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return NONE
    return percent(value) if name in _SHARES else f"{value:,.2f}"
