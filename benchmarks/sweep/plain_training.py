"""What trainings in plain PyTorch share: Adam by group, epochs, the weights of the best one. Imports nothing of the product."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class Training(ABC, Generic[Model]):
    """One configuration.

    Args:
        model: with its start values, which count as epoch 0.
        groups: what is tuned, by group.
        configuration: `lr.<group>` and `weight_decay.<group>`.
    """

    def __init__(self, model: Model, groups: Mapping[str, Sequence[nn.Parameter]], configuration: Mapping[str, Any]) -> None:
        self.model = model
        rates = [
            {"params": [*tuned], "lr": configuration[f"lr.{g}"], "weight_decay": configuration[f"weight_decay.{g}"]}
            for g, tuned in groups.items()
        ]
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(rates, fused=True)]
        self.done, self.best, self.best_weights = 0, -math.inf, dict[str, Tensor]()
        self.validate()

    @abstractmethod
    def losses(self) -> Iterator[Tensor]:
        """Of each batch of the next epoch; a step is taken before the next is asked for."""

    @abstractmethod
    def value(self) -> float:
        """Of validation, the model in evaluation mode."""

    def epoch(self) -> float:
        """Train for one epoch and validate.

        Returns:
            The best validation value so far.
        """
        self.model.train()
        for loss in self.losses():
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
        self.done += 1
        self.validate()
        return self.best

    @torch.no_grad()
    def validate(self) -> None:
        """Keep the weights of the best epoch."""
        self.model.eval()
        value = self.value()
        if value > self.best:
            tuned = {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad}
            self.best, self.best_weights = value, tuned


def ndcg(scores: Tensor, k: int) -> float:
    """Of (N, K) scores with the positive first; the mean over lists. Ties, which hardly occur, count as above the positive."""
    place = (scores[:, 1:] >= scores[:, :1]).sum(1)
    return float(torch.where(place < k, 1 / torch.log2(place + 2.0), 0.0).mean())
