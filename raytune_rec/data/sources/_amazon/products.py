"""Products as Amazon's metadata tell them: a line for each, in JSON (2018; Ni et al., EMNLP 2019) or as a Python literal (2014;
McAuley et al., SIGIR 2015), with the keys asin, title, brand, price, and categories (2014) or category (2018).

A cell that cannot be what its key says is read as empty, and said: page markup in place of a title, a price in no dollars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from raytune_rec.data.blocks import RawBlock, Reject, SourceField, SourceKind
from raytune_rec.data.files.delimited import shown
from raytune_rec.data.files.objects import cell, object_of, objects_of
from raytune_rec.data.files.reading import read_lines
from raytune_rec.data.sources.base import constant
from raytune_rec.data.text.cleaning import listed, plain, price
from raytune_rec.data.tokens import words_of

Feature = Literal["brand", "categories", "price", "title", "words"]
FEATURES: tuple[Feature, ...] = get_args(Feature)
LONGEST = 2000
"""Letters of a text; what is longer is no title, brand or category, but a page."""
_WORDS = 16
"""Words of a title that are a feature of it: one title in twenty has more, up to a whole description."""
_KINDS: Mapping[str, SourceKind] = {
    "brand": "categorical",
    "categories": "multi",
    "price": "numerical",
    "title": "text",
    "words": "multi",
}
_TYPES = {"multi": pa.list_(pa.string()), "numerical": pa.float64()}


def fields_of(features: Iterable[Feature]) -> tuple[SourceField, ...]:
    """`words` are the first of the title."""
    return tuple(SourceField(name, _KINDS[name], "item", _WORDS if name == "words" else 0) for name in features)


def read_products(path: Path, domain: str, features: Sequence[Feature], most: int) -> Iterator[RawBlock]:
    """Blocks of `domain`, `item` and the features.

    Args:
        most: words that are kept, those that most titles of the file have; of equal ones the first by name.

    Raises:
        DataError: the file cannot be read.
    """
    frequent = _frequent(path, most) if "words" in features else frozenset()
    for texts, rejects in read_lines(path):
        products, refused = objects_of(texts, str(path))
        cells = _Cells(str(path), features, frequent)
        read = [(number, cells.row(number, product)) for number, product in products]
        columns: dict[str, pa.Array] = {
            f: pa.array([row[f] for _, row in read], _TYPES.get(_KINDS[f], pa.string())) for f in features
        }
        keys: dict[str, pa.Array] = {
            "domain": constant(domain, len(read)),
            "item": pa.array([row["item"] for _, row in read], pa.string()),
        }
        numbers = np.array([number for number, _ in read], np.int64)
        emptied = tuple(cells.emptied.values())
        yield RawBlock(pa.table(keys | columns), str(path), numbers, (*rejects, *refused), emptied)


class _Cells:
    """Reads the cells of one block, and keeps what of them cannot be read: `emptied` by line and column."""

    def __init__(self, file: str, features: Sequence[Feature], frequent: frozenset[str]) -> None:
        self._file, self._features, self._frequent = file, features, frequent
        self.emptied: dict[tuple[int, str], Reject] = {}

    def row(self, number: int, product: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "item": cell(product.get("asin")),
            **{feature: self._cell(feature, number, product) for feature in self._features},
        }

    def _cell(self, feature: Feature, number: int, product: Mapping[str, Any]) -> Any:
        if feature == "price":
            return self._price(number, product.get("price"))
        if feature == "categories":
            paths = product.get("categories", product.get("category"))
            return [self._text("categories", number, name) for name in listed(paths)]
        key = "title" if feature == "words" else feature
        text = self._text(key, number, product.get(key))
        return [word for word in words_of(text or "") if word in self._frequent] if feature == "words" else text

    def _text(self, name: str, number: int, value: Any) -> str | None:
        text = plain(value)
        if not text or len(text) > LONGEST:
            self._tell(name, number, value, f"is longer than {LONGEST:,} letters" if text else "holds a page and no text")
            return None
        return text

    def _price(self, number: int, value: Any) -> float | None:
        """In dollars; of a range its lower end."""
        text = price(value)
        if not text:
            self._tell("price", number, value, "is none in dollars")
            return None
        return float(text.split(" - ")[0].removeprefix("$"))

    def _tell(self, name: str, number: int, value: Any, why: str) -> None:
        """Of what is there; blanks are told with what is missing."""
        if value and str(value).strip():
            self.emptied[number, name] = Reject(self._file, number, shown(value), f"{name} {why}", name)


def _frequent(path: Path, most: int) -> frozenset[str]:
    """The words that most titles of a file have."""
    counts: Counter[str] = Counter()
    for texts, _ in read_lines(path):
        for _, text in texts:
            title = plain((object_of(text) or {}).get("title"))
            counts.update(set(words_of(title)) if len(title) <= LONGEST else ())
    return frozenset(sorted(counts, key=lambda word: (-counts[word], word))[:most])
