"""A soft prompt of a frozen T5 in plain PyTorch, one configuration at a time, as a user without this product would write it.

B rows, L items of a history, K candidates, S tokens that are read, Y that are told, P soft tokens, D width, V items. Imports
nothing of the product: what a process of a yardstick loads is what its user's process would load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from benchmarks.sweep import plain_training
from benchmarks.sweep.plain_t5 import FrozenT5
from benchmarks.sweep.plain_training import ndcg

Arrays = Mapping[str, np.ndarray]
Words = list[int]
NONE = -1
"""No token."""


@dataclass(frozen=True)
class Given:
    """What training otherwise draws. E epochs, N rows.

    Args:
        orders: (E, N) int64, the order of rows.
        masked: (E, N, L + 1) and last: (E, N), in the order of the rows: uniform noise behind what is masked.
        starts: seed -> start values by name.
    """

    orders: np.ndarray
    masked: np.ndarray
    last: np.ndarray
    starts: Mapping[int, Arrays]


@dataclass(frozen=True)
class Rows:
    """The rows of one unit, the texts of the items and the pre-trained weights, as arrays.

    Args:
        words: (V, W) tokens of the items' texts, `NONE` behind them.
        phrases: tokens around items: `before`, `between`, `behind`, `sentinels`, and `pad` and `end`, one each.
        train: (N, L + 1) items, 0 behind them; the last one is the target.
        valid: `history` (N, L) and `candidates` (N, K), the positive first.
        weights: of the backbone, by name.
        heads, buckets, distance: of the backbone.
        given: None: drawn in training.
    """

    words: np.ndarray
    phrases: Mapping[str, list[int]]
    train: np.ndarray
    valid: Arrays
    weights: Arrays
    heads: int
    buckets: int
    distance: int
    given: Given | None = None

    def load(self) -> Data:
        return Data(self)


class Data:
    """Rows as tensors and texts as lists, and the frozen backbone: made once in a process."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.given, self.train = rows, rows.given, torch.tensor(rows.train)
        self.words = [[t for t in row if t != NONE] for row in rows.words.tolist()]
        weights = {name: torch.tensor(value) for name, value in rows.weights.items()}
        self.backbone = FrozenT5(weights, rows.heads, rows.buckets, rows.distance)
        self.asked = [
            self.source([*filter(None, row), 0], [*(0 for _ in filter(None, row)), 1]) for row in _lists(rows, "history")
        ]
        self.listed = [[self.words[i] for i in row] for row in _lists(rows, "candidates")]

    def training(self, configuration: Mapping[str, Any], seed: int) -> Training:
        return Training(self, configuration, seed)

    def source(self, items: Sequence[int], masked: Sequence[int]) -> Words:
        """What is read of a history."""
        said, sentinels, read = self.rows.phrases, iter(self.rows.phrases["sentinels"]), list[int]()
        shown = [[next(sentinels)] if hidden else self.words[i] for i, hidden in zip(items, masked, strict=True)]
        for words in filter(None, shown):
            read += [*said["between"], *words] if read else words
        return [*said["before"], *read, *said["behind"], *said["end"]]

    def target(self, items: Sequence[int], masked: Sequence[int]) -> Words:
        """What is told of it: each masked item behind its sentinel, and the end."""
        told, sentinels = list[int](), iter(self.rows.phrases["sentinels"])
        for item in (i for i, hidden in zip(items, masked, strict=True) if hidden):
            told += [next(sentinels), *self.words[item]]
        return [*told, *self.rows.phrases["end"]]


class SoftT5(nn.Module):
    """Soft tokens in front of what a frozen T5 reads."""

    def __init__(self, data: Data, tokens: int) -> None:
        super().__init__()
        self.backbone, self.start = data.backbone, data.rows.phrases["pad"]
        shared = data.backbone.shared
        self.tokens = nn.Parameter(torch.rand(tokens, shared.shape[1], dtype=shared.dtype) - 0.5)

    def read(self, source: Sequence[Words]) -> tuple[Tensor, Tensor]:
        """(B, P + S, D) of the prompt and tokens, and which are real."""
        words = padded(source)
        soft = self.tokens.expand(len(words), -1, -1)
        real = F.pad(words != NONE, (len(self.tokens), 0), value=True)
        return self.backbone.encode(torch.cat([soft, self.backbone.shared[words.clamp(min=0)]], 1), real), real

    def loss(self, source: Sequence[Words], target: Sequence[Words]) -> Tensor:
        """The mean over the rows of the mean over the tokens to be told."""
        told = padded(target).unsqueeze(1)
        logs = self._logs(told, *self.read(source)).squeeze(1)
        return -(logs.sum(1) / (told.squeeze(1) != NONE).sum(1)).mean()

    def scores(self, source: Sequence[Words], listed: Sequence[Sequence[Words]], sentinel: int) -> Tensor:
        """(B, K): the mean logarithm of the probability of the tokens of each candidate behind the sentinel."""
        every = padded([[sentinel, *words] for row in listed for words in row])
        told = every.unflatten(0, (len(listed), -1))
        logs = self._logs(told, *self.read(source))[..., 1:]
        return logs.sum(2) / (told[..., 1:] != NONE).sum(2)

    def _logs(self, told: Tensor, read: Tensor, real: Tensor) -> Tensor:
        """(B, K, Y) logarithm of the probability of each token, 0 at `NONE`."""
        before = F.pad(told[..., :-1], (1, 0), value=self.start[0]).clamp(min=0)
        states, there = self.backbone.decode(before, read, real), told != NONE
        logs = -F.cross_entropy(self.backbone.logits(states[there]), told[there], reduction="none")
        return logs.new_zeros(told.shape).masked_scatter(there, logs)


class Training(plain_training.Training[SoftT5]):
    """One configuration.

    Args:
        data: rows, the frozen backbone and perhaps what is given.
        configuration: `lr.prompt`, `weight_decay.prompt`, `tokens`, `mask`, `last`, `batch_size`.
        seed: of all that is drawn; names the start values where they are given.
    """

    def __init__(self, data: Data, configuration: Mapping[str, Any], seed: int) -> None:
        torch.manual_seed(seed)
        self.data, self.c = data, configuration
        model = SoftT5(data, configuration["tokens"])
        if data.given:
            with torch.no_grad():  # the product names tokens from the last one back
                model.tokens.copy_(torch.tensor(data.given.starts[seed]["prompt.tokens"]).flip(0))
        super().__init__(model, {"prompt": [model.tokens]}, configuration)

    def losses(self) -> Iterator[Tensor]:
        for index, masked, last in self._given() if self.data.given else self._drawn():
            items = self.data.train[index]
            hidden = self._masked(items, masked, last).tolist()
            rows = [([*filter(None, own)], of[: sum(i > 0 for i in own)]) for own, of in zip(items.tolist(), hidden, strict=True)]
            yield self.model.loss([self.data.source(*row) for row in rows], [self.data.target(*row) for row in rows])

    def value(self) -> float:
        return ndcg(self.scores(), 10)

    def scores(self, rows: int = 64) -> Tensor:
        """(N, K) of the candidates of validation, some rows at a time."""
        asked, listed, sentinel = self.data.asked, self.data.listed, self.data.rows.phrases["sentinels"][0]
        pieces = (slice(i, i + rows) for i in range(0, len(asked), rows))
        return torch.cat([self.model.scores(asked[piece], listed[piece], sentinel) for piece in pieces])

    def _masked(self, items: Tensor, drawn: Tensor, last: Tensor) -> Tensor:
        """(B, L + 1): items by their draw, one at least and no more than there are sentinels; of some rows the last one alone."""
        drawn = drawn.masked_fill(items == 0, 2)
        some = (drawn < self.c["mask"]) | (drawn == drawn.amin(1, keepdim=True))
        end = torch.arange(items.shape[1]) == (items > 0).sum(1, keepdim=True) - 1
        hidden = torch.where((last < self.c["last"]).unsqueeze(1), end, some) & (items > 0)
        return hidden & (hidden.cumsum(1) <= len(self.data.rows.phrases["sentinels"]))

    def _drawn(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Rows of each step, with the noise behind what is masked."""
        for index in torch.randperm(len(self.data.train)).split(self.c["batch_size"]):
            yield index, torch.rand(len(index), self.data.train.shape[1]), torch.rand(len(index))

    def _given(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        given, size = self.data.given, self.c["batch_size"]
        assert given is not None
        parts = (torch.tensor(of[self.done]).split(size) for of in (given.orders, given.masked, given.last))
        yield from zip(*parts, strict=True)


def padded(rows: Sequence[Words]) -> Tensor:
    """(B, longest), `NONE` behind."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=NONE)


def _lists(rows: Rows, name: str) -> list[list[int]]:
    return rows.valid[name].tolist()
