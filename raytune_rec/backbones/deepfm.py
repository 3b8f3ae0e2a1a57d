"""DeepFM (Guo et al., IJCAI 2017), with room for prompt fields in front (PLATE, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from raytune_rec.backbones._ctr import Ctr, CtrOptions, DeepPart
from raytune_rec.backbones._fields import side_by_side
from raytune_rec.schema.contract import Parameter
from raytune_rec.tensors import Params, linear, moments


class DeepFM(Ctr):
    """Linear part + pairwise inner products of the fields (FM) + a deep part, summed into one logit.

    The n prompt fields take part in the FM and in the deep part like every other field. The share of the own fields in the first
    layer is computed once for all lanes, and once for all epochs where embeddings and interaction are frozen; so are the sums of
    the FM. Where items are ranked, a pair of a row and an item has the sums of both (`_ctr`).

    Differs from the paper: dropout and batch norm are options of the deep part alone; a prompt has no first-order weight.
    """

    class Options(CtrOptions):
        """As of every CTR model."""

    def parameters(self) -> tuple[Parameter, ...]:
        return (*self.layer.parameters(), *self.layer.linear_parameters(), *self.deep.parameters(), *self.output_parameters())

    def encode_rows(self, params: Params, vectors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """`sum` (U, B, D) and `square` (U, B) of the FM, `first` (U, B, H) of the deep part."""
        total, square = moments([vectors[f.name] for f in self.layer.embedded])
        return {"sum": total, "square": square, "first": self.deep.first(params, side_by_side(vectors.values()))}

    def of_rows(
        self, params: Params, encoded: Mapping[str, Tensor], first: Tensor, prompt: Tensor | None, deep: DeepPart
    ) -> Tensor:
        total, square = encoded["sum"], encoded["square"]
        if prompt is not None:
            of_prompt = moments(prompt.split(self.options.width, dim=-1))
            total, square = total + of_prompt[0], square + of_prompt[1]
        pairs = (total.square().sum(-1) - square) / 2
        return first.squeeze(-1) + pairs + deep(encoded["first"], prompt)

    def share(self, params: Params, vectors: Mapping[str, Tensor]) -> Tensor:
        total, square = moments([vectors[f.name] for f in self.layer.embedded if f.name in vectors])
        first = linear(side_by_side(vectors.values()), self.layer.rows(params["deep.0.fields"], vectors))
        return side_by_side([total, square.unsqueeze(-1), first])

    def share_of_prompt(self, params: Params, prompt: Tensor) -> Tensor:
        total, square = moments(prompt.split(self.options.width, dim=-1))
        return side_by_side([total, square.unsqueeze(-1), linear(prompt, params["deep.0.prompt"])])

    def of_share(self, params: Params, share: Tensor, first: Tensor, deep: DeepPart) -> Tensor:
        total, square, hidden = share.split([self.options.width, 1, self.options.hidden[0]], dim=-1)
        pairs = (total.square().sum(-1) - square.squeeze(-1)) / 2
        return first.squeeze(-1) + pairs + deep(hidden, None)
