"""The rows of one unit, with ids of its own: only the rows of a vocabulary that a unit meets travel with its lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from raytune_rec.data.stored.store import Store
from raytune_rec.schema.contract import MEMBER
from raytune_rec.schema.prepared import Table, UnitData


def unit_data(store: Store, unit: str, compact: bool = True, by_id: bool = False, feedback: bool | None = None) -> UnitData:
    """What a unit trains on and is validated with.

    Args:
        unit: a domain, or `ALL_DOMAINS`.
        compact: local ids for every categorical and multi-valued field: 0, then the ids that occur in train, then those that
            occur in valid alone, each ascending. False leaves global ids; so do histories, whose rows rank every item.
        by_id: with all items and users beside the rows, whose ids are global then. A unit's own items have local ids too, in
            their order (`schema.contract.MEMBER`).
        feedback: with who took them (`Store.by_id`).
    """
    train, valid = store.load(unit, "train"), store.load(unit, "valid")
    if by_id:
        known = store.by_id(unit, feedback)
        if known.members is None:
            return UnitData(unit, train, valid, by_id=known)
        own = np.concatenate([[0], known.members])
        return UnitData(unit, train, valid, {MEMBER: own}, {MEMBER: own > 0}, known)
    if not compact or store.schema.task.histories:
        return UnitData(unit, train, valid)
    rows: dict[str, np.ndarray] = {}
    seen: dict[str, np.ndarray] = {}
    for field in store.schema.fields:
        if field.has_ids:
            trained = _occurring(train.columns[field.name], field.size)
            further = _occurring(valid.columns[field.name], field.size) & ~trained
            trained[0] = further[0] = False
            rows[field.name] = np.concatenate([[0], np.flatnonzero(trained), np.flatnonzero(further)])
            seen[field.name] = trained[rows[field.name]]
    return UnitData(unit, localise(train, rows), localise(valid, rows), rows, seen)


def localise(table: Table, rows: Mapping[str, np.ndarray]) -> Table:
    """A table with global ids -> the local ids of a unit; ids that the unit does not have become 0.

    Args:
        rows: vocabulary -> (v,) global ids, 0 first.
    """
    columns = dict(table.columns)
    for name, known in rows.items():
        ids, order = columns[name], np.argsort(known)
        place = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)]
        columns[name] = np.where(known[place] == ids, place, 0)
    return replace(table, columns=columns)


def _occurring(ids: np.ndarray, size: int) -> np.ndarray:
    """(V,) bool."""
    occurs = np.zeros(size, bool)
    occurs[ids.reshape(-1)] = True
    return occurs
