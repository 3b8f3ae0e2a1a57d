"""BERT4Rec (Sun et al., CIKM 2019): a bidirectional Transformer that fills in masked items, with room for a prefix."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from raytune_rec import components
from raytune_rec.backbones._encoder import Encoder, at
from raytune_rec.backbones._sequence import classifier, drop, head_widths, scored, scores, tables
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import numeric, structural
from raytune_rec.schema.contract import Batch, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, lookup, normal, zeros


class Bert4Rec(Backbone):
    """What stands at a masked place says which item belongs there. A mask stands behind the history; its output is the user
    representation. Items are scored by inner product with their embeddings, plus a bias of each.

    Since a token sees what comes after it, only masked places can be trained on: by `masked_item` or `permuted_order`.

    Differs from the paper: norms stand before the parts of a block, no projection before the output, no dropout of attention
    weights.
    """

    class Options(components.Options):
        width: int = structural(64, "D, embedding width (the paper: 64)", ge=1, le=16384)
        blocks: int = structural(2, "Transformer blocks (the paper: 2)", ge=1, le=128)
        heads: int = structural(2, "attention heads; a divisor of the width (the paper: 2)", ge=1, le=1024)
        inner: int = structural(256, "width of the feed-forward net (the paper: 4 D)", ge=1, le=65536)
        embedding_std: float = structural(
            0.02, "standard deviation of the embeddings' start values (the paper: 0.02)", gt=0, le=100
        )
        dropout: float = numeric(0.1, "dropout rate (the paper: 0.1)", ge=0, lt=1)

        _heads = head_widths()

    groups: frozenset[str] = frozenset({"embedding", "encoder", "output"})
    returns: frozenset[str] = frozenset({"cloze"})
    tasks = frozenset({"lists", "classes"})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        self.encoder = Encoder(options.width, options.blocks, options.heads, options.inner, causal=False)

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {Site.PREFIX: options.width, Site.USER: options.width}

    def parameters(self) -> tuple[Parameter, ...]:
        o, items = self.options, self.schema.field("item").size
        return (
            *tables(items, self.schema.task.length + 1, o.width, o.embedding_std),
            Parameter("mask", (o.width,), "embedding", normal(o.embedding_std)),
            *self.encoder.parameters(),
            Parameter("bias", (items,), "output", zeros, "item"),
            *classifier(self.schema, o.width),
        )

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        history = pad(batch.columns["history"], (0, 1))  # (U, B, L + 1): room for the mask behind
        length = batch.columns["length"] if "length" in batch.columns else (history > 0).sum(-1)
        place = torch.arange(history.shape[-1], device=history.device)
        used = int(length.max()) + 1
        masked = batch.columns["masked"] if "masked" in batch.columns else place == length.unsqueeze(-1)
        history, masked, real = history[..., :used], masked[..., :used], place[:used] <= length.unsqueeze(-1)
        x = lookup(params["item"], history) * (history > 0).unsqueeze(-1)
        x = torch.where(masked.unsqueeze(-1), params["mask"][:, None, None], x)
        x = drop(x + params["position"][:, None, :used], options["dropout"], step, "items")
        count = sites[Site.PREFIX].shape[2] if Site.PREFIX in sites else 0
        tokens = self.encoder(params, x, real, sites, options["dropout"], step, length + count if step.last else count)
        behaviour = tokens.squeeze(2) if step.last else at(tokens, length)
        added = sites.get(Site.USER)
        user = behaviour if added is None else behaviour + added
        against = scored(params, batch.columns)
        outputs = {"user": user, "behaviour": behaviour, **against}
        if not step.last:
            outputs["cloze"] = tokens if added is None else tokens + added.unsqueeze(2)
            if "class" in batch.columns:
                outputs["state"] = outputs["cloze"]  # the class stands at the mask, which is the only place that is read
        return outputs if step.training else {**outputs, "logit": scores(user, batch.columns.get("candidates"), **against)}
