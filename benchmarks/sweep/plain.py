"""The same model and training in plain PyTorch, one configuration at a time, as a user without this product would write it.

B rows, F fields, D embedding width, R meta-prompts. Imports nothing of the product: what a process of a yardstick loads is what
its user's process would load.
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


@dataclass(frozen=True)
class Rows:
    """The rows of one domain and the pre-trained weights, as arrays.

    Args:
        fields: names of the id columns, in the order of the columns of `train` and `valid`.
        profile: the fields that the user network reads.
        train, valid: (N, F) int64 ids.
        train_label, valid_label: (N,) float32.
        weights: backbone and prompt by name, tables cropped to the ids of this domain.
        live: field -> how many leading ids occur in training.
        orders: (epochs, N) int64, the order of rows in each epoch; None: drawn in training.
    """

    fields: Sequence[str]
    profile: Sequence[str]
    train: np.ndarray
    train_label: np.ndarray
    valid: np.ndarray
    valid_label: np.ndarray
    weights: Mapping[str, np.ndarray]
    live: Mapping[str, int]
    orders: np.ndarray | None = None

    def load(self) -> Data:
        return Data(self)


class Data:
    """Rows as tensors: made once in a process."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.train, self.train_label = torch.tensor(rows.train), torch.tensor(rows.train_label)
        self.valid, self.valid_label = torch.tensor(rows.valid), torch.tensor(rows.valid_label)
        self.weights = {name: torch.tensor(value) for name, value in rows.weights.items()}
        self.orders = None if rows.orders is None else torch.tensor(rows.orders)

    def training(self, configuration: Mapping[str, Any], seed: int) -> Training:
        return Training(self, configuration, seed)


class TunedTable(nn.Module):
    """A table of ids of which training meets the first rows only; the others keep their value and are not decayed."""

    def __init__(self, rows: Tensor, live: int) -> None:
        super().__init__()
        self.rest: Tensor
        self.weight = nn.Parameter(rows[:live].clone())
        self.register_buffer("rest", rows[live:])

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight if self.training else torch.cat([self.weight, self.rest]))


class PlateDeepFM(nn.Module):
    """DeepFM with PLATE's domain prompt and its user prompt (Fusion) as two further fields, from pre-trained weights."""

    def __init__(self, data: Data, meta_prompts: int, temperature: float, dropout: float) -> None:
        super().__init__()
        self.fields, self.profile = list(data.rows.fields), list(data.rows.profile)
        self.temperature, self.dropout = temperature, dropout
        w, live = data.weights, data.rows.live
        self.embedding = nn.ModuleDict(
            {f: nn.Embedding.from_pretrained(w[f"backbone.embedding.{f}"], freeze=True) for f in self.fields}
        )
        self.linear = nn.ModuleDict({f: TunedTable(w[f"backbone.linear.{f}"].unsqueeze(1), live[f]) for f in self.fields})
        self.bias = nn.Parameter(w["backbone.linear.bias"].clone())
        first = torch.cat([w["backbone.deep.0.fields"], w["backbone.deep.0.prompt"]])
        further = [w[f"backbone.deep.{i}.weight"] for i in range(1, _count(w, "backbone.deep.{}.bias"))]
        biases = [w[f"backbone.deep.{i}.bias"] for i in range(len(further) + 1)]
        self.deep = nn.ModuleList([_layer(m, b) for m, b in zip([first, *further], biases, strict=True)])
        self.output = _layer(w["backbone.output.weight"], w["backbone.output.bias"])
        for part in (self.deep, self.output):
            part.requires_grad_(False)
        self.domain = TunedTable(w["prompt.domain"], live["domain"])
        layers = [
            _layer(w[f"prompt.user.{i}.weight"], w[f"prompt.user.{i}.bias"]) for i in range(_count(w, "prompt.user.{}.bias"))
        ]
        hidden = [part for layer in layers for part in (layer, nn.ReLU())]
        self.user = nn.Sequential(*hidden, _layer(w["prompt.user.out.weight"][:, :meta_prompts], None))
        self.meta = nn.Parameter(w["prompt.meta"][:meta_prompts].clone())

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is tuned, by group."""
        prompt = [*self.domain.parameters(), *self.user.parameters(), self.meta]
        return {"prompt": prompt, "linear": [*self.linear.parameters(), self.bias]}

    def forward(self, ids: Tensor) -> Tensor:
        """(B, F) ids -> (B,) logits."""
        columns = dict(zip(self.fields, ids.unbind(1), strict=True))
        own = {f: self.embedding[f](column) for f, column in columns.items()}  # (B, D) each
        score = self.user(torch.cat([own[f] for f in self.profile], dim=1))  # (B, R)
        user = torch.softmax(score / self.temperature, dim=1) @ self.meta  # (B, D)
        fields = torch.stack([*own.values(), self.domain(columns["domain"]), user], dim=1)  # (B, F + 2, D)
        pairs = (fields.sum(1).square().sum(1) - fields.square().sum((1, 2))) / 2
        hidden = fields.flatten(1)
        for layer in self.deep:
            hidden = F.dropout(F.relu(layer(hidden)), self.dropout, self.training)
        linear = sum(self.linear[f](column).squeeze(1) for f, column in columns.items())
        return linear + self.bias + pairs + self.output(hidden).squeeze(1)


class Training(plain_training.Training[PlateDeepFM]):
    """One configuration.

    Args:
        data: rows and start values.
        configuration: `lr.<group>`, `weight_decay.<group>`, `dropout`, `temperature`, `meta_prompts`, `batch_size`.
        seed: of dropout and of the order of rows.
    """

    def __init__(self, data: Data, configuration: Mapping[str, Any], seed: int) -> None:
        torch.manual_seed(seed)
        self.data, self.batch_size, c = data, int(configuration["batch_size"]), configuration
        model = PlateDeepFM(data, int(c["meta_prompts"]), c["temperature"], c["dropout"])
        super().__init__(model, model.groups(), c)

    def losses(self) -> Iterator[Tensor]:
        data, orders = self.data, self.data.orders
        order = torch.randperm(len(data.train)) if orders is None else orders[self.done]
        for index in order.split(self.batch_size):
            yield F.binary_cross_entropy_with_logits(self.model(data.train[index]), data.train_label[index])

    def value(self) -> float:
        return auc(self.model(self.data.valid), self.data.valid_label)


def auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve of (N,) scores; a tie counts half."""
    positive, negative = scores[labels > 0], torch.sort(scores[labels == 0]).values
    below = torch.searchsorted(negative, positive).sum() + torch.searchsorted(negative, positive, right=True).sum()
    return float(below) / (2.0 * len(positive) * len(negative))


def _layer(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with weight (in, out) and bias (out,)."""
    layer = nn.Linear(weight.shape[0], weight.shape[1], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight.T)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def _count(weights: Mapping[str, Tensor], name: str) -> int:
    """How many of `name.format(0)`, `name.format(1)` ... there are."""
    return next(i for i in range(len(weights) + 1) if name.format(i) not in weights)
