"""What an epoch of each CTR backbone costs beside the same model in plain PyTorch, and what lanes make of it.

    python -m benchmarks.backbones [--rows 60000] [--batch 512] [--lanes 64] [--repeats 5]

ours     one lane of the product's loop: an epoch of training and a validation
plain    the model written with torch.nn, fused Adam, batches by index: the same epoch and validation
lanes    as many configurations in one pack, an epoch of each

A made-up log of one domain with ten categorical fields, DeepFM's shape of the PLATE paper (width 16, layers of 16 and 16). One
thread; processor time of this process, median of the repeats, in which all take turns; the first epoch of each is not counted.
That both are the same model is checked: the plain one has the same validation AUC with the weights that ours has learnt.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.mistakes import at_least, told
from benchmarks.sweep.plain import auc
from raytune_rec.components import component, options_of
from raytune_rec.config import Job, parse
from raytune_rec.data.preparing.preparation import prepare
from raytune_rec.data.stored.store import Store
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.training.build import build, rows_of
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import method_of, resolve

NAMES = ("deepfm", "wide_deep", "fnn", "dcn", "dcnv2", "xdeepfm")
WIDTH, HIDDEN, CROSS, MAPS = 16, (16, 16), 2, (16, 16)
RATE = 1e-3
_USERS, _ITEMS, _FEATURES = 2000, 1000, 7


class Plain(nn.Module):
    """A CTR model over categorical fields: a linear part, embeddings, a deep part, and what `_interact` makes of the fields.

    Args:
        sizes: rows of each field's tables.
        inputs: of the deep part; 0: all embeddings side by side.
    """

    def __init__(self, sizes: list[int], inputs: int = 0) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Embedding(n, WIDTH) for n in sizes])
        self.linear = nn.ModuleList([nn.Embedding(n, 1) for n in sizes])
        self.bias = nn.Parameter(torch.zeros(1))
        self.side = len(sizes) * WIDTH
        widths = [inputs or self.side, *HIDDEN]
        layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
        self.deep = nn.Sequential(*layers)
        self.output = nn.Linear(HIDDEN[-1], 1)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, F) ids -> (B,) logits."""
        columns = ids.unbind(1)
        fields = torch.stack([table(column) for table, column in zip(self.embeddings, columns, strict=True)], dim=1)
        weights = torch.cat([table(column) for table, column in zip(self.linear, columns, strict=True)], dim=1)
        return self._logit(fields, weights)

    def _logit(self, fields: Tensor, weights: Tensor) -> Tensor:
        """fields: (B, F, D). weights: (B, F)."""
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
    def __init__(self, sizes: list[int]) -> None:
        super().__init__(sizes, len(sizes) * (WIDTH + 1) + 1)

    def _logit(self, fields: Tensor, weights: Tensor) -> Tensor:
        first = torch.cat([fields.flatten(1), weights, self.bias.expand(len(weights), 1)], dim=1)
        return self.output(self.deep(first)).squeeze(1)


class DCN(Plain):
    def __init__(self, sizes: list[int]) -> None:
        super().__init__(sizes)
        self.cross = nn.ParameterList([nn.Parameter(torch.randn(self.side) / 16) for _ in range(CROSS)])
        self.shift = nn.ParameterList([nn.Parameter(torch.zeros(self.side)) for _ in range(CROSS)])
        self.last = nn.Linear(self.side, 1, bias=False)

    def _interact(self, fields: Tensor) -> Tensor:
        start = crossed = fields.flatten(1)
        for weight, bias in zip(self.cross, self.shift, strict=True):
            crossed = start * (crossed @ weight).unsqueeze(1) + bias + crossed
        return self.last(crossed).squeeze(1)


class DCNv2(Plain):
    def __init__(self, sizes: list[int]) -> None:
        super().__init__(sizes)
        self.cross = nn.ModuleList([nn.Linear(self.side, self.side) for _ in range(CROSS)])
        self.last = nn.Linear(self.side, 1, bias=False)

    def _interact(self, fields: Tensor) -> Tensor:
        start = crossed = fields.flatten(1)
        for layer in self.cross:
            crossed = start * layer(crossed) + crossed
        return self.last(crossed).squeeze(1)


class XDeepFM(Plain):
    def __init__(self, sizes: list[int]) -> None:
        super().__init__(sizes)
        widths = [len(sizes), *MAPS]
        self.maps = nn.ModuleList([nn.Linear(len(sizes) * a, b, bias=False) for a, b in pairwise(widths)])
        self.last = nn.Linear(sum(MAPS), 1, bias=False)

    def _interact(self, fields: Tensor) -> Tensor:
        start = maps = fields.transpose(1, 2)  # (B, D, F)
        sums = []
        for layer in self.maps:
            maps = layer((maps.unsqueeze(3) * start.unsqueeze(2)).flatten(2))
            sums.append(maps.sum(1))
        return self.last(torch.cat(sums, dim=1)).squeeze(1)


MODELS: Mapping[str, type[Plain]] = dict(zip(NAMES, (DeepFM, WideDeep, FNN, DCN, DCNv2, XDeepFM), strict=True))


def load(model: Plain, fields: list[str], learnt: Mapping[str, Tensor]) -> None:
    """Put the product's tensors of one lane into a plain model."""
    of = {name.removeprefix("backbone."): value for name, value in learnt.items()}
    layers = [part for part in model.deep if isinstance(part, nn.Linear)]
    first = of["deep.0.fields"]
    if isinstance(model, FNN):
        first = torch.cat([first, of["deep.0.linear"]])
    given: list[tuple[Tensor, Tensor]] = [(model.bias, of["linear.bias"]), (layers[0].weight, first.T)]
    given += [(table.weight, of[f"embedding.{f}"]) for f, table in zip(fields, model.embeddings, strict=True)]
    given += [(table.weight, of[f"linear.{f}"].unsqueeze(1)) for f, table in zip(fields, model.linear, strict=True)]
    given += [(layer.weight, of[f"deep.{i}.weight"].T) for i, layer in enumerate(layers) if i]
    given += [(layer.bias, of[f"deep.{i}.bias"]) for i, layer in enumerate(layers)]
    given += [(model.output.weight, of["output.weight"].T), (model.output.bias, of["output.bias"])]
    if isinstance(model, DCN):
        columns = zip(model.cross, of["cross.fields"].unbind(1), strict=True)
        given += [*columns, *zip(model.shift, of["cross.fields.bias"].unbind(1), strict=True)]
        given.append((model.last.weight, of["output.fields"].T))
    if isinstance(model, DCNv2):
        given += [(layer.weight, of[f"cross.{i}.weight"].T) for i, layer in enumerate(model.cross)]
        given += [(layer.bias, of[f"cross.{i}.bias"]) for i, layer in enumerate(model.cross)]
        given.append((model.last.weight, of["output.cross"].T))
    if isinstance(model, XDeepFM):
        given += [(layer.weight, of[f"maps.{i}"].T) for i, layer in enumerate(model.maps)]
        given.append((model.last.weight, of["output.maps"].T))
    with torch.no_grad():
        for there, value in given:
            there.copy_(value)


class Rows:
    """The one domain's rows, as tensors of local ids."""

    def __init__(self, store: Store) -> None:
        data = rows_of(str(store.path), store.schema.domains[0], False, None)
        self.fields = [f.name for f in store.schema.fields]
        self.sizes = [len(data.rows[f]) for f in self.fields]
        parts = (data.train, data.valid)
        self.train, self.valid = (torch.tensor(np.stack([p.columns[f] for f in self.fields], axis=1)) for p in parts)
        self.train_label, self.valid_label = (torch.tensor(part.label) for part in parts)


class Loop:
    """A plain training.

    Args:
        batch: rows of a step.
    """

    def __init__(self, model: Plain, rows: Rows, batch: int) -> None:
        self.model, self.rows, self.batch = model, rows, batch
        self.optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)

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


def job_of(folder: Path, rows: int, batch: int) -> Job:
    """Writes the log, and returns a job of one method for each backbone."""
    draw = np.random.default_rng(0)
    user, item = draw.integers(_USERS, size=rows), draw.integers(_ITEMS, size=rows)
    taste = draw.normal(size=_USERS)[user] + draw.normal(size=_ITEMS)[item]
    log = {"domain": ["one"] * rows, "user": user, "item": item, "label": (taste + draw.normal(size=rows) > 0).astype(int)}
    log |= {f"f{i}": draw.integers(10 * (i + 1), size=_USERS)[user] for i in range(_FEATURES)}
    pd.DataFrame(log).to_csv(folder / "log.csv", index=False)
    features = {f"f{i}": {"role": "user"} for i in range(_FEATURES)}
    own = {"dcn": {"cross": CROSS}, "dcnv2": {"cross": CROSS}, "xdeepfm": {"maps": list(MAPS)}}
    shape = {"width": WIDTH, "hidden": list(HIDDEN), "dropout": 0.0}
    data = {"source": "tabular", "options": {"files": str(folder / "log.csv"), "features": features}}
    return parse(
        {
            "name": "backbones",
            "data": {**data, "split": {"valid": 0.1, "test": 0.1}},
            "backbone": {"name": "deepfm", "options": shape},
            "backbones": {name: shape | own.get(name, {}) for name in NAMES if name != "deepfm"},
            "training": {
                "batch_size": batch, "epochs": 1000, "patience": 1000, "lr": {"default": RATE}, "weight_decay": {"default": 0.0},
            },
            "methods": {name: {"strategy": "single", "backbone": name} for name in NAMES},
        }
    )  # fmt: skip


def measure(job: Job, store: Store, lanes: int, repeats: int) -> Iterator[tuple[str, list[float], list[float], list[float]]]:
    """Of each backbone the seconds of an epoch: of one lane, of the plain model, and of a lane among many."""
    rows = Rows(store)
    for name in NAMES:
        alone, many = (_trainer(job, store, name, n) for n in (1, lanes))
        plain = Loop(MODELS[name](rows.sizes), rows, job.training.batch_size)
        found: dict[str, list[float]] = {"ours": [], "plain": [], "lanes": []}
        for repeat in range(repeats + 1):
            spent = {"ours": _spent(alone.epoch), "plain": _spent(plain.epoch), "lanes": _spent(many.epoch) / lanes}
            for kind in found if repeat else ():
                found[kind].append(spent[kind])
        load(plain.model, rows.fields, alone.best(0))
        ours, theirs = alone.results()[0].best, plain.value()
        assert abs(ours - theirs) < 1e-4, f"{name}: {ours} and {theirs} are not the same model"
        yield name, found["ours"], found["plain"], found["lanes"]


def _trainer(job: Job, store: Store, name: str, lanes: int) -> Trainer:
    own = tuple(Lane(i, 0, {"training.lr.default": RATE * (1 + i / lanes)}, store.schema.domains[0]) for i in range(lanes))
    return build(resolve(job, method_of(job, name)), Pack(name, name, own), store, {}, "cpu")


def _spent(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=at_least(1), default=60_000)
    parser.add_argument("--batch", type=at_least(1), default=512)
    parser.add_argument("--lanes", type=at_least(1), default=64)
    parser.add_argument("--repeats", type=at_least(1), default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title="Seconds of an epoch, medians; ratios of medians")
    table.add_column("backbone")
    for head in ("ours", "plain", "ours / plain", f"a lane of {options.lanes}", "plain / lane"):
        table.add_column(head, justify="right")
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        job = job_of(folder, options.rows, options.batch)
        source = component("data.sources", job.data.source)(options_of("data.sources", job.data.source, job.data.options))
        prepare(job.data, source, folder / "data")
        for name, *times in measure(job, Store.open(folder / "data"), options.lanes, options.repeats):
            ours, plain, lane = map(float, map(np.median, times))
            table.add_row(name, f"{ours:.3f}", f"{plain:.3f}", f"{ours / plain:.2f}", f"{lane:.4f}", f"{plain / lane:.1f}")
    Console().print(table)


if __name__ == "__main__":
    with told():
        main()
