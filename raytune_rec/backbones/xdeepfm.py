"""xDeepFM (Lian et al., KDD 2018), with room for prompt fields in front (PLATE, section 3.2).

Shapes: U: 1 or T lanes, B rows, F embedded fields, n prompt fields, M = F + n, D width, H feature maps of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
        """`fields` (U, B, F*D) of the interaction network, `first` (U, B, H) of the deep part and, where all lanes share it,
        `maps` (1, B, D*H), what the network's first layer has of pairs of fields.
        """
        fields = side_by_side(vectors[f.name] for f in self.layer.embedded)
        encoded = {"fields": fields, "first": self.deep.first(params, side_by_side(vectors.values()))}
        weight = self._first_layer(params)[0]
        return encoded if len(fields) > 1 or len(weight) > 1 else {**encoded, "maps": self._of_fields(fields, weight)}

    def of_rows(
        self, params: Params, encoded: Mapping[str, Tensor], first: Tensor, prompt: Tensor | None, deep: DeepPart
    ) -> Tensor:
        of_fields, of_prompt = self._first_layer(params)
        others = [] if prompt is None else [prompt, of_prompt]
        others += [*(params[f"maps.{i}"] for i in range(1, len(self.options.maps))), params["output.maps"]]
        if "maps" in encoded:
            interactions = self._by_lanes(self._of_lanes, encoded["fields"], encoded["maps"], *others)
        else:
            interactions = self._by_lanes(self._whole, encoded["fields"], of_fields, *others)
        return first.squeeze(-1) + interactions + deep(encoded["first"], prompt)

    def _first_layer(self, params: Params) -> tuple[Tensor, Tensor]:
        """Its weights (U, F*F, H) of pairs of fields, and (U, n*M, H) of a prompt field with any; a pair stands there once."""
        own = len(self.layer.embedded)
        every = own + self.prompts // self.options.width
        weight = params["maps.0"].unflatten(1, (every, every))
        with_fields = weight[:, own:, :own] + weight[:, :own, own:].transpose(1, 2)
        of_prompt = torch.cat([with_fields, weight[:, own:, own:]], dim=2)
        return weight[:, :own, :own].flatten(1, 2), of_prompt.flatten(1, 2)

    def _by_lanes(self, work: Callable[..., Tensor], fields: Tensor, *others: Tensor) -> Tensor:
        """What `work` makes of fields (U, B, F*D) and others. As many lanes at once as have their pairs in memory that is kept:
        those of 64 lanes are a block that each step would ask the system for, which takes twice as long as all that is done with
        it.
        """
        lanes = max(t.shape[0] for t in (fields, *others))
        numbers = fields.shape[1] * (fields.shape[2] + self.prompts)  # of the fields of one lane
        pairs = numbers * max((fields.shape[2] + self.prompts) // self.options.width, *self.options.maps)
        most = max(1, KEPT // (pairs * fields.element_size()))
        parts = [[_lanes(t, first, most) for t in (fields, *others)] for first in range(0, lanes, most)]
        return torch.cat([work(*part) for part in parts])

    def _of_fields(self, fields: Tensor, weight: Tensor) -> Tensor:
        """(U, B, D*H)."""
        rows = self._rows(fields)
        return _layer(rows, rows, weight).unflatten(1, (-1, self.options.width)).flatten(2)

    def _whole(self, fields: Tensor, weight: Tensor, *others: Tensor) -> Tensor:
        """(U, B), as of `_of_lanes`, with the first layer's weights of pairs of fields."""
        return self._of_lanes(fields, self._of_fields(fields, weight), *others)

    def _of_lanes(self, fields: Tensor, maps: Tensor, *others: Tensor) -> Tensor:
        """(U, B) of the fields, what the first layer has of them, prompt fields with the weights of their pairs, where there are
        any, and the matrices of all further layers.
        """
        start, weights = self._rows(fields), list(others)
        maps = maps.unflatten(2, (self.options.width, -1)).flatten(1, 2)
        if self.prompts:
            prompt, of_prompt, *weights = others
            more = self._rows(prompt)
            start = side_by_side([start, more])
            maps = maps + _layer(more, start, of_prompt)
        sums = []
        for weight in weights[:-1]:
            sums.append(self._summed(maps))
            maps = _layer(maps, start, weight)
        return linear(torch.cat([*sums, self._summed(maps)], dim=-1), weights[-1]).squeeze(-1)

    def _rows(self, fields: Tensor) -> Tensor:
        """(U, B*D, M) of fields (U, B, M*D)."""
        return fields.unflatten(-1, (-1, self.options.width)).transpose(2, 3).flatten(1, 2)

    def _summed(self, maps: Tensor) -> Tensor:
        """(U, B, H) of (U, B*D, H)."""
        return maps.unflatten(1, (-1, self.options.width)).sum(2)


def _layer(maps: Tensor, start: Tensor, weight: Tensor) -> Tensor:
    """(U, B*D, H) of maps (U, B*D, G), the fields (U, B*D, M) and the weights (U, G*M, H) of their pairs."""
    return linear((maps.unsqueeze(-1) * start.unsqueeze(-2)).flatten(2), weight)


def _lanes(tensor: Tensor, first: int, count: int) -> Tensor:
    """Some lanes; all that have one value in common have it in each."""
    return tensor[first : first + count] if tensor.shape[0] > 1 else tensor
