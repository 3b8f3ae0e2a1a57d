"""How a log writes the cells of its text, for those who write further rows in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.data.files.delimited import Format
from raytune_rec.data.formats import PARSERS, FormatName


@dataclass(frozen=True)
class Written:
    """What a job says of its log.

    Args:
        form: delimiter, encoding and quotes.
        numbers: column of the file -> how its numbers are written, where not plainly.
        lists: column of the file -> what parts the values of a cell.
        missing: text of cells that count as empty.
    """

    form: Format = field(default_factory=Format)
    numbers: Mapping[str, FormatName] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def read(self, table: pa.Table) -> pa.Table:
        """The same rows with plain cells: null for what counts as empty, numbers in digits with a point, lists of text. A number
        that cannot be read stays as it is, so that who reads it next can name it.

        Args:
            table: of text, under the names of the file.
        """
        table = without(table, self.missing) if self.missing else table
        for place, name in enumerate(table.column_names):
            if kind := self.numbers.get(name):
                cells = [_digits(cell, kind) for cell in table[name].to_pylist()]
                table = table.set_column(place, name, pa.array(cells, pa.string()))
            elif separator := self.lists.get(name):
                lists = [_values(cell, separator) for cell in table[name].to_pylist()]
                table = table.set_column(place, name, pa.array(lists, pa.list_(pa.string())))
        return table


def without(table: pa.Table, missing: Sequence[str]) -> pa.Table:
    """With null in place of text that stands for an empty cell."""
    words = pa.array(missing, pa.string())
    for place, column in enumerate(table.columns):
        if pa.types.is_string(column.type):
            stands_for_none = pc.is_in(pc.utf8_trim_whitespace(column), value_set=words)
            emptied = pc.if_else(stands_for_none, pa.scalar(None, pa.string()), column)
            table = table.set_column(place, table.column_names[place], emptied)
    return table


def _digits(cell: str | None, kind: FormatName) -> str | None:
    number = None if cell is None else PARSERS[kind](cell)
    return cell if number is None else repr(number)


def _values(cell: str | None, separator: str) -> list[str]:
    return [value for value in (cell or "").split(separator) if value.strip()]
