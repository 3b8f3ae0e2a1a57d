"""Amazon reviews of 1996 to 2014, 5-core (He and McAuley, WWW 2016), as sequences of raw ids: one domain a category.

File `<path>/<domain>/user_sequence.txt.gz`, or `.txt`: a line for each user, `reviewerID asin asin ...` in time order. There are
no ratings and no clock times: every item of a line is a click, and its position counts from 0. A reviewer is the same user in
all domains; an item belongs to its domain.

With `metadata`, items have features: the file of a domain as Amazon publishes it (`meta_Beauty.json.gz`), of 2014 or of 2018. Of
titles, which are kept as text, the most frequent words are a feature besides.

With `vectors`, a Parquet file of `user` and `vector` (a list of numbers) such as `raytune-rec vectors` writes, users have the
attribute `vector`: what another domain knows of them. With `overlap`, only the users in that file are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from raytune_rec import components
from raytune_rec.data.cells import encoded
from raytune_rec.data.files.delimited import Format
from raytune_rec.data.files.problems import each_file
from raytune_rec.data.files.reading import read_file, read_lines
from raytune_rec.data.sources._amazon.logs import sequence_block
from raytune_rec.data.sources._amazon.products import FEATURES, Feature, fields_of, read_products
from raytune_rec.data.sources.base import RawBlock, SourceField, digest_files
from raytune_rec.errors import DataError
from raytune_rec.storage.files import lies_there
from raytune_rec.storage.places import located

_NAMES = ("user_sequence.txt.gz", "user_sequence.txt")
_COLUMNS = {"user": "user", "vector": "vector"}


class Amazon:
    """Amazon 2014 5-core categories as sequences of clicks."""

    shared_items = False
    rating_range = None
    formats = None
    time_unit = ""
    example: Mapping[str, Any] = {"path": "FOLDER", "domains": ("Beauty",), "vectors": "FILE", "metadata": {"Beauty": "FILE"}}

    class Options(components.Options):
        path: str = Field(description="folder that holds <domain>/user_sequence.txt.gz, or .txt")
        domains: tuple[str, ...] = Field(min_length=1, description="names of these folders, in the order of the domains' ids")
        vectors: str = Field("", description="Parquet file of user and vector, the users' attribute; empty: they have none")
        overlap: bool = Field(False, description="read the users of the file of vectors alone")
        metadata: dict[str, str] = Field({}, description="domain -> file of its items' metadata, JSON lines or Python literals")
        features: tuple[Feature, ...] = Field(
            FEATURES,
            min_length=1,
            description="what is read of metadata; title is text, words are the first 16 of it that are known",
        )
        words: int = Field(2000, ge=1, le=10**6, description="words of titles that are kept, those that most titles have")

        @model_validator(mode="after")
        def _overlap_with_something(self) -> Amazon.Options:
            if self.overlap and not self.vectors:
                raise ValueError("overlap reads the users of the file of vectors alone, and there is none; name it as `vectors`")
            return self

        @model_validator(mode="after")
        def _metadata_of_domains(self) -> Amazon.Options:
            if unknown := [name for name in self.metadata if name not in self.domains]:
                raise ValueError(
                    f"metadata of {', '.join(unknown)}: none of domains ({', '.join(self.domains)}); name it there too"
                )
            if len(set(self.features)) < len(self.features):
                raise ValueError(f"features: each once (given: {', '.join(self.features)})")
            return self

        @field_validator("domains")
        @classmethod
        def _each_once(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
            twice = sorted({name for name in domains if domains.count(name) > 1})
            if twice:
                raise ValueError(f"{', '.join(twice)}: named twice; name each domain once")
            if outside := [name for name in domains if name != Path(name).name or name == ".."]:
                raise ValueError(f"{', '.join(outside)}: not the name of a folder in `path`; name one")
            return domains

    def __init__(self, options: Options) -> None:
        self._folder = located(options.path)
        self._domains = options.domains
        self._vectors = located(options.vectors) if options.vectors else None
        self._overlap = options.overlap
        self.cohort = "of the users in the files those alone were read who have a vector" if options.overlap else ""
        self._metadata = {domain: located(options.metadata[domain]) for domain in options.domains if domain in options.metadata}
        self._features, self._words = options.features, options.words

    def fields(self) -> tuple[SourceField, ...]:
        of_users = (SourceField("vector", "vector", "user"),) if self._vectors else ()
        return (*of_users, *(fields_of(self._features) if self._metadata else ()))

    def domains(self) -> tuple[str, ...]:
        return self._domains

    def read(self) -> Iterator[RawBlock]:
        files = self._files()
        only = {name for block in self.users() for name in encoded(block.table["user"]).to_pylist()} if self._overlap else None
        of_each = zip(self._domains, files, strict=True)
        return each_file(
            (path, (sequence_block(*lines, str(path), domain, only) for lines in read_lines(path))) for domain, path in of_each
        )

    def users(self) -> Iterator[RawBlock]:
        return read_file(self._vectors, _COLUMNS, Format()) if self._vectors else iter(())

    def items(self) -> Iterator[RawBlock]:
        of_each = self._metadata.items()
        return each_file((path, read_products(path, domain, self._features, self._words)) for domain, path in of_each)

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        inputs: dict[str, Any] = {"source": "amazon", "domains": list(self._domains), "files": digest_files(self._files())}
        inputs |= {"vectors": digest_files([self._vectors]), "overlap": self._overlap} if self._vectors else {}
        if self._metadata:
            digests = digest_files(list(self._metadata.values()))
            told = {"of": list(self._metadata), "features": list(self._features), "words": self._words}
            inputs |= {"metadata": told | {"files": digests}}
        return inputs

    def _files(self) -> list[Path]:
        """Of sequences, one for each domain. Raises DataError that names all files that are missing."""
        files, problems = [], []
        for domain in self._domains:
            folder = self._folder / domain
            there = [folder / name for name in _NAMES if lies_there(folder / name)]
            files += there[:1]
            if not there:
                problems.append(f"{folder}: there is no {' or '.join(_NAMES)}; mend data.options.path or data.options.domains.")
        if self._vectors and not lies_there(self._vectors):
            problems.append(f"{self._vectors}: no such file; write it with `raytune-rec vectors`, or mend data.options.vectors.")
        for domain, path in self._metadata.items():
            if not lies_there(path):
                problems.append(f"{path}: no such file; mend data.options.metadata.{domain}, or leave it out.")
        if problems:
            raise DataError(problems)
        return files
