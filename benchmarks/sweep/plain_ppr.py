"""PPR(light) beside a frozen SASRec in plain PyTorch, one configuration at a time, as a user without this product would write it.

B rows, L items of a history, A attributes of a user, P prompt tokens, D width, K candidates. Imports nothing of the product: what
a process of a yardstick loads is what its user's process would load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.sweep import plain_training
from benchmarks.sweep.plain_sasrec import FrozenSasRec, under
from benchmarks.sweep.plain_training import ndcg

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Given:
    """What training otherwise draws. E epochs, N rows, S steps of all epochs.

    Args:
        orders: (E, N) int64, the order of rows.
        negatives: (S, n) int64, the sampled items of each step.
        profile: (E, N, A * width) and items: (E, N, L), in the order of the rows: uniform noise behind the masks of the views.
        starts: seed -> start values by name.
    """

    orders: np.ndarray
    negatives: np.ndarray
    profile: np.ndarray
    items: np.ndarray
    starts: Mapping[int, Arrays]


@dataclass(frozen=True)
class Rows:
    """The rows of one unit and the pre-trained weights, as arrays.

    Args:
        sizes: attribute -> how many ids it has, in the order of the columns of `profile`.
        train: `profile` (N, A), `history` (N, L), `target` (N, L + 1), the item that follows each place; ids, 0 is none.
        valid: `profile`, `history` and `candidates` (N, K), the positive first.
        weights: of the backbone, by name.
        given: None: drawn in training.
    """

    sizes: Mapping[str, int]
    train: Arrays
    valid: Arrays
    weights: Arrays
    given: Given | None = None

    def load(self) -> Data:
        return Data(self)


class Data:
    """Rows as tensors, and the frozen backbone's weights: made once in a process."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.given = rows, rows.given
        self.train, self.valid, self.weights = (
            {name: torch.tensor(value) for name, value in held.items()} for held in (rows.train, rows.valid, rows.weights)
        )

    def training(self, configuration: Mapping[str, Any], seed: int) -> Training:
        return Training(self, configuration, seed)


class TwoLayers(nn.Module):
    def __init__(self, inner: int, hidden: int, outer: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(inner, hidden), nn.Linear(hidden, outer)
        for layer in (self.first, self.last):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)))


class PprLight(nn.Module):
    """Prompt tokens and a user vector made of the user's attributes, beside the frozen model."""

    def __init__(self, data: Data, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.c = c
        self.backbone = FrozenSasRec(data.weights, c["heads"], c["dropout"])
        self.items, width, hidden = self.backbone.item.weight, data.weights["backbone.item"].shape[1], c["hidden_width"]
        sizes = data.rows.sizes
        self.of = nn.ModuleDict({name: nn.Embedding(size, c["profile_width"], padding_idx=0) for name, size in sizes.items()})
        inner = len(sizes) * c["profile_width"]
        self.generator = TwoLayers(inner, hidden, c["tokens"] * width)
        self.learner = TwoLayers(inner, hidden, width)
        for table in self.of.parameters():
            nn.init.normal_(table[1:], std=0.1)
        nn.init.normal_(self.generator.last.bias, std=0.02)
        nn.init.zeros_(self.learner.last.weight)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is tuned, by group."""
        return {"prompt": [*self.generator.parameters()], "profile": [*self.of.parameters(), *self.learner.parameters()]}

    def loss(self, rows: Mapping[str, Tensor], negatives: Tensor, profile: Tensor, items: Tensor) -> Tensor:
        """Sampled softmax of the next items, and both contrastive losses. One pass for the rows and their two views.

        Args:
            rows: `profile` (B, A), `history` (B, L), `target` (B, L + 1).
            negatives: (n,) items.
            profile, items: (B, A * width) and (B, L), uniform: what is below the share of a mask is masked.
        """
        x, history = self.profile(rows["profile"]), rows["history"]
        masked = x * (profile >= self.c["profile_mask"]), history * (items >= self.c["item_mask"])
        states = self.states(torch.cat([x, masked[0], x]), torch.cat([history, history, masked[1]])).unflatten(0, (3, -1))
        own, *views = states[:, torch.arange(len(x)), (history > 0).sum(1)]  # (B, D) each
        contrast = sum(info_nce(own, view, self.c["temperature"]) for view in views) / len(views)
        predicted = states[0] + self.learner(x).unsqueeze(1)
        return self.next_items(predicted, rows["target"], negatives) + self.c["weight"] * contrast

    def scores(self, rows: Mapping[str, Tensor]) -> Tensor:
        """(B, K) of the candidates."""
        x, history = self.profile(rows["profile"]), rows["history"]
        user = self.states(x, history)[torch.arange(len(x)), (history > 0).sum(1)] + self.learner(x)
        return (user @ self.items.T).gather(1, rows["candidates"])

    def profile(self, ids: Tensor) -> Tensor:
        """(B, A) -> (B, A * width)."""
        return torch.cat([table(column) for table, column in zip(self.of.values(), ids.unbind(1), strict=True)], dim=1)

    def states(self, x: Tensor, history: Tensor) -> Tensor:
        """(B, L + 1, D)."""
        return self.backbone(self.generator(x).unflatten(1, (self.c["tokens"], -1)), history)

    def next_items(self, states: Tensor, target: Tensor, negatives: Tensor) -> Tensor:
        """Of all places, over the rows and the places of a row. A target of 0 is none."""
        states, wanted = states[target > 0], target[target > 0]  # (M, D), (M,)
        positive = (states * self.backbone.item(wanted)).sum(1, keepdim=True)
        negative = states @ self.backbone.item(negatives).T  # (M, n)
        negative = negative.masked_fill(negatives == wanted.unsqueeze(1), -torch.inf)
        logits = torch.cat([positive, negative], dim=1)
        return F.cross_entropy(logits, torch.zeros_like(wanted), reduction="sum") / target.numel()


class Training(plain_training.Training[PprLight]):
    """One configuration.

    Args:
        data: rows, frozen weights and perhaps what is given.
        configuration: `lr.<group>`, `weight_decay.<group>`, `dropout`, `heads`, `tokens`, `hidden_width`, `profile_width`,
            `profile_mask`, `item_mask`, `temperature`, `weight`, `negatives`, `batch_size`.
        seed: of all that is drawn; names the start values where they are given.
    """

    def __init__(self, data: Data, configuration: Mapping[str, Any], seed: int) -> None:
        torch.manual_seed(seed)
        self.data, self.c = data, configuration
        model = PprLight(data, configuration)
        if data.given:
            take(model, {name: torch.tensor(value) for name, value in data.given.starts[seed].items()})
        super().__init__(model, model.groups(), configuration)

    def losses(self) -> Iterator[Tensor]:
        for index, drawn in self._given() if self.data.given else self._drawn():
            yield self.model.loss({name: column[index] for name, column in self.data.train.items()}, *drawn)

    def value(self) -> float:
        return ndcg(self.model.scores(self.data.valid), 10)

    def _drawn(self) -> Iterator[tuple[Tensor, Sequence[Tensor]]]:
        """Rows of each step, with negatives and the noise of both views."""
        history, items = self.data.train["history"], len(self.model.items)
        inner = len(self.data.rows.sizes) * self.c["profile_width"]
        for index in torch.randperm(len(history)).split(self.c["batch_size"]):
            negatives = torch.randint(1, items, (self.c["negatives"],))
            yield index, (negatives, torch.rand(len(index), inner), torch.rand(len(index), history.shape[1]))

    def _given(self) -> Iterator[tuple[Tensor, Sequence[Tensor]]]:
        given, size = self.data.given, self.c["batch_size"]
        assert given is not None
        own = [torch.tensor(of[self.done]).split(size) for of in (given.orders, given.profile, given.items)]
        first = self.done * len(own[0])
        negatives = torch.tensor(given.negatives[first : first + len(own[0])])
        for index, profile, items, drawn in zip(*own, negatives, strict=True):
            yield index, (drawn, profile, items)


def info_nce(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Each row's other view among those of the batch, by cosine: (B, D), (B, D) -> the mean."""
    score = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature
    return F.cross_entropy(score, torch.arange(len(a)))


@torch.no_grad()
def take(model: PprLight, values: Mapping[str, Tensor]) -> None:
    """Start values as the product names them, weights (in, out). Its tokens come last to first."""
    own = under("prompt.", values)
    for name, table in model.of.named_parameters():
        table.copy_(own[f"of.{name.removesuffix('.weight')}"])
    out, bias = own["generator.out.weight"].flip(0), own["generator.out.bias"].flip(0)  # (P, H, D), (P, D)
    layers = [
        (model.generator.first, own["generator.in.weight"].T, own["generator.in.bias"]),
        (model.generator.last, out.transpose(1, 2).flatten(0, 1), bias.flatten()),
        (model.learner.first, own["learner.in.weight"].T, own["learner.in.bias"]),
        (model.learner.last, own["learner.out.weight"].T, own["learner.out.bias"]),
    ]
    for layer, weight, shift in layers:
        layer.weight.copy_(weight)
        layer.bias.copy_(shift)
