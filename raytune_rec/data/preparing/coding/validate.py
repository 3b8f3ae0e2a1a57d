"""Judges raw values, a block at a time: what can be used goes on as arrays, what cannot goes to the rejected rows with its
reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.data.blocks import SCORE, Fault, RawBlock, Reject, SourceField
from raytune_rec.data.cells import LARGEST, encoded, flat_lists, numbers, plain
from raytune_rec.data.files.delimited import shown
from raytune_rec.data.instants import Instants, Problems, positions
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import SPLITS

T = TypeVar("T")
Formats = Mapping[str, str]
_NO_TEXT = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array([""]))
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
        faults: (column, rule) -> the rows that break it, whatever else they break.
        blank: column of numbers -> its empty cells.
    """

    text: dict[str, pa.DictionaryArray]
    numbers: dict[str, np.ndarray]
    lists: dict[str, pa.ListArray]
    rejects: tuple[Reject, ...]
    faults: dict[tuple[str, str], Fault]
    blank: dict[str, int]

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
            self.faults,
            self.blank,
        )


class _Verdict:
    """Which rows stand, and why the others do not. The first rule that a row breaks is the one reported.

    Args:
        formats: column -> how text writes its numbers.
    """

    def __init__(self, block: RawBlock, formats: Formats) -> None:
        self._block, self.file, self._formats = block, block.file, formats
        self.good = np.ones(len(block.table), bool)
        self.rejects = list(block.rejects)
        self.faults = {(r.column, r.reason): Fault(0, r) for r in reversed(block.rejects)}
        for r in block.rejects:
            self.faults[r.column, r.reason].count += 1
        self._hit: dict[str, np.ndarray] = {}
        self._blank: dict[str, np.ndarray] = {}
        self._problems: list[str] = []

    def refuse(self, wrong: np.ndarray, column: str, reason: str) -> None:
        before = self._hit.setdefault(column, np.zeros(len(wrong), bool))
        broken = np.flatnonzero(wrong & ~before)
        if not len(broken):
            return
        self.faults[column, reason] = Fault(len(broken), self._named(broken[:1], column, reason)[0])
        self._hit[column] = before | wrong
        at = np.flatnonzero(wrong & self.good)
        self.good[at] = False
        self.rejects += self._named(at, column, reason)

    def text(self, name: str, clean: bool = True) -> pa.DictionaryArray:
        """A column as text, null where the cell is empty; numbers that are not finite are refused."""
        column = self._block.table.column(name)
        if pa.types.is_floating(column.type):
            odd = pc.fill_null(pc.invert(pc.is_finite(column)), False).to_numpy()
            self.refuse(odd, name, f"{name} is not a finite number")
        return self._read(name, lambda column: encoded(column, clean), _NO_TEXT.take)

    def keys(self, name: str) -> pa.DictionaryArray:
        """An identifier: text that is not empty."""
        values = self.text(name)
        self.refuse(values.is_null().to_numpy(zero_copy_only=False), name, f"{name} is empty")
        return values

    def number(self, name: str) -> np.ndarray:
        """(N,) float64; NaN only where the cell is empty, everything else that is no number of a float32's range is refused."""
        values, empty = self._read(name, lambda c: numbers(c, self._formats.get(name, "")), lambda n: (np.zeros(len(n)), n > 0))
        self._blank[name] = empty
        self._finite(~empty & np.isnan(values), np.abs(values) > LARGEST, name)
        return values

    def whole(self, name: str, instants: Instants) -> np.ndarray:
        """(N,) int64 nanoseconds since 1970 of times, or whole numbers of positions."""

        def read(column: pa.ChunkedArray) -> tuple[np.ndarray, Problems]:
            cells = plain(column)
            if pa.types.is_string(cells.type):
                blank = pc.equal(pc.utf8_trim_whitespace(cells), "")
                cells = pc.if_else(blank, pa.scalar(None, pa.string()), cells)
            values, problems = instants.read(cells, self.file) if name == "timestamp" else positions(cells)
            return values, [(cells.is_null().to_numpy(zero_copy_only=False), f"{name} is empty"), *problems]

        values, problems = self._read(name, read, lambda n: (n, []))
        for wrong, reason in problems:
            self.refuse(wrong, name, reason)
        return values

    def lists(self, name: str) -> pa.ListArray:
        """list<string>; null and empty values are kept as null."""

        def read(column: pa.ChunkedArray) -> pa.ListArray:
            flat, lengths, empty = flat_lists(column)
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
            return pa.ListArray.from_arrays(offsets, encoded(flat).dictionary_decode(), mask=pa.array(empty))

        return self._read(name, read, lambda n: pa.nulls(len(n), pa.list_(pa.string())))

    def vectors(self, field: SourceField) -> np.ndarray:
        """(N, W) float64; NaN where the cell is empty. A list of another length, or with what is no finite number, is refused."""

        def read(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            flat, lengths, empty = flat_lists(column)
            return numbers(flat)[0], lengths, empty

        name = field.name
        flat, lengths, empty = self._read(name, read, lambda n: (np.zeros(0), n, n == 0))
        width = field.length or int(np.bincount(lengths[~empty], minlength=1).argmax())
        self.refuse(~empty & (lengths != width), name, f"{name} has not {width} numbers, as most have")
        owner = np.repeat(np.arange(len(lengths)), lengths)
        wrong, large = (np.bincount(owner, mask, minlength=len(lengths)) > 0 for mask in (np.isnan(flat), np.abs(flat) > LARGEST))
        self.refuse(wrong, name, f"{name} is not finite numbers alone")
        self.refuse(large, name, f"{name} is beyond {LARGEST:g}")
        values = np.full((len(lengths), width), np.nan)
        fits = ~empty & (lengths == width)
        values[fits] = flat[fits[owner]].reshape(-1, width)
        return values

    def done(
        self, text: dict[str, pa.DictionaryArray], numbers: dict[str, np.ndarray], lists: dict[str, pa.ListArray]
    ) -> Checked:
        """Raises DataError for every column of a type that cannot be read."""
        if self._problems:
            raise DataError(self._problems)
        rejects = tuple(sorted(self.rejects, key=lambda r: r.line))
        blank = {name: int((empty & self.good).sum()) for name, empty in self._blank.items()}
        return Checked(text, numbers, lists, rejects, self.faults, blank).kept(self.good)

    def _finite(self, wrong: np.ndarray, large: np.ndarray, name: str) -> None:
        self.refuse(wrong, name, f"{name} is not a finite number")
        self.refuse(large, name, f"{name} is beyond {LARGEST:g}")

    def _read(self, name: str, how: Callable[[pa.ChunkedArray], T], otherwise: Callable[[np.ndarray], T]) -> T:
        try:
            return how(self._block.table.column(name))
        except DataError as error:
            self._problems += [f"{self.file}, column {name}: {problem}" for problem in error.problems]
            return otherwise(np.zeros(len(self.good), np.int64))

    def _named(self, at: np.ndarray, column: str, reason: str) -> list[Reject]:
        cells = self._block.table.column(column).take(pa.array(at))
        lines = self._block.lines[at].tolist()
        return [Reject(self.file, line, _shown(cell), reason, column) for line, cell in zip(lines, cells, strict=True)]


def _shown(cell: pa.Scalar) -> str:
    try:
        value = cell.as_py()
    except (ValueError, OverflowError):  # a date that Python cannot hold
        value = cell.value
    return "" if value is None else shown(value)


def require_interactions(block: RawBlock, fields: Sequence[SourceField], positive_above: float | None, histories: bool) -> None:
    """Raises DataError where a block lacks a column without which no row can be used; see `check_interactions`."""
    names = set(block.table.column_names)
    _require(names, ["domain", "user", "item", *(f.name for f in fields)], block.file)
    rated = "rating" in names or any(name.startswith(SCORE) for name in names)
    unlabelled = histories and not rated and "label" not in names
    if "label" not in names and (not rated or positive_above is None) and not unlabelled:
        raise DataError(f"{block.file}: no label; map a label, or a rating and set data.positive_above.")


def check_interactions(
    block: RawBlock,
    fields: Sequence[SourceField],
    rating_range: tuple[float, float] | None,
    positive_above: float | None,
    instants: Instants,
    formats: Formats,
    histories: bool = False,
) -> Checked:
    """A block of interactions; `numbers["label"]` is always there, from the rating where the source gives no label.

    Args:
        instants: read the times; they learn of all files what unit plain numbers have.
        formats: column -> how text writes its numbers.
        histories: rows become histories: where the source gives neither label nor rating, each of them counts as taken.

    Raises:
        DataError: the block has a column of a type that cannot be read.
    """
    verdict, names = _Verdict(block, formats), set(block.table.column_names)
    text = {name: verdict.keys(name) for name in ("domain", "user", "item")}
    _check_domain(text["domain"], verdict)
    numbers = {name: verdict.number(name) for name in ("label", "rating", "stay") if name in names}
    if parts := [verdict.number(name) for name in sorted(names) if name.startswith(SCORE)]:
        numbers["rating"] = np.nan_to_num(np.stack(parts)).sum(0)
    if "stay" in numbers:
        verdict.refuse(numbers["stay"] < 0, "stay", "stay is negative")
    if "rating" in numbers and rating_range is not None:
        low, high = rating_range
        verdict.refuse((numbers["rating"] < low) | (numbers["rating"] > high), "rating", f"rating outside {low:g} to {high:g}")
    if "label" in numbers:
        verdict.refuse(~np.isin(numbers["label"], (0.0, 1.0)), "label", "label is neither 0 nor 1")
    elif histories and "rating" not in numbers:
        numbers["label"] = np.ones(len(verdict.good))
    else:
        verdict.refuse(np.isnan(numbers["rating"]), "rating", "rating is empty")
        numbers["label"] = (numbers["rating"] > (positive_above or 0.0)).astype(np.float64)
    numbers |= {name: verdict.whole(name, instants) for name in ("timestamp", "position") if name in names}
    if "split" in names:
        numbers["split"] = _split(verdict)
    lists = _features(fields, text, numbers, verdict)
    return verdict.done(text, numbers, lists)


def check_features(block: RawBlock, keys: Sequence[str], fields: Sequence[SourceField], formats: Formats) -> Checked:
    """A block of users or items.

    Raises:
        DataError: a declared column is missing, or of a type that cannot be read.
    """
    verdict = _Verdict(block, formats)
    _require(set(block.table.column_names), [*keys, *(f.name for f in fields)], block.file)
    text = {name: verdict.keys(name) for name in keys}
    numbers: dict[str, np.ndarray] = {}
    lists = _features(fields, text, numbers, verdict)
    return verdict.done(text, numbers, lists)


def _require(present: set[str], wanted: list[str], file: str) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise DataError(f"{file}: there is no column {', '.join(missing)}; there are {', '.join(sorted(present))}.")


def _check_domain(domains: pa.DictionaryArray, verdict: _Verdict) -> None:
    """`all` and `mean` stand for every domain together, `/` parts domain and item in the vocabulary, `..` is a folder."""
    names = domains.dictionary.to_pylist()
    wrong = np.array([v in _NO_DOMAINS or "/" in v or not v.isprintable() for v in names] + [False], bool)
    verdict.refuse(wrong[pc.fill_null(domains.indices, -1).to_numpy(zero_copy_only=False)], "domain", "not a name for a domain")


def _split(verdict: _Verdict) -> np.ndarray:
    values = verdict.text("split")
    places = [SPLITS.index(v) if v in SPLITS else -1 for v in values.dictionary.to_pylist()]
    split = np.array([*places, -1], np.float64)[pc.fill_null(values.indices, -1).to_numpy(zero_copy_only=False)]
    verdict.refuse(split < 0, "split", "split is none of train, valid, test")
    return split


def _features(
    fields: Sequence[SourceField], text: dict[str, pa.DictionaryArray], numbers: dict[str, np.ndarray], verdict: _Verdict
) -> dict[str, pa.ListArray]:
    """Fills `text` and `numbers` with the features of these kinds and returns the lists."""
    lists: dict[str, pa.ListArray] = {}
    for field in fields:
        if field.kind == "numerical":
            numbers[field.name] = verdict.number(field.name)
        elif field.kind == "vector":
            numbers[field.name] = verdict.vectors(field)
        elif field.kind == "multi":
            lists[field.name] = verdict.lists(field.name)
        else:
            text[field.name] = verdict.text(field.name, clean=field.kind != "text")
    return lists
