"""MovieLens 100K and 1M (Harper and Konstan, ACM TiiS 5(4):19, 2015): one domain, `movies`, with features of users and films.

Files under `path`, as GroupLens packs them. 100k: `u.data`, `u.user`, `u.item`, `u.genre`. 1m: `ratings.dat`, `users.dat`,
`movies.dat`; where `ratings.dat` and with it the clock times are missing, `ratings_ordered.tsv.gz` does: tab-separated with a
header, user_id, item_id, rating and position (the rating's place in its user's time order, from 0).

Every rating is a click: label 1, with the rating beside it. With `label = "rating"` there is no label, and data.positive_above
makes one of the rating. Rows come in the order of the file. Clock times tie: in 100k, two thirds of the first nine events of a
user share their second with another of these; a hash of user and item orders such.

Both editions say ages in the seven brackets of 1m. The occupations of 1m are the names that its README gives for the codes. A
region is the first character of a zip code, a year the last one in brackets in a title, which is left whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from raytune_rec import components
from raytune_rec.data.files.delimited import Format, shown
from raytune_rec.data.files.reading import read_file
from raytune_rec.data.sources.base import RawBlock, Reject, SourceField, constant, digest_files
from raytune_rec.errors import DataError
from raytune_rec.storage.files import lies_there
from raytune_rec.storage.places import located

_DOMAIN = "movies"
_LATIN = "iso-8859-1"
_FILES = {  # ratings first; of two names the first that is there
    "100k": (("u.data",), ("u.user",), ("u.item",), ("u.genre",)),
    "1m": (("ratings.dat", "ratings_ordered.tsv.gz"), ("users.dat",), ("movies.dat",)),
}
_RATING = ("user", "item", "rating", "timestamp")
_ORDERED = {"user": "user_id", "item": "item_id", "rating": "rating", "position": "position"}
_USER = {
    "100k": Format("|", ("user", "age", "gender", "occupation", "zip")),
    "1m": Format("::", ("user", "gender", "age", "occupation", "zip")),
}
_AGE_FROM = (0, 18, 25, 35, 45, 50, 56)
_AGES = ("Under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+")
_OCCUPATIONS = (
    *("other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service"),
    *("doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer"),
    *("retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman"),
    *("unemployed", "writer"),
)
_NO_GENRE = "unknown"


class MovieLens:
    """MovieLens 100K or 1M: ratings as clicks, with users' profiles and films' titles."""

    shared_items = True
    rating_range = (1.0, 5.0)
    formats = None
    time_unit = ""
    example: Mapping[str, Any] = {"path": "FOLDER", "edition": "1m"}

    class Options(components.Options):
        path: str = Field(description="folder that holds the files of the edition")
        edition: Literal["100k", "1m"] = Field(
            description="100k: u.data, u.user, u.item, u.genre; 1m: ratings.dat or ratings_ordered.tsv.gz, users.dat, movies.dat"
        )
        label: Literal["click", "rating"] = Field(
            "click", description="click: 1 for every rating; rating: none here, so that data.positive_above makes it"
        )

    def __init__(self, options: Options) -> None:
        self._folder = located(options.path)
        self._edition, self._label = options.edition, options.label

    def fields(self) -> tuple[SourceField, ...]:
        return (
            SourceField("gender", "categorical", "user"),
            SourceField("age", "categorical", "user"),
            SourceField("occupation", "categorical", "user"),
            SourceField("region", "categorical", "user"),
            SourceField("genres", "multi", "item"),
            SourceField("year", "numerical", "item"),
            SourceField("title", "text", "item"),
        )

    def domains(self) -> tuple[str, ...]:
        return (_DOMAIN,)

    def read(self) -> Iterator[RawBlock]:
        path = self._files()[0]
        ordered = path.name == "ratings_ordered.tsv.gz"
        form = Format("\t") if ordered else Format("::" if self._edition == "1m" else "\t", _RATING)
        for block in read_file(path, _ORDERED if ordered else _same(_RATING), form):
            table = block.table.append_column("domain", constant(_DOMAIN, len(block.table)))
            if self._label == "click":  # none without a rating: such a row is refused
                label = pc.if_else(pc.is_valid(table["rating"]), 1.0, pa.scalar(None, pa.float64()))
                table = table.append_column("label", label)
            yield replace(block, table=table)

    def users(self) -> Iterator[RawBlock]:
        form = _USER[self._edition]
        for block in read_file(self._files()[1], _same(form.header), form):
            block = _converted(block, "age", _bracket, "age is no whole number")
            if self._edition == "1m":
                names = {str(code): name for code, name in enumerate(_OCCUPATIONS)}
                block = _converted(block, "occupation", names.get, f"occupation is none of 0 to {len(names) - 1}")
            region = pc.utf8_slice_codeunits(block.table["zip"], 0, 1)
            yield replace(block, table=block.table.drop_columns("zip").append_column("region", region))

    def items(self) -> Iterator[RawBlock]:
        for block in self._items_100k() if self._edition == "100k" else self._items_1m():
            year = pc.struct_field(pc.extract_regex(block.table["title"], r".*\((?P<year>[0-9]{4})\)"), "year")
            yield replace(block, table=block.table.append_column("year", year))

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        return {"source": "movielens", "edition": self._edition, "label": self._label, "files": digest_files(self._files())}

    def _files(self) -> list[Path]:
        """The files of the edition, in the order of `_FILES`. Raises DataError that names all that are missing."""
        files, problems = [], []
        for names in _FILES[self._edition]:
            there = [self._folder / name for name in names if lies_there(self._folder / name)]
            files += there[:1]
            if not there:
                problems.append(
                    f"{self._folder}: there is no {' or '.join(names)}; unpack MovieLens {self._edition} "
                    "and name the folder of its files as data.options.path."
                )
        if problems:
            raise DataError(problems)
        return files

    def _items_1m(self) -> Iterator[RawBlock]:
        columns = ("item", "title", "genres")
        for block in read_file(self._files()[2], _same(columns), Format("::", columns, _LATIN)):
            genres = pc.split_pattern(block.table["genres"], "|")
            yield replace(block, table=block.table.set_column(2, "genres", genres))

    def _items_100k(self) -> Iterator[RawBlock]:
        genres = self._genres()
        header = ("item", "title", "released", "video", "url", *genres)
        for block in read_file(self._files()[2], _same(("item", "title", *genres)), Format("|", header, _LATIN)):
            for genre in genres:
                flag = {"0": "", "1": "" if genre == _NO_GENRE else genre}
                block = _converted(block, genre, flag.get, "the flag of a genre is neither 0 nor 1")
            flags = zip(*(block.table[genre].to_pylist() for genre in genres), strict=True)
            lists = pa.array([[genre for genre in row if genre] for row in flags], pa.list_(pa.string()))
            yield replace(block, table=block.table.select(["item", "title"]).append_column("genres", lists))

    def _genres(self) -> list[str]:
        """The names of the flags in `u.item`, in their order."""
        path, genres = self._files()[3], []
        for block in read_file(path, _same(("genre", "place")), Format("|", ("genre", "place"))):
            genres += list(zip(block.table["place"].to_pylist(), block.table["genre"].to_pylist(), strict=True))
        if not genres or [place for place, _ in genres] != [str(n) for n in range(len(genres))]:
            raise DataError(f"{path}: genres are not numbered 0, 1, 2 ... line by line; take the file of the archive.")
        return [str(genre) for _, genre in genres]


def _same(names: tuple[str, ...]) -> dict[str, str]:
    return {name: name for name in names}


def _bracket(age: str) -> str | None:
    """Years, or the code of 1m, which is the first year of a bracket."""
    return _AGES[bisect_right(_AGE_FROM, int(age)) - 1] if age.isdecimal() else None


def _converted(block: RawBlock, column: str, convert: Callable[[str], str | None], reason: str) -> RawBlock:
    """The block with other cells in a column. A row is refused where `convert` has None for its cell; empty cells stay."""
    cells = block.table[column].to_pylist()
    new = [None if cell is None else convert(cell.strip()) for cell in cells]
    good = np.array([cell is None or value is not None for cell, value in zip(cells, new, strict=True)], bool)
    rejects = [Reject(block.file, int(block.lines[n]), shown(cells[n]), reason) for n in np.flatnonzero(~good)]
    table = block.table.set_column(block.table.column_names.index(column), column, pa.array(new, pa.string()))
    return RawBlock(table.filter(pa.array(good)), block.file, block.lines[good], (*block.rejects, *rejects))
