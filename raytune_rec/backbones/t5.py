"""T5 (Raffel et al., JMLR 2020) as a recommender: histories are read as text, and items told by theirs (UPSR, 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from raytune_rec import components
from raytune_rec.backbones._hub import SIZES, sizes_of, weights_of
from raytune_rec.backbones._t5 import Drop, Layers
from raytune_rec.backbones._text import Part, Texts, read
from raytune_rec.backbones.base import Backbone, Outputs
from raytune_rec.components import numeric, structural
from raytune_rec.errors import AssemblyError, UserError
from raytune_rec.schema.contract import Batch, Entities, Parameter, Site, SiteShape
from raytune_rec.schema.prepared import ITEM, DataSchema
from raytune_rec.tensors import Params, Step, lookup, normal

_ROWS = 16
"""Rows of like length that are read at a time, so that few of their tokens are padding."""
_PAIRS = 256
"""Rows times candidates that are told at a time, likewise."""
_TOKENS = 128
"""Tokens whose scores of all words are made at a time: so few stay in a processor's cache until they are summed."""


class T5(Backbone):
    """The score of an item is the mean logarithm of the probability of its text's tokens after <extra_id_0>, given the history as
    text: the lower the perplexity (UPSR, Eq. 2), the higher. An item without text comes last, and items with one text are level.
    The encoder reads a row once, whatever its candidates are.

    Differs from the paper: without `weights` it is trained from scratch on the texts of the data; `_text` tells how a history is
    cut into tokens. From T5: there is no dropout of attention weights, and rows of its tables for no token are left out.

    Raises:
        AssemblyError: the items have no such text, or its tokenizer has no special tokens of T5; see `_hub` for weights.
    """

    class Options(components.Options):
        text: str = structural("title", "which text of the items: a text column, or one of data.text.items", min_length=1)
        weights: str = structural(
            "",
            "to start from: a folder, or a model on the hub, of a T5 or FLAN-T5 with safetensors; sizes are of its config.json",
        )
        length: int = structural(512, "most tokens of a history that are read (the paper: 512)", ge=32, le=16384)
        width: int = structural(64, "D, width of a token (T5 small: 512)", ge=1, le=16384)
        heads: int = structural(4, "attention heads (T5 small: 8)", ge=1, le=1024)
        head_width: int = structural(16, "width of a head (T5 small: 64)", ge=1, le=1024)
        inner: int = structural(256, "width of the feed-forward net (T5 small: 2048)", ge=1, le=65536)
        blocks: int = structural(2, "blocks of the encoder (T5 small: 6)", ge=1, le=128)
        decoder_blocks: int = structural(2, "blocks of the decoder (T5 small: 6)", ge=1, le=128)
        buckets: int = structural(32, "relative positions that are told apart (T5: 32)", ge=4, le=4096)
        distance: int = structural(128, "places beyond which all are one (T5: 128)", ge=8, le=65536)
        gated: bool = structural(False, "a gate in the feed-forward net (T5 1.1, FLAN-T5: true)")
        tied: bool = structural(True, "words are told by what embeds them (T5 1.1, FLAN-T5: false)")
        dropout: float = numeric(0.1, "dropout rate (T5: 0.1)", ge=0, lt=1)

        @model_validator(mode="before")
        @classmethod
        def _sizes_are_those_of_the_weights(cls, values: dict[str, Any]) -> dict[str, Any]:
            if not isinstance(model := values.get("weights"), str) or not model or values.keys() >= SIZES:
                return values
            try:
                return sizes_of(model) | values
            except UserError as error:
                raise ValueError(str(error).removesuffix(".")) from None

        @model_validator(mode="after")
        def _far_places_have_buckets(self) -> T5.Options:
            if self.distance <= self.buckets // 2:
                raise ValueError(
                    f"distance = {self.distance} is no further than the {self.buckets // 2} nearest places, which have a bucket "
                    f"each (half of buckets = {self.buckets}); set distance to {self.buckets // 2 + 1} or more, or lower buckets"
                )
            return self

    groups = frozenset({"embedding", "encoder", "decoder", "output"})
    returns = frozenset({"text"})
    tasks = frozenset({"lists"})
    most_rows = 64

    def __init__(self, options: Options, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        there = [field.name for field in schema.texts if field.role == ITEM]
        if options.text not in there:
            known = (
                f"there are {', '.join(there)}" if there else "there are none; set data.text, and a source whose items have text"
            )
            raise AssemblyError(f"backbone.text = {options.text!r}: is no text of the items with tokens; {known}.")
        if schema.phrases is None:
            raise AssemblyError(
                "backbone t5 reads tokens of T5, <pad>, </s> and <extra_id_0> among them, and the tokenizer of these data has "
                "none; set data.text.tokenizer = 'unigram', or name a tokenizer.json of a T5."
            )
        self.phrases = schema.phrases
        self.vocabulary = schema.field(options.text).size - 2  # padding and unknown are no tokens of the tokenizer
        o = options
        shape = (o.width, o.head_width, o.heads, o.inner, o.blocks, o.decoder_blocks, o.buckets, o.distance)
        self.layers = Layers(*shape, o.gated)

    @classmethod
    def takes(cls, options: Options, schema: DataSchema) -> Mapping[Site, int]:
        return {Site.PREFIX: options.width, Site.WEIGHTS: 0}

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.vocabulary, self.options.width)
        head = [] if self.options.tied else [Parameter("lm_head", shape, "output", normal(1.0))]
        return (Parameter("shared", shape, "embedding", normal(1.0)), *self.layers.parameters(), *head)

    def start(self) -> Mapping[str, Tensor]:
        o = self.options
        return weights_of(o.weights, o.model_dump(), self.schema.tokenizer, self.parameters()) if o.weights else {}

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        """Of the items' texts, see `Texts`."""
        return Texts.of(items.columns[self.options.text], self.phrases.unknown).holding()

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        texts, history, masked = Texts.held(encoded), batch.columns["history"], batch.columns.get("masked")
        order = lookup(texts.length, history).sum(-1).amax(0).argsort(dim=0, stable=True)  # (B,)
        parts: list[dict[str, Tensor]] = []
        for rows in order.split(_ROWS):
            soft = {site: t[:, rows] if site == Site.PREFIX else t for site, t in sites.items()}
            noise = step.noise and replace(step.noise, rows=step.noise.rows[:, rows])
            here = _Rows(self, params, texts, soft, options["dropout"], replace(step, noise=noise))
            if masked is not None:
                parts.append(here.told(history[:, rows], masked[:, rows]))
            else:
                listed = batch.columns.get("candidates")
                every = torch.arange(texts.length.shape[1], device=history.device).expand(1, len(rows), -1)
                candidates = every if listed is None else listed[:, rows]
                parts.append(here.ranked(history[:, rows], None if step.training else candidates))
        back = order.argsort()
        return {name: torch.cat([part[name] for part in parts], 1)[:, back] for name in parts[0]}

    def logs(self, params: Params, states: Tensor, words: Part) -> Tensor:
        """(U, B, K, Y) logarithm of the probability of each token, 0 where there is none; of the real ones alone, since the
        scores of all tokens of the vocabulary are large.

        Args:
            states: (U, B, K, Y, D). words: (U, B, K, Y).
        """
        head = params["shared"] * self.options.width**-0.5 if self.options.tied else params["lm_head"]
        lanes, found = max(len(states), len(head)), []
        for lane in range(lanes):
            token, real = (part[lane % len(part)] for part in words)
            pieces = zip(states[lane % len(states)][real].split(_TOKENS), token[real].split(_TOKENS), strict=True)
            weight = head[lane % len(head)].T
            log = torch.cat([-cross_entropy(state @ weight, told, reduction="none") for state, told in pieces])
            found.append(torch.zeros(real.shape, dtype=log.dtype, device=log.device).masked_scatter(real, log))
        return torch.stack(found)


class _Rows:
    """Some rows in a pass.

    Args:
        model: of which they are. sites: what a prompt wrote for these rows. rate: (U,) of dropout.
    """

    def __init__(self, model: T5, params: Params, texts: Texts, sites: Mapping[Site, Tensor], rate: Tensor, step: Step) -> None:
        self.model, self.params, self.texts, self.sites = model, params, texts, sites
        prefix = sites.get(Site.PREFIX)
        self.drop = Drop(rate, step, 0 if prefix is None else prefix.shape[2])

    def told(self, items: Tensor, masked: Tensor) -> dict[str, Tensor]:
        """`text` (U, B): the mean logarithm over the tokens that are to be told."""
        source, words = read(self.texts, items, masked, self.model.phrases, self.model.options.length)
        states, real = self._read(source)
        memory = self.model.layers.memory(self.params, states)
        one = words[0].unsqueeze(2), words[1].unsqueeze(2)
        logs = self.model.logs(self.params, self._decoded(one[0], memory, real), one).squeeze(2)
        return {"text": logs.sum(-1) / words[1].sum(-1)}

    def ranked(self, history: Tensor, candidates: Tensor | None) -> dict[str, Tensor]:
        """`user` (U, B, D), what is read at the masked item behind the history, and `logit` (U, B, K) of candidates."""
        items = pad(history, (0, 1))
        place, length = torch.arange(items.shape[-1], device=items.device), (history > 0).sum(-1, keepdim=True)
        phrases = self.model.phrases
        source, _ = read(self.texts, items, place == length, phrases, self.model.options.length)
        states, real = self._read(source)
        asks = (source[0] == phrases.sentinels[0]) & source[1]
        asks = pad(asks, (states.shape[2] - asks.shape[2], 0))
        user = (states * asks.unsqueeze(-1)).sum(2)
        outputs = {"user": user, "behaviour": user}
        if candidates is None:
            return outputs
        return {**outputs, "logit": self._scores(candidates, self.model.layers.memory(self.params, states), real)}

    def _read(self, source: Part) -> tuple[Tensor, Tensor]:
        """What is made of tokens with the prefix in front (U, B, P + S, D), and which of them are real."""
        ids, real = source
        x, prefix = lookup(self.params["shared"], ids), self.sites.get(Site.PREFIX)
        if prefix is not None:
            lanes = max(len(x), len(prefix))
            mask = self.sites.get(Site.PREFIX_MASK)
            front = prefix.new_ones(1, prefix.shape[2], dtype=torch.bool) if mask is None else mask
            known = max(len(front), len(real))
            front = front.unsqueeze(1).expand(known, real.shape[1], -1)
            real = torch.cat([front, real.expand(known, -1, -1)], 2)
            x = torch.cat([part.expand(lanes, -1, -1, -1) for part in (prefix, x)], 2)
        return self.model.layers.encode(self.params, x, real, self.drop), real

    def _decoded(self, words: Tensor, memory: object, real: Tensor) -> Tensor:
        """(U, B, K, Y, D) what tells each of the words (U, B, K, Y), from those before it."""
        before = pad(words[..., :-1], (1, 0), value=self.model.phrases.pad)
        x = lookup(self.params["shared"], before.flatten(2)).unflatten(2, before.shape[2:])
        return self.model.layers.decode(self.params, x, memory, real, self.drop)  # type: ignore[arg-type]

    def _scores(self, candidates: Tensor, memory: object, real: Tensor) -> Tensor:
        """(U, B, K). Candidates of like length are told together."""
        length, alike = (lookup(table, candidates) for table in (self.texts.length, self.texts.alike))
        order = (length * (alike.max() + 1) + alike).argsort(dim=-1, stable=True)
        length, alike, sorted_ = (t.gather(-1, order) for t in (length, alike, candidates.expand(len(order), -1, -1)))
        found = []
        for piece in torch.arange(order.shape[2], device=order.device).split(max(1, _PAIRS // order.shape[1])):
            own = length[..., piece]
            most = max(1, int(own.max()))  # of a piece without any text too there is a place for the first token
            words = lookup(self.texts.tokens[:, :, :most], sorted_[..., piece])  # (U, B, k, Y)
            sentinel = torch.full_like(words[..., :1], self.model.phrases.sentinels[0])
            told = torch.cat([sentinel, words], -1)
            known = torch.arange(most + 1, device=order.device) <= own.unsqueeze(-1)
            known = known & (torch.arange(most + 1, device=order.device) > 0)  # the sentinel is given
            logs = self.model.logs(self.params, self._decoded(told, memory, real), (told, known)).sum(-1)
            found.append(torch.where(own > 0, logs / own.clamp(min=1), -torch.inf))
        score = torch.cat(found, -1)
        first = alike != pad(alike[..., :-1], (1, 0), value=-1)
        place = torch.arange(order.shape[2], device=order.device)
        start = torch.where(first, place, 0).cummax(-1).values  # of those with one text
        score, order = score.gather(-1, start.expand_as(score)), order.expand(len(score), -1, -1)
        return score.gather(-1, order.argsort(dim=-1))
