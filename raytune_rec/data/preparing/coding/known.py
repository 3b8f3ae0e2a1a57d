"""What a finished run knows of ids and features: a log that has grown is coded by it, and new items get the ids behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_rec.data.blocks import SourceField
from raytune_rec.data.layout import TEXTS, vocabulary_file
from raytune_rec.data.preparing.coding.vocabulary import Codes
from raytune_rec.data.schema_file import schema_from
from raytune_rec.data.tokens import Tokenizer, read
from raytune_rec.errors import ArtifactError, DataError
from raytune_rec.schema.prepared import ITEM, Field
from raytune_rec.storage.files import at_hand, read_json
from raytune_rec.storage.places import located


class Known:
    """Fields and vocabularies of a store.

    Args:
        given: its folder, as the job names it (`data.known`).

    Raises:
        DataError: there is none, or it cannot be read.
    """

    def __init__(self, given: str) -> None:
        self.given, self.path = given, located(given)
        try:
            values = read_json(self.path / "schema.json")
            self.schema, self.shared_items = schema_from(values), bool(values["shared_items"])
        except (ArtifactError, LookupError, TypeError, ValueError, AttributeError) as error:
            where = f"data.known = {given!r}"
            raise DataError(f"{where}: no prepared data here ({error}); name the folder data of a finished run.") from None

    def raws(self, field: str) -> list[str]:
        """The values of a vocabulary in the order of their ids, from 1."""
        raws: list[str] = pq.read_table(at_hand(vocabulary_file(self.path, field)), columns=["raw"])["raw"].to_pylist()
        return raws

    def codes(self, field: str) -> Codes:
        """Provisional codes that begin with these: code c is id c + 1."""
        codes = Codes()
        codes.add(pa.array(self.raws(field), pa.string()))
        return codes

    def field(self, name: str) -> Field:
        return self.schema.field(name)

    @property
    def items(self) -> int:
        """How many items have ids."""
        return self.field(ITEM).size - 1

    @property
    def groups(self) -> int:
        """How many groups of cold items a domain has."""
        return max((unit.number for unit in self.schema.groups), default=0)

    @property
    def served(self) -> np.ndarray:
        """(N,) bool of the items that have ids, from 1: all but those that wait for rows of their group."""
        served = np.ones(self.items, bool)
        served[np.array(self.schema.waiting, np.int64) - 1] = False
        return served

    def new(self, items: int) -> np.ndarray:
        """(N,) bool of the items of the first codes: those that no pre-training knows."""
        return np.arange(1, items + 1) >= self.field(ITEM).known

    def check(self, fields: Sequence[SourceField], shared_items: bool) -> None:
        """Refuse a log of other features.

        Raises:
            DataError: what differs.
        """
        had = {f.name: (f.kind, f.role) for f in self.schema.fields[3:]}
        given = {f.name: (f.kind, f.role) for f in fields if f.kind != "text"}
        problems = []
        if sorted(given) != sorted(had):
            problems.append(f"its features are {', '.join(had) or 'none'}, and the log has {', '.join(given) or 'none'}")
        for name in [name for name in given if name in had and given[name] != had[name]]:
            (kind, role), (kind_now, role_now) = had[name], given[name]
            problems.append(f"{name} is a {kind} feature of the {role} there, and a {kind_now} one of the {role_now} in the log")
        if shared_items != self.shared_items:
            problems.append(f"shared_items = {str(self.shared_items).lower()} there, and not for this log")
        if problems:
            raise DataError(self._refused(problem) for problem in problems)

    @property
    def tokenizer(self) -> Tokenizer:
        """What made the tokens of the texts there.

        Raises:
            DataError: there are none.
        """
        if not self.schema.texts:
            raise DataError(f"data.known = {self.given!r}: there are no tokens of texts; leave data.text out, as it was there.")
        return read(at_hand(self.path / TEXTS))

    def check_texts(self, texts: Sequence[Field], vectors: Mapping[str, int]) -> None:
        """Refuse other texts than those there, and other vectors of them.

        Args:
            vectors: name -> how many numbers each has.

        Raises:
            DataError: what differs.
        """
        had, given = ([f"{f.name} ({f.length} tokens)" for f in fields] for fields in (self.schema.texts, texts))
        had += [f"{f.name} ({f.length} numbers)" for f in self.schema.vectors]
        given += [f"{name} ({width} numbers)" for name, width in vectors.items()]
        if had != given:
            what = f"its texts are {', '.join(had)}, and data.text asks for {', '.join(given)}"
            raise DataError(f"data.known = {self.given!r}: {what}; give data.text as it was there.")

    def domains(self, met: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
        """(names by id - 1, place of each one that the log names).

        Raises:
            DataError: the log names another.
        """
        names = self.schema.domains
        if others := [name for name in met if name not in names]:
            raise DataError(self._refused(f"the log names the domain {others[0]!r}, and there {', '.join(names)} are known"))
        return names, np.array([names.index(name) for name in met], np.int64)

    def _refused(self, problem: str) -> str:
        return (
            f"data.known = {self.given!r}: {problem}; read both with the same [data.options], or start a new run with this log."
        )
