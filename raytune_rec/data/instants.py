"""Times and places as whole numbers, exact whatever writes them: text, integers, decimals, floats, dates.

An instant is int64 nanoseconds since 1970, so that whole nanoseconds and fractions of a second are told apart alike; the last one
is of April 2262. Dates without a zone are taken for UTC. A plain number does not say its unit: it is decided for the column, over
all files of the job, by how large its numbers are (from 1973 on the ranges do not overlap), or by an option. Files that disagree
are refused; single rows that disagree with their file are rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.errors import DataError

LAST = 2**63 - 1
UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_NANOS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_CLEAR = 10**8
"""Seconds of March 1973: what is below may be of any unit, a counter, say."""
_EDGES = np.array([10**11, 10**14, 10**17], np.int64)
_SHARE = 10**9
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_DIGITS = r"^(?P<whole>[0-9]{1,18})(?:\.(?P<share>[0-9]{1,9}))?$"
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?)?\s?(Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Parts = tuple[int, int]
"""A number's whole part and its billionths; the whole part is cut to what an int64 holds."""
Problems = list[tuple[np.ndarray, str]]
"""(N,) masks, each with the rule that these rows break."""


def parts_of_number(text: str) -> Parts | None:
    """None for what is no finite number."""
    text = text.strip()
    if not NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    if value.adjusted() > 18:
        return (LAST if value > 0 else -LAST), 0
    whole = int(value // 1) if value >= 0 else -int(-value // 1) - int(value % 1 != 0)
    return max(min(whole, LAST), -LAST), int((value - whole) * _SHARE)


def parts_of_iso(text: str) -> Parts | None:
    """Seconds since 1970 of a date, or a date and a time, in the order of ISO 8601; without a zone it is UTC."""
    match = _ISO.fullmatch(text.strip())
    if not match:
        return None
    *fields, billionths, zone = match.groups()
    try:
        at = datetime(*(int(f or 0) for f in fields), tzinfo=_zone(zone))  # type: ignore[arg-type, misc]
    except ValueError:  # a 13th month
        return None
    since = at - _EPOCH
    return since.days * 86_400 + since.seconds, int((billionths or "").ljust(9, "0"))


def _zone(text: str | None) -> timezone:
    if text in (None, "Z", "z"):
        return UTC
    assert text is not None
    ahead = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-ahead if text[0] == "-" else ahead)


def parts(column: pa.Array, parse: Callable[[str], Parts | None] = parts_of_number) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """((N,) bool, the number is finite; (N,) int64 whole parts; (N,) int64 billionths), 0 where a cell is empty.

    Args:
        column: text, or numbers of any type.
        parse: how text is read.
    """
    kind = column.type
    if pa.types.is_integer(kind):
        values = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
        whole = np.minimum(values, LAST).astype(np.int64) if kind == pa.uint64() else values.astype(np.int64)
        return np.ones(len(column), bool), whole, np.zeros(len(column), np.int64)
    if pa.types.is_floating(kind):
        values = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False)
        if (np.abs(values) < 2.0**62).all() and (values == np.floor(values)).all():
            return np.ones(len(values), bool), values.astype(np.int64), np.zeros(len(values), np.int64)
        column = pa.array(values).cast(pa.string())  # the shortest text that is this number, as a file would write it
    text = column.cast(pa.string())
    plain = _digits(pc.fill_null(text, "0")) if parse is parts_of_number else None
    return plain or _parsed(text, parse)


def _digits(text: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """What `_parsed` gives, all at once, where every cell is digits with a point at most."""
    if not pc.all(pc.match_substring_regex(text, _DIGITS)).as_py() and len(text):
        return None
    parts = pc.extract_regex(text, _DIGITS)
    whole, share = pc.struct_field(parts, "whole"), pc.utf8_rpad(pc.struct_field(parts, "share"), 9, "0")
    columns = (part.cast(pa.int64()).to_numpy(zero_copy_only=False) for part in (whole, share))
    return np.ones(len(text), bool), *columns


def _parsed(column: pa.Array, parse: Callable[[str], Parts | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes = pc.dictionary_encode(column)
    read = [parse(text) for text in codes.dictionary.to_pylist()]
    place = pc.fill_null(codes.indices, len(read)).to_numpy(zero_copy_only=False)
    values = np.array([(0, 0) if r is None else r for r in read] + [(0, 0)], np.int64).reshape(-1, 2)[place]
    finite = np.array([r is not None for r in read] + [True], bool)[place]
    return finite, values[:, 0], values[:, 1]


def positions(column: pa.Array) -> tuple[np.ndarray, Problems]:
    """(N,) int64, 0 where a cell is empty.

    Raises:
        DataError: the column is of a type that holds no numbers.
    """
    _require_plain(column, "holds no positions; map a column of whole numbers")
    finite, whole, share = parts(column)
    odd = (share != 0) | (np.abs(whole) == LAST)
    problems = [(~finite, "position is not a finite number"), (odd, "position is no whole number of 64 bits")]
    return whole, [*problems, (whole < 0, "position is negative")]


class Instants:
    """The times of a job's interactions, block after block.

    Args:
        unit: of plain numbers, one of `UNITS`; empty: by their size.
        iso: text is a date and a time instead of a number.
        settable: a job can say the unit.
    """

    def __init__(self, unit: str = "", iso: bool = False, settable: bool = True) -> None:
        self._given, self._iso, self._settable = unit, iso, settable
        self._unit = unit
        self._clear: dict[str, dict[str, tuple[int, str]]] = {}  # file -> unit -> how many rows, the first of them
        self._unclear: tuple[str, str] | None = None  # read as seconds before any number told the unit: its file, its value

    @property
    def unit(self) -> str:
        """Of the plain numbers, empty where there were none."""
        return self._unit or ("s" if self._unclear else "")

    def read(self, column: pa.Array, file: str) -> tuple[np.ndarray, Problems]:
        """(N,) int64 nanoseconds since 1970, 0 where a cell is empty or refused.

        Args:
            column: text, numbers, dates or timestamps.

        Raises:
            DataError: the column is of a type that tells no time.
        """
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return _dates(column)
        _require_plain(column, "tells no time; map a column of times, or of seconds since 1970")
        if self._iso and pa.types.is_string(kind):
            finite, whole, share = parts(column, parts_of_iso)
            values, problems = _scaled(whole, share, _NANOS["s"], "a date")
            return values, [(~finite, "timestamp is no date in ISO form, such as 2024-05-31T18:30:00Z"), *problems]
        finite, whole, share = parts(column)
        foreign = self._foreign(whole, column.is_valid().to_numpy(zero_copy_only=False) & finite, file)
        unit = self.unit or "s"
        values, problems = _scaled(whole, share, _NANOS[unit], UNITS[unit])
        odd = f"timestamp is not in {UNITS[unit]}, as the others are"
        return values, [(~finite, "timestamp is not a finite number, such as seconds since 1970"), (foreign, odd), *problems]

    def problems(self) -> list[str]:
        """Files whose plain numbers are of different units. To be asked when all files are read."""
        units = {file: max(seen, key=lambda unit: seen[unit][0]) for file, seen in self._clear.items()}
        shown = [unit for unit in UNITS if unit in units.values()]
        if self._given or (len(shown) < 2 and not self._misread):
            return []
        said = [(UNITS[u], next(f for f in units if units[f] == u)) for u in shown]
        told = [f"in {word} in {file} ({self._clear[file][units[file]][1]})" for word, file in said]
        if self._misread:
            assert self._unclear is not None
            told.append(f"of no clear unit in {self._unclear[0]} ({self._unclear[1]})")
        return [
            f"timestamp: plain numbers must be of one unit in all files, and they are {', '.join(told)}; write them alike"
            f"{', or where they are, set data.options.time_unit to it' if self._settable else ''}."
        ]

    @property
    def _misread(self) -> bool:
        return self._unclear is not None and self._unit not in ("", "s")

    def _foreign(self, whole: np.ndarray, used: np.ndarray, file: str) -> np.ndarray:
        """(N,) bool: numbers whose size tells another unit than the column has; learns the unit from the first that tell one."""
        if self._given:
            return np.zeros(len(whole), bool)
        clear = used & (whole >= _CLEAR)
        place = np.searchsorted(_EDGES, whole, side="right")
        counts = np.bincount(place[clear], minlength=len(UNITS))
        seen = self._clear.setdefault(file, {}) if clear.any() else {}
        for at, unit in enumerate(UNITS):
            if counts[at]:
                first = str(whole[clear & (place == at)][0])
                before = seen.get(unit, (0, first))
                seen[unit] = (before[0] + int(counts[at]), before[1])
        if not self._unit:
            if clear.any():
                self._unit = list(UNITS)[int(counts.argmax())]
            elif self._unclear is None and used.any():
                self._unclear = (file, str(whole[used][0]))
        return clear & (place != list(UNITS).index(self.unit or "s"))


def _require_plain(column: pa.Array, otherwise: str) -> None:
    plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_string, pa.types.is_null)
    if not any(fits(column.type) for fits in plain):
        raise DataError(f"a column of type {column.type} {otherwise}.")


def _dates(column: pa.Array) -> tuple[np.ndarray, Problems]:
    kind = column.type
    whole = column.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64()).cast(pa.int64())
    day = 86_400 * _NANOS["s"]
    unit = day if pa.types.is_date32(kind) else _NANOS["ms" if pa.types.is_date64(kind) else kind.unit]
    return _scaled(pc.fill_null(whole, 0).to_numpy(zero_copy_only=False), None, unit, "a date")


def _scaled(whole: np.ndarray, share: np.ndarray | None, unit: int, what: str) -> tuple[np.ndarray, Problems]:
    limit = LAST // unit
    late = (whole >= limit) & (whole > 0)
    negative = whole < 0
    values = np.where(late | negative, 0, whole) * np.int64(unit)
    if share is not None and unit <= _SHARE:
        values += share // (_SHARE // unit)
    words = f"timestamp is past the year 2262 (read as {what})"
    return np.where(late | negative, 0, values), [(negative, "timestamp is negative"), (late, words)]
