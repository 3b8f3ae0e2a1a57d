"""What backbones over histories share beside the encoder: tables, and scores of items or classes. Shapes as in `schema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import model_validator
from torch import Tensor

from raytune_rec.schema.contract import Parameter
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, dropout, normal, table, zeros


def head_widths() -> Any:
    """A check of options: heads share the width."""

    def check(options: Any) -> Any:
        if options.width % options.heads:
            raise ValueError(f"heads = {options.heads} must divide width = {options.width}")
        return options

    return model_validator(mode="after")(check)


def tables(items: int, length: int, width: int, std: float) -> list[Parameter]:
    """Item embeddings and positions."""
    return [
        Parameter("item", (items, width), "embedding", table(std), "item"),
        Parameter("position", (length, width), "embedding", normal(std)),
    ]


def classifier(schema: DataSchema, width: int) -> list[Parameter]:
    """A linear classifier on the user representation, where an attribute is told; it starts without an opinion."""
    size = schema.classes
    if not size:
        return []
    return [Parameter("class", (size, width), "output", zeros), Parameter("class.bias", (size,), "output", zeros)]


def scored(params: Params, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`items` and, where there is one, `bias`: of the classes where the rows have one to predict, else of the items."""
    names = ("class", "class.bias") if "class" in columns else ("item", "bias")
    return {out: params[name] for out, name in zip(("items", "bias"), names, strict=True) if name in params}


def drop(items: Tensor, rate: Tensor, step: Step, site: str) -> Tensor:
    """Dropout of items (U, B, L, D)."""
    return dropout(items.flatten(2), rate, step, site).view(-1, *items.shape[1:]) if items.shape[2] else items


def scores(user: Tensor, candidates: Tensor | None, items: Tensor, bias: Tensor | None = None) -> Tensor:
    """Inner products of users (U, B, D) with candidates (U, B, K), or with all items where there are none.

    Args:
        items: (U, V, D). bias: (U, V).
    """
    if candidates is None:
        every = user @ items.transpose(-1, -2)
        return every if bias is None else every + bias.unsqueeze(1)
    if len(items) == len(candidates) == 1:  # looked up once for all lanes
        picked = items[0][candidates[0]]  # (B, K, D)
        logit = (picked @ user.permute(1, 2, 0)).permute(2, 0, 1)
    else:
        lanes = torch.arange(len(items), device=items.device)[:, None, None]
        logit = (items[lanes, candidates] @ user.unsqueeze(-1)).squeeze(-1)
    if bias is None:
        return logit
    return logit + bias[torch.arange(len(bias), device=bias.device)[:, None, None], candidates]
