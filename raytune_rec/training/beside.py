"""What is beside the rows: all items and users by id, and the unit's own items, as tensors of the lanes.

Shapes: U: 1 or T lanes, V ids, I items of a unit, E events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from raytune_rec.schema.contract import Entities
from raytune_rec.schema.prepared import USER, ById, Feedback, Items

_Each = Callable[[Tensor], Tensor]
_Table = TypeVar("_Table")
_EVENTS = tuple(field.name for field in fields(Feedback))


@dataclass(frozen=True)
class Beside:
    """Args:
    items, users: all of them, where the backbone reads their features.
    members: the items that are the units' own.
    """

    items: Entities | None = None
    users: Entities | None = None
    members: Entities | None = None

    @classmethod
    def of(cls, units: Sequence[ById]) -> Beside:
        """Of the lanes' units, in their order; with a leading 1 where all are one unit. Items and users that all units share are
        held once.
        """
        units = _once(units)
        items, users = ([getattr(each, name) for each in units] for name in ("items", "users"))
        members = [each.members for each in units if each.members is not None]
        assert len(members) in (0, len(units)), "a pack has units with items of their own, and others"
        return cls(
            _items(_once(items), [np.arange(len(table)) for table in _once(items)]),
            Entities(_padded([table[USER] for table in _once(users)]), _columns(_once(users))),
            _items(items, members) if members else None,
        )

    @classmethod
    def together(cls, each: Sequence[Beside]) -> Beside:
        """Of models of one lane each over one backbone, whose items and users are the same."""
        members = [beside.members for beside in each if beside.members is not None]
        return replace(each[0], members=_joined(members) if members else None)

    def each(self, change: _Each) -> Beside:
        """With every tensor changed."""
        return Beside(*(entities and _changed(entities, change) for entities in (self.items, self.users, self.members)))


def _items(tables: Sequence[Items], chosen: Sequence[np.ndarray]) -> Entities:
    """Some items of each table, with the feedback of all."""
    columns = [{name: c[ids] for name, c in table.columns.items()} for table, ids in zip(tables, chosen, strict=True)]
    count = [table.count[ids] for table, ids in zip(tables, chosen, strict=True)]
    return Entities(_padded(chosen), _columns(columns), _padded(count), _feedback(_once([table.feedback for table in tables])))


def _joined(parts: Sequence[Entities]) -> Entities:
    """Members of models of one lane each, as those of one model."""
    counts = [part.count[0] for part in parts if part.count is not None]
    columns = _columns([{name: column[0] for name, column in part.columns.items()} for part in parts])
    events = [part.feedback and Feedback(*(getattr(part.feedback, name)[0] for name in _EVENTS)) for part in parts]
    return Entities(_padded([part.ids[0] for part in parts]), columns, _padded(counts), _feedback(events))


def _feedback(given: Sequence[Feedback | None]) -> Feedback | None:
    """Where there is no event, as in an artifact of new items, one of nobody stands behind, so that a look-up has a row."""
    events = [feedback for feedback in given if feedback is not None]
    columns = {name: _padded([getattr(f, name) for f in events]) for name in _EVENTS} if events else {}
    return Feedback(**{n: c if c.shape[1] else c.new_zeros(len(c), 1) for n, c in columns.items()}) if events else None


def _once(tables: Sequence[_Table]) -> Sequence[_Table]:
    """One of them where all are the same."""
    return tables[:1] if all(table is tables[0] for table in tables) else tables


def _columns(tables: Sequence[Mapping[str, np.ndarray | Tensor]]) -> dict[str, Tensor]:
    return {name: _padded([table[name] for table in tables]) for name in tables[0]}


def _padded(arrays: Sequence[np.ndarray | Tensor]) -> Tensor:
    """(U, longest, ...), zeros behind."""
    return torch.nn.utils.rnn.pad_sequence([torch.as_tensor(array) for array in arrays], batch_first=True)


def _changed(entities: Entities, change: _Each) -> Entities:
    feedback = entities.feedback
    return Entities(
        change(entities.ids),
        {name: change(column) for name, column in entities.columns.items()},
        None if entities.count is None else change(entities.count),
        feedback and Feedback(*(change(torch.as_tensor(getattr(feedback, name))) for name in _EVENTS)),
    )
