"""What is tuned beside a frozen model, in plain PyTorch: PLATE's prompts, and low-rank adapters.

B rows, F fields, P fields of a prompt, D width, R meta-prompts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Prompt(nn.Module):
    """PLATE's domain prompt and its user prompt, two further fields.

    Args:
        domains: rows of the domain's table. domain: its column among the ids. profile: columns of the user's fields.
        width: D. hidden: width of the network's two layers.
        meta: R of Fusion; 0: Generative.
    """

    count = 2

    def __init__(self, domains: int, domain: int, profile: Sequence[int], width: int, hidden: int, meta: int) -> None:
        super().__init__()
        self.place, self.profile = domain, list(profile)
        self.domain = nn.Embedding(domains, width)
        self.network = nn.Sequential(
            nn.Linear(len(self.profile) * width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, meta or width, bias=False),
        )  # fmt: skip
        self.meta = nn.Parameter(torch.randn(meta, width) / 4) if meta else None
        self.temperature = 1.0

    def forward(self, fields: Tensor, ids: Tensor) -> Tensor:
        """fields: (B, F, D). ids: (B, F). Returns (B, 2, D)."""
        user = self.network(fields[:, self.profile].flatten(1))
        if self.meta is not None:
            user = torch.softmax(user / self.temperature, dim=1) @ self.meta
        return torch.stack([self.domain(ids[:, self.place]), user], dim=1)


class LowRankLinear(nn.Module):
    """A frozen layer and A B beside its matrix."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(base.in_features, rank) / rank)
        self.up = nn.Parameter(torch.zeros(rank, base.out_features))

    @property
    def weight(self) -> Tensor:
        return self.base.weight + (self.down @ self.up).T

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.base(x) + x @ self.down @ self.up
        return found


class LowRankEmbedding(nn.Module):
    """A frozen table and A B beside it, of the rows that are looked up."""

    def __init__(self, base: nn.Embedding, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Embedding(base.num_embeddings, rank)
        nn.init.zeros_(self.down.weight)
        self.up = nn.Parameter(torch.randn(rank, base.embedding_dim) / rank)

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.base(ids) + self.down(ids) @ self.up
        return found


def adapt(model: nn.Module, rank: int, first: int) -> None:
    """Freeze a model, and put adapters beside all its matrices and its tables but those of the linear part.

    Args:
        rank: R. first: of the deep part's first matrix.
    """
    model.requires_grad_(False)
    for name, part in list(model.named_modules()):
        if name.startswith("linear") or not isinstance(part, nn.Linear | nn.Embedding):
            continue
        owner, _, own = name.rpartition(".")
        own_rank = first if name == "deep.0" else rank
        wrapped = LowRankLinear(part, own_rank) if isinstance(part, nn.Linear) else LowRankEmbedding(part, rank)
        setattr(model.get_submodule(owner), own, wrapped)
