"""What Amazon's items are called, in the forms in which it is published: plain text of each attribute. Files may be gzipped.

    .json, .jsonl, .ndjson    metadata of 2014 (Python dictionaries) and 2018 (JSON): an item on each line, with `asin`, `title`,
                              `brand`, `categories` or `category`, `price` and `description`
    .item.json                MiniOneRec: one object, the number of an item -> the same keys
    .item                     RecBole: `item_id:token`, and the attributes that it has, such as `title:token_seq`

A cell in which no text is, page markup or a price that is none, is read as empty, and told.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from raytune_rec.data.blocks import RawBlock, Reject
from raytune_rec.data.files.delimited import Format, shown
from raytune_rec.data.files.objects import cell, objects_of
from raytune_rec.data.files.on_disk import check_content, opened
from raytune_rec.data.files.reading import column_names, read_file, read_lines
from raytune_rec.data.sources._amazon.logs import OBJECTS, form_of
from raytune_rec.data.sources.base import constant
from raytune_rec.data.text.cleaning import listed, plain, price
from raytune_rec.errors import DataError

Attribute = Literal["title", "brand", "category", "price", "description"]
ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)
ITEMS = (*OBJECTS, ".item")
MOST = 10_000
"""Letters of a text that are kept."""
_READ: Mapping[str, Callable[[Any], str]] = {
    "title": plain,
    "brand": plain,
    "category": lambda value: ", ".join(listed(value)),
    "price": price,
    "description": lambda value: " ".join(listed(value)),
}
_BARE = re.compile(r"[\s\[\](),'\"]+")
_KEYS = {"category": ("categories", "category")}
_ATOMIC = Format(delimiter="\t", quote="")
_Row = tuple[int, str | None, Mapping[str, Any]]


def read_item_texts(path: Path, domain: str, attributes: Sequence[str]) -> Iterator[RawBlock]:
    """Blocks of `domain`, `item` and the attributes.

    Raises:
        DataError: the file cannot be read.
    """
    if path.name.lower().removesuffix(".gz").endswith(".item.json"):
        yield _block(_numbered(path), str(path), domain, attributes, ())
    elif form_of(path) == ".item":
        yield from _atomic(path, domain, attributes)
    else:
        for texts, rejects in read_lines(path):
            read, refused = objects_of(texts, str(path))
            rows = [(number, cell(row.get("asin")), row) for number, row in read]
            yield _block(rows, str(path), domain, attributes, (*rejects, *refused))


def _atomic(path: Path, domain: str, attributes: Sequence[str]) -> Iterator[RawBlock]:
    """Of a file whose columns are named `name:type`; attributes that it has not are empty."""
    named = {name.partition(":")[0]: name for name in column_names(path, _ATOMIC) or []}
    keys = {key: named[key] for name in attributes for key in _KEYS.get(name, (name,)) if key in named}
    for block in read_file(path, {"item": named.get("item_id", "item_id:token"), **keys}, _ATOMIC):
        rows = zip(block.lines.tolist(), block.table["item"].to_pylist(), block.table.to_pylist(), strict=True)
        yield _block(rows, str(path), domain, attributes, block.rejects)


def _numbered(path: Path) -> list[_Row]:
    """The items of a file that is one object; their line is their place in it."""
    check_content(path, "json")
    try:
        with opened(path) as file:
            read = json.loads(file.read().decode("utf-8-sig"))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as one JSON object ({shown(error)}); fetch or write it again.") from None
    if not isinstance(read, dict):
        raise DataError(f"{path}: is no JSON object of items by their numbers; name a file of another form otherwise.")
    return [(place, cell(item), row if isinstance(row, dict) else {}) for place, (item, row) in enumerate(read.items(), 1)]


def _block(rows: Iterable[_Row], file: str, domain: str, attributes: Sequence[str], rejects: Sequence[Reject]) -> RawBlock:
    """Of (line, item, values) of each row."""
    given = list(rows)
    emptied: list[Reject] = []
    columns: dict[str, list[str | None]] = {name: [] for name in attributes}
    for line, _, values in given:
        for name, column in columns.items():
            value = next((values[key] for key in _KEYS.get(name, (name,)) if values.get(key)), None)
            column.append(_READ[name](value)[:MOST].encode("utf-8", "replace").decode() or None)
            if column[-1] is None and _says(value):
                emptied.append(Reject(file, line, shown(value), f"{name} holds no text, or page markup", name))
    keys = {"domain": constant(domain, len(given)), "item": pa.array([item for _, item, _ in given], pa.string())}
    table = pa.table({**keys, **{name: pa.array(column, pa.string()) for name, column in columns.items()}})
    return RawBlock(table, file, np.array([line for line, _, _ in given], np.int64), tuple(rejects), tuple(emptied))


def _says(value: Any) -> bool:
    """Whether a cell holds more than blanks and empty lists."""
    return value is not None and bool(_BARE.sub("", str(value)))
