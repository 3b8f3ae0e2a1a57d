"""The embedding layer and the linear part that CTR backbones share (PLATE, section 2.2.1 and Eq. 2).

Shapes: U: 1 or T lanes, B rows, L places, V ids, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor

from raytune_rec.errors import AssemblyError
from raytune_rec.schema.contract import Parameter
from raytune_rec.schema.prepared import DataSchema, Field
from raytune_rec.tensors import Params, lookup, normal, rows_of, table, zeros

Treatment = Literal["none", "field", "discretize"]
Columns = Mapping[str, Tensor]


def standard(field: Field, columns: Columns) -> Tensor:
    """(U, B) standardised numbers; a missing one is the mean, 0."""
    x = columns[field.name]
    return torch.nan_to_num((x - field.mean) / (field.std or 1.0))


def bucket(field: Field, columns: Columns) -> Tensor:
    """(U, B) bucket ids 1..size-1; a missing number is in bucket 0."""
    x = columns[field.name].contiguous()
    edges = torch.tensor(field.edges, dtype=x.dtype, device=x.device)
    return torch.where(torch.isnan(x), 0, torch.bucketize(x, edges, right=True) + 1)


def pooled(rows: Tensor, ids: Tensor) -> Tensor:
    """Mean over the real values of a multi-valued field: (U, B, L, *rest) and (U, B, L) -> (U, B, *rest)."""
    real = (ids != 0).to(rows.dtype)
    weight = real / real.sum(-1, keepdim=True).clamp(min=1)
    return (rows * weight.view(*weight.shape, *[1] * (rows.dim() - 3))).sum(2)


def side_by_side(vectors: Iterable[Tensor]) -> Tensor:
    """(U, B, W) of vectors (U, B, D), of which some may be the same for all lanes."""
    held = list(vectors)
    lanes = max(map(len, held))
    return torch.cat([v.expand(lanes, -1, -1) for v in held], dim=-1)


class FieldLayer:
    """Embeds every field, and gives the first-order (linear) part.

    Args:
        schema: whose fields are embedded, in order. A user with a history has none of the context of one interaction.
        width: D; 0 for the linear part alone.
        treatment: of numerical fields. `none`: the standardised number goes to the deep part as it is; `field`: it scales one
            vector per field; `discretize`: its quantile bucket is embedded like an id.
        std: standard deviation of the start values of embeddings.

    Raises:
        AssemblyError: a field is a vector, which prompts made of profiles take alone.
    """

    def __init__(self, schema: DataSchema, width: int, treatment: Treatment, std: float) -> None:
        if named := ", ".join(f.name for f in schema.fields if f.kind == "vector"):
            raise AssemblyError(f"this backbone embeds ids and numbers, and {named} is a vector; leave it out of data.options.")
        self.width, self.treatment, self.std = width, treatment, std
        self.fields = [f for f in schema.fields if f.role != "context" or not schema.task.chooses]
        self.tables = [f for f in self.fields if f.kind != "numerical" or treatment == "discretize"]
        self.numbers = [f for f in self.fields if f.kind == "numerical" and treatment != "discretize"]
        self.embedded = [f for f in self.fields if f in self.tables or treatment == "field"]
        self.ordered = [*self.embedded, *(self.numbers if treatment == "none" else [])]
        """All fields as the deep part takes them: those that are embedded, then the numbers that go as they are."""
        self.widths = [width] * len(self.embedded) + [1] * (len(self.ordered) - len(self.embedded))
        """Of each of them."""

    def parameters(self) -> tuple[Parameter, ...]:
        """Embedding tables (V, D), and one vector (D,) for each number under `field`."""
        tables = [
            Parameter(f"embedding.{f.name}", (f.size, self.width), "embedding", table(self.std), _vocabulary(f))
            for f in self.tables
        ]
        vectors = [
            Parameter(f"embedding.{f.name}", (self.width,), "embedding", normal(self.std))
            for f in self.embedded
            if f in self.numbers
        ]
        return (*tables, *vectors)

    def linear_parameters(self) -> tuple[Parameter, ...]:
        """One weight per id (V,) or number (1,), and the bias (1,)."""
        tables = [Parameter(f"linear.{f.name}", (f.size,), "linear", zeros, _vocabulary(f)) for f in self.tables]
        numbers = [Parameter(f"linear.{f.name}", (1,), "linear", zeros) for f in self.numbers]
        return (*tables, *numbers, Parameter("linear.bias", (1,), "linear", zeros))

    def vector(self, params: Params, field: Field, columns: Columns) -> Tensor:
        """(U, B, D): the embedding of one field, or (U, B, 1)."""
        if field.kind == "numerical" and self.treatment != "discretize":
            number = standard(field, columns).unsqueeze(-1)
            return number if self.treatment == "none" else number * params[f"embedding.{field.name}"].unsqueeze(1)
        ids = self._ids(field, columns)
        rows = rows_of(params, f"embedding.{field.name}", ids)
        return pooled(rows, ids) if field.kind == "multi" else rows

    def vectors(self, params: Params, columns: Columns, fields: Sequence[Field] | None = None) -> dict[str, Tensor]:
        """Name -> (U, B, D), or (U, B, 1) of a number that goes as it is: all fields, or some in the order of `ordered`.

        Args:
            columns: name -> (U, B), (U, B, L): of rows, or of all items or users.
        """
        return {f.name: self.vector(params, f, columns) for f in (self.ordered if fields is None else fields)}

    def rows(self, weight: Tensor, names: Collection[str]) -> Tensor:
        """(U, W of some fields, H) of a matrix (U, W, H) that all fields side by side go through."""
        ends = accumulate(self.widths)
        spans = {f.name: slice(end - w, end) for f, w, end in zip(self.ordered, self.widths, ends, strict=True)}
        return torch.cat([weight[:, spans[name]] for name in names], dim=1)

    def linear(self, params: Params, columns: Columns, fields: Sequence[Field] | None = None, bias: bool = True) -> Tensor:
        """(U, B): the first-order part of all fields or of some, with the bias or without."""
        total: Tensor = params["linear.bias"] if bias else torch.zeros_like(params["linear.bias"])
        chosen = {f.name for f in (self.fields if fields is None else fields)}
        for f in self.tables:
            if f.name not in chosen:
                continue
            ids = self._ids(f, columns)
            rows = lookup(params[f"linear.{f.name}"], ids)
            total = total + (pooled(rows, ids) if f.kind == "multi" else rows)
        for f in self.numbers:
            if f.name not in chosen:
                continue
            total = total + standard(f, columns) * params[f"linear.{f.name}"]
        return total

    @staticmethod
    def _ids(field: Field, columns: Columns) -> Tensor:
        return bucket(field, columns) if field.kind == "numerical" else columns[field.name]


def _vocabulary(field: Field) -> str | None:
    """Tables of ids travel by rows; those of buckets are small and travel whole."""
    return None if field.kind == "numerical" else field.name
