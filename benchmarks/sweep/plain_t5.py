"""A pre-trained T5 in plain PyTorch: frozen, with room for soft tokens in front of what it reads.

B rows, S tokens that are read, K texts that are told of each row, Y tokens of a text, D width. Names of weights are T5's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.sweep.plain_sasrec import under

Weights = Mapping[str, Tensor]
_STACKS = ("encoder", "decoder")
_RELATIVE = "SelfAttention.relative_attention_bias"


class Attention(nn.Module):
    """T5 does not scale its scores."""

    def __init__(self, weights: Weights, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (_layer(weights[name]) for name in "qkvo")

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, D) -> keys and values (B, heads, S, width of a head)."""
        return self._heads(self.k(x)), self._heads(self.v(x))

    def forward(self, x: Tensor, keys: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
        """(B, Y, D), with what is added to each score, -inf where nothing is seen."""
        mixed = F.scaled_dot_product_attention(self._heads(self.q(x)), *keys, attn_mask=bias, scale=1.0)
        return self.o(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention to itself, in a decoder attention to what was read, and a feed-forward net; a norm before each."""

    def __init__(self, weights: Weights, heads: int) -> None:
        super().__init__()
        crosses = any(name.startswith("1.EncDecAttention") for name in weights)
        last = 2 if crosses else 1
        self.own = Attention(under("0.SelfAttention.", weights), heads)
        self.cross = Attention(under("1.EncDecAttention.", weights), heads) if crosses else None
        self.norms = nn.ParameterList([nn.Parameter(weights[f"{i}.layer_norm"]) for i in range(last + 1)])
        self.inner, self.outer = (_layer(weights[f"{last}.DenseReluDense.{name}"]) for name in ("wi", "wo"))

    def forward(self, x: Tensor, bias: Tensor, read: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """(B, S, D), or (B, K, Y, D) of texts that look at what was read (B, S, D), less what is hidden of it."""
        y = _normed(x, self.norms[0])
        flat = y.flatten(0, -3)
        x = x + self.own(flat, self.own.keys(flat), bias).view_as(x)
        if self.cross is not None and read is not None and hidden is not None:
            y = _normed(x, self.norms[1]).flatten(1, 2)
            x = x + self.cross(y, self.cross.keys(read), hidden).view_as(x)
        return x + self.outer(F.relu(self.inner(_normed(x, self.norms[-1]))))


class FrozenT5(nn.Module):
    """A T5 whose words are told by what embeds them.

    Args:
        weights: by name, after `backbone.`.
        heads: of attention. buckets, distance: of relative positions.
    """

    def __init__(self, weights: Weights, heads: int, buckets: int, distance: int) -> None:
        super().__init__()
        own = under("backbone.", weights)
        self.shared, self.buckets, self.distance = nn.Parameter(own["shared"]), buckets, distance
        self.encoder, self.decoder = (_blocks(own, f"{stack}.block.", heads) for stack in _STACKS)
        self.norms = nn.ParameterDict({stack: own[f"{stack}.final_layer_norm"] for stack in _STACKS})
        self.places = nn.ParameterDict({stack: own[f"{stack}.block.0.layer.0.{_RELATIVE}"] for stack in _STACKS})
        self.requires_grad_(False)

    def encode(self, x: Tensor, real: Tensor) -> Tensor:
        """(B, S, D) of embedded tokens (B, S, D), those that are real (B, S)."""
        bias = self._places("encoder", x.shape[1]) + _hidden(real, x)
        for block in self.encoder:
            x = block(x, bias)
        return _normed(x, self.norms["encoder"])

    def decode(self, words: Tensor, read: Tensor, real: Tensor) -> Tensor:
        """(B, K, Y, D) what tells each token of texts (B, K, Y) from those before it.

        Args:
            words: the tokens before, from `<pad>` on. read: (B, S, D). real: (B, S).
        """
        x, size = self.shared[words], words.shape[2]
        later = torch.full((size, size), -torch.inf).triu(1)
        bias, hidden = self._places("decoder", size) + later, _hidden(real, x)
        for block in self.decoder:
            x = block(x, bias, read, hidden)
        return _normed(x, self.norms["decoder"])

    def logits(self, states: Tensor) -> Tensor:
        """(..., D) -> (..., vocabulary)."""
        return states @ self.shared.T * self.shared.shape[1] ** -0.5

    def _places(self, stack: str, size: int) -> Tensor:
        """(heads, size, size): what a score gets for how far the place looked at is away."""
        place = torch.arange(size)
        return self.places[stack][self._bucket(place - place[:, None], stack == "encoder")].permute(2, 0, 1)

    def _bucket(self, away: Tensor, both: bool) -> Tensor:
        """Near places have a bucket each, further ones share one by their logarithm; an encoder tells later ones apart."""
        buckets = self.buckets // 2 if both else self.buckets
        side = (away > 0) * buckets if both else 0
        far = away.abs() if both else (-away).clamp(min=0)
        near = buckets // 2
        shared = near + (torch.log(far.clamp(min=1).float() / near) / math.log(self.distance / near) * (buckets - near)).long()
        return side + torch.where(far < near, far, shared.clamp(max=buckets - 1))


def _blocks(weights: Weights, start: str, heads: int) -> nn.ModuleList:
    count = len({name.removeprefix(start).split(".")[0] for name in weights if name.startswith(start)})
    return nn.ModuleList([Block(under(f"{start}{i}.layer.", weights), heads) for i in range(count)])


def _hidden(real: Tensor, like: Tensor) -> Tensor:
    """(B, 1, 1, S): -inf at padding."""
    return torch.zeros(real.shape, dtype=like.dtype).masked_fill(~real, -torch.inf)[:, None, None]


def _normed(x: Tensor, gain: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * gain


def _layer(weight: Tensor) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer
