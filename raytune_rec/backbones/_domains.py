"""What models with parts of each domain's own share: options, fields, and layers that shared, expert or domain weights make.

Shapes: U: 1 or T lanes, B rows, G domains (0: unknown), E experts, K and H widths.

A row belongs to one domain, so that of all towers that one answers: rows of a domain go through its weights together.
A unit of one domain holds the weights of that domain alone (`Parameter.rows`), like the rows of any vocabulary; a model therefore
computes from those of a row's own domain, and from what all share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field as Bound
from torch import Generator, Tensor

from raytune_rec import components
from raytune_rec.backbones._fields import FieldLayer, Treatment, side_by_side
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import numeric, structural
from raytune_rec.schema.contract import Batch, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import DOMAIN, DataSchema
from raytune_rec.tensors import Init, Params, Step, dropout, linear, xavier, zeros

Widths = tuple[Annotated[int, Bound(ge=1, le=65536)], ...]


class DomainOptions(components.Options):
    """Of every such model."""

    width: int = structural(16, "D, embedding width (PLATE, Table 5: 16 for Douban)", ge=1, le=16384)
    hidden: Widths = structural((16, 16), "widths of the layers that domains share (PLATE, Table 5)", min_length=1)
    tower: Widths = structural((16,), "widths of the layers of each domain's own", min_length=1)
    numbers: Treatment = structural("field", "numerical fields (PLATE, section 2.2.1): none, field or discretize")
    embedding_std: float = structural(0.01, "standard deviation of the embeddings' start values", gt=0, le=100)
    dropout: float = numeric(0.2, "dropout rate of all layers (PLATE, Table 5)", ge=0, lt=1)


class MultiDomain(Backbone):
    """Linear part + what a network makes of the fields side by side and of the row's domain.

    The linear part stands beside, as with every model of PLATE (section 2.2.2).
    The group `domain` has what each domain has of its own. It takes nothing from a prompt.
    """

    groups: frozenset[str] = frozenset({"embedding", "linear", "interaction", "domain"})
    encoded_groups: frozenset[str] = frozenset({"embedding"})

    def __init__(self, options: DomainOptions, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        self.layer = FieldLayer(schema, options.width, options.numbers, options.embedding_std)
        self.domains, self.inputs = len(schema.domains) + 1, sum(self.layer.widths)

    def parameters(self) -> tuple[Parameter, ...]:
        return (*self.layer.parameters(), *self.layer.linear_parameters(), *self.network())

    def encode(self, params: Params, batch: Batch) -> Mapping[str, Tensor]:
        """`fields` (U, B, K) side by side."""
        return {"fields": side_by_side(self.layer.vectors(params, batch.columns).values())}

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        at = Place(params, batch.columns[DOMAIN], options["dropout"], step)
        return {"logit": self.layer.linear(params, batch.columns) + self.score(at, encoded["fields"]).squeeze(-1)}

    def network(self) -> tuple[Parameter, ...]:
        """The parameters of `score`."""
        raise NotImplementedError

    def score(self, at: Place, fields: Tensor) -> Tensor:
        """(U, B, 1) of the fields side by side, (U, B, K)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Place:
    """Where a layer stands: parameters, domains (U, B) of the rows, the dropout rate (U,), and the pass."""

    params: Params
    domain: Tensor
    rate: Tensor
    step: Step


@dataclass(frozen=True)
class Layers:
    """Dense layers with rectifiers and dropout between them.

    Args:
        name: in front of the names of its parameters.
        sizes: of the input and of each layer.
        domains: G, of weights of each domain's own; 0: all rows go through the same.
        experts: E, copies side by side of weights that all rows share: then (U, B, K) or (U, B, E, K) becomes (U, B, E, H).
        last: whether rectifier and dropout follow the last layer too.
    """

    name: str
    sizes: tuple[int, ...]
    domains: int = 0
    experts: int = 0
    last: bool = True

    def parameters(self) -> tuple[Parameter, ...]:
        made = []
        for i, shape in enumerate(pairwise(self.sizes)):
            made += weights(f"{self.name}.{i}", shape, self.domains, self.experts)
        return tuple(made)

    def __call__(self, at: Place, x: Tensor) -> Tensor:
        for i in range(len(self.sizes) - 1):
            name = f"{self.name}.{i}"
            weight, bias = at.params[f"{name}.weight"], at.params[f"{name}.bias"]
            if self.domains:
                x = by_domain(x, at.domain, weight, bias, self.experts)
            else:
                x = by_experts(x, weight, bias) if self.experts else linear(x, weight, bias)
            if self.last or i < len(self.sizes) - 2:
                x = torch.relu(x)
                x = dropout(x.flatten(2), at.rate, at.step, name).unflatten(-1, x.shape[2:])
        return x


def weights(name: str, shape: tuple[int, int], domains: int = 0, experts: int = 0, init: Init = xavier) -> list[Parameter]:
    """A layer's matrix and bias, of each domain and for each expert where there are any."""
    more, group, rows = (experts,) if experts else (), "domain" if domains else "interaction", DOMAIN if domains else None
    if domains:
        more = (domains, *more)
    return [
        Parameter(f"{name}.weight", (*more, *shape), group, known(init) if domains else init, rows),
        Parameter(f"{name}.bias", (*more, shape[1]), group, zeros, rows),
    ]


def known(init: Init) -> Init:
    """The same for each domain; zeros of the unknown one."""

    def draw(shape: tuple[int, ...], generator: Generator) -> Tensor:
        drawn = init(shape, generator)
        drawn[0] = 0
        return drawn

    return draw


def by_experts(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(U, B, E, H).

    Args:
        x: (U, B, K), the same for all experts, or (U, B, E, K). weight: (U, E, K, H). bias: (U, E, H).
    """
    if x.dim() == 3:
        side = weight.transpose(1, 2).flatten(2)  # (U, K, E*H)
        return linear(x, side, bias.flatten(1)).unflatten(-1, bias.shape[1:])
    return (torch.matmul(x.transpose(1, 2), weight) + bias.unsqueeze(2)).transpose(1, 2)


def by_domain(x: Tensor, domain: Tensor, weight: Tensor, bias: Tensor, experts: int = 0) -> Tensor:
    """(U, B, H), or (U, B, E, H): each row through the weights of its domain.

    Args:
        x: (U, B, K), or (U, B, E, K) behind other experts. domain: (U, B) ids. weight: (U, G, K, H), or (U, G, E, K, H). bias:
            likewise without K.
    """
    if len(domain) > 1:  # lanes of several units
        lanes = range(max(len(domain), len(x), len(weight)))
        cut = [[t[i : i + 1] if len(t) > 1 else t for t in (x, domain, weight, bias)] for i in lanes]
        return torch.cat([by_domain(a, b, c, d, experts) for a, b, c, d in cut])
    apply = by_experts if experts else linear
    present, count = domain[0].unique(return_counts=True)
    if len(present) == 1:
        return apply(x, weight[:, present[0]], bias[:, present[0]])
    order = domain[0].argsort(stable=True)
    parts = x.index_select(1, order).split(count.tolist(), dim=1)
    of_each = [apply(part, weight[:, g], bias[:, g]) for g, part in zip(present.tolist(), parts, strict=True)]
    return torch.cat(of_each, dim=1).index_select(1, order.argsort())


def mixed(gate: Tensor, states: Tensor) -> Tensor:
    """(U, B, H): the sum of the experts' states (U, B, E, H) with the weights softmax(gate), (U, B, E)."""
    return (torch.softmax(gate, dim=-1).unsqueeze(-1) * states).sum(2)
