"""What the prepared data are: their fields, and the rows and items in memory.

Shapes: N rows, L places, W numbers of a vector, V ids, E events, I items of a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from raytune_rec.errors import DataError
from raytune_rec.task import LABELLED, Task, Unit

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
FieldKind = Literal["categorical", "numerical", "multi", "vector", "text"]
Role = Literal["user", "item", "context", "domain"]

USER, ITEM, DOMAIN = "user", "item", "domain"
"""The identifiers of a row: fields, columns and vocabularies of these names."""
BESIDE = ("history", "target", "candidates", "positive", "seen", "class")
"""Columns beside the fields of a row; `Table` says what they hold."""
HISTORY, TARGET, CANDIDATES, POSITIVE, SEEN, CLASS = BESIDE

ALL_DOMAINS = "all"
"""The name of the unit that stands for every domain together: what pre-training trains on."""


@dataclass(frozen=True)
class Field:
    """One feature of a row.

    Args:
        name: the column's name in the store. `user`, `item` and `domain` are the identifiers themselves.
        kind: `categorical` (one id), `numerical` (one number, NaN where missing), `multi` (up to `length` ids, 0-padded),
            `vector` (`length` numbers of a user; where it is missing all of them are NaN, zeros are numbers like others) or
            `text` (`length` tokens: 0 padding, 1 unknown).
        role: whose feature it is.
        size: V, the number of ids including 0; for a numerical field the number of buckets of its discretisation, including 0
            (missing); the number of tokens; 0 for a vector.
        length: L of a multi-valued field or of a text, W of a vector, else 0.
        mean, std: of a numerical field over the training split, for standardisation.
        edges: inner bucket edges of a numerical field (training quantiles), `size - 2` of them, ascending.
        means, stds: of each number of a vector over the training split, for standardisation.
        new: of `item`, how many of the ids, the last ones, are cold items without a row in training. No pre-training has them:
            where one is tuned or ranked, it begins as id 0, with its own features.
    """

    name: str
    kind: FieldKind
    role: Role
    size: int
    length: int = 0
    mean: float = 0.0
    std: float = 1.0
    edges: tuple[float, ...] = ()
    means: tuple[float, ...] = ()
    stds: tuple[float, ...] = ()
    new: int = 0

    @property
    def known(self) -> int:
        """How many of the ids training knows, 0 included: those below."""
        return self.size - self.new

    @property
    def has_ids(self) -> bool:
        """Whether its values are ids of a vocabulary."""
        return self.kind in ("categorical", "multi")


@dataclass(frozen=True)
class Phrases:
    """What a language model reads around items (UPSR, section 3.3.2), in ids of the tokenizer itself: those of tokens, less two.

    Args:
        before, between, behind: the words in front of a history, between two items, and after it.
        sentinels: what stands for masked items, in the order of their numbers.
        pad, end, unknown: `<pad>`, with which a decoder begins, `</s>`, and the id of what has no token.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    behind: tuple[int, ...]
    sentinels: tuple[int, ...]
    pad: int
    end: int
    unknown: int


@dataclass(frozen=True)
class DataSchema:
    """What a model must know of the prepared data.

    Args:
        fields: the features of a row, identifiers first: `user`, `item`, `domain`, then the others in the store's order.
        domains: names; `domains[i]` has id `i + 1` in the field `domain`.
        fingerprint: of the prepared data.
        rows: (domain or unit, split) -> number of rows.
        task: what a row is and what is asked of it.
        groups: units that are no domains, such as the cold users of a fold; empty: each domain is a unit.
        trained: fingerprint of what pre-training sees, ids and training rows: jobs that differ in what cold users do share it.
            Empty in data that were prepared before there was one.
        texts: text fields of users and items. They are no columns of rows: `Items` has those of items.
        tokenizer: fingerprint of what made their tokens; empty where there are none.
        phrases: of a tokenizer with sentinels, as T5 has them; else None.
        waiting: ids of items that came after a finished run and are no unit's: their group has too few rows so far.
        vectors: vector fields of items, made of their texts (`data.text.vectors`); of `Items` alone, as `texts` are.
    """

    fields: tuple[Field, ...]
    domains: tuple[str, ...]
    fingerprint: str
    rows: Mapping[tuple[str, Split], int] = field(default_factory=dict)
    task: Task = LABELLED
    groups: tuple[Unit, ...] = ()
    trained: str = ""
    texts: tuple[Field, ...] = ()
    tokenizer: str = ""
    phrases: Phrases | None = None
    waiting: tuple[int, ...] = ()
    vectors: tuple[Field, ...] = ()

    @property
    def units(self) -> tuple[Unit, ...]:
        """What gets its own search and its own artifact."""
        return self.groups or tuple(Unit(name, domain=name) for name in self.domains)

    @property
    def unit_names(self) -> tuple[str, ...]:
        return tuple(unit.name for unit in self.units)

    def searched(self, least: int) -> dict[str, str]:
        """Each unit -> the unit whose search it takes: its own, unless it is a group of items with fewer validation rows than
        `least`, which takes that of its domain's largest group.
        """
        groups = {unit.name: unit for unit in self.groups if unit.kind == "items"}
        rows = {name: self.rows.get((name, "valid"), least) for name in groups}
        largest = {groups[name].domain: name for name in sorted(groups, key=rows.__getitem__)}
        small = {name for name, unit in groups.items() if rows[name] < least}
        return {unit.name: largest[unit.domain] if unit.name in small else unit.name for unit in self.units}

    def unit(self, name: str) -> Unit:
        """The unit of this name: one of `units`, a domain, or all of them.

        Raises:
            DataError: there is none.
        """
        domains = (Unit(ALL_DOMAINS, "all"), *(Unit(name, domain=name) for name in self.domains))
        known = {unit.name: unit for unit in (*domains, *self.groups)}
        if name not in known:
            raise DataError(f"there is no unit {name!r}; the data have {', '.join(self.unit_names)}.")
        return known[name]

    def are_new(self, unit: Unit) -> bool:
        """Whether a unit's own items are new (`Field.new`): all are, or none."""
        return bool(unit.members) and unit.members[0] >= self.field(ITEM).known

    def lacking(self, unit: Unit) -> list[Split]:
        """The splits of which a unit has no row and needs one; what is new has nothing to train on where no row is kept."""
        needed = SPLITS[1:] if self.are_new(unit) else SPLITS
        return [split for split in needed if not self.rows[unit.name, split]]

    def for_pretraining(self) -> DataSchema:
        """What a pre-training sees: no new item, and no attribute to tell."""
        fields = tuple(replace(f, size=f.known, new=0) if f.new else f for f in self.fields)
        return replace(self, fields=fields, task=self.task.pretrained)

    @property
    def classes(self) -> int:
        """How many ids the attribute has that is told, 0 (unknown) included; 0 where none is."""
        return self.field(self.task.attribute).size if self.task.attribute else 0

    def with_role(self, role: Role) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.role == role)

    def field(self, name: str) -> Field:
        return next(f for f in (*self.fields, *self.texts, *self.vectors) if f.name == name)


@dataclass(frozen=True)
class Table:
    """Rows in memory, ready for a model.

    Args:
        columns: field name -> (N,) int64 ids, (N,) float32 numbers, (N, L) int64 ids or (N, W) float32 vectors. Rows that are
            users with histories have `history` (N, L), oldest first, zeros behind, instead of `item`; those to train on `target`
            (N, L + 1), the item that follows each place, the one before the first item included (0: none); the others
            `candidates` (N, K), the positive first; or, where all items are ranked, `positive` (N,) and `seen` (N, S), items that
            are left out (0: none). Where an attribute is predicted, classes stand for items, `class` (N,) holds the true one, and
            the attribute's own column is 0.
        label: (N,) float32 in {0, 1} for a CTR task; 1 where the rows have candidates.
        item_domains: (V,) the domain of each item, where rows rank all items and domains have items of their own: a row ranks
            those of its `domain`. None: all of them.
        owner: (N,) int64 of rows to test, which tells users apart whom the vocabulary does not know. No model reads it.
        cold: (V,) bool of rows to test that are all of cold items: which items are. No model reads it.
        task: what the rows are.
    """

    columns: Mapping[str, np.ndarray]
    label: np.ndarray
    item_domains: np.ndarray | None = None
    owner: np.ndarray | None = None
    cold: np.ndarray | None = None
    task: Task = LABELLED

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Feedback:
    """Who took each item in the training split, and when: the events of all items behind one another, those of an item in time
    order.

    Args:
        start: (V + 1,) int64. The events of item i are `start[i]` to `start[i + 1]`; item 0 has none.
        user: (E,) int64 ids.
        time: (E,) int64, seconds since 1970; 0 where the data have none.
        value: (E,) float32, the rating or label; NaN where the data have none.
        stay: (E,) float32, how long the user stayed, as a multiple of the mean over all events; 0 where the data do not say.
        order: (E,) int64, which rises from each event of a user to his next, by clock and position; equal where neither says.
    """

    start: np.ndarray | Tensor
    user: np.ndarray | Tensor
    time: np.ndarray | Tensor
    value: np.ndarray | Tensor
    stay: np.ndarray | Tensor
    order: np.ndarray | Tensor


@dataclass(frozen=True)
class Items:
    """All items, by id. Row 0 is padding and unknown.

    Args:
        columns: features of items, name -> (V,) int64 ids, (V,) float32 numbers, (V, L) int64 ids or tokens, or (V, W) float32.
        count: (V,) int64, how often an item was taken in the training split.
        feedback: who took it; None where nothing reads that.
    """

    columns: Mapping[str, np.ndarray]
    count: np.ndarray
    feedback: Feedback | None = None

    def __len__(self) -> int:
        return len(self.count)


@dataclass(frozen=True)
class ById:
    """What is known of items and users, whatever the rows.

    Args:
        items: all of them.
        users: features of all users, name -> (V, ...), `user` (their ids) among them.
        members: (I,) int64 ids of the items that are the unit's own, a group of cold ones; None: it has none.
    """

    items: Items
    users: Mapping[str, np.ndarray]
    members: np.ndarray | None = None


@dataclass(frozen=True)
class UnitData:
    """The rows on which one unit trains and is validated.

    Args:
        unit: a domain's name, or `ALL_DOMAINS`.
        train, valid: tables whose ids are local where `rows` lists the vocabulary.
        rows: vocabulary (field name) -> (v,) int64 global ids; position is the local id. Id 0 is first, then the ids that occur
            in `train`, then those of `valid` alone. Only these rows of a table travel with a lane, so that a small domain never
            pays for a large vocabulary. Absent: local ids are the global ones.
        seen: vocabulary -> (v,) bool, whether the id occurs in `train`; the others keep their start value and are not decayed.
        by_id: items and users by their global ids, which the rows have then; None where the model reads rows alone.
    """

    unit: str
    train: Table
    valid: Table
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    seen: Mapping[str, np.ndarray] = field(default_factory=dict)
    by_id: ById | None = None
