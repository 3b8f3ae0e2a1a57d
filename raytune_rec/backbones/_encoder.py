"""A Transformer over histories, with room for soft tokens in front. Shapes: S = P + L tokens, h heads; the rest as in `schema`.

Histories are oldest first and padded behind, so that an item's position is its place in the window, and a causal model needs no
padding mask. Tokens of a prefix stand in front of the first item and have no position; a lane with fewer of them than P has them
at the end, and the others are seen by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention

from raytune_rec.schema.contract import Parameter, Site
from raytune_rec.tensors import Params, Step, drops, linear, ones, thinned, xavier, zeros

Wanted = Tensor | int
"""Which places of S are wanted: one of each row, (U, B); or those from a place on."""


@dataclass(frozen=True)
class Encoder:
    """Blocks of self-attention and a feed-forward net, each with a norm before and a residual around it, and a last norm.

    Args:
        width: D. blocks, heads: of them. inner: width of the feed-forward net.
        causal: a token sees itself and those before it; otherwise all real ones.
    """

    width: int
    blocks: int
    heads: int
    inner: int
    causal: bool

    def parameters(self) -> list[Parameter]:
        d, h = self.width, self.inner
        parameters = []
        for i in range(self.blocks):
            parameters += [*_norm(f"block.{i}.attention.norm", d), *_norm(f"block.{i}.feed.norm", d)]
            shapes = {"attention.in": (d, 3 * d), "attention.out": (d, d), "feed.in": (d, h), "feed.out": (h, d)}
            for name, shape in shapes.items():
                parameters.append(Parameter(f"block.{i}.{name}.weight", shape, "encoder", xavier))
                if name != "attention.in":  # a bias of the keys has no gradient, and a norm with a shift stands before
                    parameters.append(Parameter(f"block.{i}.{name}.bias", shape[1:], "encoder", zeros))
        return [*parameters, *_norm("norm", d)]

    def __call__(
        self,
        params: Params,
        items: Tensor,
        real: Tensor,
        sites: Mapping[Site, Tensor],
        rate: Tensor,
        step: Step,
        wanted: Wanted = 0,
    ) -> Tensor:
        """What the tokens of the prefix and the items become.

        Args:
            items: (U, B, L, D), with positions. real: (U, B, L) bool, false for padding.
            sites: PREFIX (U, B, P, D) and PREFIX_MASK (U, P), where a prompt writes them.
            rate: (U,) of dropout.
            wanted: the last block leaves out what is not.

        Returns:
            (U, B, W, D), the places of S that are wanted.
        """
        x, prefix = items, sites.get(Site.PREFIX)
        count = 0 if prefix is None else prefix.shape[2]
        if prefix is not None:
            lanes = max(len(prefix), len(items))
            x = torch.cat([part.expand(lanes, -1, -1, -1) for part in (prefix, items)], dim=2)
        mask = self._mask(real, count, sites.get(Site.PREFIX_MASK), x)
        noise = _Noise(rate, step, count, real.shape[-1], self.width)
        for i in range(self.blocks):
            here = wanted if i == self.blocks - 1 else 0
            name = f"block.{i}.attention"
            mixed = self._attention(params, name, _normed(params, f"{name}.norm", x), mask, here)
            x = picked(x, here) + noise.drop(mixed, name, here)
            name = f"block.{i}.feed"
            x = x + noise.drop(self._feed(params, name, _normed(params, f"{name}.norm", x)), name, here)
        return _normed(params, "norm", x)

    def _attention(self, params: Params, name: str, x: Tensor, mask: Tensor | None, wanted: Wanted) -> Tensor:
        batch, tokens, d = x.shape[1:]
        weight, heads = params[f"{name}.in.weight"], (self.heads, d // self.heads)
        if not isinstance(wanted, int):
            return _dense(params, f"{name}.out", self._one(weight, x, self._seen(mask, wanted, tokens, x), wanted))
        if wanted:
            q = product(x[:, :, wanted:], weight[..., :d]).unflatten(3, heads)
            k, v = product(x, weight[..., d:]).unflatten(3, (2, *heads)).unbind(3)
            mask = (_causal(tokens, x) if mask is None else mask)[:, :, wanted:]
        else:
            q, k, v = product(x, weight).unflatten(3, (3, *heads)).unbind(3)  # (U, B, S, h, d/h) each
        q, k, v = (part.flatten(0, 1).transpose(1, 2) for part in (q, k, v))  # (U*B, h, S, d/h)
        lanes = len(q) // batch
        if mask is not None:
            mask = mask.expand(lanes, batch, -1, tokens).reshape(lanes * batch, 1, -1, tokens)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal and mask is None)
        return _dense(params, f"{name}.out", mixed.transpose(1, 2).reshape(lanes, batch, -1, d))

    def _one(self, weight: Tensor, x: Tensor, mask: Tensor, last: Tensor) -> Tensor:
        """(U, B, 1, D): what the one token `last` (U, B) takes from x (U, B, S, D), before the last product.

        The other tokens need neither keys nor values: q . (W_k x) is (W_k^T q) . x, and x is mixed before W_v, not after.

        Args:
            weight: (U, D, 3 D) of queries, keys and values. mask: (U, B, 1, S).
        """
        d = x.shape[-1]
        _, key, value = weight.unflatten(2, (3, self.heads, d // self.heads)).unbind(2)  # (U, D, h, d/h) each
        asking = linear(at(x, last), weight[..., :d]).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (U, h, B, d/h)
        asking = (asking @ key.permute(0, 2, 3, 1)).transpose(1, 2)  # (U, B, h, D)
        score = asking @ x.transpose(2, 3) * (d // self.heads) ** -0.5 + mask
        mixed = (torch.softmax(score, -1) @ x).transpose(1, 2) @ value.transpose(1, 2)  # (U, h, B, d/h)
        return mixed.transpose(1, 2).flatten(2).unsqueeze(2)

    def _seen(self, mask: Tensor | None, last: Tensor, tokens: int, like: Tensor) -> Tensor:
        """(U, B, 1, S): the row of a mask that belongs to the one token that asks."""
        if mask is None:
            hidden = torch.arange(tokens, device=like.device) > last.unsqueeze(-1)
            return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, -torch.inf).unsqueeze(2)
        lanes = max(len(mask), len(last))
        whole = mask.expand(lanes, last.shape[1], -1, -1)
        return whole.gather(2, last.expand(lanes, -1)[..., None, None].expand(-1, -1, 1, tokens))

    def _feed(self, params: Params, name: str, x: Tensor) -> Tensor:
        return _dense(params, f"{name}.out", gelu(_dense(params, f"{name}.in", x)))

    def _mask(self, real: Tensor, prefix: int, prefix_mask: Tensor | None, like: Tensor) -> Tensor | None:
        """(U, B or 1, S, S), 0 where a token (row) sees another (column) and -inf elsewhere; None: causal alone says it."""
        if self.causal and prefix_mask is None:
            return None
        tokens = real.shape[-1] + prefix
        place = torch.arange(tokens, device=like.device)
        sees = (place[:, None] >= place if self.causal else torch.ones_like(place[:, None] >= place))[None, None]
        if prefix_mask is not None:
            front = torch.nn.functional.pad(prefix_mask, (0, tokens - prefix), value=True)
            sees = sees & front[:, None, None]
        if not self.causal:
            sees = sees & torch.nn.functional.pad(real, (prefix, 0), value=True).unsqueeze(2)
        sees = sees | torch.eye(tokens, dtype=torch.bool, device=like.device)  # a token that nobody sees must see something
        return torch.zeros(sees.shape, dtype=like.dtype, device=like.device).masked_fill_(~sees, -torch.inf)


def _causal(tokens: int, like: Tensor) -> Tensor:
    """(1, 1, S, S): as `_mask`, of a model that sees what came before."""
    hidden = torch.ones(1, 1, tokens, tokens, dtype=torch.bool, device=like.device).triu(1)
    return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, -torch.inf)


@dataclass(frozen=True)
class _Noise:
    """Dropout of tokens (U, B, S, D). The noise of an item depends on its position, that of a prefix token on its distance from
    the end, so that neither depends on how many tokens a neighbour has.
    """

    rate: Tensor
    step: Step
    prefix: int
    items: int
    width: int

    def drop(self, x: Tensor, site: str, wanted: Wanted) -> Tensor:
        """`wanted`: the places that x holds."""
        if not drops(self.rate, self.step) or self.step.noise is None:
            return x
        parts = []
        if self.prefix:
            parts.append(self._uniform(f"{site}.prefix", self.prefix).flip(2))
        if self.items:
            parts.append(self._uniform(site, self.items))
        noise = torch.cat(parts, dim=2)
        return thinned(x, self.rate, picked(noise, wanted))

    def _uniform(self, site: str, tokens: int) -> Tensor:
        """(U, B, tokens, D)."""
        assert self.step.noise is not None
        return self.step.noise.uniform(site, tokens * self.width).unflatten(2, (tokens, self.width))


def picked(states: Tensor, wanted: Wanted) -> Tensor:
    """(U, B, W, D) of states (U, B, S, D)."""
    return states[:, :, wanted:] if isinstance(wanted, int) else at(states, wanted).unsqueeze(2)


def at(states: Tensor, place: Tensor) -> Tensor:
    """(U, B, D) from states (U, B, S, D) and the place in each row (U, B)."""
    lanes = max(len(states), len(place))
    index = place.expand(lanes, -1)[..., None, None].expand(-1, -1, 1, states.shape[-1])
    return states.expand(lanes, -1, -1, -1).gather(2, index).squeeze(2)


def _norm(name: str, width: int) -> list[Parameter]:
    return [Parameter(f"{name}.gain", (width,), "encoder", ones), Parameter(f"{name}.shift", (width,), "encoder", zeros)]


def _normed(params: Params, name: str, x: Tensor) -> Tensor:
    gain, shift = params[f"{name}.gain"], params[f"{name}.shift"]
    if len(gain) == 1:
        return layer_norm(x, gain.shape[1:], gain[0], shift[0])
    return layer_norm(x, gain.shape[1:]) * gain[:, None, None] + shift[:, None, None]


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(U, B, S, K) times (U, K, H)."""
    flat = linear(x.flatten(1, 2), weight, bias)
    return flat.view(flat.shape[0], *x.shape[1:3], -1)


def _dense(params: Params, name: str, x: Tensor) -> Tensor:
    return product(x, params[f"{name}.weight"], params[f"{name}.bias"])
