"""SASRec (Kang and McAuley, ICDM 2018): a causal Transformer over a user's history, with room for a prefix of soft tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raytune_rec import components
from raytune_rec.backbones._encoder import Encoder, at
from raytune_rec.backbones._sequence import classifier, drop, head_widths, scored, scores, tables
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import numeric, structural
from raytune_rec.schema.contract import Batch, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.tensors import Params, Step, lookup


class SasRec(Backbone):
    """The user representation after each item predicts the next one (PPR, Eq. 1); items are scored by inner product with their
    embeddings. Before the first item it is read at the last token of the prefix, and zero without one.

    Differs from the paper: the norm stands before both parts of a block (the paper's code norms the query alone), GELU for ReLU,
    no dropout of attention weights, and positions count from the start of the window.
    """

    class Options(components.Options):
        width: int = structural(64, "D, embedding width", ge=1, le=16384)
        blocks: int = structural(2, "Transformer blocks (the paper: 2)", ge=1, le=128)
        heads: int = structural(2, "attention heads; a divisor of the width (the paper: 1)", ge=1, le=1024)
        inner: int = structural(64, "width of the feed-forward net (the paper: D)", ge=1, le=65536)
        embedding_std: float = structural(0.02, "standard deviation of the embeddings' start values", gt=0, le=100)
        dropout: float = numeric(0.2, "dropout rate (the paper: 0.2 for dense data)", ge=0, lt=1)

        _heads = head_widths()

    groups: frozenset[str] = frozenset({"embedding", "encoder", "output"})
    returns: frozenset[str] = frozenset({"state"})
    tasks = frozenset({"lists", "classes"})

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        self.encoder = Encoder(options.width, options.blocks, options.heads, options.inner, causal=True)

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {Site.PREFIX: options.width, Site.USER: options.width}

    def parameters(self) -> tuple[Parameter, ...]:
        o = self.options
        looked_up = tables(self.schema.field("item").size, self.schema.task.length, o.width, o.embedding_std)
        return (*looked_up, *self.encoder.parameters(), *classifier(self.schema, o.width))

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        behaviour, state = self.represented(params, batch, sites, options["dropout"], step)
        added = sites.get(Site.USER)
        user = behaviour if added is None else behaviour + added
        against = scored(params, batch.columns)
        outputs = {"user": user, "behaviour": behaviour, **against}
        if state is not None:
            outputs["state"] = state if added is None else state + added.unsqueeze(2)
        return outputs if step.training else {**outputs, "logit": scores(user, batch.columns.get("candidates"), **against)}

    def represented(
        self, params: Params, batch: Batch, sites: Mapping[Site, Tensor], rate: Tensor, step: Step
    ) -> tuple[Tensor, Tensor | None]:
        """What the history makes of a user: (U, B, D) after all of it, and (U, B, L + 1, D) before each item too, where that is
        wanted (`Step.last`).

        Args:
            rate: (U,) of dropout.
        """
        history = batch.columns["history"]
        real = history > 0
        length = real.sum(-1) if "length" not in batch.columns else batch.columns["length"]  # (U, B)
        used = int(length.max())
        history, real = history[..., :used], real[..., :used]
        x = lookup(params["item"], history) * real.unsqueeze(-1)
        x = drop(x + params["position"][:, None, :used], rate, step, "items")
        count = sites[Site.PREFIX].shape[2] if Site.PREFIX in sites else 0
        if step.last and count + used:
            place = (length + count - 1).clamp(min=0)
            last = self.encoder(params, x, real, sites, rate, step, place).squeeze(2)
            known = (length > 0) | self._begins(count, sites, length)
            return last * known.unsqueeze(-1), None
        first = max(count - 1, 0)  # of a prefix its last token alone is read
        tokens = self.encoder(params, x, real, sites, rate, step, first) if count + used else x
        start = tokens[:, :, :1] if count else x.new_zeros(len(tokens), x.shape[1], 1, x.shape[3])
        start = start * self._begins(count, sites, length)[..., None, None]
        state = torch.cat([start, tokens[:, :, 1:] if count else tokens], dim=2)
        return at(state, length), state

    def _begins(self, prefix: int, sites: Mapping[Site, Tensor], length: Tensor) -> Tensor:
        """(U, B or 1) bool: whether a token stands before the first item."""
        if not prefix:
            return torch.zeros_like(length[:, :1], dtype=torch.bool)
        mask = sites.get(Site.PREFIX_MASK)
        return torch.ones_like(length[:, :1], dtype=torch.bool) if mask is None else mask[:, -1:]
