"""Features of users or items as vectors, side by side. Shapes: U: 1 or T lanes, B rows, V ids, W numbers of a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from raytune_rec.schema.contract import Parameter
from raytune_rec.schema.prepared import Field
from raytune_rec.tensors import Params, linear, lookup, normal, table


@dataclass(frozen=True)
class Profile:
    """The attributes of a user, or of an item: a vector for each id of a categorical one, the mean of those of a multi-valued
    one, for a numerical one a vector times the standardised number, and for a vector its standardised numbers times a matrix.
    What is missing or unknown is zero; a missing number or vector has a vector of its own.

    Args:
        fields: the attributes. size: width of each.
    """

    fields: tuple[Field, ...]
    size: int

    @property
    def width(self) -> int:
        return len(self.fields) * self.size

    def parameters(self, group: str) -> list[Parameter]:
        declared = []
        for f in self.fields:
            if f.kind == "numerical":
                declared.append(Parameter(f"of.{f.name}", (2, self.size), group, normal(0.1)))
            elif f.kind == "vector":  # W numbers: so drawn, they are together as large as another attribute
                declared.append(Parameter(f"of.{f.name}", (f.length, self.size), group, normal(0.1 / f.length**0.5)))
                declared.append(Parameter(f"of.{f.name}.missing", (self.size,), group, normal(0.1)))
            else:
                declared.append(Parameter(f"of.{f.name}", (f.size, self.size), group, table(0.1), f.name))
        return declared

    def vector(self, params: Params, columns: Mapping[str, Tensor]) -> Tensor:
        """(U, B, width) of rows, or (U, V, width) of all items or users."""
        return torch.cat([self._of(params, f, columns) for f in self.fields], dim=-1)

    def _of(self, params: Params, field: Field, columns: Mapping[str, Tensor]) -> Tensor:
        values, weight = columns[field.name], params[f"of.{field.name}"]
        if field.kind == "vector":
            means, stds = values.new_tensor(field.means), values.new_tensor(field.stds)
            numbers = ((values - means) / stds).to(weight.dtype)  # (U, B, W)
            made = linear(numbers.nan_to_num(), weight)
            return torch.where(torch.isnan(numbers[..., :1]), params[f"of.{field.name}.missing"].unsqueeze(1), made)
        if field.kind == "numerical":
            number = ((values - field.mean) / field.std).to(weight.dtype).unsqueeze(-1)
            return torch.where(torch.isnan(number), weight[:, 1:2], number.nan_to_num() * weight[:, :1])
        real = (values > 0).unsqueeze(-1).to(weight.dtype)
        vectors = lookup(weight, values) * real
        return vectors if field.kind == "categorical" else vectors.sum(2) / real.sum(2).clamp(min=1)
