"""CB2CF (Barkan et al., RecSys 2019): a cold item's vector is what a network makes of its attributes.

Shapes: U: 1 or T lanes, V ids, N items of a step, F width of the attributes, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from raytune_rec import components
from raytune_rec.axes import member_rows
from raytune_rec.components import padded, structural
from raytune_rec.prompts._from_features import FromFeatures
from raytune_rec.prompts.base import Rerun
from raytune_rec.schema.contract import Batch, Parameter, Reading, Site
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, lookup, xavier


class Cb2Cf:
    """Writes ITEM: what a network makes of the item's attributes. The network learns by regression alone, of the vectors that the
    backbone makes of well-known items, the unit's own left out: each step draws some ids, and the mean of the squared differences
    over those of them that are well known is its loss. What is written passes no gradient on.

    Differs from the paper: attributes are read as the backbone embeds them, in place of a network for each view (text, tags,
    numbers) with its own embeddings; the vectors are those of the backbone, not of item2vec.
    """

    groups: frozenset[str] = frozenset({"prompt"})

    class Options(components.Options):
        hidden_width: int = padded(32, "H, hidden width of the network", ge=1, le=16384)
        known: int = structural(20, "interactions of an item from which the network learns", ge=1, le=10**9)
        drawn: int = structural(256, "ids drawn for a step", ge=1, le=10**6)

    def __init__(self, options: Options, schema: DataSchema, readings: Mapping[str, Reading], widths: Mapping[Site, int]) -> None:
        self.options = options
        self.network = FromFeatures(readings["item_features"].width, options.hidden_width, widths[Site.ITEM])

    @classmethod
    def reads(cls, options: Options) -> tuple[str, ...]:
        return ("item_vector", "item_features")

    @classmethod
    def writes(cls, options: Options) -> Mapping[Site, int]:
        return {Site.ITEM: 1}

    def parameters(self) -> tuple[Parameter, ...]:
        return self.network.parameters(xavier)

    def write(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step
    ) -> Mapping[Site, Tensor]:
        if batch.members is None:
            return {}
        return {Site.ITEM: self.network(params, lookup(readings["item_features"], batch.members.ids)).detach()}

    def losses(
        self, params: Params, readings: Mapping[str, Tensor], batch: Batch, options: Mapping[str, Tensor], step: Step, run: Rerun
    ) -> Mapping[str, Tensor]:
        assert step.noise is not None and batch.items is not None and batch.items.count is not None
        vectors, size = readings["item_vector"], readings["item_vector"].shape[1]
        ids = step.noise.integers("cb2cf.items", self.options.drawn, 1, size)  # (U, N)
        known = lookup(batch.items.count, ids) >= self.options.known
        if batch.members is not None:
            known = known & (member_rows(batch.members.ids, size, ids) == 0)
        made = self.network(params, lookup(readings["item_features"], ids))
        apart = (made - lookup(vectors, ids)).square().mean(-1) * known
        mean = apart.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
        return {"regression": mean.expand(-1, batch.label.shape[1])}
