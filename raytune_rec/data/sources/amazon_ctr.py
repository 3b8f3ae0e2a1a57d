"""Amazon 5-core sequences (He and McAuley, WWW 2016) as rows with labels, in many domains: each category is cut into several.

A log is a text file with a line for each user, `user item item ...`. Every item of a line is a click: label 1. For each click
`negatives` items of its domain that the user took in no row have label 0, drawn in proportion to (training clicks)^power. A click
and its negatives stand in one split, by a hash of (seed, user, item), and `data.split.kind = "given"` takes it; with `valid` and
`test` at 0 the source has none. All of it depends on the seed and the files alone. For one user an item is
drawn once at most: no split knows the negatives of another.

**How a category is cut.** Items with attributes, where the job names a file of them (`{"item": [attribute, ...]}`, as S3-Rec
publishes them, categories and brands by number): by `_amazon.cuts.by_attribute`, into `<log>.<attribute>` and `<log>.rest`.
Without: by who took them in training, `_amazon.cuts.by_taker`, into `<log>.cluster0` (the largest, and items without a training
click) and on.

**Users.** Those of the logs in `shared` have the same names in all of them, and in all domains of a log; other logs number
their own. Where a log has numbers and another file has its lines with the users' names, `users` takes them from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from raytune_rec import components
from raytune_rec.data.blocks import Reject
from raytune_rec.data.cells import encoded
from raytune_rec.data.files.delimited import shown
from raytune_rec.data.files.problems import each_file
from raytune_rec.data.files.reading import read_lines
from raytune_rec.data.hashing import scramble, share, text_hash, user_hash
from raytune_rec.data.sources._amazon.cuts import REST, by_attribute, by_taker
from raytune_rec.data.sources._amazon.logs import sequence_block
from raytune_rec.data.sources._amazon.sampled import held_out, not_taken
from raytune_rec.data.sources.base import RawBlock, SourceField, constant, digest_files
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import SPLITS
from raytune_rec.storage.files import at_hand, lies_there
from raytune_rec.storage.places import located


@dataclass(frozen=True)
class _Log:
    """The clicks of a log. user, item: names; of_user, of_item, lines: (N,) codes, and the line of each."""

    user: Sequence[str]
    item: Sequence[str]
    of_user: np.ndarray
    of_item: np.ndarray
    lines: np.ndarray


class AmazonCtr:
    """Clicks and sampled negatives of many domains."""

    shared_items = False
    rating_range = None
    formats = None
    time_unit = ""
    example: Mapping[str, Any] = {"path": "FOLDER", "logs": {"beauty": "FILE"}}

    class Options(components.Options):
        path: str = Field(description="folder that the files below are in")
        logs: dict[str, str] = Field(min_length=1, description="name of a log -> its file, which may be gzipped")
        users: dict[str, str] = Field({}, description="log -> file with the same lines, of which the users are meant")
        shared: tuple[str, ...] = Field((), description="logs whose users are named alike; other logs have users of their own")
        attributes: dict[str, str] = Field({}, description="log -> JSON file of its items' attributes; others are cut by cluster")
        parts: int = Field(9, ge=1, le=1000, description="domains that a log is cut into, the rest apart")
        least_items: int = Field(20, ge=1, le=10**6, description="items that a domain of an attribute has at least")
        negatives: int = Field(1, ge=1, le=100, description="items drawn for each click")
        power: float = Field(
            0.75,
            ge=0,
            le=2,
            description="of an item's training clicks, how likely it is drawn; 0: all alike (3/4: Mikolov et al., NIPS 2013)",
        )
        users_share: float = Field(1.0, gt=0, le=1, description="share of the users that is read, by a hash of their names")
        valid: float = Field(0.1, ge=0, lt=0.5, description="share of the clicks that validate")
        test: float = Field(0.1, ge=0, lt=0.5, description="share of the clicks that test")
        seed: int = Field(0, ge=0, le=2**31, description="of split, negatives, clusters and the share of users")

        @model_validator(mode="after")
        def _of_logs(self) -> AmazonCtr.Options:
            for option in ("users", "shared", "attributes"):
                if unknown := [name for name in getattr(self, option) if name not in self.logs]:
                    raise ValueError(
                        f"{option} of {', '.join(unknown)}: none of logs ({', '.join(self.logs)}); name it there too"
                    )
            return self

    def __init__(self, options: Options) -> None:
        self._options, self._folder = options, located(options.path)
        part = options.users_share
        self.cohort = f"of the users in the files a part was read, by a hash: {100 * part:g} %" if part < 1 else ""

    def fields(self) -> tuple[SourceField, ...]:
        return ()

    def domains(self) -> tuple[str, ...] | None:
        return None

    def read(self) -> Iterator[RawBlock]:
        if problems := [f"{path}: no such file; mend data.options." for path in self._files() if not lies_there(path)]:
            raise DataError(problems)
        files = {name: self._folder / file for name, file in self._options.logs.items()}
        return each_file((path, self._rows(name, path)) for name, path in files.items())

    def users(self) -> Iterator[RawBlock]:
        return iter(())

    def items(self) -> Iterator[RawBlock]:
        return iter(())

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        options = self._options.model_dump(exclude={"path"})
        return {"source": "amazon_ctr", "options": options, "files": digest_files(self._files())}

    def _files(self) -> list[Path]:
        o = self._options
        return [self._folder / file for named in (o.logs, o.users, o.attributes) for file in named.values()]

    def _rows(self, name: str, path: Path) -> Iterator[RawBlock]:
        rejects: list[Reject] = []
        log = self._log(name, path, rejects)
        yield RawBlock(self._table("", [], [], np.zeros(0), np.zeros(0)), str(path), np.zeros(0, np.int64), tuple(rejects))
        if not len(log.lines):
            return
        seeds = text_hash([f"{self._options.seed}/{name}"])
        hashes = scramble(scramble(seeds ^ text_hash(log.user)[log.of_user]) ^ text_hash(log.item)[log.of_item])
        split = held_out(hashes, self._options.valid, self._options.test)
        for domain, items in self._cut(name, log, split == 0).items():
            yield from self._domain(domain, items, log, hashes, split, str(path))

    def _domain(
        self, domain: str, items: np.ndarray, log: _Log, hashes: np.ndarray, split: np.ndarray, file: str
    ) -> Iterator[RawBlock]:
        """The clicks on some items, and then what is drawn for them."""
        here = np.flatnonzero(np.isin(log.of_item, items))
        user, item = log.of_user[here], log.of_item[here]
        clicks = np.bincount(item[split[here] == 0], minlength=len(log.item))[items]
        weight = np.maximum(clicks, 1.0) ** self._options.power
        drawn = not_taken(user, item, hashes[here], items, weight, self._options.negatives)
        everything = [(np.arange(len(here)), item, 1.0), *((places, of_items, 0.0) for places, of_items in drawn)]
        for places, of_items, label in everything:
            table = self._table(
                domain,
                [log.user[u] for u in user[places]],
                [log.item[i] for i in of_items],
                np.full(len(places), label),
                split[here][places],
            )
            yield RawBlock(table, file, log.lines[here][places])

    def _table(self, domain: str, user: Sequence[str], item: Sequence[str], label: np.ndarray, split: np.ndarray) -> pa.Table:
        columns: dict[str, Any] = {
            "domain": constant(domain, len(user)),
            "user": pa.array(user, pa.string()),
            "item": pa.array(item, pa.string()),
            "label": label,
        }
        if self._options.valid or self._options.test:
            columns["split"] = pa.DictionaryArray.from_arrays(pa.array(split.astype(np.int32)), pa.array(SPLITS))
        return pa.table(columns)

    def _cut(self, name: str, log: _Log, trains: np.ndarray) -> dict[str, np.ndarray]:
        """Domain -> the codes of its items."""
        o = self._options
        if file := o.attributes.get(name):
            item, attribute = _attributes(self._folder / file, log.item)
            domain, prefix = by_attribute(item, attribute, len(log.item), o.parts, o.least_items), ""
        else:
            user, item = log.of_user[trains], log.of_item[trains]
            domain, prefix = by_taker(user, item, len(log.user), len(log.item), o.parts, o.seed), "cluster"
            domain = np.maximum(domain, 0)
        named = {int(d): f"{name}.{'rest' if d == REST else f'{prefix}{d}'}" for d in np.unique(domain)}
        return {title: np.flatnonzero(domain == d) for d, title in named.items()}

    def _log(self, name: str, path: Path, rejects: list[Reject]) -> _Log:
        """All clicks. Lines that are none are added to `rejects`."""
        user, item, lines = _clicks(path, rejects)
        if name in self._options.users:
            user = _renamed(path, user, lines, self._folder / self._options.users[name])
        if name not in self._options.shared:
            user = np.char.add(f"{name}/", user)
        users, of_user = np.unique(user, return_inverse=True)
        if self._options.users_share < 1:
            kept = share(user_hash(self._options.seed, "read", text_hash(users.tolist()))) < self._options.users_share
            user, item, lines = (column[kept[of_user]] for column in (user, item, lines))
            users, of_user = np.unique(user, return_inverse=True)
        items, of_item = np.unique(item, return_inverse=True)
        return _Log(users.tolist(), items.tolist(), of_user, of_item, lines)


def _clicks(path: Path, rejects: list[Reject]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) users, items and lines of a log."""
    blocks = [sequence_block(texts, refused, str(path), "") for texts, refused in read_lines(path)]
    for block in blocks:
        rejects += block.rejects
    user, item = (np.array([v for b in blocks for v in encoded(b.table[c]).to_pylist()], dtype=str) for c in ("user", "item"))
    return user, item, np.concatenate([block.lines for block in blocks]) if blocks else np.zeros(0, np.int64)


def _renamed(path: Path, user: np.ndarray, lines: np.ndarray, other: Path) -> np.ndarray:
    """The users of another file's lines, (N,).

    Raises:
        DataError: a line of a user with another number of items there.
    """
    refused: list[Reject] = []
    named, _, of_lines = _clicks(other, refused)
    longest = max(lines.max(initial=0), of_lines.max(initial=0)) + 1
    counts = [np.bincount(places, minlength=longest) for places in (lines, of_lines)]
    if len(wrong := np.flatnonzero(counts[0] != counts[1])):
        line = int(wrong[0])
        whose = shown(str(user[lines == line][0])) if counts[0][line] else "nobody"
        raise DataError(
            f"{path}, line {line}: {whose} has {counts[0][line]} items, and line {line} of {other} {counts[1][line]}; the two "
            "files must have the same lines. Name its fellow under data.options.users, or leave it out there."
        )
    return named


def _attributes(path: Path, items: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(P,) codes of items, and one attribute of each.

    Raises:
        DataError: the file is no JSON object of lists of numbers.
    """
    try:
        told = json.loads(at_hand(path).read_bytes())
        pairs = [(code, index(a)) for code, item in enumerate(items) for a in told.get(item, ())]
        listed = np.array(pairs, np.int64).reshape(-1, 2)
    except (OSError, ValueError, AttributeError, TypeError, OverflowError) as error:
        rule = 'it must be a JSON object {"item": [attribute, ...]} of whole numbers from 0 to 2^63 - 1'
        raise DataError(f"{path}: {rule} ({shown(str(error))}); mend it, or leave it out of data.options.attributes.") from None
    if (listed < 0).any():
        raise DataError(f"{path}: attribute {listed.min()} is below 0; number attributes from 0.")
    return listed[:, 0], listed[:, 1]
