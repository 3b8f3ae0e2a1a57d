"""What CTR models over fields share: options, fields, room for prompt fields, and how they rank items for a user.

Shapes: U: 1 or T lanes, B rows, V ids, I own items, K candidates, D width, n prompt fields, X width of a share,
F numbers of the first-order part.

A user and an item together are a row of fields like any other. Up to its first layer such a model is a sum over fields, so that
of a pair the share of the user's fields and that of the item's are computed once, for each row and for each item, and added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field as Bound
from torch import Tensor
from torch.nn.functional import pad

from raytune_rec import components
from raytune_rec.axes import every_item, item_rows
from raytune_rec.backbones._deep import Deep
from raytune_rec.backbones._fields import FieldLayer, Treatment, side_by_side
from raytune_rec.backbones.base import Backbone, Outputs, Paired
from raytune_rec.components import numeric, structural
from raytune_rec.schema.contract import Batch, Entities, Parameter, Reading, Site, SiteShape
from raytune_rec.schema.prepared import ITEM, DataSchema, Field
from raytune_rec.tensors import Params, Step, linear, lookup, xavier, zeros

_ITEMS = 128
"""Items of each row whose pairs are scored at once, outside training."""

DeepPart = Callable[[Tensor, Tensor | None], Tensor]
"""(U, B, H) what the first layer has of the fields, (U, B, n*D) prompt fields or None -> (U, B) logits of the deep part."""


class CtrOptions(components.Options):
    """Of a model with a deep part."""

    width: int = structural(16, "D, embedding width (PLATE, Table 5: 16 for Douban)", ge=1, le=16384)
    hidden: tuple[Annotated[int, Bound(ge=1, le=65536)], ...] = structural(
        (16, 16), "widths of the deep part (PLATE, Table 5)", min_length=1
    )
    numbers: Treatment = structural("field", "numerical fields (PLATE, section 2.2.1): none, field or discretize")
    batch_norm: bool = structural(False, "batch norm before each activation of the deep part")
    embedding_std: float = structural(0.01, "standard deviation of the embeddings' start values", gt=0, le=100)
    dropout: float = numeric(0.2, "dropout rate of the deep part (PLATE, Table 5)", ge=0, lt=1)


class Ctr(Backbone):
    """A CTR model. It takes FIELDS and WEIGHTS; where items are ranked for users with histories also ITEM and TARGET: what
    stands there is the embedding of an item in its item field. A user is known there by id and attributes, not by the history.

    Of a user may be read the sum of the vectors of his fields, of an item its embedding, and its attributes side by side.
    """

    groups: frozenset[str] = frozenset({"embedding", "linear", "interaction", "output"})
    encoded_groups: frozenset[str] = frozenset({"embedding", "interaction"})
    shaped_by: frozenset[Site] = frozenset({Site.FIELDS})
    rows_by_id = False
    tasks = frozenset({"rows", "lists"})

    def __init__(self, options: CtrOptions, schema: DataSchema, sites: Mapping[Site, SiteShape]) -> None:
        super().__init__(options, schema, sites)
        self.layer = FieldLayer(schema, options.width, options.numbers, options.embedding_std)
        self.prompts = sites[Site.FIELDS].count * options.width if Site.FIELDS in sites else 0
        self.deep = Deep(sum(self.layer.widths), self.prompts, options.hidden, options.batch_norm)
        self.ranks = schema.task.chooses
        self.of_items = [f for f in self.layer.ordered if f.role == "item"]
        self.of_users = [f for f in self.layer.ordered if f.role != "item"]
        self.profile = [f for f in self.layer.embedded if f.role == "user"]
        self.orders = 1  # numbers of the first-order part
        self.features = [f.name for f in self.layer.embedded if f.role == "item" and f.name != ITEM]
        if self.ranks:
            self.returns = frozenset({"pairs"})
            self.encoded_groups = self.item_groups = self.user_groups = self.groups

    @classmethod
    def takes(cls, options: CtrOptions, schema: DataSchema) -> Mapping[Site, int]:
        by_id = (Site.ITEM, Site.TARGET) if schema.task.chooses else ()
        return {**dict.fromkeys((Site.FIELDS, *by_id), options.width), Site.WEIGHTS: 0}

    @classmethod
    def gives(cls, options: CtrOptions, schema: DataSchema) -> Mapping[str, Reading]:
        embedded = [f for f in schema.fields if f.kind != "numerical" or options.numbers != "none"]
        width = {role: options.width * sum(f.role == role for f in embedded) for role in ("user", "item")}
        given = {"user_features": Reading(width["user"])}
        if not schema.task.chooses:
            return given
        given |= {name: Reading(options.width, "item") for name in ("item_vector", "item_embedding")}
        given |= {"item_features": Reading(features, "item")} if (features := width["item"] - options.width) else {}
        return {**given, "user_vector": Reading(options.width, "user")}

    def buffers(self) -> tuple[Parameter, ...]:
        return self.deep.buffers()

    def encode_items(self, params: Params, items: Entities) -> Mapping[str, Tensor]:
        """Beside the readings `item_share` (U, V, X + F), and `item_rest`, the same without the embedding: the last F numbers of
        both are the first-order part.
        """
        if not self.ranks:
            return {}
        columns = {**items.columns, ITEM: items.ids}
        vectors = self.layer.vectors(params, columns, self.of_items)
        item, first = vectors[ITEM], self.first_order(params, columns, self.of_items, bias=False)
        rest = side_by_side([self.share(params, {**vectors, ITEM: torch.zeros_like(item)}), first])
        given = {"item_vector": item, "item_embedding": item, "item_rest": rest}
        given |= {"item_share": self._in_its_field(params, item, rest)}
        features = [vectors[name] for name in self.features]
        return {**given, "item_features": side_by_side(features)} if features else given

    def encode_users(self, params: Params, users: Entities) -> Mapping[str, Tensor]:
        if not self.ranks:
            return {}
        vectors = self.layer.vectors(params, users.columns, self.profile)
        return {"user_vector": torch.stack([*torch.broadcast_tensors(*vectors.values())]).sum(0)}

    def encode(self, params: Params, batch: Batch) -> Mapping[str, Tensor]:
        """`user_features` (U, B, Fu*D), and what `of_rows` reads or, for users with histories, `user_share` (U, B, X + F)."""
        vectors = self.layer.vectors(params, batch.columns, self.of_users if self.ranks else None)
        features = {"user_features": side_by_side(vectors[f.name] for f in self.profile)}
        if not self.ranks:
            return {**self.encode_rows(params, vectors), **features}
        first = self.first_order(params, batch.columns, self.of_users)
        return {"user_share": side_by_side([self.share(params, vectors), first]), **features}

    def forward(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
    ) -> Outputs:
        prompt = sites[Site.FIELDS].flatten(2) if self.prompts else None  # (U, B, n*D)
        if not self.ranks:
            deep = partial(self._of_deep, params, options, batch.weight, step, 1)
            return {"logit": self.of_rows(params, encoded, self.first_order(params, batch.columns), prompt, deep)}
        user = encoded["user_share"]
        if prompt is not None:
            user = user + pad(self.share_of_prompt(params, prompt), (0, self.orders))
        score = partial(self._of_pairs, params, encoded, user, batch, sites, options, step)
        table = encoded["item_share"]
        if step.training:
            return Paired(score, table.shape[1], {})
        every = torch.arange(table.shape[1], device=table.device).expand(*batch.label.shape, -1)
        pieces = batch.columns.get("candidates", every).split(_ITEMS, dim=2)
        vectors = partial(every_item, encoded["item_vector"], sites, batch)
        return Paired(score, table.shape[1], {"logit": torch.cat([score(ids) for ids in pieces], dim=2)}, vectors)

    def _of_pairs(
        self,
        params: Params,
        encoded: Mapping[str, Tensor],
        user: Tensor,
        batch: Batch,
        sites: Mapping[Site, Tensor],
        options: Mapping[str, Tensor],
        step: Step,
        ids: Tensor,
    ) -> Tensor:
        """(U, B, K) of each row and some items (U, B, K).

        Args:
            user: (U, B, X + F), the share of each row's user.
        """
        written, rest = {}, encoded["item_rest"]
        if Site.ITEM in sites and batch.members is not None:
            written[Site.ITEM] = self._in_its_field(params, sites[Site.ITEM], lookup(rest, batch.members.ids))
        items = item_rows(encoded["item_share"], ids, written, batch)  # (U, B, K, X + F)
        if Site.TARGET in sites:
            about = batch.columns["target"].amax(-1)
            own = self._in_its_field(params, sites[Site.TARGET], lookup(rest, about))
            items = torch.where((ids == about.unsqueeze(-1)).unsqueeze(-1), own.unsqueeze(2), items)
        pairs = (user.unsqueeze(2) + items).flatten(1, 2)
        weight = (batch.weight.unsqueeze(-1) * (ids > 0)).flatten(1, 2)
        share, first = pairs[..., : -self.orders], pairs[..., -self.orders :]
        deep = partial(self._of_deep, params, options, weight, step, ids.shape[2])
        return self.of_share(params, share, first, deep).unflatten(1, ids.shape[1:])

    def _in_its_field(self, params: Params, vectors: Tensor, rest: Tensor) -> Tensor:
        """(U, N, X + F): the share of items whose embedding is another.

        Args:
            vectors: (U, N, D). rest: (U, N, X + F) of the same items.
        """
        return rest + pad(self.share(params, {ITEM: vectors}), (0, self.orders))

    def first_order(
        self, params: Params, columns: Mapping[str, Tensor], fields: Sequence[Field] | None = None, bias: bool = True
    ) -> Tensor:
        """(U, N, F): the first-order part of all fields or of some, here their sum, F = 1.

        Args:
            columns: as of `FieldLayer.vectors`. bias: whether the bias is in it.
        """
        return self.layer.linear(params, columns, fields, bias).unsqueeze(-1)

    def output_parameters(self) -> tuple[Parameter, ...]:
        """Of the layer over the deep part."""
        shape = (self.options.hidden[-1], 1)
        return (Parameter("output.weight", shape, "output", xavier), Parameter("output.bias", (1,), "output", zeros))

    def _of_deep(
        self,
        params: Params,
        options: Mapping[str, Tensor],
        weight: Tensor,
        step: Step,
        each: int,
        first: Tensor,
        prompt: Tensor | None,
    ) -> Tensor:
        """Bound to a pass a `DeepPart`: the deep part and the output layer over it.

        Args:
            weight, each: as of `Deep`.
        """
        hidden = self.deep(params, first, prompt, options, weight, step, each)
        return linear(hidden, params["output.weight"], params["output.bias"]).squeeze(-1)

    def encode_rows(self, params: Params, vectors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What of labelled rows depends on `encoded_groups` alone: name -> (U, B, ...).

        Args:
            vectors: of all fields, as of `FieldLayer.vectors`.
        """
        raise NotImplementedError

    def of_rows(
        self, params: Params, encoded: Mapping[str, Tensor], first: Tensor, prompt: Tensor | None, deep: DeepPart
    ) -> Tensor:
        """(U, B) logits of labelled rows.

        Args:
            first: (U, B, F) the first-order part. prompt: (U, B, n*D).
        """
        raise NotImplementedError

    def share(self, params: Params, vectors: Mapping[str, Tensor]) -> Tensor:
        """(U, N, X): what some fields add: unless a model has less to carry, all fields and prompt fields side by side, zeros
        in the places of others.

        Args:
            vectors: as of `FieldLayer.vectors`, one at least.
        """
        like = next(iter(vectors.values()))
        sides = zip(self.layer.ordered, self.layer.widths, strict=True)
        held = [vectors[f.name] if f.name in vectors else like.new_zeros(1, like.shape[1], width) for f, width in sides]
        return pad(side_by_side(held), (0, self.prompts))

    def share_of_prompt(self, params: Params, prompt: Tensor) -> Tensor:
        """(U, B, X): likewise of prompt fields (U, B, n*D)."""
        return pad(prompt, (sum(self.layer.widths), 0))

    def of_share(self, params: Params, share: Tensor, first: Tensor, deep: DeepPart) -> Tensor:
        """(U, N) logits.

        Args:
            share: (U, N, X), the sum over all fields. first: (U, N, F), the first-order part.
        """
        fields, prompts = share.split([sum(self.layer.widths), self.prompts], dim=-1)
        sides = fields.split(self.layer.widths, dim=-1)
        encoded = self.encode_rows(params, {f.name: side for f, side in zip(self.layer.ordered, sides, strict=True)})
        return self.of_rows(params, encoded, first, prompts if self.prompts else None, deep)
