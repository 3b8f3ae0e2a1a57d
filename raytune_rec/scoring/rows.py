"""Raw rows as a caller gives them, checked before a model answers: one that guesses what was meant answers nonsense.

Shapes: N rows."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.data.cells import encoded
from raytune_rec.data.stored.columns import Columns, row_lists, text
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import CANDIDATES, DOMAIN, HISTORY, ITEM, USER
from raytune_rec.task import Unit

Unknown = Literal["backbone", "raise"]
_LISTS = (HISTORY, "taken")
"""Columns whose rows are lists of identifiers."""
UNIT = "unit"
"""Column that names whose a row is, where a scorer serves several units."""
_MANY = (list, tuple, np.ndarray, pd.Series, Mapping, Set)


class Scores(np.ndarray):
    """Scores (N,), an array as any other.

    Attributes:
        unknown: column -> (N,) bool, the rows whose value training did not know, of columns that hold some. They are answered by
            what the backbone makes of the rest of the row.
    """

    unknown: Mapping[str, np.ndarray] = {}

    @classmethod
    def of(cls, values: np.ndarray, unknown: Mapping[str, np.ndarray]) -> Scores:
        made: Scores = values.view(cls)
        made.unknown = unknown
        return made


class Answers(list[Any]):
    """One answer for each row, a list as any other; `unknown` as of `Scores`."""

    def __init__(self, answers: Iterable[Any], unknown: Mapping[str, np.ndarray]) -> None:
        super().__init__(answers)
        self.unknown = unknown


@dataclass(frozen=True)
class Rows:
    """Columns of raw rows.

    Args:
        named: column -> its values. count: N.
        lane: (N,) which of the served prompts each row asks.
        unserved: (N,) bool, whose rows no prompt serves, so that the backbone alone answers. whose: the column that named it.
    """

    named: dict[str, Any]
    count: int
    lane: np.ndarray
    unserved: np.ndarray
    whose: str = DOMAIN

    @classmethod
    def read(cls, rows: Any, store: Store, units: Sequence[Unit], names: Sequence[str] = (), plain: bool = False) -> Rows:
        """The columns of a dictionary, a frame or a table, or records, with the domain of a row's unit where none is given.

        Args:
            units: that are served. Of several the column `unit` names one for each row; without it, where the backbone answers
                for others, the column `domain` does.
            names: what rows call them; without them by their units.
            plain: the last one is the backbone alone, which answers rows of nobody else.

        Raises:
            DataError: everything that is wrong with their form, at once.
        """
        schema = store.schema
        lists = {*_LISTS, *(f.name for f in schema.fields if f.kind in ("multi", "vector"))}
        kept = {f.name for f in schema.fields if f.kind == "vector"}
        given = _columns(rows, store.columns)
        problems = [p for name, column in given.items() if (p := _misshapen(name, column, name in lists))]
        if problems:
            raise DataError(problems)
        named = {name: _held(column, name in kept) for name, column in given.items()}
        lengths = {name: len(values) for name, values in named.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"rows to score: columns of unequal length ({lengths}); give one value for each row.")
        count = max(lengths.values(), default=0)
        features = [field.name for field in schema.fields]
        lane, whose = _lanes(named, names or [unit.name for unit in units], count, plain, UNIT in features)
        of_units = pa.array([unit.domain or None for unit in units], pa.string())
        tuned, unserved = of_units.take(pa.array(lane)), (lane == len(units) - 1) & plain
        if whose == DOMAIN and plain and DOMAIN in named:  # a prompt may be called otherwise than its domain
            named[DOMAIN] = pc.coalesce(tuned, encoded(text(named[DOMAIN])).dictionary_decode())
        elif not tuned.null_count:
            named.setdefault(DOMAIN, tuned)
        if DOMAIN in named and count:
            named[DOMAIN] = _checked_domains(named[DOMAIN], schema.domains, tuned, unserved)
        return cls(named, count, lane, unserved, whose)

    def without(self, *columns: str) -> dict[str, Any]:
        return {name: values for name, values in self.named.items() if name not in columns}

    def unknown(self, store: Store, columns: Columns, how: Unknown) -> dict[str, np.ndarray]:
        """Column -> (N,) bool, where its value is none that training knew; columns that hold some alone.

        Args:
            columns: what the rows were encoded as. how: `raise` refuses them.

        Raises:
            DataError: there are some, and they are to be refused; or `how` is neither.
        """
        if how not in ("backbone", "raise"):
            raise DataError(f"unknown must be 'backbone' or 'raise' (given: {how!r}).")
        ids = {f.name: columns[f.name] for f in store.schema.fields if f.kind == "categorical" and f.name in columns}
        if CANDIDATES in columns:
            ids[ITEM] = columns[CANDIDATES][:, 0]
        required = {USER, ITEM}
        marked = {
            name: (ids[name] == 0) if name in required else (ids[name] == 0) & ~_missing(self.named[name])
            for name in ids
            if name in self.named and name not in (DOMAIN, store.schema.task.attribute)
        }
        for name in [name for name in _LISTS if name in self.named]:
            given = row_lists(self.named[name], name, "", "", "")
            real = np.array([sum(not m for m in _missing(row)) for row in given], np.int64)
            known = store.raw.past({**self.named, HISTORY: self.named[name]})
            marked[name] = np.array([len(store.raw.read(items)) for items in known], np.int64) < real
        for field in store.schema.fields:
            if field.kind == "multi" and field.name in self.named:
                marked[field.name] = store.raw.holds_unknown(field, self.named[field.name])
        holding = {name: mask for name, mask in marked.items() if mask.any()}
        unserved = {self.whose: self.unserved} if self.unserved.any() else {}
        if how == "raise" and (holding or unserved):
            nobody = [_unserved(name, mask) for name, mask in unserved.items()]
            raise DataError([*nobody, *(_refused(name, mask, self.named[name]) for name, mask in holding.items())])
        return unserved | holding


def _columns(rows: Any, log: Mapping[str, str]) -> dict[str, Any]:
    """Name -> column, of whatever holds rows.

    Args:
        log: our name of a column -> the one in the log that was prepared, which will do as well.
    """
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes) and rows and all(isinstance(r, Mapping) for r in rows):
        rows = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    if isinstance(rows, pa.Table):
        names = rows.column_names
    elif isinstance(rows, Mapping | pd.DataFrame):
        names = list(rows)
    else:
        raise DataError(
            f"rows to score: give a dictionary of columns, such as {{'user': ['u1'], 'item': ['i1']}}, a pandas frame, an Arrow "
            f"table or records (given: {type(rows).__name__})."
        )
    ours = {theirs: name for name, theirs in log.items()}
    words = [str(name) if str(name) in log else ours.get(str(name), str(name)) for name in names]
    if doubled := sorted({name for name in words if words.count(name) > 1}):
        raise DataError(f"rows to score: column {', '.join(doubled)} stands there twice; keep one of each.")
    return {word: rows[name] for word, name in zip(words, names, strict=True)}


def _held(column: Any, plain: bool) -> Any:
    """A column to read: Arrow's as it is, unless a list is wanted; another as a list."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not isinstance(column, pa.Array):
        return list(column)
    return column.to_pylist() if plain else column


def _misshapen(name: str, column: Any, lists: bool) -> str:
    """What is wrong with the form of a column; empty where nothing is."""
    one = "[['i1', 'i2']]" if lists else "['...']"
    if isinstance(column, str | bytes | Mapping | Set) or not isinstance(column, Iterable) or getattr(column, "ndim", 1) == 0:
        return f"column {name}: it must be a list with one value for each row ({_shown(column)}); write {one} for one row."
    if lists:
        return ""
    if isinstance(column, pa.Array | pa.ChunkedArray) and not pa.types.is_nested(column.type):
        return ""
    values = column.to_pylist() if isinstance(column, pa.Array | pa.ChunkedArray) else column
    wrong = next(((i, value) for i, value in enumerate(values) if isinstance(value, _MANY)), None)
    if wrong is None:
        return ""
    return f"column {name}: each row must be one value (row {wrong[0]}: {_shown(wrong[1])}); write {one} for one row."


def _shown(value: Any) -> str:
    return f"given: {str(value)[:60]!r}, of type {type(value).__name__}"


def _lanes(named: dict[str, Any], names: Sequence[str], count: int, plain: bool, feature: bool) -> tuple[np.ndarray, str]:
    """(N,) the prompt that each row asks, and the column that says it; the column `unit` is taken out.

    Args:
        names: of the prompts. plain: rows of nobody else ask the last one.
        feature: the data have a feature `unit`, so that no column of this name says whose a row is.

    Raises:
        DataError: of several prompts none is named, or one that is not served.
    """
    by_unit, prompts = UNIT in named and not feature, names[: len(names) - plain]
    apart = by_unit or (plain and DOMAIN in named)
    if (len(names) == 1 and not (plain and by_unit)) or (len(prompts) == 1 and not apart):
        return np.zeros(count, np.int64), DOMAIN
    known = f"{', '.join(prompts[:5])}{' ...' if len(prompts) > 5 else ''}"
    if not apart:
        either = f"{UNIT} or {DOMAIN}" if plain else UNIT
        raise DataError(
            f"rows to score: there is no column {DOMAIN if feature else either}; name the unit of each row, one of {known}."
        )
    whose = UNIT if by_unit else DOMAIN
    codes = encoded(text(named.pop(UNIT) if whose == UNIT else named[DOMAIN]))
    place = {name: i for i, name in enumerate(prompts)}
    called = [*codes.dictionary.to_pylist(), None]
    lane = np.array([place.get(name, -1) for name in called], np.int64)
    code = pc.fill_null(codes.indices, len(called) - 1).to_numpy(zero_copy_only=False)
    if plain:
        return np.where(lane < 0, len(names) - 1, lane)[code], whose
    if wrong := [i for i in dict.fromkeys(code.tolist()) if lane[i] < 0]:
        raise DataError(
            f"{UNIT}: rows {_first(np.flatnonzero(code == i).tolist())} name {str(called[i])!r}, which no loaded prompt serves; "
            f"name one of {known}."
            for i in wrong
        )
    return lane[code], whose


def _checked_domains(given: Any, domains: Collection[str], tuned: pa.Array, unserved: np.ndarray) -> pa.Array:
    """The domain of each row, null where the backbone alone answers and there is none of this name.

    Args:
        tuned: (N,) the domain of each row's unit, null where it serves all.

    Raises:
        DataError: rows of a domain that there is not, or for which their unit's model was not tuned; each once for a unit.
    """
    domains = dict.fromkeys(domains)  # each name is looked up
    both = (encoded(text(given)), tuned.dictionary_encode())
    names, units = ([*codes.dictionary.to_pylist(), None] for codes in both)
    name, unit = (pc.fill_null(codes.indices, len(codes.dictionary)).to_numpy(zero_copy_only=False) for codes in both)
    pair = name.astype(np.int64) * len(units) + unit
    served = pair[~unserved]
    problems = [
        f"domain: rows {_first(np.flatnonzero((pair == which) & ~unserved).tolist())} {problem}"
        for which in served[np.sort(np.unique(served, return_index=True)[1])].tolist()
        if (problem := _wrong_domain(names[which // len(units)], units[which % len(units)] or "", domains))
    ]
    if problems:
        raise DataError(problems)
    there = pa.array([n if n in domains else None for n in names], pa.string())
    return there.take(pa.array(name))


def _unserved(name: str, mask: np.ndarray) -> str:
    places = np.flatnonzero(mask).tolist()
    return (
        f"column {name}: no loaded prompt serves {len(places):,} of {len(mask):,} rows (rows {_first(places)}); add a prompt of "
        "this name, or ask with unknown='backbone', which answers them by the backbone alone and marks them."
    )


def _wrong_domain(name: str | None, tuned: str, domains: Collection[str]) -> str:
    """What is wrong with rows of a domain, said of them; empty where nothing is."""
    served = [tuned] if tuned else domains
    if name is None:
        return f"name none; name {' or '.join(served)}."
    if name not in domains:
        close = difflib.get_close_matches(name.casefold(), [d.casefold() for d in domains], 1)
        meant = [d for d in domains if close and d.casefold() == close[0]]
        return (
            f"name {name!r}, and there is no such domain{f'; did you mean {meant[0]!r}?' if meant else '.'} "
            f"This artifact serves {', '.join(served)}."
        )
    if name not in served:
        return (
            f"name {name!r}, and this artifact was tuned for {tuned!r} and serves it alone; score them with the "
            f"artifact of {name!r}, or leave the column out to score them as rows of {tuned!r}."
        )
    return ""


def _missing(values: Any) -> np.ndarray:
    """(N,) bool: None, NaN and the like."""
    if isinstance(values, pa.Array):
        return pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False)
    return np.array([value is None or value is pd.NA or value is pd.NaT or value != value for value in values], np.bool_)


def _refused(name: str, mask: np.ndarray, values: Sequence[Any]) -> str:
    places = np.flatnonzero(mask).tolist()
    shown = ", ".join(str(values[i])[:40] for i in places[:3])
    what = "hold items that training did not know" if name in _LISTS else "hold what training did not know"
    return (
        f"column {name}: {len(places):,} of {len(values):,} rows {what} (rows {_first(places)}: {shown}); leave these rows "
        "out, or ask with unknown='backbone', which answers them by what else is known and marks them."
    )


def _first(places: Sequence[int]) -> str:
    return ", ".join(map(str, places[:3])) + (" ..." if len(places) > 3 else "")
