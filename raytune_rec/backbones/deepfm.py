"""DeepFM (Guo et al., IJCAI 2017), with room for prompt fields in front (PLATE, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones._fields import FieldLayer, Treatment
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import numeric, structural
from raytune_rec.schema import Batch, DataSchema, Parameter, Reading, Site, SiteShape
from raytune_rec.tensors import Params, Step, dropout, linear, moments, ones, xavier, zeros

_MOMENTUM = 0.1


class DeepFM(Backbone):
    """Linear part + pairwise inner products of the fields (FM) + a deep part, summed into one logit.

    The n prompt fields take part in the FM and in the deep part like every other field. The first layer is kept as two matrices,
    that of the own fields and that of the prompt fields, so that the share of the own fields is computed once for all lanes, and
    once for all epochs where embeddings and interaction are frozen; so are the sums of the FM.

    Differs from the paper: dropout and batch norm are options of the deep part alone; a prompt has no first-order weight.
    """

    class Options(components.Options):
        width: int = structural(16, "D, embedding width (PLATE, Table 5: 16 for Douban)", ge=1, le=16384)
        hidden: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = structural(
            (16, 16), "widths of the deep part (PLATE, Table 5)", min_length=1
        )
        numbers: Treatment = structural("field", "numerical fields (PLATE, section 2.2.1): none, field or discretize")
        batch_norm: bool = structural(False, "batch norm before each activation of the deep part")
        embedding_std: float = structural(0.01, "standard deviation of the embeddings' start values", gt=0, le=100)
        dropout: float = numeric(0.2, "dropout rate of the deep part (PLATE, Table 5)", ge=0, lt=1)

    encoded_groups: frozenset[str] = frozenset({"embedding", "interaction"})
    shaped_by: frozenset[Site] = frozenset({Site.FIELDS})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        self.options = options
        self.layer = FieldLayer(schema, options.width, options.numbers, options.embedding_std)
        self.prompts = sites[Site.FIELDS].count if Site.FIELDS in sites else 0
        self.profile = [f for f in schema.with_role("user") if f in self.layer.embedded]

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {Site.FIELDS: options.width}

    @classmethod
    def gives(cls, options: Options, schema: DataSchema) -> Mapping[str, Reading]:
        profile = [f for f in schema.with_role("user") if f.kind != "numerical" or options.numbers != "none"]
        return {"user_features": Reading(len(profile) * options.width)}

    def parameters(self) -> tuple[Parameter, ...]:
        width, hidden = self.options.width, self.options.hidden
        first = [
            Parameter("deep.0.fields", (len(self.layer.embedded) * width + self.layer.raw, hidden[0]), "interaction", xavier)
        ]
        if self.prompts:
            first.append(Parameter("deep.0.prompt", (self.prompts * width, hidden[0]), "interaction", xavier))
        further = [Parameter(f"deep.{i}.weight", (a, b), "interaction", xavier) for i, (a, b) in enumerate(pairwise(hidden), 1)]
        biases = (
            []
            if self.options.batch_norm
            else [Parameter(f"deep.{i}.bias", (h,), "interaction", zeros) for i, h in enumerate(hidden)]
        )
        output = (Parameter("output.weight", (hidden[-1], 1), "output", xavier), Parameter("output.bias", (1,), "output", zeros))
        return (*self.layer.parameters(), *self.layer.linear_parameters(), *first, *further, *biases, *self._norms(), *output)

    def _norms(self) -> list[Parameter]:
        if not self.options.batch_norm:
            return []
        gains = [Parameter(f"norm.{i}.gain", (h,), "interaction", ones) for i, h in enumerate(self.options.hidden)]
        return gains + [Parameter(f"norm.{i}.shift", (h,), "interaction", zeros) for i, h in enumerate(self.options.hidden)]

    def buffers(self) -> tuple[Parameter, ...]:
        if not self.options.batch_norm:
            return ()
        means = [Parameter(f"norm.{i}.mean", (h,), "interaction", zeros) for i, h in enumerate(self.options.hidden)]
        return (*means, *(Parameter(f"norm.{i}.var", (h,), "interaction", ones) for i, h in enumerate(self.options.hidden)))

    def encode(self, params: Params, batch: Batch) -> Mapping[str, Tensor]:
        """`sum` (U, B, D) and `square` (U, B) of the FM, `first` (U, B, H) of the deep part, `user_features` (U, B, Fu*D)."""
        vectors = {f.name: self.layer.vector(params, f, batch) for f in self.layer.embedded}
        flat = torch.cat([*vectors.values(), *self.layer.numbers_as_they_are(batch)], dim=-1)
        total, square = moments(list(vectors.values()))
        profile = [vectors[f.name] for f in self.profile]
        return {
            "sum": total,
            "square": square,
            "first": linear(flat, params["deep.0.fields"]),
            "user_features": torch.cat(profile, dim=-1),
        }

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        total, square, hidden = encoded["sum"], encoded["square"], encoded["first"]
        if self.prompts:
            prompt = sites[Site.FIELDS]  # (U, B, n, D)
            of_prompt = moments(prompt.unbind(2))
            total, square = total + of_prompt[0], square + of_prompt[1]
        pairs = (total.square().sum(-1) - square) / 2
        for i in range(len(self.options.hidden)):
            # the norm's shift stands in for the bias, whose gradient before a norm is zero
            bias = None if self.options.batch_norm else params[f"deep.{i}.bias"]
            if i:
                hidden = linear(hidden, params[f"deep.{i}.weight"], bias)
            elif bias is not None:
                hidden = hidden + bias.unsqueeze(1)
            if self.prompts and not i:
                hidden = hidden + linear(prompt.flatten(2), params["deep.0.prompt"])
            hidden = torch.relu(self._norm(params, hidden, i, step, batch.weight))
            hidden = dropout(hidden, options["dropout"], step, f"deep.{i}")
        deep = linear(hidden, params["output.weight"], params["output.bias"]).squeeze(-1)
        return {"logit": self.layer.linear(params, batch) + pairs + deep}

    def _norm(self, params: Params, x: Tensor, i: int, step: Step, weight: Tensor) -> Tensor:
        """Batch norm of (U, B, H) over the real rows of B; a frozen one uses its stored statistics."""
        if not self.options.batch_norm:
            return x
        mean, var = params[f"norm.{i}.mean"], params[f"norm.{i}.var"]
        if step.training and "interaction" in step.trained:
            rows = weight.sum(1, keepdim=True)  # (U, 1)
            share = (weight / rows.clamp(min=1)).unsqueeze(-1)
            batch_mean = (x * share).sum(1)
            batch_var = ((x - batch_mean.unsqueeze(1)).square() * share).sum(1)
            momentum = _MOMENTUM * (rows > 0)  # a lane without rows in this step stays as it was
            step.updates[f"norm.{i}.mean"] = (mean + momentum * (batch_mean - mean)).detach()
            step.updates[f"norm.{i}.var"] = (var + momentum * (batch_var - var)).detach()
            mean, var = batch_mean, batch_var
        x = (x - mean.unsqueeze(1)) * torch.rsqrt(var.unsqueeze(1) + 1e-5)
        return x * params[f"norm.{i}.gain"].unsqueeze(1) + params[f"norm.{i}.shift"].unsqueeze(1)
