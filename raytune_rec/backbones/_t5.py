"""T5's layers over given tensors (Raffel et al., JMLR 2020; the gated form of T5 1.1 and FLAN-T5 as well).

Shapes: S tokens that are read, K texts that are told of one that is read, Y tokens of a text, h heads, d width of a head, S', Y'
those that are looked at; the rest as in `schema`. Names of parameters are those of T5's own files, without `.weight`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention

from raytune_rec.backbones._encoder import product
from raytune_rec.schema.contract import Parameter
from raytune_rec.tensors import Params, Step, dropout, normal, ones

Memory = Sequence[tuple[Tensor, Tensor]]
"""Keys and values (U, B, h, S, d) of what was read, of each block of the decoder."""
_EPSILON = 1e-6
_RELATIVE = "SelfAttention.relative_attention_bias"


@dataclass(frozen=True)
class Layers:
    """Args:
    width: D. head_width: d. heads: h. inner: width of the feed-forward net. encoder_blocks, decoder_blocks: of them.
    buckets, distance: of relative positions; what is further away than `distance` shares the last bucket.
    gated: the feed-forward net has a gate, and GELU for ReLU.
    """

    width: int
    head_width: int
    heads: int
    inner: int
    encoder_blocks: int
    decoder_blocks: int
    buckets: int
    distance: int
    gated: bool

    def parameters(self) -> list[Parameter]:
        return [*self._stack("encoder", self.encoder_blocks, False), *self._stack("decoder", self.decoder_blocks, True)]

    def _stack(self, stack: str, blocks: int, crosses: bool) -> list[Parameter]:
        d, every, std = self.width, self.heads * self.head_width, self.width**-0.5
        found = [Parameter(f"{stack}.final_layer_norm", (d,), stack, ones)]
        found.append(Parameter(f"{stack}.block.0.layer.0.{_RELATIVE}", (self.buckets, self.heads), stack, normal(std)))
        for i in range(blocks):
            kinds = ["SelfAttention", *(["EncDecAttention"] if crosses else [])]
            for n, kind in enumerate(kinds):
                name = f"{stack}.block.{i}.layer.{n}"
                starts = {"q": (d * self.head_width) ** -0.5, "k": std, "v": std}
                found += [Parameter(f"{name}.{kind}.{m}", (every, d), stack, normal(s)) for m, s in starts.items()]
                found.append(Parameter(f"{name}.{kind}.o", (d, every), stack, normal(every**-0.5)))
                found.append(Parameter(f"{name}.layer_norm", (d,), stack, ones))
            name = f"{stack}.block.{i}.layer.{len(kinds)}"
            for into in ("wi_0", "wi_1") if self.gated else ("wi",):
                found.append(Parameter(f"{name}.DenseReluDense.{into}", (self.inner, d), stack, normal(std)))
            found.append(Parameter(f"{name}.DenseReluDense.wo", (d, self.inner), stack, normal(self.inner**-0.5)))
            found.append(Parameter(f"{name}.layer_norm", (d,), stack, ones))
        return found

    def encode(self, params: Params, x: Tensor, real: Tensor, drop: Drop) -> Tensor:
        """(U, B, S, D) what is made of embedded tokens (U, B, S, D).

        Args:
            real: (U, B, S) bool, false for padding.
        """
        mask = self._bias(params, "encoder", x.shape[2]).unsqueeze(1) + _hidden(real, x)
        x = drop(x, "encoder")
        for i in range(self.encoder_blocks):
            name = f"encoder.block.{i}.layer"
            y = _norm(params, f"{name}.0", x)
            q, k, v = (self._heads(params, f"{name}.0.SelfAttention.{m}", y) for m in "qkv")
            x = x + drop(self._attended(params, f"{name}.0.SelfAttention", q, k, v, mask), f"{name}.0")
            x = x + self._fed(params, f"{name}.1", x, drop)
        return drop(_normed(params["encoder.final_layer_norm"], x), "encoder.final")

    def memory(self, params: Params, read: Tensor) -> Memory:
        """What the decoder looks at, of `encode`'s (U, B, S, D)."""
        names = [f"decoder.block.{i}.layer.1.EncDecAttention" for i in range(self.decoder_blocks)]
        return [(self._heads(params, f"{n}.k", read), self._heads(params, f"{n}.v", read)) for n in names]

    def decode(self, params: Params, x: Tensor, memory: Memory, real: Tensor, drop: Drop) -> Tensor:
        """(U, B, K, Y, D): what stands at each token when it and those before it are known, K texts of each that was read.

        Args:
            x: (U, B, K, Y, D), embedded. real: (U, B, S) bool, of what was read.
        """
        _, rows, texts, tokens, _ = x.shape
        later = torch.full((tokens, tokens), -torch.inf, dtype=x.dtype, device=x.device).triu(1)
        own = (self._bias(params, "decoder", tokens) + later).unsqueeze(1)  # (U, 1, h, Y, Y)
        read = _hidden(real, x)
        x = drop(x.flatten(2, 3), "decoder")  # (U, B, K Y, D)
        for i in range(self.decoder_blocks):
            name = f"decoder.block.{i}.layer"
            y = _norm(params, f"{name}.0", x).unflatten(2, (texts, tokens)).flatten(1, 2)  # (U, B K, Y, D)
            q, k, v = (self._heads(params, f"{name}.0.SelfAttention.{m}", y) for m in "qkv")
            mixed = self._attended(params, f"{name}.0.SelfAttention", q, k, v, own)
            x = x + drop(mixed.unflatten(1, (rows, texts)).flatten(2, 3), f"{name}.0")
            q = self._heads(params, f"{name}.1.EncDecAttention.q", _norm(params, f"{name}.1", x))
            x = x + drop(self._attended(params, f"{name}.1.EncDecAttention", q, *memory[i], read), f"{name}.1")
            x = x + self._fed(params, f"{name}.2", x, drop)
        x = drop(_normed(params["decoder.final_layer_norm"], x), "decoder.final")
        return x.unflatten(2, (texts, tokens))

    def _heads(self, params: Params, name: str, x: Tensor) -> Tensor:
        """(U, B, h, S, d)."""
        return _dense(params, name, x).unflatten(3, (self.heads, self.head_width)).transpose(2, 3)

    def _attended(self, params: Params, name: str, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """(U, B, Y, D). T5 does not scale its scores: start values and training make up for it."""
        lanes, rows = max(len(q), len(k), len(mask)), q.shape[1]
        q, k, v = (part.expand(lanes, *part.shape[1:]).flatten(0, 1) for part in (q, k, v))
        mask = mask.expand(lanes, rows, *mask.shape[2:]).flatten(0, 1) if mask.shape[:2] != (1, 1) else mask[0]
        if mask.requires_grad and not mask.is_cuda:  # there PyTorch's own way is not fused, and looks for rows that see nothing
            mixed = (q @ k.transpose(2, 3) + mask).softmax(-1) @ v
        else:
            mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
        return _dense(params, f"{name}.o", mixed.unflatten(0, (lanes, rows)).transpose(2, 3).flatten(3))

    def _fed(self, params: Params, name: str, x: Tensor, drop: Drop) -> Tensor:
        y, inner = _norm(params, name, x), f"{name}.DenseReluDense"
        if self.gated:
            y = functional.gelu(_dense(params, f"{inner}.wi_0", y), approximate="tanh") * _dense(params, f"{inner}.wi_1", y)
        else:
            y = torch.relu(_dense(params, f"{inner}.wi", y))
        return drop(_dense(params, f"{inner}.wo", drop(y, f"{name}.inner")), name)

    def _bias(self, params: Params, stack: str, tokens: int) -> Tensor:
        """(U, h, S, S): what is added to a score by how far the token looked at (column) stands from the one that looks."""
        table = params[f"{stack}.block.0.layer.0.{_RELATIVE}"]  # (U, buckets, h), of the first block for all
        place = torch.arange(tokens, device=table.device)
        bucket = _bucket(place[None] - place[:, None], stack == "encoder", self.buckets, self.distance)
        return table[:, bucket].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Drop:
    """Dropout of (U, B, S, H), by places counted from the first token, those of a prefix from the last one back.

    Args:
        rate: (U,). prefix: how many of the tokens that are read are soft ones.
    """

    rate: Tensor
    step: Step
    prefix: int = 0

    def __call__(self, x: Tensor, site: str) -> Tensor:
        if x.dim() == 5:
            return self(x.flatten(2, 3), site).unflatten(2, x.shape[2:4])
        count = self.prefix if site.startswith("encoder") else 0
        soft, words = x[:, :, :count], x[:, :, count:]
        parts = [dropout(words.flatten(2), self.rate, self.step, site).unflatten(2, words.shape[2:])]
        if count:
            turned = dropout(soft.flip(2).flatten(2), self.rate, self.step, f"{site}.prefix").unflatten(2, soft.shape[2:])
            parts.insert(0, turned.flip(2))
        return torch.cat(parts, 2) if count else parts[0]


def _bucket(away: Tensor, both: bool, buckets: int, distance: int) -> Tensor:
    """The bucket of each distance, the place that is looked at less that which looks: near ones have their own, further ones
    share one by their logarithm; half of them are of later places, where these are looked at.
    """
    found = torch.zeros_like(away)
    if both:
        buckets //= 2
        found = found + (away > 0) * buckets
        away = away.abs()
    else:
        away = (-away).clamp(min=0)
    near = buckets // 2
    share = torch.log(away.clamp(min=1).float() / near) / math.log(distance / near)
    far = (near + (share * (buckets - near)).long()).clamp(max=buckets - 1)
    return found + torch.where(away < near, away, far)


def _hidden(real: Tensor, like: Tensor) -> Tensor:
    """(U, B, 1, 1, S): 0 of real tokens, -inf of padding."""
    mask = torch.zeros(real.shape, dtype=like.dtype, device=like.device).masked_fill_(~real, -torch.inf)
    return mask[:, :, None, None]


def _norm(params: Params, layer: str, x: Tensor) -> Tensor:
    return _normed(params[f"{layer}.layer_norm"], x)


def _normed(gain: Tensor, x: Tensor) -> Tensor:
    """x (U, B, S, D) over its root mean square."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + _EPSILON) * gain[:, None, None]


def _dense(params: Params, name: str, x: Tensor) -> Tensor:
    """(U, B, S, H), with a weight as T5 keeps it, (U, H, K)."""
    return product(x, params[name].transpose(1, 2))
