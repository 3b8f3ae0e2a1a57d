"""What a lane tuned, beside the backbone that it stands on: the form of an artifact, and the model that it makes.

A table holds only row 0 (which a missing value trains) and the rows that occurred in the unit's training, with their global ids;
all other rows are the backbone's own, or zero (unknown) where there is no backbone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from raytune_rec.backbones.base import reads_entities
from raytune_rec.data.stored.store import Store
from raytune_rec.schema.contract import Parameter
from raytune_rec.schema.prepared import ALL_DOMAINS, UnitData
from raytune_rec.schema.work import Lane
from raytune_rec.task import Unit
from raytune_rec.training.beside import Beside
from raytune_rec.training.model import Model
from raytune_rec.training.parts import Parts
from raytune_rec.training.stack import stack

Weights = Mapping[str, Tensor]
ROWS = "rows."


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
        if name.startswith(ROWS):
            continue
        ids = tuned.get(f"{ROWS}{declared[name].rows}")
        if ids is None:
            full[name] = tensor
            continue
        full[name] = start[name].clone() if name in start else torch.zeros(declared[name].shape)
        full[name][ids] = tensor
    return full


def scoring_model(
    parts: Parts, tuned: Sequence[Weights], start: Weights, store: Store | None = None, unit: Unit | str = ALL_DOMAINS
) -> Model:
    """A model that trains nothing.

    Args:
        parts: a method's components, in the options of each lane.
        tuned: from `cut`, of each lane. start: the tensors of the backbone on which all stand.
        store: of the data, or the part of one beside a backbone; a backbone that reads items or users by id needs it.
        unit: whose rows are scored.
    """
    starts = [whole(weights, start, parts.declared(lane)) for lane, weights in enumerate(tuned)]
    model = stack(replace(parts, trained_groups=frozenset()), [Lane(i) for i in range(len(tuned))], starts)
    if not reads_entities(type(parts.backbone)):
        return model
    assert store is not None, "a backbone that reads items by id scores beside their table"
    return replace(model, beside=Beside.of([store.by_id(unit)])).holding()
