"""What is left of pinnacle feedback while cold items are declined again and again (PROMO, RecSys 2024, section 5.7 and Figure 5).

    python -m benchmarks.retention runs/promo_ml1m [--methods promo meta_emb deepfm ppr] [--declined 1 2 5 10 20] [--out FOLDER]
    python -m benchmarks.retention runs/promo_ml1m --rate 0.001

Goes on with the winners of a finished run: each learns, with its own groups, rates and losses, from users who decline its items,
one after the other. With --rate all learn at one rate, which tells what is a method's from what is its rate's. A sample is a user
of an item's pinnacle feedback (Eq. 4, alpha = beta = 1; at most 10 for each item, 500 drawn of all). It is known where the item
stands in the best tenth of the candidates (10 of 101; the job says how many it draws), and retained where it is known before and
after. Prints for each method how many samples are known before, and of these the share that is retained; methods that train
nothing have nothing to forget and are left out. With --out a picture.

Differs from the paper: which samples count as accurately estimated is not said there; ranks can be compared between models of
different scales. Logs of what was taken say of nobody what he declined: users are drawn who never took the item, from warm ones
with their latest histories, the same for every method. PPR and DeepFM go on with what their strategy trains.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich import table as rich_table
from rich.console import Console
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.mistakes import at_least, told
from raytune_rec import config
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.backbones.base import Paired
from raytune_rec.data.layout import domain_file
from raytune_rec.data.stored.pools import negatives
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, UserError
from raytune_rec.objectives._items import score_of_target
from raytune_rec.objectives.base import RunModel
from raytune_rec.report.pictures.theme import colours, panel
from raytune_rec.schema.contract import Batch
from raytune_rec.schema.prepared import CANDIDATES, DOMAIN, HISTORY, ITEM, TARGET, USER, Table, UnitData
from raytune_rec.schema.work import Lane
from raytune_rec.scoring.tuned import whole
from raytune_rec.stages.context import Context
from raytune_rec.stages.export import tuned, winner_settings
from raytune_rec.stages.failures import winner
from raytune_rec.stages.outcomes import start_of
from raytune_rec.storage import marker
from raytune_rec.tensors import Step, generator
from raytune_rec.training.beside import Beside
from raytune_rec.training.build import rows_of
from raytune_rec.training.feed import device_table, take
from raytune_rec.training.loop import Trainer
from raytune_rec.training.stack import stack

OF_ITEM, SAMPLES, OTHERS = 10, 500, 100
Kept = Mapping[str, NDArray[np.int64]]
"""Method -> (R, 1 + counts): of each replicate how many samples are known before, and how many of these are retained."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run of cold items")
    parser.add_argument("--methods", nargs="+", default=[], help="of the job; all that train something unless given")
    parser.add_argument("--declined", type=at_least(1), nargs="+", default=[1, 2, 5, 10, 20], help="times each item is declined")
    parser.add_argument("--rate", type=float, help="of all groups of all methods; each winner's own unless given")
    parser.add_argument("--out", type=Path, help="folder of the picture")
    options = parser.parse_args()
    counts = sorted({count for count in options.declined if count > 0})
    if options.rate is not None and not 0 < options.rate <= 1:
        raise UserError(f"--rate {options.rate:g}: a learning rate is above 0 and at most 1; name another.")
    kept = retained(options.run, counts, options.methods, options.rate)
    Console(width=120).print(table(kept, counts))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        picture(kept, counts).savefig(options.out / "retention.svg")


def retained(run: Path, counts: Sequence[int], methods: Sequence[str] = (), rate: float | None = None) -> Kept:
    """What the winners of a run keep in mind.

    Args:
        counts: times that each item is declined, ascending. methods: all that train something unless given.
        rate: at which all learn; None: each at its own.

    Raises:
        ArtifactError: the run is not finished or has no groups of cold items, or a method has no winners that train.
    """
    run = run.absolute()
    if not marker.complete(run / "stages" / "evaluate"):
        raise ArtifactError(f"{run}: is no finished run; finish it with `raytune-rec run JOB --out {run}`.")
    context = Context(config.read(run / "job.toml"), run, print, backbone_artifact.of_run(run))
    units = [unit.name for unit in context.store.schema.units if unit.kind == "items"]
    if not units:
        raise ArtifactError(f"{run}: has no groups of cold items; name a run with data.split.kind = 'cold_items'.")
    found = {method: _trained(context, method, units) for method in methods or context.job.methods}
    if wrong := [method for method in methods if not found[method]]:
        known = ", ".join(method for method in context.job.methods if _trained(context, method, units)) or "none"
        raise ArtifactError(f"--methods {' '.join(wrong)}: without winners that train something; there are {known}.")
    sequences, kept = context.job.data.sequences, dict[str, NDArray[np.int64]]()
    assert sequences is not None
    asked = Asked(context.store, units, counts, sequences.negatives, context.job.seed)
    for method, replicates in found.items():
        if replicates:
            of_units = [[_of_replicate(context, method, unit, n, asked, rate) for n in replicates] for unit in units]
            kept[method] = np.sum(of_units, axis=0)
    return kept


def _trained(context: Context, method: str, units: Sequence[str]) -> list[int]:
    """Numbers of the replicates that a method has on every unit; none where it trains nothing."""
    if method not in context.started.planned or not context.started.method(method).parts.trained_groups:
        return []
    numbers = [{r["replicate"] for r in (winner(context, method, unit) or {"replicates": ()})["replicates"]} for unit in units]
    return sorted(set.intersection(*numbers))


class Asked:
    """What all methods are asked, and what they learn in between: the same rows for each.

    Args:
        units: groups of cold items. counts: ascending. negatives: other candidates of a sample; 0: `OTHERS`.
    """

    def __init__(self, store: Store, units: Sequence[str], counts: Sequence[int], negatives: int, seed: int) -> None:
        self.store, self.counts, self.negatives, self.seed = store, counts, negatives, seed
        every = [(unit, row) for unit in units for row in self._pinnacle(unit)]
        chosen = np.sort(np.random.default_rng([seed, 5]).permutation(len(every))[:SAMPLES])
        self.rows = {unit: [row for u, row in (every[i] for i in chosen) if u == unit] for unit in units}

    def samples(self, unit: str) -> Table:
        """Lists of items that the user never took behind one whose pinnacle feedback he is."""
        train, rows = self.store.load(unit, "train"), self.rows[unit]
        columns = {name: column[rows] for name, column in train.columns.items()}
        positive, user = columns.pop(TARGET).max(1), columns[USER]
        taken = {u: self._taken[u] for u in np.unique(user).tolist()}
        wanted = self.negatives or OTHERS
        others = negatives(self.store.lookup.pools, user, columns[DOMAIN], taken, wanted, f"{unit}/retention", self.seed)
        return replace(train, columns={**columns, CANDIDATES: np.column_stack([positive, others])}, label=train.label[rows])

    def declined(self, unit: str) -> tuple[Table, NDArray[np.int64]]:
        """Rows of label 0 to train on, and the stage of each: after the first n each item was declined `counts[n - 1]` times."""
        draw = np.random.default_rng([self.seed, 6, *unit.encode()])
        items, place = np.unique(self.store.load(unit, "train").columns[TARGET].max(1)[self.rows[unit]]), self._domain(unit)
        known, most = self.store.reader.known_histories(), self.counts[-1]
        free = [np.flatnonzero((known[DOMAIN] == place) & ~np.isin(known[USER], self._takers[i])) for i in items]
        if not all(map(len, free)):
            raise ArtifactError(f"{unit}: every user took one of its items, so that none can decline it; name another run.")
        row = np.concatenate([draw.choice(users, most) for users in free] or [np.zeros(0, np.int64)])
        item, times = np.repeat(items, most), np.tile(np.arange(most), len(items))
        pasts = [past[past > 0] for past in known[HISTORY][row]]
        made = self.store.join({USER: known[USER][row], DOMAIN: known[DOMAIN][row], "items": pasts})
        target = np.zeros_like(made.columns[TARGET])
        target[np.arange(len(item)), [len(past) for past in pasts]] = item
        label, stage = np.zeros(len(item), np.float32), 1 + np.searchsorted(self.counts, times, "right")
        return replace(made, columns={**made.columns, TARGET: target}, label=label), stage

    def _pinnacle(self, unit: str) -> NDArray[np.intp]:
        """Training rows of the users of highest value of each item."""
        columns, feedback = self.store.load(unit, "train").columns, self.store.items(feedback=True).feedback
        assert feedback is not None
        item, user = columns[TARGET].max(1), columns[USER]
        owner = np.repeat(np.arange(len(feedback.start) - 1), np.diff(feedback.start))
        value = np.nan_to_num(feedback.value) + np.nan_to_num(feedback.stay)
        worth: dict[tuple[int, int], float] = {}
        for i, u, v in zip(owner.tolist(), feedback.user.tolist(), value.tolist(), strict=True):
            worth[i, u] = max(worth.get((i, u), -np.inf), v)
        values = np.array([worth.get(pair, -np.inf) for pair in zip(item, user, strict=True)])
        order = np.lexsort((-values, item))
        order = order[(user[order] > 0) & (values[order] > -np.inf)]
        place = np.arange(len(order)) - np.searchsorted(item[order], item[order])
        return np.sort(order[place < OF_ITEM])

    def _domain(self, unit: str) -> int:
        return self.store.schema.domains.index(self.store.schema.unit(unit).domain) + 1

    @cached_property
    def _events(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """User and item of all that was taken, in whatever split; those that have an id."""
        parts = [pq.read_table(domain_file(self.store.path, d), columns=[USER, ITEM]) for d in self.store.schema.domains]
        user, item = (np.concatenate([part[name].to_numpy() for part in parts]).astype(np.int64) for name in (USER, ITEM))
        known = (user < self.store.schema.field(USER).size) & (item < len(self.store.lookup.pools))
        return user[known], item[known]

    @cached_property
    def _taken(self) -> dict[int, NDArray[np.int64]]:
        """User -> the items that he took."""
        return _by(*self._events)

    @cached_property
    def _takers(self) -> dict[int, NDArray[np.int64]]:
        """Item -> the users who took it."""
        return _by(*reversed(self._events))


def _by(keys: NDArray[np.int64], values: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    order = np.argsort(keys, kind="stable")
    distinct, start = np.unique(keys[order], return_index=True)
    return dict(zip(distinct.tolist(), np.split(values[order], start[1:]), strict=True))


class Declined:
    """Log loss of the item that a row is about, of label 0."""

    def __call__(self, run: RunModel, batch: Batch, options: Mapping[str, Tensor], step: Step) -> Tensor:
        target, outputs = batch.columns[TARGET], run(batch)
        if isinstance(outputs, Paired):
            return softplus(outputs.score(target.amax(-1, keepdim=True)).squeeze(-1))
        scores = score_of_target(outputs["state"], target[..., : outputs["state"].shape[2]], outputs)
        return (softplus(scores) * (target[..., : scores.shape[2]] > 0)).sum(-1)


@dataclass
class Stream:
    """A feed of rows stage by stage, one stage an epoch."""

    table: Table
    stage: NDArray[np.int64]
    keys: list[tuple[object, ...]]
    batch_size: int
    start = 0

    @property
    def steps(self) -> list[int]:
        return [-(-len(self.table) // self.batch_size)]

    def epoch(self, epoch: int) -> Iterator[Batch]:
        columns, label = device_table(self.table, "cpu")
        places = torch.from_numpy(np.flatnonzero(self.stage == epoch))
        for index in places[torch.randperm(len(places), generator=generator(*self.keys[0], epoch))].split(self.batch_size):
            yield take(columns, label, index.unsqueeze(0))

    def keep(self, lanes: Sequence[int]) -> None: ...


def _of_replicate(context: Context, method: str, unit: str, number: int, asked: Asked, rate: float | None) -> NDArray[np.int64]:
    """(1 + counts,): samples of a unit that are known before, and how many of these after each count."""
    trainer = _goes_on(context, method, unit, number, asked, rate)
    before = known = _known(trainer, unit)
    reached = [int(before.sum())]
    for _ in asked.counts:
        trainer.epoch()
        known = _known(trainer, unit) if trainer.active else np.zeros_like(before)  # what diverged knows nothing
        reached.append(int((before & known).sum()))
    return np.array(reached)


def _known(trainer: Trainer, unit: str) -> NDArray[np.bool_]:
    """(N,): a tie counts against."""
    scores = trainer.validation[unit].scores(trainer.model)[0]
    return ((scores[:, 1:] >= scores[:, :1]).sum(1) < max(1, scores.shape[1] // 10)).numpy()


def _goes_on(context: Context, method: str, unit: str, number: int, asked: Asked, rate: float | None) -> Trainer:
    """A trainer that begins where a replicate of a winner ended."""
    job, facts = context.job, winner(context, method, unit)
    assert facts is not None
    settings, parts = winner_settings(context, method, facts)
    replicate: Mapping[str, Any] = next(r for r in facts["replicates"] if r["replicate"] == number)
    start = start_of(context, method, replicate["pretraining"] or 0)
    lane = Lane(facts["trial"], number, facts["options"], unit)
    rows: UnitData = rows_of(str(context.store_path), unit, parts.reads_by_id, None)
    declined, stage = asked.declined(unit)
    learnt = whole(tuned(context.winner_folder(method, unit), replicate), start, parts.declared())
    model = stack(parts, [lane], [learnt], [rows.rows], job.seed)
    model.beside = Beside.of([rows.by_id]) if rows.by_id else model.beside
    feed = Stream(declined, stage, [(job.seed, "declined", unit)], settings.training.batch_size)
    calm: dict[str, Any] = {"epochs": len(asked.counts) + 1, "patience": len(asked.counts) + 1}
    calm |= {"schedule": "constant", "warmup": 0.0} | ({} if rate is None else {"lr": {"default": rate}})
    data = {unit: replace(rows, train=declined, valid=asked.samples(unit))}
    return Trainer(model, [lane], feed, data, [settings.training.model_copy(update=calm)], Declined())  # type: ignore[arg-type]


def shares(kept: Kept) -> dict[str, NDArray[np.float64]]:
    """Method -> (R, counts): retained samples as a share of those that were known; NaN where none was."""
    return {method: each[:, 1:] / np.where(each[:, :1] > 0, each[:, :1], np.nan) for method, each in kept.items()}


def table(kept: Kept, counts: Sequence[int]) -> rich_table.Table:
    """A line for each method: samples that are known, and the share that is retained after each count."""
    title = "Pinnacle feedback that is retained, by how often its item was declined (mean and range of the replicates)"
    made = rich_table.Table(rich_table.Column("method", overflow="fold"), "known before", *map(str, counts), title=title)
    for method, of_method in shares(kept).items():
        cells = [f"{share.mean():.3f}\n{share.min():.3f} to {share.max():.3f}" for share in of_method.T]
        made.add_row(method, f"{kept[method][:, 0].mean():.1f}", *cells)
    return made


def picture(kept: Kept, counts: Sequence[int]) -> Figure:
    """A line for each method over the counts."""
    colour = colours((), list(kept))
    with panel("", height=3.0) as (figure, axes):
        for method, of_method in shares(kept).items():
            axes.plot(range(len(counts)), of_method.mean(0), ".-", color=colour[method], label=method)
        axes.set_xticks(range(len(counts)), list(map(str, counts)))
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("times that an item was declined")
        axes.set_ylabel("pinnacle feedback retained")
        axes.legend(fontsize=6, frameon=False)
    return figure


if __name__ == "__main__":
    with told():
        main()
