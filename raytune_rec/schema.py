"""Value types that cross folders, and the glossary of shapes. No heavy import: numpy and torch appear in annotations only.

Shapes, used in every docstring:

    T  trials (lanes) of a pack       B  rows of a batch            N  rows of a table
    U  1 or T: an axis that is 1 where all lanes share a value, and T where they do not
    F  feature fields                 D  embedding width            V  ids of a vocabulary (0 is padding and unknown)
    n  extra feature fields (prompt)  R  meta-prompts               H  hidden width
    L  length of a multi-valued field or of a sequence              P  prompt tokens of a prefix
    W  numbers of a vector field      E  events (who took an item)          I  a unit's own items

Every tensor inside a model has a leading axis U. Where nothing differs between the lanes it is 1, the value is computed once, and
it broadcasts against the T lanes where they meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from raytune_rec.errors import DataError
from raytune_rec.task import LABELLED, Task, Unit

if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
FieldKind = Literal["categorical", "numerical", "multi", "vector", "text"]
Role = Literal["user", "item", "context", "domain"]
Scalar = bool | int | float | str

USER, ITEM, DOMAIN = "user", "item", "domain"
"""The identifiers of a row: fields, columns and vocabularies of these names."""
BESIDE = ("history", "target", "candidates", "positive", "seen", "class")
"""Columns beside the fields of a row; `Table` says what they hold."""
HISTORY, TARGET, CANDIDATES, POSITIVE, SEEN, CLASS = BESIDE

ALL_DOMAINS = "all"
"""The name of the unit that stands for every domain together: what pre-training trains on."""


def numbered(pretraining: str, number: int) -> str:
    """Name of one of a pre-training's replicates: `plain`, `plain#1`, `plain#2` ... No pre-training has a `#` in its name."""
    return f"{pretraining}#{number}" if number else pretraining


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

    @property
    def has_ids(self) -> bool:
        """Whether its values are ids of a vocabulary."""
        return self.kind in ("categorical", "multi")


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

    @property
    def units(self) -> tuple[Unit, ...]:
        """What gets its own search and its own artifact."""
        return self.groups or tuple(Unit(name, domain=name) for name in self.domains)

    @property
    def unit_names(self) -> tuple[str, ...]:
        return tuple(unit.name for unit in self.units)

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

    def for_pretraining(self) -> DataSchema:
        """What a pre-training sees."""
        return replace(self, task=self.task.pretrained)

    @property
    def classes(self) -> int:
        """How many ids the attribute has that is told, 0 (unknown) included; 0 where none is."""
        return self.field(self.task.attribute).size if self.task.attribute else 0

    def with_role(self, role: Role) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.role == role)

    def field(self, name: str) -> Field:
        return next(f for f in (*self.fields, *self.texts) if f.name == name)


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
        task: what the rows are.
    """

    columns: Mapping[str, np.ndarray]
    label: np.ndarray
    item_domains: np.ndarray | None = None
    owner: np.ndarray | None = None
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
    """

    start: np.ndarray | Tensor
    user: np.ndarray | Tensor
    time: np.ndarray | Tensor
    value: np.ndarray | Tensor


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
class UnitData:
    """The rows on which one unit trains and is validated.

    Args:
        unit: a domain's name, or `ALL_DOMAINS`.
        train, valid: tables whose ids are local where `rows` lists the vocabulary.
        rows: vocabulary (field name) -> (v,) int64 global ids; position is the local id. Id 0 is first, then the ids that occur
            in `train`, then those of `valid` alone. Only these rows of a table travel with a lane, so that a small domain never
            pays for a large vocabulary. Absent: local ids are the global ones.
        seen: vocabulary -> (v,) bool, whether the id occurs in `train`; the others keep their start value and are not decayed.
        items: all items by (local) id, where the model reads them or represents some anew; else None.
        users: features of all users by (local) id, name -> (V, ...), where the model reads them.
        members: (I,) int64 (local) ids of the items that are the unit's own, a group of cold ones; None: it has none.
    """

    unit: str
    train: Table
    valid: Table
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    seen: Mapping[str, np.ndarray] = field(default_factory=dict)
    items: Items | None = None
    users: Mapping[str, np.ndarray] = field(default_factory=dict)
    members: np.ndarray | None = None


class Site(StrEnum):
    """Where a backbone takes something from outside. Shapes are those of the tensor that a prompt writes."""

    FIELDS = "fields"
    """(U, B, n, D): extra feature fields of a CTR model, in front of its own."""
    PREFIX = "prefix"
    """(U, B, P, D): soft tokens before a sequence; a lane with fewer than P has them at the end."""
    PREFIX_MASK = "prefix_mask"
    """(U, P) bool: which tokens of the prefix are real. Written beside a prefix whose lanes differ in tokens."""
    USER = "user"
    """(U, B, D): added to the user representation."""
    ITEM = "item"
    """(U, I, D): replaces the representations of the unit's own items (`Batch.members`), as candidates and among all items."""


@dataclass(frozen=True)
class SiteShape:
    """How much a backbone takes at a site, or a prompt writes there: `count` vectors of width `width`."""

    count: int
    width: int


Axis = Literal["row", "user", "item"]


@dataclass(frozen=True)
class Reading:
    """What may be read from a backbone, frozen and detached.

    Args:
        width: of a vector.
        axis: `row`: (U, B, width), of each row of the batch. `user`: (U, V, width), of all users by id. `item`: (U, I, width), of
            the unit's own items.
    """

    width: int
    axis: Axis = "row"


@dataclass(frozen=True)
class Entities:
    """Items or users, on the device. Of lanes with fewer of them than others, zeros stand behind.

    Args:
        ids: (U, I) int64.
        columns: features, name -> (U, I, ...).
        count: (U, I) int64, how often they were taken; None of users.
        feedback: of all items, as tensors (U, V + 1) and (U, E); None where the data have none.
    """

    ids: Tensor
    columns: Mapping[str, Tensor]
    count: Tensor | None = None
    feedback: Feedback | None = None


@dataclass(frozen=True)
class Parameter:
    """One trainable tensor of a component, without the lane axis.

    Args:
        name: unique within the component, dotted.
        shape: true shape for the options of the component it comes from; a pack pads it to the largest of its lanes.
        group: the parameter group that claims it: embedding, linear, interaction, output, encoder, prompt, profile ...
        init: draws the start value, (shape, generator) -> float32 tensor.
        rows: the vocabulary (field name) that indexes the first axis, where there is one.
    """

    name: str
    shape: tuple[int, ...]
    group: str
    init: Callable[[tuple[int, ...], Generator], Tensor]
    rows: str | None = None


@dataclass(frozen=True)
class Batch:
    """Rows of one step, on the device.

    Args:
        columns: field name -> (U, B), (U, B, L) or (U, B, W).
        label: (U, B).
        weight: (U, B), 1 for a row and 0 for padding.
        index: (U, B) int64, the row's place in its table: the key of its noise and of what is cached about it.
        members: the items that are the units' own; None where they have none.
        distinct: name of a reading -> its distinct rows (1, G, width) in this batch, and which of them each row has (B,); None
            where they are not known. `tensors.once` uses it. A batch that is made of another one (`dataclasses.replace`) knows
            none: its rows may be altered.
    """

    columns: Mapping[str, Tensor]
    label: Tensor
    weight: Tensor
    index: Tensor
    members: Entities | None = None
    distinct: Callable[[str], tuple[Tensor, Tensor] | None] | None = field(default=None, init=False)

    def knowing(self, distinct: Callable[[str], tuple[Tensor, Tensor] | None]) -> Batch:
        """The same rows, with what is known of them."""
        made = replace(self)
        object.__setattr__(made, "distinct", distinct)
        return made


@dataclass(frozen=True)
class Strategy:
    """Who trains what, from which start. Data, not code.

    Args:
        start: `scratch`, or `backbone` for a pre-trained one.
        train: parameter groups; `all` stands for every group of the backbone, `prompt` for those of the prompt.
        prompt: `off`, `on`, or `neutral` (its sites hold zeros: pre-training for a prompt that learns later).
    """

    name: str
    start: Literal["scratch", "backbone"]
    train: tuple[str, ...]
    prompt: Literal["off", "on", "neutral"] = "off"


def recipe_of(pretraining: str) -> str:
    """The name under which the recipe of a pre-training is searched. No method has such a name."""
    return f"pretrain.{pretraining}"


@dataclass(frozen=True)
class Method:
    """One line of the results table: what is searched, retrained and compared.

    Args:
        name: its name in the job.
        strategy: who trains what.
        backbone: component name in `backbones/`.
        prompt: component name in `prompts/`.
        pretraining: the pre-training it starts from; empty for a scratch start.
        options: fixed options of this method, flat (`prompt.variant`, `training.epochs` ...), over the job's own.
        kind: a line of the table, or the pre-training called `pretraining`, whose recipe is searched as a method's options are.
    """

    name: str
    strategy: Strategy
    backbone: str
    prompt: str
    pretraining: str = ""
    options: Mapping[str, Scalar] = field(default_factory=dict)
    kind: Literal["method", "pretraining"] = "method"

    @property
    def place(self) -> str:
        """Where it stands in the job."""
        return f"pretrainings.{self.pretraining}" if self.kind == "pretraining" else f"methods.{self.name}"


@dataclass(frozen=True)
class Lane:
    """One trial while it trains.

    Args:
        trial: number within its study; decides the start values.
        replicate: decides batch order and noise, and start values too; 0 during the search and of a first pre-training.
        options: the trial's searched options, flat, over the method's and the job's.
        unit: whose rows it trains on; empty where only its options matter.
    """

    trial: int
    replicate: int = 0
    options: Mapping[str, Scalar] = field(default_factory=dict)
    unit: str = ""


@dataclass(frozen=True)
class Pack:
    """The lanes that one process trains together: trials of one method, on one unit or on several small ones.

    Args:
        name: unique in a run; names its folder.
        until: epoch after which lanes that have not ended pause, with their state kept; 0: all train to their own end.
        after: for each lane the pack and the place in it where its state was kept; empty: lanes begin.
        start: which replicate of the pre-training the lanes start from.
    """

    name: str
    method: str
    lanes: tuple[Lane, ...]
    until: int = 0
    after: tuple[tuple[str, int], ...] = ()
    start: int = 0

    @property
    def units(self) -> tuple[str, ...]:
        """Each once, in the order of the lanes."""
        return tuple(dict.fromkeys(lane.unit for lane in self.lanes))


@dataclass(frozen=True)
class LaneResult:
    """What a lane reached.

    Args:
        status: `complete`, `paused` (at its pack's `until`), `pruned` (others were better) or `failed` (its loss or its
            validation metric was not finite).
        best: best value of the validation metric over epochs.
        best_epoch: 1-based; 0 is the start value (the model before its first step).
        curve: validation metric after each epoch, first entry before training.
        losses: mean training loss of each epoch.
        epochs: epochs trained.
        seconds: the lane's share of its pack's wall clock.
        parameters: tuned parameters, true shapes, rows of its unit only.
        error: why it failed.
        measures: further objectives at the best epoch, by name.
    """

    trial: int
    replicate: int
    status: Literal["complete", "paused", "pruned", "failed"]
    best: float
    best_epoch: int
    curve: tuple[float, ...]
    losses: tuple[float, ...]
    epochs: int
    seconds: float
    parameters: int
    error: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)
