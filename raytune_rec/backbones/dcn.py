"""Deep & Cross Network (Wang et al., ADKDD 2017), with room for prompt fields in front (PLATE, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones._deep import Deep
from raytune_rec.backbones._fields import FieldLayer, Treatment, side_by_side
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import numeric, structural
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, linear, xavier, zeros


class Dcn(Backbone):
    """Linear part + a linear layer over what cross layers and a deep part make of x_0, the fields side by side.

    A cross layer is x_{l+1} = x_0 (x_l . w_l) + b_l + x_l (Wang et al., Eq. 3). The n prompt fields stand in x_0 and in the deep
    part like every other field.

    By this recursion x_l = a_l x_0 + c_l, where c_l = b_0 + ... + b_{l-1}, a_0 = 1 and
    a_{l+1} = a_l + a_l (x_0 . w_l) + c_l . w_l. So of a row the products of x_0 with each w_l suffice, and the share of the own
    fields in these and in the first layer is computed once for all lanes, and once for all epochs where embeddings and
    interaction are frozen.

    Differs from the paper: a linear part stands beside, as with every model of PLATE (section 2.2.2); dropout is an option of the
    deep part, and batch norm is off unless it is asked for.
    """

    class Options(components.Options):
        width: int = structural(16, "D, embedding width (PLATE, Table 5: 16 for Douban)", ge=1, le=16384)
        cross: int = structural(3, "cross layers (the paper: up to 6)", ge=1, le=64)
        hidden: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = structural(
            (16, 16), "widths of the deep part (PLATE, Table 5)", min_length=1
        )
        numbers: Treatment = structural("field", "numerical fields (PLATE, section 2.2.1): none, field or discretize")
        batch_norm: bool = structural(False, "batch norm before each activation of the deep part")
        embedding_std: float = structural(0.01, "standard deviation of the embeddings' start values", gt=0, le=100)
        dropout: float = numeric(0.2, "dropout rate of the deep part (PLATE, Table 5)", ge=0, lt=1)

    groups: frozenset[str] = frozenset({"embedding", "linear", "interaction", "output"})
    encoded_groups: frozenset[str] = frozenset({"embedding", "interaction"})
    shaped_by: frozenset[Site] = frozenset({Site.FIELDS})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        self.options = options
        self.layer = FieldLayer(schema, options.width, options.numbers, options.embedding_std)
        self.prompts = sites[Site.FIELDS].count * options.width if Site.FIELDS in sites else 0
        self.sides = {"fields": self.layer.wide, **({"prompt": self.prompts} if self.prompts else {})}
        self.deep = Deep(self.layer.wide, self.prompts, options.hidden, options.batch_norm)
        self.profile = [f for f in schema.with_role("user") if f in self.layer.embedded]

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {Site.FIELDS: options.width}

    @classmethod
    def gives(cls, options: Options, schema: DataSchema) -> Mapping[str, Reading]:
        profile = [f for f in schema.with_role("user") if f.kind != "numerical" or options.numbers != "none"]
        return {"user_features": Reading(len(profile) * options.width)}

    def parameters(self) -> tuple[Parameter, ...]:
        layers, hidden = self.options.cross, self.options.hidden
        crosses = [Parameter(f"cross.{name}", (size, layers), "interaction", xavier) for name, size in self.sides.items()]
        biases = [Parameter(f"cross.{name}.bias", (size, layers), "interaction", zeros) for name, size in self.sides.items()]
        outputs = [Parameter(f"output.{name}", (size, 1), "output", xavier) for name, size in self.sides.items()]
        return (
            *self.layer.parameters(),
            *self.layer.linear_parameters(),
            *crosses,
            *biases,
            *self.deep.parameters(),
            *outputs,
            Parameter("output.weight", (hidden[-1], 1), "output", xavier),
            Parameter("output.bias", (1,), "output", zeros),
        )

    def buffers(self) -> tuple[Parameter, ...]:
        return self.deep.buffers()

    def encode(self, params: Params, batch: Batch) -> Mapping[str, Tensor]:
        """`fields` (U, B, W) side by side, `cross` (U, B, layers) their products with each w_l, `first` (U, B, H) of the deep
        part, `user_features` (U, B, Fu*D).
        """
        vectors = self.layer.vectors(params, batch.columns)
        fields = side_by_side(vectors.values())
        return {
            "fields": fields,
            "cross": linear(fields, params["cross.fields"]),
            "first": self.deep.first(params, fields),
            "user_features": side_by_side(vectors[f.name] for f in self.profile),
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
        products, out = encoded["cross"], linear(encoded["fields"], params["output.fields"])
        prompt = sites[Site.FIELDS].flatten(2) if self.prompts else None  # (U, B, n*D)
        if prompt is not None:
            products = products + linear(prompt, params["cross.prompt"])
            out = out + linear(prompt, params["output.prompt"])
        hidden = self.deep(params, encoded["first"], prompt, options, batch, step)
        deep = linear(hidden, params["output.weight"], params["output.bias"]).squeeze(-1)
        return {"logit": self.layer.linear(params, batch.columns) + self._crossed(params, products, out) + deep}

    def _crossed(self, params: Params, products: Tensor, out: Tensor) -> Tensor:
        """(U, B): the output layer over the last cross layer.

        Args:
            products: (U, B, layers), x_0 . w_l. out: (U, B, 1), x_0 . w of the output layer.
        """
        constant = of_bias = products.new_zeros(())
        for name in self.sides:
            weight, bias = params[f"cross.{name}"], params[f"cross.{name}.bias"]
            constant = constant + ((bias.cumsum(-1) - bias) * weight).sum(1)  # (U, layers): c_l . w_l
            of_bias = of_bias + (bias.sum(-1, keepdim=True) * params[f"output.{name}"]).sum(1)  # (U, 1)
        scale = torch.ones_like(out.squeeze(-1))  # (U, B): a_l
        for i in range(self.options.cross):
            scale = scale + scale * products[..., i] + constant[:, i : i + 1]
        return scale * out.squeeze(-1) + of_bias
