"""Raw rows as a caller gives them, checked before a model answers: one that guesses what was meant answers nonsense.

Shapes: N rows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

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
        units: whose each row is.
    """

    named: dict[str, list[Any]]
    count: int
    units: Sequence[str] = ()

    @classmethod
    def read(cls, rows: Any, store: Store, units: Sequence[Unit]) -> Rows:
        """The columns of a dictionary or a frame, with the domain of a row's unit where none is given.

        Args:
            units: that are served; of several the column `unit` names one for each row.

        Raises:
            DataError: everything that is wrong with their form, at once.
        """
        schema = store.schema
        names = _names(rows)
        lists = {*_LISTS, *(f.name for f in schema.fields if f.kind in ("multi", "vector"))}
        problems = [p for name in names if (p := _misshapen(str(name), rows[name], str(name) in lists))]
        if problems:
            raise DataError(problems)
        named = {str(name): list(_values(rows[name])) for name in names}
        lengths = {name: len(values) for name, values in named.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"rows to score: columns of unequal length ({lengths}); give one value for each row.")
        count = max(lengths.values(), default=0)
        whose = _units(named, [unit.name for unit in units], count)
        of_units = {unit.name: unit.domain for unit in units}
        domains = [of_units[name] for name in whose]
        if all(of_units.values()):
            named.setdefault(DOMAIN, domains)
        if DOMAIN in named and count:
            _check_domains(named[DOMAIN], schema.domains, domains)
        return cls(named, count, whose)

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
            name: (ids[name] == 0) & (np.full(self.count, name in required) | ~_missing(self.named[name]))
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
        if holding and how == "raise":
            raise DataError([_refused(name, mask, self.named[name]) for name, mask in holding.items()])
        return holding


def _names(rows: Any) -> list[Any]:
    """Names of the columns, each once."""
    if isinstance(rows, pa.Table):
        names = rows.column_names
    elif isinstance(rows, Mapping | pd.DataFrame):
        names = list(rows)
    else:
        raise DataError(
            f"rows to score: give a dictionary of columns, such as {{'user': ['u1'], 'item': ['i1']}}, or a pandas frame (given: "
            f"{type(rows).__name__})."
        )
    words = [str(name) for name in names]
    if doubled := sorted({name for name in words if words.count(name) > 1}):
        raise DataError(f"rows to score: column {', '.join(doubled)} stands there twice; keep one of each.")
    return names


def _values(column: Any) -> Any:
    return column.to_pylist() if isinstance(column, pa.Array | pa.ChunkedArray) else column


def _misshapen(name: str, column: Any, lists: bool) -> str:
    """What is wrong with the form of a column; empty where nothing is."""
    one = "[['i1', 'i2']]" if lists else "['...']"
    if isinstance(column, str | bytes | Mapping | Set) or not isinstance(column, Iterable) or getattr(column, "ndim", 1) == 0:
        return f"column {name}: it must be a list with one value for each row ({_shown(column)}); write {one} for one row."
    if lists:
        return ""
    wrong = next(((i, value) for i, value in enumerate(_values(column)) if isinstance(value, _MANY)), None)
    if wrong is None:
        return ""
    return f"column {name}: each row must be one value (row {wrong[0]}: {_shown(wrong[1])}); write {one} for one row."


def _shown(value: Any) -> str:
    return f"given: {str(value)[:60]!r}, of type {type(value).__name__}"


def _units(named: dict[str, list[Any]], units: Sequence[str], count: int) -> list[str]:
    """Whose each row is; of several units the rows' own column, which is taken out, says it.

    Raises:
        DataError: there is none, or it names a unit that is not served.
    """
    if len(units) == 1:
        return [units[0]] * count
    known = f"{', '.join(units[:5])}{' ...' if len(units) > 5 else ''}"
    if UNIT not in named:
        raise DataError(f"rows to score: there is no column {UNIT}; name the unit of each row, one of {known}.")
    whose = named.pop(UNIT)
    problems = []
    for name in dict.fromkeys(map(str, whose)):
        if name not in units:
            places = [i for i, unit in enumerate(whose) if str(unit) == name]
            problems.append(f"{UNIT}: rows {_first(places)} name {name!r}, which no loaded prompt serves; name one of {known}.")
    if problems:
        raise DataError(problems)
    return [str(name) for name in whose]


def _check_domains(given: Sequence[Any], domains: Sequence[str], tuned: Sequence[str]) -> None:
    """Refuse rows of a domain that there is not, or for which their unit's model was not tuned.

    Args:
        tuned: (N,) the domain of each row's unit, empty where it serves all.

    Raises:
        DataError: all such domains, each once for a unit.
    """
    rows = list(zip(encoded(text(given)).to_pylist(), tuned, strict=True))
    problems = [
        f"domain: rows {_first([i for i, row in enumerate(rows) if row == (name, domain)])} {problem}"
        for name, domain in dict.fromkeys(rows)
        if (problem := _wrong_domain(name, domain, domains))
    ]
    if problems:
        raise DataError(problems)


def _wrong_domain(name: str | None, tuned: str, domains: Sequence[str]) -> str:
    """What is wrong with rows of a domain, said of them; empty where nothing is."""
    served = [tuned] if tuned else list(domains)
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


def _missing(values: Sequence[Any]) -> np.ndarray:
    """(N,) bool: None, NaN and the like."""
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
