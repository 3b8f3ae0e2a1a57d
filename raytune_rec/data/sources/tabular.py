"""Any table of interactions: CSV, TSV, JSON lines or Parquet, each also gzipped, by a mapping of its columns.

A row is a line of text. What is not mapped is not read. Files that are already cut into `train`, `valid` and `test` keep that
cut.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from raytune_rec import components
from raytune_rec.data.reading import Format, column_names, read_file, require
from raytune_rec.data.sources.base import RawBlock, SourceField, SourceKind, SourceRole, constant, digest_files
from raytune_rec.errors import DataError
from raytune_rec.schema import SPLITS

_Paths = str | tuple[str, ...]
_Mapped = Literal["domain", "user", "item", "label", "rating", "timestamp", "position", "split"]


class _Feature(components.Options):
    role: SourceRole = Field(description="whose feature it is")
    kind: SourceKind = Field("categorical", description="text is kept, but is no field of a CTR model")
    column: str = Field("", description="its column in the file; empty: the feature's own name")
    separator: str = Field("|", min_length=1, description="between the values of a multi-valued cell or vector that is no list")
    length: int = Field(0, ge=0, description="most values of a multi-valued cell that are kept, or numbers of a vector; 0: all")


class _Side(components.Options):
    files: _Paths = Field(description="path, glob, or a list of these")
    columns: dict[Literal["domain", "user", "item"], str] = Field(
        {}, description="key columns, where they are not named as in the log"
    )


class Tabular:
    """CSV, TSV, JSON lines or Parquet by a column mapping."""

    class Options(components.Options):
        files: _Paths = Field((), description="interactions: path, glob, or a list of these")
        train: _Paths = Field((), description="with valid and test, in place of files: the user's own split")
        valid: _Paths = Field((), description="likewise")
        test: _Paths = Field((), description="likewise")
        columns: dict[_Mapped, str] = Field(
            {"domain": "domain", "user": "user", "item": "item", "label": "label"},
            description="what is read -> its column in the files; user and item default to these names",
        )
        domain: str = Field("", description="the one domain of files without a domain column")
        features: dict[str, _Feature] = Field({}, description="feature name -> how it is read")
        users: _Side | None = Field(None, description="file of user features; without it they are columns of the interactions")
        items: _Side | None = Field(None, description="file of item features; without it they are columns of the interactions")
        shared_items: bool = Field(False, description="an item id means the same item in every domain")
        rating_range: tuple[float, float] | None = Field(None, description="least and greatest allowed rating")
        time_unit: Literal["", "s", "ms", "us", "ns"] = Field(
            "", description="of times that are plain numbers, since 1970; empty: told by their size, the same in all files"
        )
        delimiter: str = Field("", max_length=1, description="between cells; empty: a tab for .tsv, else a comma")
        header: tuple[str, ...] = Field((), description="column names of interaction files without a header line")
        encoding: str = Field("utf-8", description="of text files")

        @model_validator(mode="after")
        def _one_way_to_name_files(self) -> Tabular.Options:
            own = [bool(self.train), bool(self.valid), bool(self.test)]
            if any(own) == bool(self.files) or any(own) != all(own):
                raise ValueError("give either files, or all of train, valid and test")
            if any(own) and "split" in self.columns:
                raise ValueError("columns.split and the files train, valid and test are two splits; give one")
            if ("domain" in self.columns) == bool(self.domain) and "columns" in self.model_fields_set:
                raise ValueError("give either columns.domain or the constant domain")
            return self

    def __init__(self, options: Options) -> None:
        self._options = options
        self.shared_items = options.shared_items
        self.rating_range = options.rating_range
        self.time_unit = options.time_unit
        columns = {"user": "user", "item": "item"} | {str(name): column for name, column in options.columns.items()}
        if options.domain:
            columns.pop("domain", None)
        self._columns = columns
        self._format = Format(options.delimiter, options.header, options.encoding)

    def fields(self) -> tuple[SourceField, ...]:
        return tuple(SourceField(name, f.kind, f.role, f.length) for name, f in self._options.features.items())

    def domains(self) -> tuple[str, ...] | None:
        return (self._options.domain,) if self._options.domain else None

    def read(self) -> Iterator[RawBlock]:
        wanted = {**self._columns, **self._feature_columns("context")}
        log = self._log()
        self._check(log, wanted)
        for split, path in log:
            for block in read_file(path, wanted, self._format):
                table = self._with_lists(block.table)
                if self._options.domain:
                    table = table.append_column("domain", constant(self._options.domain, len(table)))
                if split:
                    table = table.append_column("split", constant(split, len(table)))
                yield RawBlock(table, block.file, block.lines, block.rejects)

    def users(self) -> Iterator[RawBlock]:
        return self._features("user", self._options.users)

    def items(self) -> Iterator[RawBlock]:
        return self._features("item", self._options.items)

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        log = [split for split, _ in self._log()]
        paths = {"files", "train", "valid", "test"}
        own = self._options.model_dump(mode="json", exclude=paths | {"users", "items"})
        for name in ("users", "items"):
            side = getattr(self._options, name)
            own[name] = {"columns": side.columns, "files": digest_files(_paths(side.files))} if side else None
        return {"source": "tabular", **own, "split_of_file": log, "files": digest_files([path for _, path in self._log()])}

    def _log(self) -> list[tuple[str, Path]]:
        """(split or nothing, path) of every file of interactions."""
        if self._options.files:
            return [("", path) for path in _paths(self._options.files)]
        return [(split, path) for split in SPLITS for path in _paths(getattr(self._options, split))]

    def _check(self, log: list[tuple[str, Path]], wanted: Mapping[str, str]) -> None:
        """Every file and every column, before the first row is read."""
        problems: list[str] = []
        for _, path in log:
            try:
                present = column_names(path, self._format)
                if present is not None:
                    require(path, wanted, present)
            except DataError as error:
                problems += error.problems
        if problems:
            raise DataError(problems)

    def _feature_columns(self, role: SourceRole) -> dict[str, str]:
        return {name: f.column or name for name, f in self._options.features.items() if f.role == role}

    def _features(self, role: Literal["user", "item"], side: _Side | None) -> Iterator[RawBlock]:
        features = self._feature_columns(role)
        if not features:
            return
        keys = [role] if role == "user" or self.shared_items else ["domain", role]
        keys = [key for key in keys if key in self._columns]
        if side is None:  # columns of the interactions themselves, whose unreadable rows are reported where these are read
            for _, path in self._log():
                for block in read_file(path, {**{k: self._columns[k] for k in keys}, **features}, self._format):
                    known = pc.is_valid(block.table[role])
                    lines = block.lines[known.to_numpy(zero_copy_only=False)]
                    yield self._with_key(RawBlock(block.table.filter(known), block.file, lines), role)
            return
        names = {key: side.columns.get(key, self._columns[key]) for key in keys}  # type: ignore[call-overload]
        form = Format(self._options.delimiter, (), self._options.encoding)
        for path in _paths(side.files):
            for block in read_file(path, {**names, **features}, form):
                yield self._with_key(block, role)

    def _with_key(self, block: RawBlock, role: str) -> RawBlock:
        table = self._with_lists(block.table)
        if role == "item" and not self.shared_items and self._options.domain:
            table = table.append_column("domain", constant(self._options.domain, len(table)))
        return RawBlock(table, block.file, block.lines, block.rejects)

    def _with_lists(self, table: pa.Table) -> pa.Table:
        """Multi-valued cells and vectors as lists."""
        for name, f in self._options.features.items():
            if f.kind not in ("multi", "vector") or name not in table.column_names:
                continue
            column = table[name].combine_chunks()
            if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
                parts = pc.split_pattern(column.cast(pa.string()), f.separator)
                flat = pc.utf8_trim_whitespace(parts.flatten())
                flat = pc.if_else(pc.equal(flat, ""), pa.scalar(None, pa.string()), flat)
                column = pa.ListArray.from_arrays(parts.offsets, flat, mask=parts.is_null())
            table = table.set_column(table.column_names.index(name), name, column)
        return table


def _paths(given: _Paths) -> list[Path]:
    """Raises DataError for a pattern that no file fits."""
    found: list[Path] = []
    for pattern in (given,) if isinstance(given, str) else given:
        matches = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
        if not matches:
            raise DataError(f"{pattern}: no such file; mend the path under data.options.")
        found += [Path(match) for match in matches]
    return found
