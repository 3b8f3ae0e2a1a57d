"""What is beside the rows: all items and users by id, and the unit's own items, as tensors of the lanes. Shapes: see `schema`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raytune_rec.schema.contract import Entities
from raytune_rec.schema.prepared import Feedback, Items, UnitData

_Each = Callable[[Tensor], Tensor]


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
    def of(cls, units: Sequence[UnitData]) -> Beside:
        """Of the lanes' units, in their order; with a leading 1 where all are one unit."""
        units = units[:1] if all(data is units[0] for data in units) else units
        if not any(data.items is not None or data.users for data in units):
            return cls()
        items = [data.items for data in units if data.items is not None]
        users = [data.users for data in units if data.users]
        members = [data.members for data in units if data.members is not None]
        every = [np.arange(len(table)) for table in items]
        return cls(
            _items(items, every) if items else None,
            Entities(_padded([np.arange(len(next(iter(u.values())))) for u in users]), _columns(users)) if users else None,
            _items(items, members) if members else None,
        )

    def each(self, change: _Each) -> Beside:
        """With every tensor changed."""
        return Beside(*(entities and _changed(entities, change) for entities in (self.items, self.users, self.members)))


def _items(tables: Sequence[Items], chosen: Sequence[np.ndarray]) -> Entities:
    """Some items of each table, with the feedback of all."""
    columns = [{name: c[ids] for name, c in table.columns.items()} for table, ids in zip(tables, chosen, strict=True)]
    count = [table.count[ids] for table, ids in zip(tables, chosen, strict=True)]
    given = [table.feedback for table in tables if table.feedback is not None]
    events = (_padded([np.asarray(getattr(f, name)) for f in given]) for name in ("start", "user", "time", "value"))
    return Entities(_padded(chosen), _columns(columns), _padded(count), Feedback(*events) if given else None)


def _columns(tables: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
    return {name: _padded([table[name] for table in tables]) for name in tables[0]}


def _padded(arrays: Sequence[np.ndarray]) -> Tensor:
    """(U, longest, ...), zeros behind."""
    return torch.nn.utils.rnn.pad_sequence([torch.as_tensor(np.ascontiguousarray(a)) for a in arrays], batch_first=True)


def _changed(entities: Entities, change: _Each) -> Entities:
    feedback = entities.feedback
    events: list[Any] = [feedback.start, feedback.user, feedback.time, feedback.value] if feedback else []
    return Entities(
        change(entities.ids),
        {name: change(column) for name, column in entities.columns.items()},
        None if entities.count is None else change(entities.count),
        Feedback(*map(change, events)) if feedback else None,
    )
