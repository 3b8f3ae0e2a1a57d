"""Factorisation-machine supported Neural Network (Zhang et al., ECIR 2016), with room for prompt fields in front (PLATE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from raytune_rec.backbones._ctr import Ctr, CtrOptions, DeepPart
from raytune_rec.backbones._fields import side_by_side
from raytune_rec.schema.contract import Parameter, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema, Field
from raytune_rec.tensors import Params, linear, xavier


class Fnn(Ctr):
    """A deep part over z = (w_0, w_1, v_1, ..., w_F, v_F): the bias, and of each field its first-order weight and its embedding.
    So the linear part is read by the first layer, and is not added to the logit.

    The n prompt fields stand in the deep part like every other field, without a first-order weight.

    Differs from the paper: weights and embeddings are no start values of a factorisation machine but learn with the rest;
    rectifiers in place of tanh, as in all deep parts here.
    """

    class Options(CtrOptions):
        """As of every CTR model."""

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        self.orders = len(self.layer.fields) + 1

    def parameters(self) -> tuple[Parameter, ...]:
        of_first = Parameter("deep.0.linear", (self.orders, self.options.hidden[0]), "interaction", xavier)
        own = (*self.layer.parameters(), *self.layer.linear_parameters(), of_first)
        return (*own, *self.deep.parameters(), *self.output_parameters())

    def first_order(
        self, params: Params, columns: Mapping[str, Tensor], fields: Sequence[Field] | None = None, bias: bool = True
    ) -> Tensor:
        """(U, N, F + 1): the weight of each field, 0 of those that are not asked for, and the bias last."""
        chosen = self.layer.fields if fields is None else fields
        held = {f.name: self.layer.linear(params, columns, [f], bias=False) for f in chosen}  # (U, N)
        like = next(iter(held.values()))
        nothing = like.new_zeros(1, like.shape[1])
        constant = params["linear.bias"] + nothing if bias else nothing
        return side_by_side(w.unsqueeze(-1) for w in (*(held.get(f.name, nothing) for f in self.layer.fields), constant))

    def encode_rows(self, params: Params, vectors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """`first` (U, B, H), the embeddings' share of the first layer."""
        return {"first": self.deep.first(params, side_by_side(vectors.values()))}

    def of_rows(
        self, params: Params, encoded: Mapping[str, Tensor], first: Tensor, prompt: Tensor | None, deep: DeepPart
    ) -> Tensor:
        return deep(encoded["first"] + linear(first, params["deep.0.linear"]), prompt)
