"""What a cold item costs: seconds of tuning PROMO for 100, 1,000 and 10,000 new items, in groups of a hundred.

    python -m benchmarks.cold_items [--items 100 1000 10000] [--lanes 8] [--epochs 10] [--out FILE]

Made-up rows of the shipped job's kind: dssm (width 32, SASRec inside, histories of 50), five rows train of each new item, batches
of 16, 100 negatives a validation row. A group is one pack of so many configurations over a frozen backbone; groups follow one
another. The catalogue grows with the new items. The figure is processor time, since other programs disturb the clock.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.mistakes import at_least, told
from raytune_rec.config import parse
from raytune_rec.schema.contract import MEMBER
from raytune_rec.schema.prepared import ById, DataSchema, Feedback, Field, Items, Table, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.task import Task
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.settings import settings

USERS, WARM, GROUP, KEPT, LENGTH, VALID = 2000, 2000, 100, 5, 50, 400
METHOD = Method("promo", Strategy("prompt", "scratch", ("prompt",), "on"), "dssm", "promo")
JOB = parse(
    {
        "name": "cold_items",
        "data": {"source": "synthetic", "split": {"kind": "cold_items"}, "sequences": {"length": LENGTH}},
        "backbone": {"name": "dssm", "options": {"width": 32, "heads": 4, "inner": 32}},
        "training": {"objective": "next_bce", "metric": "ndcg@10", "batch_size": 16, "patience": 100, "valid_batch_size": 1024},
        "methods": {},
    }
)


def world(cold: int, draw: np.random.Generator) -> tuple[DataSchema, ById]:
    """A catalogue of well-known items and so many new ones, each taken by a few users."""
    size = 1 + WARM + cold
    count = np.concatenate([[0], np.full(WARM, 100), np.full(cold, KEPT)])
    start, events = np.concatenate([[0], np.cumsum(count)]), int(count.sum())
    zero = np.zeros(events, np.float32)
    feedback = Feedback(start, draw.integers(1, USERS, events), np.arange(events), zero + 1, zero, np.arange(events))
    sizes = {"user": USERS, "item": size, "domain": 2, "genre": 19}
    fields = tuple(Field(n, "categorical", "item" if n == "genre" else n, v) for n, v in sizes.items())  # type: ignore[arg-type]
    items = Items({"genre": draw.integers(1, 19, size)}, count, feedback)
    return DataSchema(fields, ("shop",), "0" * 16, task=Task("lists", LENGTH)), ById(items, {"user": np.arange(USERS)})


def unit(number: int, known: ById, draw: np.random.Generator) -> UnitData:
    """The rows of a group: each of its events with a history of well-known items, and rows to rank."""
    members = 1 + WARM + number * GROUP + np.arange(GROUP)
    assert known.items.feedback is not None
    start = np.asarray(known.items.feedback.start)
    places = np.concatenate([np.arange(start[i], start[i + 1]) for i in members])
    target = np.zeros((len(places), LENGTH + 1), np.int64)
    target[:, LENGTH] = np.repeat(members, KEPT)
    train = {"user": np.asarray(known.items.feedback.user)[places], "target": target}
    valid = {"user": draw.integers(1, USERS, VALID), "candidates": draw.integers(1, 1 + WARM, (VALID, 101))}
    valid["candidates"][:, 0] = draw.choice(members, VALID)
    own, by_id = np.concatenate([[0], members]), ById(known.items, known.users, members)
    return UnitData(f"cold.{number}", table(train, draw), table(valid, draw), {MEMBER: own}, {MEMBER: own > 0}, by_id)


def table(columns: dict[str, np.ndarray], draw: np.random.Generator) -> Table:
    rows = len(columns["user"])
    beside = {"domain": np.ones(rows, np.int64), "history": draw.integers(1, 1 + WARM, (rows, LENGTH))}
    return Table({**columns, **beside}, np.ones(rows, np.float32))


def seconds(cold: int, lanes: int, epochs: int) -> float:
    """Processor time to tune all groups, one after the other."""
    draw = np.random.default_rng(0)
    schema, known = world(cold, draw)
    job = JOB.model_copy(update={"training": JOB.training.model_copy(update={"epochs": epochs})})
    total = 0.0
    for number in range(cold // GROUP):
        data = unit(number, known, draw)
        of = [Lane(0, 0, {"training.lr.prompt": 10 ** (-2 - 0.2 * i)}, data.unit) for i in range(lanes)]
        pack, units = Pack(data.unit, METHOD.name, tuple(of)), {data.unit: data}
        began = time.process_time()
        of_lanes = [settings(job, METHOD, lane) for lane in of]
        train_with(job, pack, METHOD, of_lanes, schema, units, table_feed(job, pack, units, 16)).run()
        total += time.process_time() - began
    return total


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_items", description=(__doc__ or "").split("\n")[0])
    of_items = f"new items, multiples of {GROUP}"
    parser.add_argument("--items", type=at_least(1), nargs="+", default=[100, 1000, 10_000], help=of_items)
    parser.add_argument("--lanes", type=at_least(1), default=8, help="configurations of a pack")
    parser.add_argument("--epochs", type=at_least(1), default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if wrong := [cold for cold in options.items if cold % GROUP]:
        parser.error(f"argument --items: new items come in groups of {GROUP}; give multiples of it (given: {wrong[0]})")
    told = []
    for cold in options.items:
        took = seconds(cold, options.lanes, options.epochs)
        told.append({"items": cold, "seconds": took, "of_one": took / cold / options.lanes})
        print(f"{cold:,} items: {took:.1f} s, {1000 * told[-1]['of_one']:.2f} ms for an item and configuration", flush=True)
    if options.out:
        options.out.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    with told():
        main()
