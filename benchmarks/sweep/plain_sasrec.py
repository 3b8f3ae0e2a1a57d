"""A pre-trained SASRec in plain PyTorch: frozen, with room for soft tokens in front. B rows, P tokens, L items, D width."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Causal self-attention and a feed-forward net, each with a norm before and a residual around it."""

    def __init__(self, weights: Mapping[str, Tensor], heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.attention_norm, self.feed_norm = _norm(weights, "attention.norm"), _norm(weights, "feed.norm")
        self.attend, self.mix = _layer(weights, "attention.in"), _layer(weights, "attention.out")
        self.feed = nn.Sequential(_layer(weights, "feed.in"), nn.GELU(), _layer(weights, "feed.out"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, P + L, D) twice."""
        q, k, v = self.attend(self.attention_norm(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, P + L, D / heads)
        x = x + self.dropout(self.mix(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed(self.feed_norm(x)))


class FrozenSasRec(nn.Module):
    """A pre-trained causal Transformer over items, with soft tokens in front of them."""

    def __init__(self, weights: Mapping[str, Tensor], heads: int, dropout: float) -> None:
        super().__init__()
        own = under("backbone.", weights)
        self.item = nn.Embedding.from_pretrained(own["item"], padding_idx=0)
        self.position, self.dropout = nn.Parameter(own["position"]), nn.Dropout(dropout)
        blocks = [under(f"block.{i}.", own) for i in range(len(own)) if f"block.{i}.feed.out.bias" in own]
        self.blocks = nn.Sequential(*[Block(w, heads, dropout) for w in blocks])
        self.norm = _norm(own, "norm")
        self.requires_grad_(False)

    def forward(self, prefix: Tensor, history: Tensor) -> Tensor:
        """(B, P, D), (B, L) -> (B, L + 1, D), what is known before each item and after the last one."""
        items = self.dropout(self.item(history) + self.position[: history.shape[1]])
        tokens = self.blocks(torch.cat([prefix, items], dim=1))
        return self.norm(tokens[:, prefix.shape[1] - 1 :])


def under(start: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in values.items() if name.startswith(start)}


def _layer(weights: Mapping[str, Tensor], name: str) -> nn.Linear:
    """A linear layer with weight (in, out) and perhaps a bias (out,)."""
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    layer = nn.utils.skip_init(nn.Linear, *weight.shape, bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight.T)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def _norm(weights: Mapping[str, Tensor], name: str) -> nn.LayerNorm:
    norm = nn.LayerNorm(len(weights[f"{name}.gain"]))
    with torch.no_grad():
        norm.weight.copy_(weights[f"{name}.gain"])
        norm.bias.copy_(weights[f"{name}.shift"])
    return norm
