"""Wide & Deep (Cheng et al., DLRS 2016), with room for prompt fields in front (PLATE, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from raytune_rec.backbones._ctr import Ctr, CtrOptions, DeepPart
from raytune_rec.backbones._fields import side_by_side
from raytune_rec.schema.contract import Parameter
from raytune_rec.tensors import Params


class WideDeep(Ctr):
    """Linear part (wide) + a deep part over the fields side by side, summed into one logit (Cheng et al., Eq. 3).

    The n prompt fields stand in the deep part like every other field.

    Differs from the paper: the wide part has no crossed features, since ids of a small domain are numbered anew and a crossed one
    would not mean the same; both parts have the same optimiser, with rates of their own (`training.lr.linear`).
    """

    class Options(CtrOptions):
        """As of every CTR model."""

    def parameters(self) -> tuple[Parameter, ...]:
        return (*self.layer.parameters(), *self.layer.linear_parameters(), *self.deep.parameters(), *self.output_parameters())

    def encode_rows(self, params: Params, vectors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """`first` (U, B, H) of the deep part."""
        return {"first": self.deep.first(params, side_by_side(vectors.values()))}

    def of_rows(
        self, params: Params, encoded: Mapping[str, Tensor], first: Tensor, prompt: Tensor | None, deep: DeepPart
    ) -> Tensor:
        return first.squeeze(-1) + deep(encoded["first"], prompt)
