"""xDeepFM (Lian et al., KDD 2018), with room for prompt fields in front (PLATE, section 3.2).

Shapes: U: 1 or T lanes, B rows, F embedded fields, n prompt fields, M = F + n, D width, H feature maps of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from raytune_rec.backbones._ctr import Ctr, CtrOptions, DeepPart
from raytune_rec.backbones._fields import side_by_side
from raytune_rec.components import structural
from raytune_rec.schema.contract import Parameter
from raytune_rec.tensors import KEPT, Params, linear, xavier


class XDeepFM(Ctr):
    """Linear part + a compressed interaction network (CIN) + a deep part, summed into one logit.

    A feature map of layer k is X^k_h = sum_ij W^k_hij (X^{k-1}_i * X^0_j), element by element, where X^0 are the fields;
    each is summed over its D numbers, and an output layer reads the sums of all layers. The n prompt
    fields stand in X^0 and in the deep part like every other field. Numbers that go as they are stand in the deep part alone.

    Differs from the paper: no activation between the layers, which it found best; all maps of a layer go on to the next.
    """

    class Options(CtrOptions):
        maps: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = structural(
            (16, 16),
            "feature maps of the layers of the interaction network (the paper: up to 200, of 2 to 3 layers)",
            min_length=1,
        )

    def parameters(self) -> tuple[Parameter, ...]:
        fields, maps = len(self.layer.embedded) + self.prompts // self.options.width, self.options.maps
        sizes = enumerate(pairwise((fields, *maps)))
        return (
            *self.layer.parameters(),
            *self.layer.linear_parameters(),
            *(Parameter(f"maps.{i}", (fields * a, b), "interaction", xavier) for i, (a, b) in sizes),
            *self.deep.parameters(),
            Parameter("output.maps", (sum(maps), 1), "output", xavier),
            *self.output_parameters(),
        )

    def encode_rows(self, params: Params, vectors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """`fields` (U, B, F*D) of the interaction network, `first` (U, B, H) of the deep part."""
        fields = side_by_side(vectors[f.name] for f in self.layer.embedded)
        return {"fields": fields, "first": self.deep.first(params, side_by_side(vectors.values()))}

    def of_rows(
        self, params: Params, encoded: Mapping[str, Tensor], first: Tensor, prompt: Tensor | None, deep: DeepPart
    ) -> Tensor:
        fields = encoded["fields"] if prompt is None else side_by_side([encoded["fields"], prompt])
        return first.squeeze(-1) + self._interactions(params, fields) + deep(encoded["first"], prompt)

    def _interactions(self, params: Params, fields: Tensor) -> Tensor:
        """(U, B) of the fields (U, B, M*D). As many lanes at once as have their pairs in memory that is kept: those of 64 lanes
        are a block that each step would ask the system for, which takes twice as long as all that is done with it.
        """
        names = [*(f"maps.{i}" for i in range(len(self.options.maps))), "output.maps"]
        weights = [params[name] for name in names]
        lanes = max(t.shape[0] for t in (fields, *weights))
        pairs = fields[0].numel() * max(fields.shape[-1] // self.options.width, *self.options.maps)
        most = max(1, KEPT // (pairs * fields.element_size()))
        parts = [[_lanes(t, first, most) for t in (fields, *weights)] for first in range(0, lanes, most)]
        return torch.cat([self._of_lanes(*part) for part in parts])

    def _of_lanes(self, fields: Tensor, *weights: Tensor) -> Tensor:
        """(U, B) of the fields and the matrices of all layers."""
        rows = fields.unflatten(-1, (-1, self.options.width)).transpose(2, 3)  # (U, B, D, M)
        start = maps = rows.flatten(1, 2)  # (U, B*D, M)
        sums = []
        for weight in weights[:-1]:
            pairs = (maps.unsqueeze(-1) * start.unsqueeze(-2)).flatten(2)  # (U, B*D, H*M)
            maps = linear(pairs, weight)
            sums.append(maps.unflatten(1, rows.shape[1:3]).sum(2))  # (U, B, H)
        return linear(torch.cat(sums, dim=-1), weights[-1]).squeeze(-1)


def _lanes(tensor: Tensor, first: int, count: int) -> Tensor:
    """Some lanes; all that have one value in common have it in each."""
    return tensor[first : first + count] if tensor.shape[0] > 1 else tensor
