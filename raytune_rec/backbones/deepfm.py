"""DeepFM (Guo et al., IJCAI 2017), with room for prompt fields in front (PLATE, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones._deep import Deep
from raytune_rec.backbones._fields import FieldLayer, Treatment, side_by_side
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import numeric, structural
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, linear, moments, xavier, zeros


class DeepFM(Backbone):
    """Linear part + pairwise inner products of the fields (FM) + a deep part, summed into one logit.

    The n prompt fields take part in the FM and in the deep part like every other field. The share of the own fields in the first
    layer is computed once for all lanes, and once for all epochs where embeddings and interaction are frozen; so are the sums of
    the FM.

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

    groups: frozenset[str] = frozenset({"embedding", "linear", "interaction", "output"})
    encoded_groups: frozenset[str] = frozenset({"embedding", "interaction"})
    shaped_by: frozenset[Site] = frozenset({Site.FIELDS})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        self.options = options
        self.layer = FieldLayer(schema, options.width, options.numbers, options.embedding_std)
        self.prompts = sites[Site.FIELDS].count if Site.FIELDS in sites else 0
        self.deep = Deep(self.layer.wide, self.prompts * options.width, options.hidden, options.batch_norm)
        self.profile = [f for f in schema.with_role("user") if f in self.layer.embedded]

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {Site.FIELDS: options.width}

    @classmethod
    def gives(cls, options: Options, schema: DataSchema) -> Mapping[str, Reading]:
        profile = [f for f in schema.with_role("user") if f.kind != "numerical" or options.numbers != "none"]
        return {"user_features": Reading(len(profile) * options.width)}

    def parameters(self) -> tuple[Parameter, ...]:
        hidden = self.options.hidden
        output = (Parameter("output.weight", (hidden[-1], 1), "output", xavier), Parameter("output.bias", (1,), "output", zeros))
        return (*self.layer.parameters(), *self.layer.linear_parameters(), *self.deep.parameters(), *output)

    def buffers(self) -> tuple[Parameter, ...]:
        return self.deep.buffers()

    def encode(self, params: Params, batch: Batch) -> Mapping[str, Tensor]:
        """`sum` (U, B, D) and `square` (U, B) of the FM, `first` (U, B, H) of the deep part, `user_features` (U, B, Fu*D)."""
        vectors = self.layer.vectors(params, batch.columns)
        total, square = moments([vectors[f.name] for f in self.layer.embedded])
        profile = [vectors[f.name] for f in self.profile]
        return {
            "sum": total,
            "square": square,
            "first": self.deep.first(params, side_by_side(vectors.values())),
            "user_features": side_by_side(profile),
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
        total, square = encoded["sum"], encoded["square"]
        prompt = sites[Site.FIELDS] if self.prompts else None  # (U, B, n, D)
        if prompt is not None:
            of_prompt = moments(prompt.unbind(2))
            total, square = total + of_prompt[0], square + of_prompt[1]
        pairs = (total.square().sum(-1) - square) / 2
        hidden = self.deep(params, encoded["first"], None if prompt is None else prompt.flatten(2), options, batch, step)
        deep = linear(hidden, params["output.weight"], params["output.bias"]).squeeze(-1)
        return {"logit": self.layer.linear(params, batch.columns) + pairs + deep}
