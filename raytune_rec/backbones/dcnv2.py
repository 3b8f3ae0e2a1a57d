"""DCN V2 (Wang et al., WWW 2021), with room for prompt fields in front (PLATE, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec.backbones._ctr import Ctr, CtrOptions, DeepPart
from raytune_rec.backbones._fields import side_by_side
from raytune_rec.components import structural
from raytune_rec.schema.contract import Parameter
from raytune_rec.tensors import Params, linear, xavier, zeros


class Dcnv2(Ctr):
    """Linear part + a linear layer over what cross layers and a deep part, side by side, make of x_0, the fields.

    A cross layer is x_{l+1} = x_0 * (W_l x_l + b_l) + x_l, element by element (Wang et al., Eq. 1), with W_l = U_l V_l^T where
    `rank` is not 0 (Eq. 2). The n prompt fields stand in x_0 and in the deep part like every other field. (`dcn` has a vector w_l
    in place of the matrix: x_0 (x_l . w_l).)

    Differs from the paper: a linear part stands beside, as with every model of PLATE (section 2.2.2); no mixture of low-rank
    experts; dropout is an option of the deep part, and batch norm is off unless it is asked for.
    """

    class Options(CtrOptions):
        cross: int = structural(2, "cross layers (the paper's best: 2 to 4)", ge=1, le=64)
        rank: int = structural(0, "of the matrices of cross layers; 0: full", ge=0, le=65536)

    def parameters(self) -> tuple[Parameter, ...]:
        width, rank = sum(self.layer.widths) + self.prompts, self.options.rank
        shapes = {"down": (width, rank), "up": (rank, width)} if rank else {"weight": (width, width)}
        layers = range(self.options.cross)
        return (
            *self.layer.parameters(),
            *self.layer.linear_parameters(),
            *(Parameter(f"cross.{i}.{name}", shape, "interaction", xavier) for i in layers for name, shape in shapes.items()),
            *(Parameter(f"cross.{i}.bias", (width,), "interaction", zeros) for i in layers),
            *self.deep.parameters(),
            Parameter("output.cross", (width, 1), "output", xavier),
            *self.output_parameters(),
        )

    def encode_rows(self, params: Params, vectors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """`fields` (U, B, W) side by side, `cross` (U, B, C) what the first cross layer has of them, `first` (U, B, H) of the
        deep part.
        """
        fields = side_by_side(vectors.values())
        return {"fields": fields, "cross": self._product(params, 0, fields), "first": self.deep.first(params, fields)}

    def of_rows(
        self, params: Params, encoded: Mapping[str, Tensor], first: Tensor, prompt: Tensor | None, deep: DeepPart
    ) -> Tensor:
        fields, product = encoded["fields"], encoded["cross"]
        if prompt is not None:
            product = product + linear(prompt, params[self._matrix(0)][:, fields.shape[-1] :])
        start = crossed = fields if prompt is None else side_by_side([fields, prompt])
        for i in range(self.options.cross):
            product = self._product(params, i, crossed) if i else product
            change = linear(product, params[f"cross.{i}.up"], params[f"cross.{i}.bias"]) if self.options.rank else product
            crossed = torch.addcmul(crossed, start, change)
        return first.squeeze(-1) + linear(crossed, params["output.cross"]).squeeze(-1) + deep(encoded["first"], prompt)

    def _product(self, params: Params, i: int, x: Tensor) -> Tensor:
        """(U, B, C) of a cross layer's input, or of the fields in front of it: W_l x + b_l, with a rank V_l^T x."""
        matrix = params[self._matrix(i)][:, : x.shape[-1]]
        return linear(x, matrix, None if self.options.rank else params[f"cross.{i}.bias"])

    def _matrix(self, i: int) -> str:
        return f"cross.{i}.down" if self.options.rank else f"cross.{i}.weight"
