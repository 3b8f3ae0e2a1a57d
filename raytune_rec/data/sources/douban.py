"""Douban music, book and movie ratings (PLATE, appendix A.1): three domains, users in common, items of their own, no features.

Files under `path`: `douban_music/ratings.dat` and `douban_book/ratings.dat`, tab-separated user, item, rating (1 to 5), users
from 1;
`douban_movie_part/douban_movie_{val,test}.csv.gz`, a fifth of the movie domain with labels in place of ratings and users from 0.
Differs from the paper: of the movie domain this fifth alone was released. As there, a rating above 3 is positive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from raytune_rec import components
from raytune_rec.data.cells import id_text
from raytune_rec.data.files.delimited import Format
from raytune_rec.data.files.problems import each_file
from raytune_rec.data.files.reading import read_file
from raytune_rec.data.sources.base import RawBlock, SourceField, constant, digest_files
from raytune_rec.storage.places import located

_POSITIVE_ABOVE = 3
_RATINGS = Format(delimiter="\t", header=("user", "item", "rating"))
_FILES = {
    "music": ("douban_music/ratings.dat",),
    "book": ("douban_book/ratings.dat",),
    "movie": ("douban_movie_part/douban_movie_val.csv.gz", "douban_movie_part/douban_movie_test.csv.gz"),
}


class Douban:
    """Douban ratings with label = rating > 3."""

    shared_items = False
    rating_range = (1.0, 5.0)
    formats = None
    time_unit = ""
    example: Mapping[str, Any] = {"path": "FOLDER"}

    class Options(components.Options):
        path: str = Field(description="folder that holds douban_music, douban_book and douban_movie_part")
        domains: tuple[Literal["music", "book", "movie"], ...] = Field(
            ("music", "book", "movie"), min_length=1, description="which domains, in the order of their ids"
        )

    def __init__(self, options: Options) -> None:
        self._folder = located(options.path)
        self._domains = options.domains

    def fields(self) -> tuple[SourceField, ...]:
        return ()

    def domains(self) -> tuple[str, ...]:
        return self._domains

    def read(self) -> Iterator[RawBlock]:
        self.fingerprint_inputs()  # a missing file is found before the first row
        files = [(domain, self._folder / name) for domain in self._domains for name in _FILES[domain]]
        return each_file(
            (path, self._labels(path) if domain == "movie" else self._ratings(path, domain)) for domain, path in files
        )

    def users(self) -> Iterator[RawBlock]:
        return iter(())

    def items(self) -> Iterator[RawBlock]:
        return iter(())

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        files = [self._folder / name for domain in self._domains for name in _FILES[domain]]
        return {"source": "douban", "domains": list(self._domains), "files": digest_files(files)}

    def _ratings(self, path: Path, domain: str) -> Iterator[RawBlock]:
        for block in read_file(path, {"user": "user", "item": "item", "rating": "rating"}, _RATINGS):
            table = block.table
            label = pa.array([_label(value) for value in table["rating"].to_pylist()], pa.float64())
            table = table.append_column("label", label).append_column("domain", constant(domain, len(table)))
            yield RawBlock(table, block.file, block.lines, block.rejects)

    def _labels(self, path: Path) -> Iterator[RawBlock]:
        for block in read_file(path, {"user": "1", "item": "2", "label": "3"}, Format()):
            table = block.table
            user = pa.array([_one_more(value) for value in table["user"].to_pylist()], pa.string())
            table = table.set_column(0, "user", user).append_column("domain", constant("movie", len(table)))
            table = table.append_column("rating", pa.nulls(len(table), pa.string()))
            yield RawBlock(table, block.file, block.lines, block.rejects)


def _label(rating: str | None) -> float | None:
    """None for an empty cell. Text that is no number gets any label: the row is refused for its rating."""
    if rating is None:
        return None
    try:
        return float(float(rating) > _POSITIVE_ABOVE)
    except ValueError:
        return 0.0


def _one_more(user: str | None) -> str | None:
    """Users of the movie part count from 0, those of the ratings from 1."""
    name = id_text(user)
    return str(int(name) + 1) if name is not None and name.isdecimal() else name
