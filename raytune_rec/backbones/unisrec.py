"""UniSRec (Hou et al., KDD 2022): SASRec over what adaptors make of frozen vectors of the items' texts.

Shapes: U: 1 or T lanes, V items, W numbers of a vector, G experts, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import softplus

from raytune_rec.backbones.base import Outputs
from raytune_rec.backbones.sasrec import SasRec
from raytune_rec.components import structural
from raytune_rec.errors import AssemblyError
from raytune_rec.schema.contract import Batch, Entities, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Noise, Params, Step, normal, zeros

_LEAST = 1e-2
"""Of the noise of a gate, in the authors' code."""


class UniSRec(SasRec):
    """An item is the sum of G experts, each a linear map of its vector less a mean of the expert's own (the paper's parametric
    whitening), weighed by the softmax of a linear gate (its MoE-enhanced adaptor); with `own` a trained vector of the item is
    added, which starts at zero (its transductive setting). Without it items of a new domain need no parameter. With `noisy` the
    gate is as its authors published it: while the adaptors train, a normal number is added to what it gives each expert, times
    the sum of 0.01 and the softplus of a second linear map.

    With `experts = 0` an item is the vector itself, cut to D numbers, and `own` makes it SASRec whose item vectors start from the
    encoder: whitened (WhitenRec, 2024), and decayed towards it instead of zero.

    Differs from the paper: vectors are whitened once before (`data.text.vectors`), and the loss is the job's: `softmax` for the
    sequence-item task, `cl4rec` where sequences are contrasted too, inner products for cosines. From the authors' code: an item
    meets one noise in a step, wherever it stands, and the gate does not start at zero.

    Raises:
        AssemblyError: items have no such vector, or one of fewer numbers than `width` where there is no expert.
    """

    class Options(SasRec.Options):
        vector: str = structural("meaning", "which vector of the items, of data.text.vectors", min_length=1)
        experts: int = structural(8, "G, adaptors of the vectors (the paper: 8); 0: the vectors as they are", ge=0, le=64)
        noisy: bool = structural(False, "add noise to the gate while the adaptors train, as the authors' code does")
        own: bool = structural(False, "add a trained vector to each item")

        @model_validator(mode="after")
        def _a_noisy_gate_has_experts(self) -> UniSRec.Options:
            if self.noisy and not self.experts:
                raise ValueError("noisy = true adds noise to the gate of the experts, and experts = 0; set one of the two anew")
            return self

    groups = frozenset({"embedding", "encoder", "output", "adapter"})
    item_groups = frozenset({"adapter"})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        there = {field.name: field.length for field in schema.vectors}
        if options.vector not in there:
            known = f"there are {', '.join(there)}" if there else "there are none; set data.text.vectors"
            raise AssemblyError(f"backbone.vector = {options.vector!r}: is no vector of the items; {known}.")
        self.numbers = there[options.vector]
        if not options.experts and options.width > self.numbers:
            raise AssemblyError(
                f"backbone.width = {options.width}: vectors {options.vector!r} have {self.numbers} numbers, and without experts "
                f"an item is one of them; lower width, raise data.text.vectors.{options.vector}.width, or set experts."
            )

    def parameters(self) -> tuple[Parameter, ...]:
        o, w = self.options, self.numbers
        kept = [replace(p, init=zeros) if p.name == "item" else p for p in super().parameters() if p.name != "item" or o.own]
        experts = (
            Parameter("adapter.gate", (w, o.experts), "adapter", normal(w**-0.5)),
            *([Parameter("adapter.noise", (w, o.experts), "adapter", zeros)] if o.noisy else []),
            Parameter("adapter.mean", (o.experts, w), "adapter", zeros),
            Parameter("adapter.map", (o.experts, w, o.width), "adapter", normal(o.embedding_std * w**-0.5)),
        )
        return (*kept, *(experts if o.experts else ()))

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        """`meaning` (U, V, D)."""
        return {"meaning": self._meant(params, items)}

    def _meant(self, params: Params, items: Entities, noise: Noise | None = None) -> Tensor:
        """(U, V, D)."""
        o = self.options
        vectors = items.columns[o.vector].to(params["position"].dtype)
        if not o.experts:
            return vectors[..., : o.width] * o.embedding_std
        gate, mean, map_ = (params[f"adapter.{name}"] for name in ("gate", "mean", "map"))
        score = vectors @ gate  # (U, V, G)
        if noise is not None:
            drawn = replace(noise, rows=items.ids).normal("unisrec.gate", o.experts).to(score.dtype)
            score = score + drawn * (softplus(vectors @ params["adapter.noise"]) + _LEAST)
        weight = score.softmax(-1)
        made = (vectors @ map_.transpose(1, 2).flatten(2)).unflatten(-1, (o.experts, o.width))  # (U, V, G, D)
        return (weight.unsqueeze(-1) * made).sum(-2) - weight @ (mean.unsqueeze(2) @ map_).squeeze(2)

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        item = encoded["meaning"]
        if self.options.noisy and step.training and "adapter" in step.trained:
            assert batch.items is not None
            item = self._meant(params, batch.items, step.noise)
        return super().forward(
            {**params, "item": item + params["item"] if self.options.own else item}, encoded, batch, sites, options, step
        )
