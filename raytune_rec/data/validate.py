"""Judges raw values, a block at a time: what can be used goes on as arrays, what cannot goes to the rejected rows with its
reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.data.instants import Instants, positions
from raytune_rec.data.reading import shown
from raytune_rec.data.sources.base import RawBlock, Reject, SourceField
from raytune_rec.errors import DataError
from raytune_rec.schema import SPLITS

_NO_DOMAINS = {"all", "mean", ".", ".."}


@dataclass(frozen=True)
class Checked:
    """Rows that can be used.

    Args:
        text: column -> dictionary array of text, null where the cell is empty.
        numbers: column -> (N,) float64, NaN where the cell is empty; (N, W) of vectors; int64 of timestamp (nanoseconds since
            1970) and position, which are never empty.
        lists: column -> list<string> array.
        rejects: the other rows, in the order of their lines.
    """

    text: dict[str, pa.DictionaryArray]
    numbers: dict[str, np.ndarray]
    lists: dict[str, pa.ListArray]
    rejects: tuple[Reject, ...]

    def kept(self, good: np.ndarray) -> Checked:
        """The rows that an (N,) mask names."""
        if good.all():
            return self
        mask = pa.array(good)
        return Checked(
            # encoded anew: a value that only other rows have must not reach a vocabulary
            {k: pc.dictionary_encode(v.filter(mask).dictionary_decode()) for k, v in self.text.items()},
            {k: v[good] for k, v in self.numbers.items()},
            {k: v.filter(mask) for k, v in self.lists.items()},
            self.rejects,
        )


class _Verdict:
    """Which rows stand, and why the others do not. The first rule that a row breaks is the one reported."""

    def __init__(self, block: RawBlock) -> None:
        self._block, self.file = block, block.file
        self.good = np.ones(len(block.table), bool)
        self.rejects = list(block.rejects)

    def refuse(self, wrong: np.ndarray, column: str, reason: str) -> None:
        at = np.flatnonzero(wrong & self.good)
        if not len(at):
            return
        self.good[at] = False
        cells = self._block.table.column(column).take(pa.array(at))
        lines = self._block.lines[at].tolist()
        self.rejects += [Reject(self._block.file, line, _shown(cell), reason) for line, cell in zip(lines, cells, strict=True)]

    def done(
        self, text: dict[str, pa.DictionaryArray], numbers: dict[str, np.ndarray], lists: dict[str, pa.ListArray]
    ) -> Checked:
        return Checked(text, numbers, lists, tuple(sorted(self.rejects, key=lambda r: r.line))).kept(self.good)


def _shown(cell: pa.Scalar) -> str:
    try:
        value = cell.as_py()
    except (ValueError, OverflowError):  # a date that Python cannot hold
        value = cell.value
    return "" if value is None else shown(value)


def check_interactions(
    block: RawBlock,
    fields: Sequence[SourceField],
    rating_range: tuple[float, float] | None,
    positive_above: float | None,
    instants: Instants,
    histories: bool = False,
) -> Checked:
    """A block of interactions; `numbers["label"]` is always there, from the rating where the source gives no label.

    Args:
        instants: read the times; they learn of all files what unit plain numbers have.
        histories: rows become histories: where the source gives neither label nor rating, each of them counts as taken.

    Raises:
        DataError: the block lacks a column without which no row can be used.
    """
    table, verdict = block.table, _Verdict(block)
    names = set(table.column_names)
    _require(names, ["domain", "user", "item", *(f.name for f in fields)], block.file)
    unlabelled = histories and not names & {"label", "rating"}
    if "label" not in names and ("rating" not in names or positive_above is None) and not unlabelled:
        raise DataError(f"{block.file}: no label; map a label, or a rating and set data.positive_above.")
    text = {name: _keys(table.column(name), name, verdict) for name in ("domain", "user", "item")}
    _check_domain(text["domain"], verdict)
    told = [name for name in ("label", "rating") if name in names]
    numbers = {name: _number(table.column(name), name, verdict) for name in told}
    if "rating" in numbers and rating_range is not None:
        low, high = rating_range
        verdict.refuse((numbers["rating"] < low) | (numbers["rating"] > high), "rating", f"rating outside {low:g} to {high:g}")
    if "label" in numbers:
        verdict.refuse(~np.isin(numbers["label"], (0.0, 1.0)), "label", "label is neither 0 nor 1")
    elif unlabelled:
        numbers["label"] = np.ones(len(table))
    else:
        verdict.refuse(np.isnan(numbers["rating"]), "rating", "rating is empty")
        numbers["label"] = (numbers["rating"] > (positive_above or 0.0)).astype(np.float64)
    for name in ("timestamp", "position"):
        if name in names:
            numbers[name] = _whole(table.column(name), name, instants, verdict)
    if "split" in names:
        numbers["split"] = _split(table.column("split"), verdict)
    lists = _features(table, fields, text, numbers, verdict)
    return verdict.done(text, numbers, lists)


def check_features(block: RawBlock, keys: Sequence[str], fields: Sequence[SourceField]) -> Checked:
    """A block of users or items.

    Raises:
        DataError: a declared column is missing.
    """
    verdict = _Verdict(block)
    _require(set(block.table.column_names), [*keys, *(f.name for f in fields)], block.file)
    text = {name: _keys(block.table.column(name), name, verdict) for name in keys}
    numbers: dict[str, np.ndarray] = {}
    lists = _features(block.table, fields, text, numbers, verdict)
    return verdict.done(text, numbers, lists)


def encoded(column: pa.ChunkedArray | pa.Array) -> pa.DictionaryArray:
    """A column as dictionary-encoded text: what is asked of each value is asked once per distinct value."""
    column = _plain_array(column)
    if not pa.types.is_floating(column.type) and not pa.types.is_boolean(column.type):
        return pc.dictionary_encode(_cast(column, pa.string()))
    codes = pc.dictionary_encode(column)
    values = pa.array([_id_text(v) for v in codes.dictionary.to_pylist()], pa.string())
    return pc.dictionary_encode(values.take(codes.indices))


def _id_text(value: float | bool) -> str | None:
    """An identifier that pandas has turned into a float because some cells are empty is still a whole number."""
    if value != value:
        return None
    return str(int(value)) if float(value).is_integer() else repr(value)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return column.cast(kind)
    except pa.ArrowException:
        raise DataError(
            f"a column of type {column.type} cannot be read as {kind}; map another column, or change its kind."
        ) from None


def _plain_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _require(present: set[str], wanted: list[str], file: str) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise DataError(f"{file}: there is no column {', '.join(missing)}; there are {', '.join(sorted(present))}.")


def _keys(column: pa.ChunkedArray, name: str, verdict: _Verdict) -> pa.DictionaryArray:
    """An identifier: text that is not empty."""
    values = encoded(column)
    blank = np.array([not v.strip() for v in values.dictionary.to_pylist()] + [True], bool)
    verdict.refuse(blank[pc.fill_null(values.indices, -1).to_numpy(zero_copy_only=False)], name, f"{name} is empty")
    return values


def _check_domain(domains: pa.DictionaryArray, verdict: _Verdict) -> None:
    """`all` and `mean` stand for every domain together, `/` parts domain and item in the vocabulary, `..` is a folder."""
    names = domains.dictionary.to_pylist()
    wrong = np.array([v in _NO_DOMAINS or "/" in v or not v.isprintable() for v in names] + [False], bool)
    verdict.refuse(wrong[pc.fill_null(domains.indices, -1).to_numpy(zero_copy_only=False)], "domain", "not a name for a domain")


def _number(column: pa.ChunkedArray, name: str, verdict: _Verdict) -> np.ndarray:
    """(N,) float64; NaN only where the cell is empty, everything else that is no finite number is refused."""
    column = _plain_array(column)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = pc.divide(column.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64()), 1e6)  # seconds since 1970
    try:
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        values = pd.to_numeric(pd.Series(_cast(column, pa.string()).to_pylist(), dtype=object), errors="coerce").to_numpy(
            np.float64
        )
    present = column.is_valid().to_numpy(zero_copy_only=False)
    verdict.refuse(present & ~np.isfinite(values), name, f"{name} is not a finite number")
    return np.where(present, values, np.nan)


def _whole(column: pa.ChunkedArray, name: str, instants: Instants, verdict: _Verdict) -> np.ndarray:
    """(N,) int64 nanoseconds since 1970 of times, or whole numbers of positions."""
    column = _plain_array(column)
    values, problems = instants.read(column, verdict.file) if name == "timestamp" else positions(column)
    empty = column.is_null().to_numpy(zero_copy_only=False)
    for wrong, reason in [(empty, f"{name} is empty"), *problems]:
        verdict.refuse(wrong, name, reason)
    return values


def _vector(column: pa.ChunkedArray, field: SourceField, verdict: _Verdict) -> np.ndarray:
    """(N, W) float64; NaN where the cell is empty. A list of another length, or with what is no finite number, is refused."""
    try:
        lists = _plain_array(column).cast(pa.list_(pa.float64()))
        flat = lists.flatten().to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        lists = _cast(_plain_array(column), pa.list_(pa.string()))
        flat = pd.to_numeric(pd.Series(lists.flatten().to_pylist(), dtype=object), errors="coerce").to_numpy(np.float64)
    present = lists.is_valid().to_numpy(zero_copy_only=False)
    lengths = np.where(present, np.diff(lists.offsets.to_numpy()), 0)
    width = field.length or int(np.bincount(lengths[present], minlength=1).argmax())
    verdict.refuse(present & (lengths != width), field.name, f"{field.name} has not {width} numbers, as most have")
    owner = np.repeat(np.arange(len(lengths)), lengths)
    wrong = np.bincount(owner, ~np.isfinite(flat), minlength=len(lengths)) > 0
    verdict.refuse(wrong, field.name, f"{field.name} is not finite numbers alone")
    found = np.full((len(lengths), width), np.nan)
    fits = present & (lengths == width)
    found[fits] = flat[fits[owner]].reshape(-1, width)
    return found


def _split(column: pa.ChunkedArray, verdict: _Verdict) -> np.ndarray:
    values = encoded(column)
    places = [SPLITS.index(v) if v in SPLITS else -1 for v in values.dictionary.to_pylist()]
    split = np.array([*places, -1], np.float64)[pc.fill_null(values.indices, -1).to_numpy(zero_copy_only=False)]
    verdict.refuse(split < 0, "split", "split is none of train, valid, test")
    return split


def _features(
    table: pa.Table,
    fields: Sequence[SourceField],
    text: dict[str, pa.DictionaryArray],
    numbers: dict[str, np.ndarray],
    verdict: _Verdict,
) -> dict[str, pa.ListArray]:
    """Fills `text` and `numbers` with the features of these kinds and returns the lists."""
    lists: dict[str, pa.ListArray] = {}
    for field in fields:
        column = table.column(field.name)
        if field.kind == "numerical":
            numbers[field.name] = _number(column, field.name, verdict)
        elif field.kind == "vector":
            numbers[field.name] = _vector(column, field, verdict)
        elif field.kind == "multi":
            lists[field.name] = _cast(column.combine_chunks(), pa.list_(pa.string()))
        else:
            text[field.name] = encoded(column)
    return lists
