"""What models with parts of each domain's own share: options, fields, and layers that shared, expert or domain weights make.

Shapes: U: 1 or T lanes, B rows, G domains (0: unknown), E experts, K and H widths.

A row belongs to one domain, so that of all towers that one answers: rows of a domain go through its weights together. For that
the rows of a pass stand in the order of their domains, sorted once for all layers.
A unit of one domain holds the weights of that domain alone (`Parameter.rows`), like the rows of any vocabulary; a model therefore
computes from those of a row's own domain, and from what all share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
        first, fields = self.layer.linear(params, batch.columns), encoded["fields"]
        order = by_domains(batch.columns[DOMAIN])
        if order is None:
            at = Place(params, batch.columns[DOMAIN], batch.weight, options["dropout"], step)
            return {"logit": first + self.score(at, fields).squeeze(-1)}
        noise = step.noise and replace(step.noise, rows=moved(step.noise.rows, order))
        domain, weight = (moved(rows, order) for rows in (batch.columns[DOMAIN], batch.weight))
        at = Place(params, domain, weight, options["dropout"], replace(step, noise=noise))
        return {"logit": first + moved(self.score(at, moved(fields, order)).squeeze(-1), order.argsort(1))}

    def network(self) -> tuple[Parameter, ...]:
        """The parameters of `score`."""
        raise NotImplementedError

    def score(self, at: Place, fields: Tensor) -> Tensor:
        """(U, B, 1) of the fields side by side, (U, B, K), of rows in the order of their domains."""
        raise NotImplementedError


@dataclass(frozen=True)
class Place:
    """Where a layer stands.

    Args:
        params: parameters and buffers, (U, *shape).
        domain: (U, B) ids, in order. weight: (U, B), 0 of what is no row.
        rate: (U,) of dropout. step: the pass.
    """

    params: Params
    domain: Tensor
    weight: Tensor
    rate: Tensor
    step: Step

    @cached_property
    def spans(self) -> list[dict[int, int]]:
        """Of each lane of `domain`, domain -> its rows."""
        found = [of_lane.unique_consecutive(return_counts=True) for of_lane in self.domain]
        return [dict(zip(present.tolist(), counts.tolist(), strict=True)) for present, counts in found]


def by_domains(domain: Tensor) -> Tensor | None:
    """(U, B) places that bring rows of these domains (U, B) in order; None where each lane has a single domain."""
    return None if bool((domain == domain[:, :1]).all()) else domain.argsort(dim=1, stable=True)


def moved(rows: Tensor, order: Tensor) -> Tensor:
    """(U, B, ...) in another order (U, B)."""
    if len(order) == 1:
        return rows.index_select(1, order[0])
    return rows.take_along_dim(order.view(*order.shape, *[1] * (rows.dim() - 2)), dim=1)


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
                x = by_domain(x, at.spans, weight, bias, self.experts)
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


def by_domain(x: Tensor, spans: Sequence[Mapping[int, int]], weight: Tensor, bias: Tensor, experts: int = 0) -> Tensor:
    """(U, B, H), or (U, B, E, H): each row through the weights of its domain.

    Args:
        x: (U, B, K), or (U, B, E, K) behind other experts. spans: as of `Place`. weight: (U, G, K, H), or (U, G, E, K, H).
            bias: likewise without K.
    """
    if len(spans) > 1:  # lanes of several units
        cut = [[t[i : i + 1] if len(t) > 1 else t for t in (x, weight, bias)] for i in range(len(spans))]
        return torch.cat([by_domain(a, spans[i : i + 1], b, c, experts) for i, (a, b, c) in enumerate(cut)])
    apply, (span,) = by_experts if experts else linear, spans
    if len(span) == 1:
        (g,) = span
        return apply(x, weight[:, g], bias[:, g])
    own = weight.unbind(1), bias.unbind(1)  # the gradient of `weight[:, g]` is one more table of zeros for each domain
    parts = x.split(list(span.values()), dim=1)
    return torch.cat([apply(part, own[0][g], own[1][g]) for g, part in zip(span, parts, strict=True)], dim=1)


def mixed(gate: Tensor, states: Tensor) -> Tensor:
    """(U, B, H): the sum of the experts' states (U, B, E, H) with the weights softmax(gate), (U, B, E)."""
    return (torch.softmax(gate, dim=-1).unsqueeze(-1) * states).sum(2)
