"""What a source hands on: raw rows by the block, the features that it declares, and rows that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

SourceKind = Literal["categorical", "numerical", "multi", "text", "vector"]
SourceRole = Literal["user", "item", "context"]

ROW_COLUMNS = ("domain", "user", "item", "label", "rating", "stay", "timestamp", "position", "split")
"""Names a block of interactions may carry besides context features. The first three are required, and a label or a rating."""
SCORE = "score."
"""Before the names of columns whose sum is the rating."""


@dataclass(frozen=True)
class SourceField:
    """A feature column that a source declares.

    Args:
        name: its name in the store; none of `ROW_COLUMNS`.
        kind: `text` is kept with users and items for models that read words; it is no field of a CTR model. A `vector` is a list
            of numbers of a user, as long in every row.
        role: whose feature it is; a context feature is a column of the interactions themselves.
        length: most values of a multi-valued field that are kept; 0 keeps as many as the longest row has. Of a vector, how many
            numbers it has; 0: as many as most rows have.
    """

    name: str
    kind: SourceKind
    role: SourceRole
    length: int = 0


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used: where it stands, the value that is wrong, the rule it breaks, and its column if it is one's."""

    file: str
    line: int
    value: str
    reason: str
    column: str = ""


@dataclass
class Fault:
    """How many rows break a rule, and the first of them."""

    count: int
    first: Reject


@dataclass(frozen=True)
class RawBlock:
    """Rows of one file, as they stand there.

    Args:
        table: interactions: columns of `ROW_COLUMNS` and context features; users or items: the key `user` or `item` (with
            `domain` where items are not shared) and features. Values are text or numbers, null where a cell is empty;
            multi-valued cells are lists of text, vectors lists of numbers.
        file: whose rows they are.
        lines: (N,) int64, the line of each row in its file, from 1 (for Parquet: the row's number).
        rejects: lines that could not be read as a row.
        emptied: cells of rows that are read as empty, for they cannot be what their column says.
    """

    table: pa.Table
    file: str
    lines: np.ndarray
    rejects: tuple[Reject, ...] = ()
    emptied: tuple[Reject, ...] = ()
