"""What a lane tuned, beside the backbone that it stands on: the form of an artifact, and the model that it makes.

A table holds only row 0 (which a missing value trains) and the rows that occurred in the unit's training, with their global ids;
all other rows are the backbone's own, or zero (unknown) where there is no backbone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from raytune_rec.schema.contract import MEMBER, Parameter
from raytune_rec.schema.prepared import ById, Feedback, UnitData
from raytune_rec.schema.work import Lane
from raytune_rec.scoring.bank import Group, TunedRows
from raytune_rec.scoring.base import Base
from raytune_rec.training.beside import Beside
from raytune_rec.training.model import Model
from raytune_rec.training.parts import Parts
from raytune_rec.training.stack import stack

Weights = Mapping[str, Tensor]
ROWS = "rows."
FEEDBACK = "feedback."
"""Before the names of what an artifact of cold items keeps of who took them."""
_KEPT = ("user", "time", "value", "stay")


def cut(best: Weights, declared: Mapping[str, Parameter], data: UnitData) -> dict[str, Tensor]:
    """A lane's best weights -> only the rows that it trained, and `rows.<vocabulary>`, their global ids.

    Args:
        best: full name -> tensor with the unit's local rows.
        declared: full name -> what the model declares.
        data: the unit's rows: id 0 first, then those that occur in training, then others.
    """
    kept: dict[str, Tensor] = {}
    for name, tensor in best.items():
        vocabulary = declared[name].rows
        if vocabulary is None or vocabulary not in data.rows:
            kept[name] = tensor
            continue
        live = 1 + int(data.seen[vocabulary].sum())
        kept[name] = tensor[:live].contiguous()
        kept[ROWS + vocabulary] = torch.as_tensor(data.rows[vocabulary][:live]).long().clone()
    return kept


def whole(tuned: Weights, start: Weights, declared: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """Tuned tensors over a start: full tensors under every name.

    Args:
        tuned: from `cut`.
        start: the backbone's tensors; empty for a scratch start.
        declared: full name -> what the model declares, with full shapes.
    """
    full = dict(start)
    for name, tensor in tuned.items():
        if name.startswith((ROWS, FEEDBACK)):
            continue
        ids = tuned.get(f"{ROWS}{declared[name].rows}")
        if ids is None or declared[name].rows == MEMBER:
            full[name] = tensor
            continue
        full[name] = start[name].clone() if name in start else torch.zeros(declared[name].shape)
        full[name][ids] = tensor
    return full


def scoring_model(parts: Parts, tuned: Sequence[Weights], start: Weights, by_id: ById | None = None) -> Model:
    """A model that trains nothing.

    Args:
        parts: a method's components, in the options of each lane.
        tuned: from `cut`, of each lane. start: the tensors of the backbone on which all stand.
        by_id: items and users, where the backbone reads them (`Parts.reads_by_id`).
    """
    starts = [whole(weights, start, parts.declared(lane)) for lane, weights in enumerate(tuned)]
    model = stack(replace(parts, trained_groups=frozenset()), [Lane(i) for i in range(len(tuned))], starts)
    return model if by_id is None else replace(model, beside=Beside.of([by_id])).holding()


def on_base(base: Base, parts: Parts, tuned: Weights, by_id: ById | None) -> Group:
    """What one prompt tuned, over a backbone of this process: what it did not tune is the backbone's own tensor.

    Args:
        parts: of one lane. tuned: from `cut`.
        by_id: items and users, where the backbone reads them.
    """
    declared, start = parts.declared(), base.starts(parts)
    by_rows = by_id is None and not parts.backbone.schema.task.chooses  # every id that it reads stands in the row
    tables: dict[str, TunedRows] = {}
    for name, tensor in tuned.items() if by_rows else ():
        p = None if name.startswith(ROWS) else declared[name]
        if p is not None and (ids := tuned.get(f"{ROWS}{p.rows}")) is not None:
            tables[name] = TunedRows(ids, tensor, p.shape[0])
    start = {**start, **{name: base.zeros(name, declared[name].shape) for name in tables.keys() - start.keys()}}
    full = whole({name: tensor for name, tensor in tuned.items() if name not in tables}, start, declared)
    model = stack(replace(parts, trained_groups=frozenset()), [Lane(0)], [full])
    return Group(model if by_id is None else base.holding(replace(model, beside=base.beside(by_id)), tuned), tables)


def events(by_id: ById, lenders: Sequence[int]) -> dict[str, Tensor]:
    """Who took a unit's own items, and some others, as an artifact keeps it: columns of all events, item after item."""
    feedback, members = by_id.items.feedback, by_id.members
    if feedback is None or members is None:
        return {}
    start, kept = np.asarray(feedback.start), np.union1d(members, np.array(lenders, np.int64))
    places = np.concatenate([np.arange(start[item], start[item + 1]) for item in kept])
    item = np.repeat(kept, start[kept + 1] - start[kept])
    columns = {"item": item, **{name: np.asarray(getattr(feedback, name))[places] for name in _KEPT}}
    return {FEEDBACK + name: torch.from_numpy(column) for name, column in columns.items()}


def with_events(by_id: ById, tuned: Weights) -> ById:
    """The same with the events that an artifact keeps."""
    if FEEDBACK + "item" not in tuned:
        return by_id
    item, user, time, value, stay = (tuned[FEEDBACK + name] for name in ("item", *_KEPT))
    counts = torch.bincount(item, minlength=len(by_id.items))
    feedback = Feedback(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), user, time, value, stay, order=time)
    return replace(by_id, items=replace(by_id.items, feedback=feedback))


def wrong_events(tuned: Weights, items: int, users: int) -> list[str]:
    """What an artifact keeps of events that cannot be: each needs a known item, ascending, and a known user.

    Args:
        items, users: how many ids there are, 0 included.
    """
    kept = {name: tensor for name, tensor in tuned.items() if name.startswith(FEEDBACK)}
    if not kept:
        return []
    if set(kept) != {FEEDBACK + name for name in ("item", *_KEPT)}:
        return [f"of who took the unit's items there is {', '.join(sorted(kept))}; item, {', '.join(_KEPT)} belong together."]
    item, user, time, *numbers = (kept[FEEDBACK + name] for name in ("item", *_KEPT))
    whole = all(tensor.dtype == torch.int64 for tensor in (item, user, time)) and all(n.is_floating_point() for n in numbers)
    if not whole or any(tensor.shape != item.shape or tensor.dim() != 1 for tensor in kept.values()):
        return ["who took the unit's items is not five columns of one length, three of them whole numbers."]
    others = bool(((item < 1) | (item >= items)).any()) or bool((item.diff() < 0).any())
    if others or bool(((user < 0) | (user >= users)).any()):
        return ["who took the unit's items names items or users that the backbone's data do not know."]
    return []
