"""What a lane tuned, beside the backbone that it stands on: the form of an artifact.

A table holds only row 0 (which a missing value trains) and the rows that occurred in the unit's training, with their global ids;
all other rows are the backbone's own, or zero (unknown) where there is no backbone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from raytune_rec.schema import Parameter, UnitData

Weights = Mapping[str, Tensor]
ROWS = "rows."


def tables(parameters: Iterable[tuple[str, Parameter]]) -> dict[str, str]:
    """Full name -> the vocabulary that indexes its first axis, of those that have one."""
    return {name: p.rows for name, p in parameters if p.rows is not None}


def cut(best: Weights, vocabularies: Mapping[str, str], data: UnitData) -> dict[str, Tensor]:
    """A lane's best weights -> only the rows that it trained, and `rows.<vocabulary>`, their global ids.

    Args:
        best: full name -> tensor with the unit's local rows.
        vocabularies: full name -> vocabulary.
        data: the unit's rows: id 0 first, then those that occur in training, then others.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in best.items():
        vocabulary = vocabularies.get(name, "")
        if vocabulary not in data.rows:
            found[name] = tensor
            continue
        live = 1 + int(data.seen[vocabulary].sum())
        found[name] = tensor[:live].contiguous()
        found[ROWS + vocabulary] = torch.as_tensor(data.rows[vocabulary][:live]).long().clone()
    return found


def whole(
    tuned: Weights, start: Weights, vocabularies: Mapping[str, str], parameters: Mapping[str, Parameter]
) -> dict[str, Tensor]:
    """Tuned tensors over a start: full tensors under every name.

    Args:
        tuned: from `cut`.
        start: the backbone's tensors; empty for a scratch start.
        parameters: full name -> what the model declares, with full shapes.
    """
    found = dict(start)
    for name, tensor in tuned.items():
        if name.startswith(ROWS):
            continue
        ids = tuned.get(ROWS + vocabularies[name]) if name in vocabularies else None
        if ids is None:
            found[name] = tensor
            continue
        base = start[name].clone() if name in start else torch.zeros(parameters[name].shape)
        base[ids] = tensor
        found[name] = base
    return found
