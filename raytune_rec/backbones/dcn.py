"""Deep & Cross Network (Wang et al., ADKDD 2017), with room for prompt fields in front (PLATE, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec.backbones._ctr import Ctr, CtrOptions, DeepPart
from raytune_rec.backbones._fields import side_by_side
from raytune_rec.components import structural
from raytune_rec.schema.contract import Parameter, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, linear, xavier, zeros


class Dcn(Ctr):
    """Linear part + a linear layer over what cross layers and a deep part make of x_0, the fields side by side.

    A cross layer is x_{l+1} = x_0 (x_l . w_l) + b_l + x_l (Wang et al., Eq. 3). The n prompt fields stand in x_0 and in the deep
    part like every other field.

    By this recursion x_l = a_l x_0 + c_l, where c_l = b_0 + ... + b_{l-1}, a_0 = 1 and
    a_{l+1} = a_l + a_l (x_0 . w_l) + c_l . w_l. So of a row the products of x_0 with each w_l suffice, and the share of the own
    fields in these and in the first layer is computed once for all lanes, and once for all epochs where embeddings and
    interaction are frozen. Where items are ranked, a pair of a row and an item has the sums of both (`_ctr`).

    Differs from the paper: a linear part stands beside, as with every model of PLATE (section 2.2.2); dropout is an option of the
    deep part, and batch norm is off unless it is asked for.
    """

    class Options(CtrOptions):
        cross: int = structural(3, "cross layers (the paper: up to 6)", ge=1, le=64)

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        self.sides = {"fields": sum(self.layer.widths), **({"prompt": self.prompts} if self.prompts else {})}

    def parameters(self) -> tuple[Parameter, ...]:
        layers = self.options.cross
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
            *self.output_parameters(),
        )

    def encode_rows(self, params: Params, vectors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """`fields` (U, B, W) side by side, `cross` (U, B, layers) their products with each w_l, `first` (U, B, H) of the deep
        part.
        """
        fields = side_by_side(vectors.values())
        return {"fields": fields, "cross": linear(fields, params["cross.fields"]), "first": self.deep.first(params, fields)}

    def of_rows(
        self, params: Params, encoded: Mapping[str, Tensor], first: Tensor, prompt: Tensor | None, deep: DeepPart
    ) -> Tensor:
        products, out = encoded["cross"], linear(encoded["fields"], params["output.fields"])
        if prompt is not None:
            products = products + linear(prompt, params["cross.prompt"])
            out = out + linear(prompt, params["output.prompt"])
        return first.squeeze(-1) + self._crossed(params, products, out.squeeze(-1)) + deep(encoded["first"], prompt)

    def share(self, params: Params, vectors: Mapping[str, Tensor]) -> Tensor:
        fields = side_by_side(vectors.values())
        weights = (params[name] for name in ("cross.fields", "output.fields", "deep.0.fields"))
        return side_by_side(linear(fields, self.layer.rows(weight, vectors)) for weight in weights)

    def share_of_prompt(self, params: Params, prompt: Tensor) -> Tensor:
        return side_by_side(linear(prompt, params[name]) for name in ("cross.prompt", "output.prompt", "deep.0.prompt"))

    def of_share(self, params: Params, share: Tensor, first: Tensor, deep: DeepPart) -> Tensor:
        products, out, hidden = share.split([self.options.cross, 1, self.options.hidden[0]], dim=-1)
        return first.squeeze(-1) + self._crossed(params, products, out.squeeze(-1)) + deep(hidden, None)

    def _crossed(self, params: Params, products: Tensor, out: Tensor) -> Tensor:
        """(U, B): the output layer over the last cross layer.

        Args:
            products: (U, B, layers), x_0 . w_l. out: (U, B), x_0 . w of the output layer.
        """
        constant = of_bias = products.new_zeros(())
        for name in self.sides:
            weight, bias = params[f"cross.{name}"], params[f"cross.{name}.bias"]
            constant = constant + ((bias.cumsum(-1) - bias) * weight).sum(1)  # (U, layers): c_l . w_l
            of_bias = of_bias + (bias.sum(-1, keepdim=True) * params[f"output.{name}"]).sum(1)  # (U, 1)
        scale = torch.ones_like(out)  # (U, B): a_l
        for i in range(self.options.cross):
            scale = scale + scale * products[..., i] + constant[:, i : i + 1]
        return scale * out + of_bias
