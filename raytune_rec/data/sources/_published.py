"""A public data set whose files are one table: `tabular` with the columns that they have where they are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raytune_rec.data.blocks import RawBlock, SourceField
from raytune_rec.data.sources.tabular import Tabular


class Published:
    """Reads what `tabular` reads, by a mapping that a job need not know.

    Args:
        name: of the source. files: path, glob, or a list of these. columns, features: as options of `tabular`.
        shared: an item means the same in every domain.
    """

    rating_range = None
    time_unit = ""
    example: Mapping[str, Any] = {"files": "FILE"}

    def __init__(
        self,
        name: str,
        files: str | tuple[str, ...],
        columns: Mapping[str, str],
        features: Mapping[str, Mapping[str, Any]],
        shared: bool = False,
    ) -> None:
        self._name, self.shared_items = name, shared
        options = {"files": files, "columns": columns, "features": features, "shared_items": shared}
        self._table = Tabular(Tabular.Options.model_validate(options))
        self.formats: Mapping[str, str] | None = None

    @property
    def columns(self) -> Mapping[str, str]:
        return self._table.columns

    def fields(self) -> tuple[SourceField, ...]:
        return self._table.fields()

    def domains(self) -> tuple[str, ...] | None:
        return None

    def read(self) -> Iterator[RawBlock]:
        return self._table.read()

    def users(self) -> Iterator[RawBlock]:
        return self._table.users()

    def items(self) -> Iterator[RawBlock]:
        return self._table.items()

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        return {**self._table.fingerprint_inputs(), "source": self._name}
