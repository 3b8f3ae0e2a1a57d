"""Reading the features of users and items: judged, filled into their table, and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from raytune_rec.data.blocks import Fault, RawBlock
from raytune_rec.data.files.problems import FileProblems
from raytune_rec.data.layout import item_keys
from raytune_rec.data.preparing.coding.features import FeatureTable
from raytune_rec.data.preparing.coding.validate import Checked, check_features
from raytune_rec.data.preparing.disk.tables import Rejects
from raytune_rec.data.sources.base import Source

_NAMED = 3
Role = Literal["user", "item"]


class Attributes:
    """The features of the users, or of the items, of one preparation.

    Args:
        limit: share of unusable rows past which they are refused.
        log: names of the files of interactions.
    """

    def __init__(self, source: Source, role: Role, rejects: Rejects, limit: float, log: set[str]) -> None:
        self._source, self._role, self._rejects, self._limit, self._log = source, role, rejects, limit, log
        self.fields = [f for f in source.fields() if f.role == role]
        self._files: dict[str, None] = {}
        self._examples: list[str] = []
        self._emptied: dict[str, Fault] = {}

    def read(self, table: FeatureTable | None = None) -> list[str]:
        """Judges all rows, and fills them into a table.

        Returns:
            What is wrong: files or columns that cannot be read, too many rows that cannot be used, or none of anyone in the
            table.
        """
        if not self.fields:
            return []
        shared = self._source.shared_items
        keys = [self._role] if self._role == "user" or shared else ["domain", "item"]
        read = refused = 0
        wrong = FileProblems()
        for block, checked in self._checked(keys, table, wrong):
            self._files[block.file] = None
            self._rejects.add(checked.rejects, checked.faults)
            for cell in block.emptied:
                self._emptied.setdefault(cell.reason, Fault(0, cell)).count += 1
            read, refused = read + len(block.table) + len(block.rejects), refused + len(checked.rejects)
            key = self._key(checked)
            if table is not None:
                table.add(key, checked)
            if len(self._examples) < _NAMED:
                self._examples = key[:_NAMED].to_pylist()
        settable = self._source.formats is not None
        problems = wrong.told() + self._rejects.judge(f"rows of {self._role}s", read, refused, self._limit, settable)
        return problems or ([] if table is None else self._uncovered(table))

    def counts(self, table: FeatureTable) -> dict[str, Any]:
        """For summary.json, of a table that is finished: the files, if they are not those of the interactions; of how many users
        or items a row is known; how many rows came after the first of theirs, and how many of them had other values there; how
        many lack a feature or have more values of it than are kept, and which cells were read as empty.
        """
        files = [Path(file).name for file in self._files if file not in self._log]
        counts = {"with_row": table.known, "all": table.rows, "repeated_rows": table.repeated, "other_values": table.differing}
        emptied = {
            reason: {
                "count": fault.count,
                "file": Path(fault.first.file).name,
                "line": fault.first.line,
                "value": fault.first.value,
            }
            for reason, fault in self._emptied.items()
        }
        return {"files": files, **counts, "empty": table.empty, "cut": table.cut, **({"emptied": emptied} if emptied else {})}

    def _checked(
        self, keys: Sequence[str], table: FeatureTable | None, wrong: FileProblems
    ) -> Iterator[tuple[RawBlock, Checked]]:
        """Each block with what of it can be used; what is wrong with files is kept."""
        for block in wrong.beside(self._blocks()()):
            fields = self.fields if table is None else [c.field for c in table.columns]
            with wrong.of(block.file):
                yield block, check_features(block, keys, fields, self._source.formats or {})

    def _blocks(self) -> Callable[[], Iterator[RawBlock]]:
        return self._source.users if self._role == "user" else self._source.items

    def _key(self, checked: Checked) -> pa.Array:
        if self._role == "user":
            return checked.text["user"]
        return item_keys(checked.text.get("domain"), checked.text["item"], self._source.shared_items)

    def _uncovered(self, table: FeatureTable) -> list[str]:
        files = [file for file in self._files if file not in self._log]
        if table.known or not files or not table.rows:
            return []
        there, here = (", ".join(map(repr, names)) for names in (table.names(_NAMED), self._examples))
        return [
            f"none of {table.rows:,} {self._role}s of the interactions has a row in {', '.join(files)}: "
            f"the log says {there}, the file {here or 'nothing'}; write them alike, or map another column."
        ]


def attributes_of(source: Source, rejects: Rejects, limit: float, log: set[str]) -> tuple[Attributes, Attributes]:
    """Of the users and of the items."""
    return Attributes(source, "user", rejects, limit, log), Attributes(source, "item", rejects, limit, log)
