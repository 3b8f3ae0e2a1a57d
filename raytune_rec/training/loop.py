"""The one training loop.

A lone trial is a pack with one lane: pre-training, fine-tuning, the search and the winners' retraining go through it.

Lanes share their batches, and the uniform noise behind dropout and masks; each has its own start values, options, learning rates
and end. A lane that ends leaves the stacked tensors; one that diverges is recorded as failed and leaves too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from raytune_rec.config import TrainingOptions
from raytune_rec.evaluation.metrics import METRICS
from raytune_rec.objectives.base import Objective
from raytune_rec.schema import Batch, Lane, LaneResult, Table
from raytune_rec.tensors import Noise, Step, crop, keep_memory, mix
from raytune_rec.training.assemble import Model
from raytune_rec.training.feed import Key, device_table, take
from raytune_rec.training.lanes import LaneRecord
from raytune_rec.training.optimizer import Adam
from raytune_rec.training.repeats import Repeats

Reduce = Callable[[list[Tensor]], None]
"""Sums tensors over the workers of a job, in place."""


class Feed(Protocol):
    """Where batches come from. `keys`: one per U."""

    keys: list[Key]

    def epoch(self, epoch: int) -> Iterator[Batch]: ...

    def keep(self, lanes: Sequence[int]) -> None: ...


class Trainer:
    """Trains the lanes of one model.

    Args:
        model: stacked lanes.
        lanes: who they are, in the model's order.
        feed: training batches.
        valid: rows that choose the best epoch, by the mean over their domains of the metric (a pooled one would follow the
            largest).
        training: options of each lane. Batch size, objective and metric are shared.
        objective: from outputs to the loss of each row.
        live: full name -> leading rows that occur in training, where not all do.
        cache: tables whose frozen encoding is computed once (`train` is indexed by `Batch.index`), or None where it does not fit
            in memory.
        reduce: sums over the workers of a data-parallel job.
        autocast: bfloat16 products on a GPU.
    """

    def __init__(
        self,
        model: Model,
        lanes: Sequence[Lane],
        feed: Feed,
        valid: Table,
        training: Sequence[TrainingOptions],
        objective: Objective,
        live: Mapping[str, int],
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        cache: Table | None = None,
        reduce: Reduce | None = None,
        autocast: bool = False,
    ) -> None:
        self.model, self.feed, self.objective, self.device, self.reduce = model, feed, objective, device, reduce
        self.options, self.autocast = training[0], autocast and device.startswith("cuda")
        keep_memory()
        self._place(device, dtype)
        metric = METRICS[self.options.metric]
        self.metric = metric.function
        counts = [sum(_count(s, n, live) for n, s in shapes.items()) for shapes in model.shapes]
        epochs = [o.epochs if model.trained else 0 for o in training]
        self.records = [
            LaneRecord(lane, metric.higher, o.patience, e, c)
            for lane, o, e, c in zip(lanes, training, epochs, counts, strict=True)
        ]
        self.active = list(range(len(lanes)))
        self.shapes = list(model.shapes)
        self.live = dict(live)
        groups = sorted(set(model.groups.values()))
        rates = [[{g: o.group_rate(t, g) for g in groups} for o in training] for t in ("lr", "weight_decay")]
        self.adam = Adam(model.trained, model.groups, rates[0], rates[1], live, [(o.beta1, o.beta2) for o in training])
        self.done = self.steps = 0
        self.valid_columns, self.valid_label = _by_user(*device_table(valid, device))
        domains = self.valid_columns["domain"][0]
        self.valid_domains = [torch.nonzero(domains == d).squeeze(1) for d in domains.unique()]
        frozen = model.encoding_is_frozen
        self.train_encoded = self._encode_table(*device_table(cache, device)) if frozen and cache is not None else None
        self.valid_encoded = self._encode_table(self.valid_columns, self.valid_label) if frozen else None
        self.train_repeats = Repeats(self.train_encoded or {})
        self.valid_repeats = Repeats(self.valid_encoded or {})

    @property
    def finished(self) -> bool:
        return self.done > 0 and not self.active

    def epoch(self) -> None:
        """Train the active lanes for one epoch, then validate. The first call validates the start values before."""
        started = time.perf_counter()
        if self.done == 0:
            self._observe()
            self._compact(0.0)
        if self.active:
            self._train()
            self._observe()
        self.done += 1
        self._compact(time.perf_counter() - started)

    def run(self) -> list[LaneResult]:
        """All epochs."""
        while not self.finished:
            self.epoch()
        return self.results()

    def results(self) -> list[LaneResult]:
        return [r.result() for r in self.records]

    def best(self, lane: int) -> dict[str, Tensor]:
        """Full name -> tensor of true shape at the lane's best epoch: what it trained, and the statistics that moved with it."""
        shapes = self.shapes[lane]
        return {n: crop(t, shapes[n]).contiguous() if n in shapes else t for n, t in self.records[lane].weights.items()}

    def _train(self) -> None:
        names = list(self.model.trained)
        total = torch.zeros(len(self.active), dtype=torch.float64, device=self.device)
        rows = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch in self.feed.epoch(self.done + 1):
            self.steps += 1
            loss = self._loss(batch)  # (T, B)
            count = batch.weight.sum(1)
            mean = loss.sum(1) / (1.0 if self.reduce else count)
            grads = torch.autograd.grad(mean.sum(), [self.model.trained[n] for n in names])
            summed, size = loss.detach().sum(1).double(), count.double()
            if self.reduce:
                self.reduce([*grads, summed, size])
                grads = tuple(g / size[0].to(g.dtype) for g in grads)
            self.adam.step(dict(zip(names, grads, strict=True)))
            total += summed
            rows = rows + size
        self._average_statistics()
        for lane, value in zip(self.active, (total / rows).tolist(), strict=True):
            self.records[lane].trained(value)

    def _average_statistics(self) -> None:
        """The statistics of trained norms follow each worker's share of the rows: from here on all workers have their mean."""
        names = [n for n in self._moving() if n in self.model.buffers]
        if self.reduce and names:
            workers = torch.ones((), device=self.device)
            values = [self.model.buffers[n].clone() for n in names]
            self.reduce([workers, *values])
            self.model.buffers.update({n: v / workers for n, v in zip(names, values, strict=True)})

    def _loss(self, batch: Batch) -> Tensor:
        """(T, B): weighted loss of each row."""
        noise = Noise(tuple(mix(*key, "noise", self.steps) for key in self.feed.keys), batch.index)
        step = Step(True, self.model.trained_groups, noise)
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.autocast):
            encoded = self._encoded(batch)
            batch = self.train_repeats.of(batch) if len(self.active) > 2 else batch  # for so few, finding them costs more
            outputs, further = self.model.forward(batch, encoded, step)
            loss = self.objective(outputs, batch) * batch.weight
            for value in further.values():
                loss = loss + value * batch.weight
        for name, value in step.updates.items():
            self.model.buffers[f"backbone.{name}"] = value
        return loss.expand(len(self.active), -1)

    def _encoded(self, batch: Batch) -> Mapping[str, Tensor]:
        if self.train_encoded is None:
            return self.model.encode(batch)
        rows = batch.index.reshape(-1)
        return {n: e[0].index_select(0, rows).view(*batch.index.shape, *e.shape[2:]) for n, e in self.train_encoded.items()}

    @torch.no_grad()
    def scores(
        self,
        columns: Mapping[str, Tensor],
        label: Tensor,
        encoded: Mapping[str, Tensor] | None = None,
        repeats: Repeats | None = None,
    ) -> Tensor:
        """(U, N) logits of a table on the device, in chunks; `encoded` and `repeats` are of this table."""
        found = []
        for index in self._chunks(label, len(self.active)):
            batch = take(columns, label, index)
            batch = repeats.of(batch) if repeats else batch
            known = self.model.encode(batch) if encoded is None else {n: e[:, index[0]] for n, e in encoded.items()}
            outputs, _ = self.model.forward(batch, known, Step(False, self.model.trained_groups))
            found.append(outputs["logit"])
        return torch.cat(found, dim=1)

    @torch.no_grad()
    def _encode_table(self, columns: Mapping[str, Tensor], label: Tensor) -> dict[str, Tensor]:
        parts = [self.model.encode(take(columns, label, index)) for index in self._chunks(label)]
        return {name: torch.cat([p[name] for p in parts], dim=1) for name in parts[0]}

    def _chunks(self, label: Tensor, lanes: int = 1) -> Iterator[Tensor]:
        """Of `valid_batch_size` rows, shared out over the lanes: what a pass writes stays small enough for a cache."""
        rows = max(1, self.options.valid_batch_size // max(1, lanes))
        for index in torch.arange(label.shape[1], device=self.device).split(rows):
            yield index.unsqueeze(0)

    def _observe(self) -> None:
        """Validate the active lanes; keep the weights of those that are at their best."""
        scores = self.scores(self.valid_columns, self.valid_label, self.valid_encoded, self.valid_repeats)
        of_domains = [self.metric(scores[:, rows], self.valid_label[0, rows]) for rows in self.valid_domains]
        values = torch.stack(of_domains).mean(0).expand(len(self.active)).tolist()
        for place, (lane, value) in enumerate(zip(self.active, values, strict=True)):
            record = self.records[lane]
            if record.status == "running" and record.observe(value):
                record.weights = {n: t[place].detach().clone() for n, t in self._moving().items()}

    def _moving(self) -> dict[str, Tensor]:
        """What training changes: the trained tensors, and the statistics of trained norms. (T, ...)"""
        moving = {n: b for n, b in self.model.buffers.items() if self.model.trained_groups and b.shape[0] == len(self.active)}
        return {**self.model.trained, **(moving if self._norms_move() else {})}

    def _norms_move(self) -> bool:
        groups = {b.group for b in self.model.parts.backbone.buffers()}
        return bool(groups & self.model.trained_groups)

    def _compact(self, seconds: float) -> None:
        """Share out the time, and drop the lanes that ended."""
        for lane in self.active:
            self.records[lane].seconds += seconds / len(self.active)
        places = [p for p, lane in enumerate(self.active) if self.records[lane].status == "running"]
        if len(places) == len(self.active):
            return
        self.active = [self.active[p] for p in places]
        self._keep(places)

    def _keep(self, places: list[int]) -> None:
        model, lanes = self.model, len(self.model.shapes)
        model.trained = {n: t.detach()[places].contiguous().requires_grad_() for n, t in model.trained.items()}
        for held in (model.fixed, model.buffers, *model.options.values()):
            held.update({n: t[places] for n, t in held.items() if lanes > 1 and t.shape[0] == lanes})
        model.shapes = [model.shapes[p] for p in places]
        self.feed.keep(places)
        self.adam.keep(places, model.trained)

    def _place(self, device: str, dtype: torch.dtype) -> None:
        model = self.model
        model.trained = {n: t.to(device, dtype).requires_grad_() for n, t in model.trained.items()}
        model.fixed = {n: t.to(device, dtype) for n, t in model.fixed.items()}
        model.buffers = {n: t.to(device, dtype) for n, t in model.buffers.items()}
        model.options = {owner: {n: t.to(device) for n, t in values.items()} for owner, values in model.options.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next epoch needs: tensors, and JSON facts."""
        tensors = {f"trained.{n}": t.detach() for n, t in self.model.trained.items()}
        tensors |= {f"buffer.{n}": t for n, t in self.model.buffers.items()}
        tensors |= {f"adam.{n}": t for n, t in self.adam.state().items()}
        for i, record in enumerate(self.records):
            tensors |= {f"best.{i}.{n}": t for n, t in record.weights.items()}
        facts = {"done": self.done, "steps": self.steps, "adam_steps": self.adam.steps, "active": self.active}
        return tensors, facts | {"records": [r.facts() for r in self.records]}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a state of the same pack."""
        self._keep(list(facts["active"]))
        self.active, self.done, self.steps = list(facts["active"]), facts["done"], facts["steps"]
        model = self.model
        model.trained = {n: tensors[f"trained.{n}"].to(self.device).clone().requires_grad_() for n in model.trained}
        model.buffers = {n: tensors[f"buffer.{n}"].to(self.device).clone() for n in model.buffers}
        self.adam.params = dict(model.trained)
        moments = {n.removeprefix("adam."): t.to(self.device) for n, t in tensors.items() if n.startswith("adam.")}
        self.adam.restore(moments, facts["adam_steps"])
        for i, (record, own) in enumerate(zip(self.records, facts["records"], strict=True)):
            start = f"best.{i}."
            record.restore(own, {n.removeprefix(start): t.to(self.device) for n, t in tensors.items() if n.startswith(start)})


def _by_user(columns: dict[str, Tensor], label: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """A table (1, N) in the order of its users, so that a chunk has few of them."""
    order = columns["user"][0].argsort(stable=True)
    return {n: c[:, order] for n, c in columns.items()}, label[:, order]


def _count(shape: tuple[int, ...], name: str, live: Mapping[str, int]) -> int:
    """Numbers of a tensor that training moves (of a table by rows: without the padding row)."""
    return math.prod((live[name] - 1 if name in live else shape[0], *shape[1:]))
