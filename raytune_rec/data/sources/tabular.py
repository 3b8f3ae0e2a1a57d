"""Any table of interactions: CSV, TSV, JSON lines or Parquet, each also gzipped, by a mapping of its columns.

A row is a line of text. What is not mapped is not read. Files that are already cut into `train`, `valid` and `test` keep that
cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from raytune_rec import components
from raytune_rec.data.blocks import SCORE, RawBlock, SourceField, SourceKind, SourceRole
from raytune_rec.data.cells import encoded, flat_lists, numbers, plain
from raytune_rec.data.files.delimited import Format
from raytune_rec.data.files.on_disk import named_files
from raytune_rec.data.files.problems import FileProblems, each_file
from raytune_rec.data.files.reading import Reader, column_names, read_file, require, require_types
from raytune_rec.data.files.written import Written, without
from raytune_rec.data.formats import FormatName
from raytune_rec.data.instants import Instants, positions
from raytune_rec.data.sources.base import constant, digest_files
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import SPLITS

_Rating = Annotated[float, Field(ge=-1e30, le=1e30)]
_Paths = str | tuple[str, ...]
_Key = Literal["user", "item"]
_Mapped = Literal["domain", "user", "item", "label", "rating", "stay", "timestamp", "position", "split"]


def _lists(column: pa.ChunkedArray) -> object:
    return flat_lists(column) if pa.types.is_nested(column.type) else encoded(column)


_READERS: Mapping[str, Reader] = {
    **dict.fromkeys(("label", "rating", "stay", "numerical"), numbers),
    **dict.fromkeys(("multi", "vector"), _lists),
    "timestamp": lambda column: Instants().read(plain(column), ""),
    "position": lambda column: positions(plain(column)),
}
"""Of columns, and of kinds of features; of all others `encoded`."""


class _Feature(components.Options):
    role: SourceRole = Field(description="whose feature it is")
    kind: SourceKind = Field("categorical", description="text is kept, but is no field of a CTR model")
    column: str = Field("", description="its column in the file; empty: the feature's own name")
    separator: str = Field("|", min_length=1, description="between the values of a multi-valued cell or vector that is no list")
    length: int = Field(
        0, ge=0, le=10_000, description="most values of a multi-valued cell that are kept, or numbers of a vector; 0: all"
    )


class _Side(components.Options):
    files: _Paths = Field(description="path, glob, or a list of these")
    delimiter: str = Field("", max_length=1, description="between cells; empty: as of the interactions")
    encoding: str = Field("", description="of text files; empty: as of the interactions")
    header: tuple[str, ...] = Field((), description="column names of files without a header line")
    columns: dict[Literal["domain", "user", "item"], str] = Field(
        {}, description="key columns, where they are not named as in the log"
    )


class Tabular:
    """CSV, TSV, JSON lines or Parquet by a column mapping."""

    example: Mapping[str, Any] = {"files": "FILE"}  # what it reads a job says

    class Options(components.Options):
        files: _Paths = Field((), description="interactions: path, glob, or a list of these")
        train: _Paths = Field((), description="with valid and test, in place of files: the user's own split")
        valid: _Paths = Field((), description="likewise")
        test: _Paths = Field((), description="likewise")
        columns: dict[_Mapped, str] = Field(
            {"domain": "domain", "user": "user", "item": "item", "label": "label"},
            description="what is read -> its column in the files; user and item default to these names",
        )
        score: tuple[str, ...] = Field(
            (), max_length=100, description="columns of numbers whose sum is the rating, such as flags"
        )
        domain: str = Field("", description="the one domain of files without a domain column")
        domain_from: Literal["", "file"] = Field(
            "", description="file: each file is a domain, called as the file without endings"
        )
        missing: tuple[str, ...] = Field(
            (), max_length=100, description="text of cells that count as empty, such as NA; blanks always do"
        )
        features: dict[str, _Feature] = Field({}, description="feature name -> how it is read")
        users: _Side | None = Field(None, description="file of user features; without it they are columns of the interactions")
        items: _Side | None = Field(None, description="file of item features; without it they are columns of the interactions")
        shared_items: bool = Field(False, description="an item id means the same item in every domain")
        rating_range: tuple[_Rating, _Rating] | None = Field(None, description="least and greatest allowed rating")
        time_unit: Literal["", "s", "ms", "us", "ns"] = Field(
            "", description="of times that are plain numbers, since 1970; empty: told by their size, the same in all files"
        )
        delimiter: str = Field("", max_length=1, description="between cells; empty: a tab for .tsv, else a comma")
        header: tuple[str, ...] = Field((), description="column names of interaction files without a header line")
        encoding: str = Field("utf-8", description="of text files")
        quote: str = Field('"', max_length=1, description="encloses cells that hold a delimiter; empty: quotes are letters")
        formats: dict[str, FormatName] = Field(
            {}, description="label, rating, timestamp or numerical feature -> how text writes it: bool, iso, decimal"
        )

        @model_validator(mode="after")
        def _one_way_to_name_files(self) -> Tabular.Options:
            split_files = [bool(self.train), bool(self.valid), bool(self.test)]
            if any(split_files) == bool(self.files) or any(split_files) != all(split_files):
                raise ValueError("give either files, or all of train, valid and test")
            if len({user := self.columns.get("user", "user"), self.columns.get("item", "item")}) == 1:
                raise ValueError(f"columns.user and columns.item are both {user!r}; map each to a column of its own")
            if self.score and "rating" in self.columns:
                raise ValueError("score and columns.rating are two ratings; give one")
            if any(split_files) and "split" in self.columns:
                raise ValueError("columns.split and the files train, valid and test are two splits; give one")
            for name, form in self.formats.items():
                kinds = [f for f in self.features if self.features[f].kind == "numerical"]
                if name not in (there := [n for n in ("label", "rating", "timestamp") if n in self.columns] + kinds):
                    raise ValueError(f"formats.{name}: no column of numbers is called so; there are {', '.join(there) or 'none'}")
                if (name == "timestamp" and form != "iso") or (name in ("label", "rating") and form == "iso"):
                    raise ValueError(f"formats.{name} = {form!r}: a timestamp is iso or a plain number, and iso is no {name}")
            if self.delimiter and self.delimiter in (self.quote, "\n", "\r"):
                raise ValueError(f"delimiter = {self.delimiter!r} is a quote or a line break; name what stands between cells")
            told = [bool(self.domain), bool(self.domain_from), "domain" in self.columns]
            if (sum(told) != 1 or (self.domain and self.domain_from)) and "columns" in self.model_fields_set:
                raise ValueError("give either columns.domain or the constant domain, or domain_from = 'file' alone")
            return self

    def __init__(self, options: Options) -> None:
        self._options = options
        self.shared_items = options.shared_items
        self.rating_range = options.rating_range
        self.formats: Mapping[str, str] = options.formats
        self.time_unit = options.time_unit
        columns = {"user": "user", "item": "item"} | {str(name): column for name, column in options.columns.items()}
        columns |= {f"{SCORE}{place}": column for place, column in enumerate(options.score)}
        if options.domain or options.domain_from:
            columns.pop("domain", None)
        self._columns = columns
        self._head: int | None = None
        self.cut = False
        self._format = Format(options.delimiter, options.header, options.encoding, options.quote, "data.options")
        self._separators = {name: f.separator for name, f in options.features.items() if f.kind in ("multi", "vector")}

    def fields(self) -> tuple[SourceField, ...]:
        return tuple(SourceField(name, f.kind, f.role, f.length) for name, f in self._options.features.items())

    def domains(self) -> tuple[str, ...] | None:
        return (self._options.domain,) if self._options.domain else None

    def head(self, rows: int) -> Tabular:
        """The same source, of the first rows of each file alone; once it is read, `cut` says whether any file has more."""
        first = Tabular(self._options)
        first._head = rows
        return first

    def read(self) -> Iterator[RawBlock]:
        located = self._located()
        if problems := self._wrong_columns(located, []):
            raise DataError(problems)
        return each_file((path, self._interactions(split, path)) for split, path in located["log"])

    def users(self) -> Iterator[RawBlock]:
        return self._features("user")

    def items(self) -> Iterator[RawBlock]:
        return self._features("item")

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        located = self._located()
        paths = {"files", "train", "valid", "test"}
        given = self._options.model_dump(mode="json", exclude=paths | {"users", "items"})
        for name in ("domain_from", "missing"):  # of stores that were prepared before there were these
            if not given[name]:
                del given[name]
        for name in ("users", "items"):
            side = getattr(self._options, name)
            files = digest_files([path for _, path in located[name]])
            given[name] = {**side.model_dump(mode="json", exclude={"files"}), "files": files} if side else None
        digests = digest_files([path for _, path in located["log"]])
        _check_copies(located["log"], [d["sha256"] for d in digests])
        return {"source": "tabular", **given, "split_of_file": [split for split, _ in located["log"]], "files": digests}

    def _located(self) -> dict[str, list[tuple[str, Path]]]:
        """(split or nothing, path) of the files of interactions (`log`), users and items. Raises DataError for all that are
        missing or no files."""
        located: dict[str, list[tuple[str, Path]]] = {"log": [], "users": [], "items": []}
        problems: list[str] = []
        for split in ("", *SPLITS):
            files, wrong = named_files(getattr(self._options, split or "files"))
            located["log"] += [(split, path) for path in files]
            problems += wrong
        for name in ("users", "items"):
            if side := getattr(self._options, name):
                files, wrong = named_files(side.files)
                located[name] = [("", path) for path in files]
                problems += wrong
        if problems:
            raise DataError(self._wrong_columns(located, problems))
        return located

    def _wrong_columns(self, located: Mapping[str, list[tuple[str, Path]]], known: list[str]) -> list[str]:
        """What is wrong with any file and column that is wanted, before the first row is read; beside it, and beside what is
        known to be wrong, columns of types that cannot be read. Alone these are told where the rows are judged."""
        log = located["log"]
        needed: list[tuple[Path, Mapping[str, str], Format]] = [(path, self._wanted, self._format) for _, path in log]
        roles: tuple[_Key, _Key] = ("user", "item")
        for role in roles:
            if not self._feature_columns(role):
                continue
            if side := self._side(role):
                form, keyed = self._side_format(side), self._side_columns(role, side)
                needed += [(path, keyed, form) for _, path in located[f"{role}s"]]
            else:
                needed += [(path, self._feature_columns(role), self._format) for _, path in log]
        problems, types = FileProblems(), FileProblems()
        for path, columns, form in needed:
            with problems.of(path):
                present = column_names(path, form)
                if present is not None:
                    require(path, columns, present, form)
                    with types.of(path):
                        require_types(path, columns, {name: self._reader(name) for name in columns})
        told = [*known, *problems.told()]
        return [*told, *types.told()] if told else []

    def _reader(self, name: str) -> Reader:
        """What tells whether a column's type can be read."""
        feature = self._options.features.get(name)
        return numbers if name.startswith(SCORE) else _READERS.get(feature.kind if feature else name, encoded)

    @property
    def _wanted(self) -> dict[str, str]:
        return {**self._columns, **self._feature_columns("context")}

    @property
    def columns(self) -> dict[str, str]:
        sides: tuple[_Key, _Key] = ("user", "item")
        roles: tuple[SourceRole, ...] = ("context", *(role for role in sides if self._side(role) is None))
        features = {name: column for role in roles for name, column in self._feature_columns(role).items()}
        named = {name: column for name, column in self._columns.items() if not name.startswith(SCORE)} | features
        return {name: column for name, column in named.items() if name != column}

    @property
    def written(self) -> Written:
        """How the interactions write their cells; the names of the columns are those of the file."""
        columns = {name: f.column or name for name, f in self._options.features.items()}
        numbers = {columns[name]: form for name, form in self._options.formats.items() if name in columns}
        lists = {columns[name]: separator for name, separator in self._separators.items()}
        return Written(replace(self._format, header=(), options=""), numbers, lists, self._options.missing)

    def _feature_columns(self, role: SourceRole) -> dict[str, str]:
        return {name: f.column or name for name, f in self._options.features.items() if f.role == role}

    def _side(self, role: _Key) -> _Side | None:
        return self._options.users if role == "user" else self._options.items

    def _keys(self, role: _Key) -> list[str]:
        keys = [role] if role == "user" or self.shared_items else ["domain", role]
        return [key for key in keys if key in self._columns]

    def _side_columns(self, role: _Key, side: _Side) -> dict[str, str]:
        keys = {key: side.columns.get(key, self._columns[key]) for key in self._keys(role)}  # type: ignore[call-overload]
        return keys | self._feature_columns(role)

    def _side_format(self, side: _Side) -> Format:
        form, where = self._format, f"data.options.{'users' if side is self._options.users else 'items'}"
        return Format(side.delimiter or form.delimiter, side.header, side.encoding or form.encoding, form.quote, where)

    def _features(self, role: _Key) -> Iterator[RawBlock]:
        features, side = self._feature_columns(role), self._side(role)
        if not features:
            return
        files = self._located()["log" if side is None else f"{role}s"]
        yield from each_file((path, self._features_of(role, side, path)) for _, path in files)

    def _features_of(self, role: _Key, side: _Side | None, path: Path) -> Iterator[RawBlock]:
        if side is not None:
            for block in self._rows(path, self._side_columns(role, side), self._side_format(side)):
                yield self._with_domain(block, role)
            return
        features = self._feature_columns(role)  # what else is wrong with a row is told where the interactions are read
        columns = {key: self._columns[key] for key in self._keys(role)} | features
        for block in self._rows(path, columns, self._format):
            try:
                known = pc.is_valid(encoded(block.table[role]))
            except DataError as error:
                raise DataError(f"{path}, column {role}: {problem}" for problem in error.problems) from None
            lines = block.lines[known.to_numpy(zero_copy_only=False)]
            rejects = tuple(reject for reject in block.rejects if reject.column in features)
            yield self._with_domain(RawBlock(block.table.filter(known), block.file, lines, rejects), role)

    def _interactions(self, split: str, path: Path) -> Iterator[RawBlock]:
        for block in self._rows(path, self._wanted, self._format):
            table = block.table
            if name := self._domain_of(path):
                table = table.append_column("domain", constant(name, len(table)))
            if split:
                table = table.append_column("split", constant(split, len(table)))
            yield RawBlock(table, block.file, block.lines, block.rejects)

    def _rows(self, path: Path, columns: Mapping[str, str], form: Format) -> Iterator[RawBlock]:
        separators = {name: separator for name, separator in self._separators.items() if name in columns}
        blocks = read_file(path, columns, form, separators)
        if self._head is not None:
            blocks = self._first(blocks, self._head)
        if not (missing := self._options.missing):
            return blocks
        return (RawBlock(without(b.table, missing), b.file, b.lines, b.rejects) for b in blocks)

    def _first(self, blocks: Iterator[RawBlock], left: int) -> Iterator[RawBlock]:
        for block in blocks:
            if not left or len(block.lines) > left:
                self.cut = True
            if not left:
                return
            lines = block.lines[:left]
            rejects = tuple(r for r in block.rejects if len(lines) == len(block.lines) or r.line <= lines[-1])
            yield RawBlock(block.table.slice(0, left), block.file, lines, rejects)
            left -= len(lines)

    def _domain_of(self, path: Path) -> str:
        """Of the rows of a file; empty where a column says it."""
        return self._options.domain or (path.name.split(".")[0] if self._options.domain_from else "")

    def _with_domain(self, block: RawBlock, role: _Key) -> RawBlock:
        if role == "user" or self.shared_items or not (name := self._domain_of(Path(block.file))):
            return block
        table = block.table.append_column("domain", constant(name, len(block.table)))
        return RawBlock(table, block.file, block.lines, block.rejects)


def _check_copies(log: Sequence[tuple[str, Path]], digests: Sequence[str]) -> None:
    """Raises DataError where files of two splits hold the same: what is tested would be trained on."""
    places: dict[str, tuple[str, Path]] = {}
    problems = []
    for (split, path), digest in zip(log, digests, strict=True):
        before = places.setdefault(digest, (split, path))
        if before[0] != split:
            problems.append(
                f"{path}: given as {split}, and {before[1]}, the same file or a copy, as {before[0]}; name two files."
            )
    if problems:
        raise DataError(problems)
