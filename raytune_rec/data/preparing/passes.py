"""The three passes of the preparation.

1: the source is read once; each row is judged, coded and spilled to disk in buckets of its hash. 2: over the buckets: the split
is decided, what the training split holds is counted, ids are given. 3: over the buckets: the store is written in hash order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.blocks import SCORE, RawBlock, SourceField
from raytune_rec.data.files.problems import FileProblems
from raytune_rec.data.hashing import row_hash
from raytune_rec.data.instants import Instants
from raytune_rec.data.layout import domain_folder, item_keys, vocabulary_file
from raytune_rec.data.preparing.coding.attributes import attributes_of
from raytune_rec.data.preparing.coding.features import FeatureTable, id_lists, list_codes, numerical_field
from raytune_rec.data.preparing.coding.known import Known
from raytune_rec.data.preparing.coding.validate import Checked, check_interactions, require_interactions
from raytune_rec.data.preparing.coding.vocabulary import Codes, Order
from raytune_rec.data.preparing.disk.spill import Spill
from raytune_rec.data.preparing.disk.tables import Rejects, RowGroupWriter
from raytune_rec.data.preparing.splits import TRAIN, Splitter, are_cold, splitter
from raytune_rec.data.preparing.summary import Summary, alike
from raytune_rec.data.sources.base import Source
from raytune_rec.errors import DataError
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import DataSchema, Field, FieldKind
from raytune_rec.storage.files import STORAGE

_PART_GROUPS = 16
_MOST_DOMAINS = 500
_SAMPLE = 1_000_000
_TYPES = {"rating": np.float32, "stay": np.float32, "timestamp": np.int64, "position": np.int64, "split": np.int8}


Tell = Callable[[str], None]


@dataclass
class _Coded:
    """Provisional codes of everything that the interactions name."""

    domain: Codes = field(default_factory=Codes)
    user: Codes = field(default_factory=Codes)
    item: Codes = field(default_factory=Codes)
    context: dict[str, Codes] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Placed:
    """What the second pass finds: final places, and the context fields."""

    domains: tuple[str, ...]
    domain: np.ndarray
    user: Order
    item: Order
    context: dict[str, Order]
    fields: list[Field]


class Preparation:
    """One preparation.

    Args:
        mark: fingerprint of what goes in.
        tell: told what it is at, in words.
        known: whose ids go on; None: this store's are its own.
    """

    def __init__(
        self,
        options: DataOptions,
        source: Source,
        out: Path,
        spill: Spill,
        rejects: Rejects,
        mark: str,
        tell: Tell,
        known: Known | None = None,
    ) -> None:
        self._options, self._source, self._out, self._mark, self._known = options, source, out, mark, known
        self._spill, self._rejects, self._tell = spill, rejects, tell
        self._fields = source.fields()
        self._context = [f for f in self._fields if f.role == "context"]
        self._formats = source.formats or {}
        iso = self._formats.get("timestamp") == "iso"
        self._summary, self._instants = Summary(), Instants(source.time_unit, iso, source.formats is not None)
        self._log: set[str] = set()
        self._attributes = attributes_of(source, rejects, options.max_rejected, self._log)

    def run(self) -> tuple[DataSchema, dict[str, Any]]:
        """The schema and the summary of the store that is written."""
        coded, splits = self._read()
        self._tell("splitting the rows and counting ids")
        placed = self._place(coded, splits)
        self._tell("reading the features of users and items")
        fields, orders = self._features(coded, placed)
        self._tell("writing the rows")
        lengths = self._write(coded, placed, splits)
        long = {} if self._known else lengths
        fields += [replace(f, length=long.get(f.name, f.length)) if f.kind == "multi" else f for f in placed.fields]
        self._vocabulary({"user": placed.user, "item": placed.item, **orders, **placed.context}, placed.domains)
        identifiers = [
            Field("user", "categorical", "user", placed.user.size),
            Field("item", "categorical", "item", placed.item.size, new=placed.item.new),
            Field("domain", "categorical", "domain", len(placed.domains) + 1),
        ]
        rows = self._summary.rows(placed.domains)
        schema = DataSchema((*identifiers, *fields), placed.domains, self._mark, rows, self._options.task)
        sizes = {f.name: f.size - 1 for f in schema.fields if f.has_ids}
        self._summary.time_unit = self._instants.unit
        for name, codes in (("users", coded.user), ("items", coded.item)):
            if groups := alike(codes.raws()):
                self._summary.alike[name] = {"count": sum(map(len, groups)), "example": groups[0][:3]}
        return schema, self._summary.values(placed.domains, sizes, self._rejects.reasons)

    # first pass

    def _read(self) -> tuple[_Coded, Splitter]:
        coded, splits = self._coded(), None
        read = refused = start = 0
        wrong = FileProblems()
        for block, checked in self._checked(wrong):
            self._rejects.add(checked.rejects, checked.faults)
            self._log.add(block.file)
            read, refused = read + len(block.table) + len(block.rejects), refused + len(checked.rejects)
            of_worth = {name: n for name, n in checked.blank.items() if name in ("rating", "stay") or name.startswith(SCORE)}
            self._summary.without_value.update(of_worth)
            self._tell(f"{read:,} rows read")
            columns = ("label", *(c for c in _TYPES if c in checked.numbers))
            if splits is None:
                coded.columns, splits = columns, self._splitter(coded, set(columns))
            if columns != coded.columns:
                before = ", ".join(coded.columns)
                raise DataError(f"{block.file}: has the columns {', '.join(columns)}; the files before it have {before}.")
            if self._options.sequences is not None:
                taken = checked.numbers["label"] > 0
                checked = checked.kept(taken)
                self._summary.not_taken = (self._summary.not_taken or 0) + int((~taken).sum())
            rows = self._code(coded, checked, start)
            splits.observe({k: v for k, v in rows.items() if isinstance(v, np.ndarray)})
            self._spill.add(rows)
            start += len(rows["hash"])
        self._spill.close()
        self._judge(read, refused, wrong.told())
        if splits is None or not start:
            if self._summary.not_taken:
                raise DataError(
                    f"none of {self._summary.not_taken:,} rows was taken: all have label 0, and histories hold what users took; "
                    "check the column mapped to label, or lower data.positive_above."
                )
            raise DataError("the source has no usable row of interactions; check its files and columns.")
        self._summary.read, self._summary.refused = read, refused
        return coded, splits

    def _coded(self) -> _Coded:
        named = [f.name for f in self._context if f.kind != "numerical"]
        if self._known is None:
            return _Coded(context={name: Codes() for name in named})
        self._known.check(self._fields, self._source.shared_items)
        codes = {name: self._known.codes(name) for name in ("user", "item", *named)}
        return _Coded(user=codes.pop("user"), item=codes.pop("item"), context=codes)

    def _checked(self, wrong: FileProblems) -> Iterator[tuple[RawBlock, Checked]]:
        """Each block of interactions with what of it can be used; what is wrong with files is kept."""
        above, histories = self._options.positive_above, self._options.sequences is not None
        range_, times, formats = self._source.rating_range, self._instants, self._formats
        for block in wrong.beside(self._source.read()):
            require_interactions(block, self._context, above, histories)
            with wrong.of(block.file):
                yield block, check_interactions(block, self._context, range_, above, times, formats, histories)

    def _judge(self, read: int, refused: int, problems: list[str]) -> None:
        """Raises DataError for all that is wrong in all files, those of users and items included."""
        limit, settable = self._options.max_rejected, self._source.formats is not None
        problems += self._instants.problems()
        problems += self._rejects.judge("rows of interactions", read, refused, limit, settable)
        if problems:
            problems += [problem for each in self._attributes for problem in each.read()]
            raise DataError(dict.fromkeys(problems))  # features in the log are read from the same files

    def _splitter(self, coded: _Coded, columns: set[str]) -> Splitter:
        sequences = self._options.sequences
        known = self._known.served if self._known else None
        return splitter(self._options.split, columns, coded.user.hashes, coded.item.hashes, sequences, known)

    def _code(self, coded: _Coded, checked: Checked, start: int) -> dict[str, np.ndarray | pa.Array]:
        domain = coded.domain.add(checked.text["domain"])
        user = coded.user.add(checked.text["user"])
        item = coded.item.add(item_keys(checked.text["domain"], checked.text["item"], self._source.shared_items))
        if len(coded.domain) > _MOST_DOMAINS:
            raise DataError(f"more than {_MOST_DOMAINS} domains; is the column mapped to domain the right one?")
        hashes = row_hash(
            self._options.split.seed, coded.domain.hashes()[domain], coded.user.hashes()[user], coded.item.hashes()[item]
        )
        rows: dict[str, np.ndarray | pa.Array] = {
            "hash": hashes,
            "row": np.arange(start, start + len(user), dtype=np.int64),
            "domain": domain,
            "user": user,
            "item": item,
            "label": checked.numbers["label"].astype(np.float32),
        }
        rows |= {name: checked.numbers[name].astype(_TYPES[name]) for name in coded.columns if name in _TYPES}
        for f in self._context:
            if f.kind == "numerical":
                rows[f.name] = checked.numbers[f.name].astype(np.float32)
            elif f.kind == "categorical":
                rows[f.name] = coded.context[f.name].add(checked.text[f.name])
            else:
                lengths, codes = list_codes(checked.lists[f.name], coded.context[f.name])
                offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
                rows[f.name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(codes))
        return rows

    # second pass

    def _place(self, coded: _Coded, splits: Splitter) -> _Placed:
        counts = {"user": np.zeros(len(coded.user), np.int64), "item": np.zeros(len(coded.item), np.int64)}
        counts |= {name: np.zeros(len(codes), np.int64) for name, codes in coded.context.items()}
        sample: dict[str, list[np.ndarray]] = {f.name: [] for f in self._context if f.kind == "numerical"}
        sampled, met = 0, np.zeros(len(coded.item), np.int64)
        for table in self._spill.buckets():
            met += np.bincount(table["item"].to_numpy(), minlength=len(met))
            table = table.filter(pa.array(splits.assign(_arrays(table)) == TRAIN))
            for name, count in counts.items():
                column = table[name].combine_chunks()
                codes = (column.flatten() if pa.types.is_list(column.type) else column).to_numpy()
                count += np.bincount(codes[codes >= 0], minlength=len(count))
            if sampled < _SAMPLE:  # buckets come in hash order: the first of them are a random sample of the rows
                sampled += len(table)
                for name, parts in sample.items():
                    parts.append(table[name].to_numpy())
        had = {name: self._known.field(name).size - 1 if self._known else None for name in counts}
        context = {name: Order(codes.raws(), counts[name], known=had[name]) for name, codes in coded.context.items()}
        fields = [self._context_field(f, context, sample) for f in self._context]
        names = coded.domain.raws()
        domains, place = self._known.domains(names) if self._known else _domain_order(names, self._source.domains())
        cold = self._known.new(len(met)) if self._known else are_cold(coded.item.hashes(), met, self._options.split)
        user = Order(coded.user.raws(), counts["user"], known=had["user"])
        item = Order(coded.item.raws(), counts["item"], cold, had["item"])
        return _Placed(domains, place, user, item, context, fields)

    def _context_field(self, f: SourceField, orders: Mapping[str, Order], sample: Mapping[str, list[np.ndarray]]) -> Field:
        if self._known:
            return self._known.field(f.name)
        if f.kind == "numerical":
            values = np.concatenate(sample[f.name])
            return numerical_field(f.name, "context", values, np.ones(len(values)), self._options.buckets)
        kind: FieldKind = "categorical" if f.kind == "categorical" else "multi"
        return Field(f.name, kind, "context", orders[f.name].size, f.length)

    # users and items

    def _features(self, coded: _Coded, placed: _Placed) -> tuple[list[Field], dict[str, Order]]:
        keys, places = (coded.user, coded.item), (placed.user, placed.item)
        tables = [FeatureTable(a.fields, k, p, self._known) for a, k, p in zip(self._attributes, keys, places, strict=True)]
        problems = [problem for a, table in zip(self._attributes, tables, strict=True) for problem in a.read(table)]
        if problems:
            raise DataError(problems)
        fields: list[Field] = []
        orders: dict[str, Order] = {}
        for name, a, table in zip(("users", "items"), self._attributes, tables, strict=True):
            written, made, vocabulary = table.finish(self._options.buckets)
            pq.write_table(written, self._out / f"{name}.parquet", compression="zstd")
            fields += made
            orders |= vocabulary
            if a.fields:
                self._summary.features[name] = a.counts(table)
        return fields, orders

    # third pass

    def _write(self, coded: _Coded, placed: _Placed, splits: Splitter) -> dict[str, int]:
        """Writes the interactions; returns the length of each multi-valued context field."""
        lengths = {f.name: 1 for f in self._context}
        writers: dict[int, RowGroupWriter] = {}
        train: RowGroupWriter | None = None
        for spilled in self._spill.buckets():
            rows = _arrays(spilled)
            split = splits.assign(rows)
            domain = placed.domain[rows["domain"]]
            table = self._encoded(coded, placed, spilled, lengths)
            self._summary.count(domain, rows, split)
            if train is None:
                with_domain = table.schema.append(pa.field("domain", pa.int32()))
                train = RowGroupWriter(self._out / "train", with_domain, self._options.block_rows, _PART_GROUPS)
                stored = table.schema.append(pa.field("split", pa.int8()))
                writers = {i: RowGroupWriter(domain_folder(self._out, d), stored, self._options.block_rows)
                           for i, d in enumerate(placed.domains)}  # fmt: skip
            train.add(table.append_column("domain", pa.array(domain + 1, pa.int32())).filter(pa.array(split == TRAIN)))
            stored_rows = table.append_column("split", pa.array(split, pa.int8()))
            for i, writer in writers.items():
                writer.add(stored_rows.filter(pa.array(domain == i)))
        for group in [*writers.values(), *([train] if train else [])]:
            group.close()
        return lengths

    def _encoded(self, coded: _Coded, placed: _Placed, rows: pa.Table, lengths: dict[str, int]) -> pa.Table:
        """Final columns of spilled rows. `user` and `item` are rows of their tables: ids, and past these the rows of the
        unseen."""
        columns: dict[str, Any] = {
            "user": pa.array(placed.user.place[rows["user"].to_numpy()]),
            "item": pa.array(placed.item.place[rows["item"].to_numpy()]),
            "label": rows["label"],
        }
        columns |= {name: rows[name] for name in coded.columns if name in _TYPES and name != "split"}
        for f in self._context:
            if f.kind == "multi":
                lists = rows[f.name].combine_chunks()
                ids = placed.context[f.name].ids(lists.flatten().to_numpy())
                limit = self._known.field(f.name).length if self._known else f.length
                columns[f.name], longest = id_lists(ids, np.diff(lists.offsets.to_numpy()), limit)
                lengths[f.name] = max(lengths[f.name], longest)
            elif f.kind == "categorical":
                columns[f.name] = pa.array(placed.context[f.name].ids(rows[f.name].to_numpy()))
            else:
                columns[f.name] = rows[f.name]
        return pa.table(columns)

    def _vocabulary(self, orders: Mapping[str, Order], domains: tuple[str, ...]) -> None:
        STORAGE.make_folder(self._out / "vocabulary")
        for name, order in orders.items():
            pq.write_table(order.table(), vocabulary_file(self._out, name), compression="zstd")
        ids = pa.array(range(1, len(domains) + 1), pa.int32())
        pq.write_table(pa.table({"raw": pa.array(domains, pa.string()), "id": ids}), vocabulary_file(self._out, "domain"))


def _arrays(table: pa.Table) -> dict[str, np.ndarray]:
    """What a splitter or a summary looks at."""
    wanted = ("hash", "row", "domain", "user", "item", "label", "timestamp", "position", "split")
    return {name: table[name].to_numpy() for name in wanted if name in table.column_names}


def _domain_order(names_met: list[str], known: tuple[str, ...] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """(names by id - 1, place of each code). A known domain without rows is left out; one that was not announced comes after
    them.
    """
    rank = {name: i for i, name in enumerate(known or ())}
    names = sorted(names_met, key=lambda name: (rank.get(name, len(rank)), name))
    return tuple(names), np.array([names.index(name) for name in names_met], np.int64)
