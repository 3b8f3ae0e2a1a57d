"""What stands in a column: numbers, dates, words for true and false, lists, text; and whose it is."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from raytune_rec.data.cells import encoded, flat_lists
from raytune_rec.data.formats import PARSERS, plain_number
from raytune_rec.data.instants import parts_of_iso
from raytune_rec.errors import DataError

MISSING = ("NA", "N/A", "n/a", "na", "NaN", "nan", "NULL", "Null", "null", "None", "none", "\\N", "-", "?", "#N/A", "<NA>")
"""What stands for nothing in the files of others."""
_SEPARATORS = ("|", ";", ",", "/", " ")
_SOUND = 0.98
"""Share of the cells that read as what a column is said to be; the others are rejected rows, and told."""

_DEEDS = """
    click clicked like liked dislike follow followed comment commented forward forwarded share shared play played watch watched
    dwell stay view viewed read finish finished purchase purchased buy bought pay paid convert converted conversion enter entered
    favorite favourite hate skip skipped reply replied
"""
"""What a user does with what is shown, as columns are called after it."""
_SUMS = "count counts num number total sum avg mean rate ctr history previous prev past last"
"""What such a column counts beforehand."""


def words(name: str) -> list[str]:
    """The words of a column's name: `userID`, `User ID` and `user_id` are alike."""
    plain = unicodedata.normalize("NFKD", name)
    return [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", plain)]


@dataclass(frozen=True, eq=False)
class Column:
    """A column of the rows that were looked at."""

    name: str
    cells: pa.ChunkedArray

    @property
    def lists(self) -> bool:
        return pa.types.is_nested(self.cells.type)

    @property
    def readable(self) -> bool:
        """Whether single values, or lists of these, are read from its type."""
        try:
            flat_lists(self.cells) if self.lists else encoded(self.cells)
        except DataError:
            return False
        return True

    @property
    def typed_time(self) -> bool:
        return pa.types.is_timestamp(self.cells.type) or pa.types.is_date(self.cells.type)

    @cached_property
    def texts(self) -> list[str]:
        """(N) the cells as text, empty where nothing stands."""
        values = self.cells.to_pylist()
        if self.lists:
            return ["|".join(map(str, value or ())) for value in values]
        return ["" if value is None else str(value).strip() for value in values]

    @cached_property
    def missing(self) -> list[str]:
        """Words here that stand for nothing: in a column of numbers or dates all that look so, elsewhere the plain ones."""
        counts = Counter(text for text in self.texts if text in MISSING)
        others = Counter(text for text in self.texts if text and text not in MISSING)
        numbers = sum(n for text, n in others.items() if _reads(text))
        most = numbers > 0.9 * sum(others.values())
        return [word for word in counts if most or word.lower() in ("na", "n/a", "null", "none", "nan", "\\n", "#n/a", "<na>")]

    @cached_property
    def known(self) -> np.ndarray:
        """(N,) bool: something stands there."""
        nothing = {"", *self.missing}
        return np.array([text not in nothing for text in self.texts], bool)

    @cached_property
    def counts(self) -> Counter[str]:
        nothing = {"", *self.missing}
        return Counter(text for text in self.texts if text not in nothing)

    @property
    def filled(self) -> float:
        return float(self.known.mean()) if len(self.known) else 0.0

    def share(self, read: Mapping[str, bool]) -> float:
        """Of the filled cells, those whose text is read."""
        return sum(n for text, n in self.counts.items() if read[text]) / max(1, self.counts.total())

    @cached_property
    def number(self) -> str | None:
        """The format that reads its numbers, empty for plain ones; None where it holds none."""
        if self.lists or self.typed_time or not self.counts:
            return None
        for form in ("", *self._marks()):
            if self.share({text: PARSERS[form](text) is not None for text in self.counts}) >= _SOUND:
                return form
        return None

    def _marks(self) -> list[str]:
        """Which mark parts the decimals: a last mark that two or four digits follow tells, three may be thousands."""
        last = [m.group(1) for text in self.counts if (m := re.search(r"([.,])\d+\D*$", text))]
        told = [m.group(1) for text in self.counts if (m := re.search(r"([.,])(?:\d{1,2}|\d{4,})\D*$", text))]
        comma = told.count(",") >= told.count(".") if told else "," in last
        return ["decimal_comma", "decimal_point"] if comma else ["decimal_point", "decimal_comma"]

    @cached_property
    def values(self) -> np.ndarray:
        """(N,) float64 by that format, NaN where there is no number."""
        parse = PARSERS[self.number or ""]
        read = {text: parse(text) for text in self.counts}
        return np.array([np.nan if (v := read.get(text)) is None else v for text in self.texts], np.float64)

    @cached_property
    def two_valued(self) -> bool:
        """True and false in any words, both or one of them."""
        return bool(self.counts) and all(PARSERS["bool"](text) is not None for text in self.counts)

    @cached_property
    def iso(self) -> bool:
        return (
            not self.typed_time
            and self.share({t: parts_of_iso(t) is not None for t in self.counts}) >= _SOUND
            and bool(self.counts)
        )

    @cached_property
    def epoch(self) -> bool:
        """Numbers that are times: between 1990 and 2100 in seconds, milliseconds, microseconds or nanoseconds."""
        if self.number != "":
            return False
        values = self.values[np.isfinite(self.values)]
        return bool(len(values)) and any(
            ((values > 6.3e8 * scale) & (values < 4.1e9 * scale)).mean() > 0.99 for scale in (1, 1e3, 1e6, 1e9)
        )

    @cached_property
    def separator(self) -> str:
        """What parts the values of a cell that holds several; empty where cells hold one."""
        if self.lists:
            return "|"
        if self.number is not None or self.iso:
            return ""
        for mark in _SEPARATORS:
            several = self.share({text: mark in text for text in self.counts})
            parts = {part.strip() for text in self.counts for part in text.split(mark)}
            longest = max((len(part) for part in parts), default=0)
            if several >= 0.15 and len(parts) < 0.7 * len(self.counts) and longest <= 30 and (mark != " " or several < 0.95):
                return mark
        return ""

    @property
    def sentence(self) -> bool:
        """Free text: cells of several words, few of them alike."""
        several = self.share({text: text.count(" ") >= 3 for text in self.counts})
        return several > 0.5 and len(self.counts) > 0.2 * max(1, self.counts.total()) and self.number is None


def _reads(text: str) -> bool:
    return plain_number(text) is not None or PARSERS["decimal_comma"](text) is not None or parts_of_iso(text) is not None


def fixed(column: Column, keys: list[str]) -> float:
    """Share of the rows whose cell is what most rows of the same key have, over keys with two rows or more; 0 without any."""
    by_key: dict[str, Counter[str]] = {}
    for key, text, known in zip(keys, column.texts, column.known, strict=True):
        if known and key:
            by_key.setdefault(key, Counter())[text] += 1
    repeated = [counts for counts in by_key.values() if counts.total() > 1]
    return sum(counts.most_common(1)[0][1] for counts in repeated) / max(1, sum(counts.total() for counts in repeated))


def afterwards(column: Column) -> bool:
    """Whether a column is by its name what came of a row: a click, a follow, how long something was played. Several of these give
    a label away together where none does alone.
    """
    named = {*words(column.name)}
    return not named.isdisjoint(_DEEDS.split()) and named.isdisjoint(_SUMS.split())


def tells(column: Column, label: np.ndarray) -> bool:
    """Whether a column gives the label away: nearly every row is guessed right from its cell alone, empty or not."""
    by_value: dict[str, list[int]] = {}
    texts = ["" if not known else text for text, known in zip(column.texts, column.known, strict=True)]
    many = len(set(texts)) > 20
    for text, positive in zip(texts, label, strict=True):
        entry = by_value.setdefault(str(bool(text)) if many else text, [0, 0])
        entry[int(positive)] += 1
    right = sum(max(entry) for entry in by_value.values()) / max(1, len(label))
    most = max(label.mean(), 1 - label.mean()) if len(label) else 1.0
    return right > 0.99 and most < 0.97
