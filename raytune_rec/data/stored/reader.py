"""What reads the rows of a store: one reader for interactions, one for histories. Shapes: N rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from raytune_rec.data.stored.columns import Columns
from raytune_rec.schema.prepared import Split, Table
from raytune_rec.task import Unit


class Reader(Protocol):
    """The rows of a store."""

    def load(self, unit: Unit, split: Split) -> Table:
        """All rows of a split of a unit; for `train` of all domains in the mixed order of `train_files`, else domain after
        domain.
        """

    def tables(self) -> dict[str, dict[str, str]]:
        """Name of a table of the results -> unit -> which part of the unit's rows belongs to it; empty: all of them."""

    def test(self, unit: Unit, part: str = "") -> Table:
        """The test rows of a unit, with `owner`, for lists always with `seen` and `positive`.

        Args:
            part: of a unit that has several (`tables`).
        """

    def join(self, columns: Mapping[str, Any]) -> Table:
        """Columns as they stand in the training files -> all columns of a table."""

    def train_files(self) -> list[Path]:
        """Parquet files of all domains' training rows, mixed in hash order, in row groups of `block_rows`."""

    def check_candidates(self) -> None:
        """Refuse to draw more candidates than are left to some user of a domain's split.

        Raises:
            DataError: how many are left.
        """

    def known_histories(self) -> Columns:
        """`user` (N,), a row of the table of users, `domain` and `history` of every user who is no cold one: all that he took.

        Raises:
            DataError: rows have no histories.
        """
