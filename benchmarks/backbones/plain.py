"""The CTR models and their training in plain PyTorch, as a user without the product would write them.

B rows, F fields, P fields of a prompt, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.backbones.prompts import Prompt
from benchmarks.sweep.plain import auc
from raytune_rec.data.stored.store import Store
from raytune_rec.training.build import rows_of

NAMES = ("deepfm", "wide_deep", "fnn", "dcn", "dcnv2", "xdeepfm")
WIDTH, HIDDEN, CROSS, MAPS = 16, (16, 16), 2, (16, 16)


class Plain(nn.Module):
    """A CTR model over categorical fields: a linear part, embeddings, a deep part, and what `_interact` makes of the fields.

    Args:
        sizes: rows of each field's tables.
        prompt: gives further fields (B, P, D), of the fields (B, F, D) and their ids (B, F); None: there are none.
        further: inputs of the deep part beside the fields.
    """

    def __init__(self, sizes: list[int], prompt: Prompt | None = None, further: int = 0) -> None:
        super().__init__()
        self.count = len(sizes) + (0 if prompt is None else prompt.count)
        self.prompt = prompt
        self.embeddings = nn.ModuleList([nn.Embedding(n, WIDTH) for n in sizes])
        self.linear = nn.ModuleList([nn.Embedding(n, 1) for n in sizes])
        self.bias = nn.Parameter(torch.zeros(1))
        self.side = self.count * WIDTH
        widths = [self.side + further, *HIDDEN]
        layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
        self.deep = nn.Sequential(*layers)
        self.output = nn.Linear(HIDDEN[-1], 1)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, F) ids -> (B,) logits."""
        columns = ids.unbind(1)
        fields = torch.stack([table(column) for table, column in zip(self.embeddings, columns, strict=True)], dim=1)
        if self.prompt is not None:
            fields = torch.cat([fields, self.prompt(fields, ids)], dim=1)
        weights = torch.cat([table(column) for table, column in zip(self.linear, columns, strict=True)], dim=1)
        return self._logit(fields, weights)

    def _logit(self, fields: Tensor, weights: Tensor) -> Tensor:
        """fields: (B, F + P, D). weights: (B, F)."""
        deep = self.output(self.deep(fields.flatten(1))).squeeze(1)
        return weights.sum(1) + self.bias + deep + self._interact(fields)

    def _interact(self, fields: Tensor) -> Tensor:
        raise NotImplementedError


class WideDeep(Plain):
    def _interact(self, fields: Tensor) -> Tensor:
        return fields.new_zeros(())


class DeepFM(Plain):
    def _interact(self, fields: Tensor) -> Tensor:
        return (fields.sum(1).square().sum(1) - fields.square().sum((1, 2))) / 2


class FNN(Plain):
    def __init__(self, sizes: list[int], prompt: Prompt | None = None) -> None:
        super().__init__(sizes, prompt, len(sizes) + 1)

    def _logit(self, fields: Tensor, weights: Tensor) -> Tensor:
        first = torch.cat([fields.flatten(1), weights, self.bias.expand(len(weights), 1)], dim=1)
        return self.output(self.deep(first)).squeeze(1)


class DCN(Plain):
    def __init__(self, sizes: list[int], prompt: Prompt | None = None) -> None:
        super().__init__(sizes, prompt)
        self.cross = nn.Linear(self.side, CROSS, bias=False)
        self.shift = nn.ParameterList([nn.Parameter(torch.zeros(self.side)) for _ in range(CROSS)])
        self.last = nn.Linear(self.side, 1, bias=False)

    def _interact(self, fields: Tensor) -> Tensor:
        start = crossed = fields.flatten(1)
        for weight, bias in zip(self.cross.weight, self.shift, strict=True):
            crossed = start * (crossed @ weight).unsqueeze(1) + bias + crossed
        return self.last(crossed).squeeze(1)


class DCNv2(Plain):
    def __init__(self, sizes: list[int], prompt: Prompt | None = None) -> None:
        super().__init__(sizes, prompt)
        self.cross = nn.ModuleList([nn.Linear(self.side, self.side) for _ in range(CROSS)])
        self.last = nn.Linear(self.side, 1, bias=False)

    def _interact(self, fields: Tensor) -> Tensor:
        start = crossed = fields.flatten(1)
        for layer in self.cross:
            crossed = start * layer(crossed) + crossed
        return self.last(crossed).squeeze(1)


class XDeepFM(Plain):
    def __init__(self, sizes: list[int], prompt: Prompt | None = None) -> None:
        super().__init__(sizes, prompt)
        widths = [self.count, *MAPS]
        self.maps = nn.ModuleList([nn.Linear(self.count * a, b, bias=False) for a, b in pairwise(widths)])
        self.last = nn.Linear(sum(MAPS), 1, bias=False)

    def _interact(self, fields: Tensor) -> Tensor:
        start = maps = fields.transpose(1, 2)  # (B, D, F)
        sums = []
        for layer in self.maps:
            maps = layer((maps.unsqueeze(3) * start.unsqueeze(2)).flatten(2))
            sums.append(maps.sum(1))
        return self.last(torch.cat(sums, dim=1)).squeeze(1)


MODELS: Mapping[str, type[Plain]] = dict(zip(NAMES, (DeepFM, WideDeep, FNN, DCN, DCNv2, XDeepFM), strict=True))


class Rows:
    """The one domain's rows, as tensors of local ids."""

    def __init__(self, store: Store) -> None:
        data = rows_of(str(store.path), store.schema.domains[0], False, None)
        self.fields = [f.name for f in store.schema.fields]
        self.profile = [f.name for f in store.schema.with_role("user")]
        self._ids = data.rows
        self.sizes = [len(data.rows[f]) for f in self.fields]
        parts = (data.train, data.valid)
        self.train, self.valid = (torch.tensor(np.stack([p.columns[f] for f in self.fields], axis=1)) for p in parts)
        self.train_label, self.valid_label = (torch.tensor(part.label) for part in parts)

    def local(self, name: str, value: Tensor) -> Tensor:
        """A tensor by the product's name; of a table the rows of these ids."""
        part, _, field = name.rpartition(".")
        table = name == "prompt.domain" or part in ("backbone.embedding", "backbone.linear")
        return value[self._ids[field]] if table and field in self._ids else value


class Loop:
    """A plain training.

    Args:
        batch: rows of a step. rate: of Adam.
    """

    def __init__(self, model: Plain, rows: Rows, batch: int, rate: float) -> None:
        self.model, self.rows, self.batch = model, rows, batch
        self.optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate, fused=True)

    def epoch(self) -> None:
        self.model.train()
        for index in torch.randperm(len(self.rows.train)).split(self.batch):
            self.optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(self.model(self.rows.train[index]), self.rows.train_label[index]).backward()
            self.optimizer.step()
        self.value()

    @torch.no_grad()
    def value(self) -> float:
        """Validation AUC."""
        self.model.eval()
        return auc(self.model(self.rows.valid), self.rows.valid_label)
