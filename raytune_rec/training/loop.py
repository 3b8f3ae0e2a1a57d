"""The one training loop.

A lone trial is a pack with one lane: pre-training, fine-tuning, the search and the winners' retraining go through it.

Lanes share their batches, and the uniform noise behind dropout and masks; each has its own start values, options, learning rates
and end. A lane that ends leaves the stacked tensors; one that diverges is recorded as failed and leaves too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from raytune_rec.backbones.base import Outputs
from raytune_rec.evaluation.metrics.scores import METRICS
from raytune_rec.job.training import TrainingOptions
from raytune_rec.objectives.base import Objective
from raytune_rec.schema.contract import MEMBER, Batch
from raytune_rec.schema.prepared import UnitData
from raytune_rec.schema.work import Lane, LaneResult
from raytune_rec.tensors import Noise, Step, crop, keep_memory, mix
from raytune_rec.training.feed import Key, device_table, pieces
from raytune_rec.training.lanes import LaneRecord
from raytune_rec.training.model import Model
from raytune_rec.training.optimizer import Adam
from raytune_rec.training.repeats import Repeats
from raytune_rec.training.validation import Validation, encoded, fits

Reduce = Callable[[list[Tensor]], None]
"""Sums tensors over the workers of a job, in place."""


class Feed(Protocol):
    """Where batches come from.

    `keys`, `steps`: one per U, the key of order and noise, and the steps of an epoch. `start`: where the rows of each key begin
    in the cached encoding, (U, 1) or 0.
    """

    keys: list[Key]

    @property
    def steps(self) -> list[int]: ...

    @property
    def start(self) -> Tensor | int: ...

    def epoch(self, epoch: int) -> Iterator[Batch]: ...

    def keep(self, lanes: Sequence[int]) -> None: ...


class Trainer:
    """Trains the lanes of one model.

    Args:
        model: stacked lanes.
        lanes: who they are, in the model's order; those of a unit stand together.
        feed: training batches.
        units: unit -> its rows. Those of validation choose the best epoch.
        training: options of each lane. Batch size, objective and metric are shared.
        objective: from the model to the loss of each row. weights: its options, (U,).
        further: metrics beside the one that chooses, kept at the best epoch.
        reduce: sums over the workers of a data-parallel job.
        autocast: bfloat16 products on a GPU.
        until: epoch after which lanes that have not ended pause; 0: all train to their own end.
    """

    def __init__(
        self,
        model: Model,
        lanes: Sequence[Lane],
        feed: Feed,
        units: Mapping[str, UnitData],
        training: Sequence[TrainingOptions],
        objective: Objective,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        further: Sequence[str] = (),
        reduce: Reduce | None = None,
        autocast: bool = False,
        until: int = 0,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.weights = {n: t.to(device, dtype) for n, t in (weights or {}).items()}
        self.feed, self.objective, self.device, self.reduce = feed, objective, device, reduce
        self.options, self.training, self.until = training[0], list(training), until
        self.autocast = (autocast or model.parts.backbone.mixed_precision) and device.startswith("cuda")
        keep_memory()
        model.place(device, dtype)
        model = self.model = model.holding() if model.holds else model
        live = [_live(model, units[lane.unit]) for lane in lanes]
        counts = [sum(_count(shapes[n], n, ids) for n in model.trained) for shapes, ids in zip(model.shapes, live, strict=True)]
        higher = METRICS[self.options.metric].higher
        self.records = [
            LaneRecord(lane, higher, o.patience, o.epochs if model.trained and steps else 0, c)
            for lane, o, c, steps in zip(lanes, training, counts, self._steps(len(lanes)), strict=True)
        ]
        self.active = list(range(len(lanes)))
        self.shapes = list(model.shapes)
        groups = sorted(set(model.groups.values()))
        rates = [[{g: o.group_rate(t, g) for g in groups} for o in training] for t in ("lr", "weight_decay")]
        betas, lazy = [(o.beta1, o.beta2) for o in training], [n for n, vocabulary in model.rows.items() if vocabulary == MEMBER]
        self.adam = Adam(model.trained, model.groups, rates[0], rates[1], live, betas, lazy)
        self.done = 0
        metrics, chunk = [self.options.metric, *further], self.options.valid_batch_size
        of_units = {unit: model.part(slice(*span)) for unit, *span in self._spans()}
        self.validation = {
            u: Validation(units[u].valid, part, metrics, chunk, device, self.options.cache_mib) for u, part in of_units.items()
        }
        self.encoded: dict[str, Tensor] = {}
        if all(len(units[u].train) for u in of_units):  # rows that stream in are not here
            tables = {u: device_table(units[u].train, device) for u in of_units}
            if fits(model, list(tables.values()), self.options.cache_mib):
                parts = [encoded(of_units[u], *table, chunk) for u, table in tables.items()]
                self.encoded = {name: torch.cat([p[name] for p in parts], dim=1) for name in parts[0]}
        self.repeats = Repeats(self.encoded)

    @property
    def finished(self) -> bool:
        return self.done > 0 and (not self.active or 0 < self.until <= self.done)

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

    def rehearse(self) -> None:
        """One step and the largest pass of a validation, for whoever measures: no epoch needs more memory."""
        self._observe(one_pass=True)
        if self.model.trained and any(self.feed.steps):
            self._step(next(iter(self.feed.epoch(1))), 0)

    def timed(self, seconds: float) -> tuple[float, float]:
        """Seconds of a step, the mean of those that are made in a while after a first one, and of a validation."""
        self.rehearse()
        self._wait()
        begun = time.perf_counter()
        self._observe()
        valid, took = time.perf_counter() - begun, list[float]()
        for number, batch in enumerate(self.feed.epoch(1) if self.model.trained and any(self.feed.steps) else ()):
            begun = time.perf_counter()
            self._step(batch, number)
            self._wait()
            took.append(time.perf_counter() - begun)
            if sum(took) > seconds:
                break
        return sum(took) / max(1, len(took)), valid

    def _wait(self) -> None:
        """Until a GPU has done what it was told: a step there returns as soon as it is queued."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)

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
        total = torch.zeros(len(self.active), dtype=torch.float64, device=self.device)
        rows = torch.zeros_like(total)
        for number, batch in enumerate(self.feed.epoch(self.done + 1)):
            loss, size = self._step(batch, number)
            total += loss
            rows += size
        self._average_statistics()
        for lane, value in zip(self.active, (total / rows).tolist(), strict=True):
            self.records[lane].trained(value)

    def _step(self, batch: Batch, number: int) -> tuple[Tensor, Tensor]:
        """One update. Returns the (T,) summed loss and the (U,) number of rows."""
        names = list(self.model.trained)
        steps = self._steps(len(self.active))
        idle = [lane for lane, most in enumerate(steps) if number >= most] if len(set(steps)) > 1 else []
        count = batch.weight.sum(1)
        divisor = count.clamp(min=1) if idle else count
        summed, grads = self._gradients(batch, [self.model.trained[n] for n in names], 1.0 if self.reduce else divisor)
        size = count.double()
        if self.reduce:
            self.reduce([*grads, summed, size])
            grads = tuple(g / size[0].to(g.dtype) for g in grads)
        at = [self.done + (number + 0.5) / n for n in steps]
        factors = [self.training[lane].rate_factor(epoch) for lane, epoch in zip(self.active, at, strict=True)]
        self.adam.step(dict(zip(names, grads, strict=True)), idle, factors)
        return summed, size

    def _steps(self, lanes: int) -> list[int]:
        """Of each lane, the steps of an epoch."""
        return self.feed.steps * (1 if len(self.feed.steps) > 1 else lanes)

    def _gradients(self, batch: Batch, leaves: list[Tensor], divisor: Tensor | float) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The (T,) summed loss, and the gradients of its mean; piece by piece where the backbone takes few rows at a time."""
        summed: list[Tensor] = []
        grads: tuple[Tensor, ...] = ()
        for piece in pieces(batch, self.model.parts.backbone.most_rows):
            loss = self._loss(piece)  # (T, B)
            mean = (loss.sum(1) / divisor).sum()
            added = torch.autograd.grad(mean, leaves, allow_unused=True, materialize_grads=True)  # a task may leave a part idle
            grads = tuple(a.add_(b) for a, b in zip(grads, added, strict=True)) if grads else added
            summed.append(loss.detach().sum(1).double())
        return summed[0] if len(summed) == 1 else torch.stack(summed).sum(0), grads

    def _average_statistics(self) -> None:
        """The statistics of trained norms follow each worker's share of the rows: from here on all workers have their mean."""
        names = [n for n in self.model.moving if n in self.model.buffers]
        if self.reduce and names:
            workers = torch.ones((), device=self.device)
            values = [self.model.buffers[n].clone() for n in names]
            self.reduce([workers, *values])
            self.model.buffers.update({n: v / workers for n, v in zip(names, values, strict=True)})

    def _loss(self, batch: Batch) -> Tensor:
        """(T, B): weighted loss of each row."""
        steps = self.adam.steps
        keys = [mix(*key, "noise", steps[i] + 1) for i, key in enumerate(self.feed.keys)]  # where lanes share one: the first's
        step = Step(True, self.model.trained_groups, Noise(tuple(keys), batch.index))
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.autocast):
            known = self._encoded(batch)
            batch = self.repeats.of(batch) if len(self.active) > 2 else batch  # for so few, finding them costs more
            outputs: list[Outputs] = []

            def run(rows: Batch, view: str = "", last: bool = False) -> Outputs:
                if rows is not batch or view:
                    return self.model.forward(rows, self.model.encode(rows), step.view(view, last))
                if not outputs:
                    outputs.append(self.model.forward(batch, known, step))
                return outputs[0]

            loss = self.objective(run, batch, self.weights, step) * batch.weight
            for value in self.model.losses(batch, known, step, lambda: run(batch)).values():
                loss = loss + value * batch.weight
        for name, value in step.updates.items():
            self.model.buffers[f"backbone.{name}"] = value
        return loss.expand(len(self.active), -1)

    def _encoded(self, batch: Batch) -> Mapping[str, Tensor]:
        if not self.encoded:
            return self.model.encode(batch)
        rows = (batch.index + self.feed.start).reshape(-1)
        return {n: e[0].index_select(0, rows).view(*batch.index.shape, *e.shape[2:]) for n, e in self.encoded.items()}

    def _spans(self) -> Iterator[tuple[str, int, int]]:
        """Unit, first and last place + 1 of the active lanes that stand together."""
        units = [self.records[lane].lane.unit for lane in self.active]
        starts = [i for i, unit in enumerate(units) if i == 0 or unit != units[i - 1]]
        yield from ((units[a], a, b) for a, b in pairwise([*starts, len(units)]))

    def _observe(self, one_pass: bool = False) -> None:
        """Validate the active lanes; keep the weights of those that are at their best."""
        for unit, start, stop in self._spans():
            values = self.validation[unit].values(self.model.part(slice(start, stop)), one_pass)
            for at in range(start, stop):
                record = self.records[self.active[at]]
                measures = {name: of_lanes[at - start] for name, of_lanes in values.items()}
                if record.status == "running" and record.observe(measures.pop(self.options.metric), measures):
                    record.weights = {n: t[at].detach().clone() for n, t in self.model.moving.items()}

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
        lanes, self.model = self.model.lanes, self.model.part(places)
        self.model.trained = {n: t.detach().contiguous().requires_grad_() for n, t in self.model.trained.items()}
        self.weights = {n: t[places] if lanes > 1 and len(t) == lanes else t for n, t in self.weights.items()}
        self.feed.keep(places)
        self.adam.keep(places, self.model.trained)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next epoch needs, lane by lane in true shapes, so that a lane may go on in another pack.

        Returns:
            Tensors named `<place in the pack>.<kind>.<full name>`, and JSON facts with one entry per lane.
        """
        tensors: dict[str, Tensor] = {}
        for place, lane in enumerate(self.active):
            shapes = self.shapes[lane]
            for kind, held in self._kinds().items():
                cropped = {n: crop(t[place], shapes[n][: t.dim() - 1]) if n in shapes else t[place] for n, t in held.items()}
                tensors |= {f"{lane}.{kind}.{n}": t.detach().contiguous() for n, t in cropped.items()}
        for i in range(len(self.records)):
            tensors |= {f"{i}.best.{n}": t for n, t in self.best(i).items()}
        steps = dict(zip(self.active, self.adam.steps, strict=True))
        lanes = [{"done": self.done, "steps": steps.get(i, 0), "record": r.facts()} for i, r in enumerate(self.records)]
        return tensors, {"lanes": lanes}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from states of the same lanes, all after the same number of epochs."""
        for i, (record, saved) in enumerate(zip(self.records, facts["lanes"], strict=True)):
            start = f"{i}.best."
            best = {n.removeprefix(start): t.to(self.device) for n, t in tensors.items() if n.startswith(start)}
            record.restore(saved["record"], best)
        self.active = [i for i, record in enumerate(self.records) if record.status == "running"]
        self._keep(self.active)
        self.done = facts["lanes"][(self.active or [0])[0]]["done"]
        self.adam.steps = [facts["lanes"][lane]["steps"] for lane in self.active]
        for kind, held in self._kinds().items():
            for name, stacked in held.items():
                with torch.no_grad():
                    for place, lane in enumerate(self.active):
                        value = tensors[f"{lane}.{kind}.{name}"].to(self.device)
                        stacked[place][tuple(slice(0, n) for n in value.shape)] = value

    def _kinds(self) -> dict[str, Mapping[str, Tensor]]:
        """What a lane takes along: kind -> full name -> (T, ...)."""
        return {"value": self.model.moving, "first": self.adam.first, "second": self.adam.second, "taken": self.adam.taken}


def _live(model: Model, data: UnitData) -> dict[str, int]:
    """Full name -> leading rows that occur in training, where not all do."""
    return {name: 1 + int(data.seen[v].sum()) for name, v in model.rows.items() if v in data.seen}


def _count(shape: tuple[int, ...], name: str, live: Mapping[str, int]) -> int:
    """Numbers of a tensor that training moves (of a table by rows: without the padding row)."""
    return math.prod((live[name] - 1 if name in live else shape[0], *shape[1:]))
