"""What a backbone, a prompt and an objective take and declare.

Shapes: U: 1 or T lanes, B rows, V ids, D width, I items of a unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from raytune_rec.schema.prepared import Feedback


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
    TARGET = "target"
    """(U, B, D): stands for the item that a training row is about, in its place at ITEM or among all items. A prompt that tells
    an item by who took it leaves the row itself out of that. Rows are about one item each."""
    WEIGHTS = "weights"
    """(U, *shape), by name: added to tensors of the backbone's own (`prompts.base.Prompt`), wherever it reads them."""


@dataclass(frozen=True)
class SiteShape:
    """How much a backbone takes at a site, or a prompt writes there: `count` vectors of width `width`."""

    count: int
    width: int


Axis = Literal["row", "user", "item"]
MEMBER = "member"
"""The vocabulary of a unit's own items: 0, then `Batch.members` in their order. A parameter with such rows declares the first."""


@dataclass(frozen=True)
class Reading:
    """What may be read from a backbone, frozen and detached.

    Args:
        width: of a vector.
        axis: `row`: (U, B, width), of each row of the batch. `user`, `item`: (U, V, width), of all users or items by id.
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

    def size(self, own: int = 0) -> int:
        """How many numbers it holds.

        Args:
            own: items of the unit's own.
        """
        return math.prod(self.shape) * (1 + own if self.rows == MEMBER else 1)


@dataclass(frozen=True)
class Batch:
    """Rows of one step, on the device.

    Args:
        columns: field name -> (U, B), (U, B, L) or (U, B, W).
        label: (U, B).
        weight: (U, B), 1 for a row and 0 for padding.
        index: (U, B) int64, the row's place in its table: the key of its noise and of what is cached about it.
        items: all of them, where the backbone reads items by id; else None.
        members: those that are the units' own; None where they have none.
        distinct: name of a reading -> its distinct rows (1, G, width) in this batch, and which of them each row has (B,); None
            where they are not known. `tensors.once` uses it. A batch that is made of another one (`dataclasses.replace`) knows
            none: its rows may be altered.
    """

    columns: Mapping[str, Tensor]
    label: Tensor
    weight: Tensor
    index: Tensor
    items: Entities | None = None
    members: Entities | None = None
    distinct: Callable[[str], tuple[Tensor, Tensor] | None] | None = field(default=None, init=False)

    def knowing(self, distinct: Callable[[str], tuple[Tensor, Tensor] | None]) -> Batch:
        """The same rows, with what is known of them."""
        made = replace(self)
        object.__setattr__(made, "distinct", distinct)
        return made
