"""Amazon reviews with what the items are called (2014: McAuley et al., SIGIR 2015; 2018: Ni et al., EMNLP 2019), many domains in
one job: each names its log and its items.

Logs are reviews (`.json`, a review on each line), sequences (`.txt`, a line for each user), MiniOneRec's `.csv` or RecBole's
`.inter`; items are metadata (`.json`, an item on each line), MiniOneRec's `.item.json` or RecBole's `.item`; each may be
gzipped.

Attributes are text, for models that read words (UPSR); there is no feature of a CTR model among them. Every row is a click, of
label 1. Where all logs are reviews, rating and time stand beside it, and with `label = "rating"` there is no label, so that
data.positive_above makes one of the rating; otherwise rows have their place in time alone. A reviewer of raw reviews is the same
user in all domains; an item belongs to its domain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from raytune_rec import components
from raytune_rec.data.files.on_disk import named_files
from raytune_rec.data.files.problems import each_file
from raytune_rec.data.hashing import share, text_hash, user_hash
from raytune_rec.data.sources._amazon.item_texts import ATTRIBUTES, ITEMS, Attribute, read_item_texts
from raytune_rec.data.sources._amazon.logs import LOGS, OBJECTS, form_of, read_logs
from raytune_rec.data.sources.base import RawBlock, SourceField, digest_files
from raytune_rec.errors import DataError
from raytune_rec.storage.places import located


class _Domain(components.Options):
    log: str | tuple[str, ...] = Field(
        min_length=1, description="files of what users took, all of one form, in the order of time"
    )
    items: str = Field("", description="file of what the items are called; empty: they have no text")
    share: float = Field(1.0, gt=0, le=1, description="share of its users that is read, by a hash")

    @property
    def logs(self) -> tuple[str, ...]:
        return (self.log,) if isinstance(self.log, str) else self.log

    @model_validator(mode="after")
    def _known_forms(self) -> _Domain:
        forms = {form_of(log) for log in self.logs}
        if len(forms) > 1 or not forms <= set(LOGS):
            raise ValueError(
                f"log: files whose names end alike, in {', '.join(LOGS)}, or these with .gz ({', '.join(self.logs)})"
            )
        if self.items and form_of(self.items) not in ITEMS:
            raise ValueError(f"items: a file whose name ends in {', '.join(ITEMS)}, or these with .gz ({self.items})")
        return self


def _some(blocks: Iterator[RawBlock], part: float) -> Iterator[RawBlock]:
    """The rows of a share of the users, the same ones in every file; rows that name none are refused later."""
    for block in blocks:
        hashes = user_hash(0, "share", text_hash(block.table["user"].fill_null("").to_pylist()))
        kept = (share(hashes) < part) | block.table["user"].is_null().to_numpy()
        yield replace(block, table=block.table.filter(pa.array(kept)), lines=block.lines[kept])


class AmazonText:
    """Amazon domains whose items have text."""

    shared_items = False
    example: Mapping[str, Any] = {"domains": {"pens": {"log": "FILE.json", "items": "FILE.json"}}}
    formats = None

    class Options(components.Options):
        path: str = Field(".", description="folder from which files are named")
        domains: dict[str, _Domain] = Field(
            min_length=1,
            description="name -> { log, items, share }, in the order of the domains' ids. log, one file or several: reviews "
            f"({', '.join(OBJECTS)}), sequences (.txt), MiniOneRec's .csv or RecBole's .inter; items: metadata "
            f"({', '.join(OBJECTS)}) or RecBole's .item; each also with .gz",
        )
        attributes: tuple[Attribute, ...] = Field(ATTRIBUTES, min_length=1, description="what is read of the items")

        label: Literal["click", "rating"] = Field(
            "click", description="click: 1 for every row; rating: none here, so that data.positive_above makes it (reviews alone)"
        )

        @property
        def rated(self) -> bool:
            return all(form_of(log) in OBJECTS for domain in self.domains.values() for log in domain.logs)

        @model_validator(mode="after")
        def _ratings_to_make_labels(self) -> AmazonText.Options:
            if self.label == "rating" and not self.rated:
                raise ValueError("label = 'rating' is of reviews, and a domain has a log without ratings; leave label out")
            return self

        @model_validator(mode="after")
        def _some_text(self) -> AmazonText.Options:
            if not any(domain.items for domain in self.domains.values()):
                raise ValueError(
                    "no domain has items, and so no text; name a file as domains.<name>.items, or use another source"
                )
            if len(set(self.attributes)) < len(self.attributes):
                raise ValueError(f"attributes: each once (given: {', '.join(self.attributes)})")
            return self

    def __init__(self, options: Options) -> None:
        self._options = options
        folder = located(options.path)
        self._logs = {name: [str(folder / log) for log in domain.logs] for name, domain in options.domains.items()}
        self._items = {name: str(folder / domain.items) for name, domain in options.domains.items() if domain.items}
        times = ("rating", "timestamp") if options.rated else ("position",)
        self._columns = (*(("label",) if options.label == "click" else ()), *times)
        self.rating_range = (1.0, 5.0) if options.rated else None
        self.time_unit = "s" if options.rated else ""
        self._shares = {name: domain.share for name, domain in options.domains.items() if domain.share < 1}
        read = ", ".join(f"{100 * part:g} % of {name}" for name, part in self._shares.items())
        self.cohort = f"of the users in the files a part was read, by a hash: {read}" if read else ""

    def fields(self) -> tuple[SourceField, ...]:
        return tuple(SourceField(name, "text", "item") for name in self._options.attributes)

    def domains(self) -> tuple[str, ...]:
        return tuple(self._options.domains)

    def read(self) -> Iterator[RawBlock]:
        logs, _ = self._at_hand()
        blocks = {name: read_logs(paths, name, self._columns) for name, paths in logs.items()}
        blocks |= {name: _some(blocks[name], part) for name, part in self._shares.items()}
        return each_file((logs[name][0], of_domain) for name, of_domain in blocks.items())

    def users(self) -> Iterator[RawBlock]:
        return iter(())

    def items(self) -> Iterator[RawBlock]:
        _, items = self._at_hand()
        return each_file((path, read_item_texts(path, name, self._options.attributes)) for name, path in items.items())

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        logs, items = self._at_hand()
        digests = {name: digest_files([*paths, *([items[name]] if name in items else [])]) for name, paths in logs.items()}
        chosen = {"domains": list(self._options.domains), "attributes": list(self._options.attributes)}
        chosen |= {"shares": self._shares} if self._shares else {}
        return {"source": "amazon_text", **chosen, "label": self._options.label, "files": digests}

    def _at_hand(self) -> tuple[dict[str, list[Path]], dict[str, Path]]:
        """(domain -> its logs, domain -> its items). Raises DataError for all files that are missing or no files."""
        problems: list[str] = []

        def named(pattern: str) -> list[Path]:
            files, wrong = named_files(pattern)
            problems.extend(wrong)
            return files

        logs = {name: [path for pattern in patterns for path in named(pattern)] for name, patterns in self._logs.items()}
        items = {name: path for name, pattern in self._items.items() for path in named(pattern)[:1]}
        if problems:
            raise DataError(dict.fromkeys(problems))
        return logs, items
