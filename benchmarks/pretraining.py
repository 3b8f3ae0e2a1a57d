"""What Ray costs a pre-training: rows per second of Ray Train with one worker, divided by those of the loop without Ray.

`python -m benchmarks.pretraining` prepares a made-up log once, then alternates the two on it, with one torch thread each. An
epoch counts from the end of the one before to its own end: delivery of the rows, training, validation, and on Ray the checkpoint
and its report. The first epoch is start-up and does not count. Prints a table, and JSON as the last line; the target is 0.85.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.mistakes import at_least, told
from raytune_rec.components import component, options_of
from raytune_rec.config import Job, parse
from raytune_rec.data.preparing.preparation import prepare
from raytune_rec.data.stored.store import Store
from raytune_rec.machine.hardware import cpus
from raytune_rec.pretraining.pretraining import Pretraining
from raytune_rec.pretraining.train import pretrain
from raytune_rec.schema.work import Lane, recipe_of
from raytune_rec.training.settings import Resolved, method_of, resolve

TARGET = 0.85


@dataclass(frozen=True)
class Clock:
    """Notes the end of each epoch in a file; called in the worker."""

    path: Path

    def __call__(self, _: Any) -> None:
        with self.path.open("a") as file:
            file.write(f"{time.time()!r}\n")

    def epochs(self) -> list[float]:
        """Seconds of each epoch but the first; the file is emptied."""
        ends = [float(line) for line in self.path.read_text().splitlines()]
        self.path.unlink()
        return [b - a for a, b in pairwise(ends)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=at_least(1), default=400_000)
    parser.add_argument("--epochs", type=at_least(1), default=4)
    parser.add_argument("--repeats", type=at_least(1), default=3)
    asked = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    with tempfile.TemporaryDirectory() as folder:
        report(measure(Path(folder), asked.rows, asked.epochs, asked.repeats))


def measure(folder: Path, rows: int, epochs: int, repeats: int) -> dict[str, Any]:
    """Rows per second of each repeat, in turns, and their ratio."""
    import ray

    store, clock = prepared(folder / "store", job(0, rows, epochs)), Clock(folder / "clock")
    trained = sum(store.schema.rows[domain, "train"] for domain in store.schema.domains)
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    found: dict[str, list[float]] = {"loop": [], "ray": []}
    try:
        for i in range(repeats):
            here = job(0, rows, epochs)
            pretrain(recipe(here), {}, 0, store.path, folder / "here", folder, tell=clock)
            found["loop"].append(trained / statistics.median(clock.epochs()))
            on_ray(job(1, rows, epochs), store, folder / f"there-{i}", clock)
            found["ray"].append(trained / statistics.median(clock.epochs()))
    finally:
        ray.shutdown()
    medians = {name: statistics.median(values) for name, values in found.items()}
    ratio = statistics.median(b / a for a, b in zip(found["loop"], found["ray"], strict=True))
    known = {"rows": trained, "epochs": epochs, "target": TARGET, "cpus": cpus()}
    return {**known, **medians, "ratio": ratio, "repeats": found}


def on_ray(of: Job, store: Store, folder: Path, clock: Clock) -> None:
    from raytune_rec.pretraining.workers import train

    train(Pretraining(recipe(of), Lane(0), 0, store.path, folder / "backbone", folder), store, lambda facts: None, clock)


def recipe(of: Job) -> Resolved:
    return resolve(of, method_of(of, recipe_of("plain")))


def job(workers: int, rows: int, epochs: int) -> Job:
    """A DeepFM of the usual size on three domains."""
    shares = {"feed": rows * 11 // 20, "search": rows * 6 // 20, "banner": rows * 3 // 20}
    return parse(
        {
            "name": "benchmark",
            "data": {"source": "synthetic", "options": {"interactions": shares, "users": 8000, "items": 4000}},
            "backbone": {"name": "deepfm"},
            "training": {"patience": epochs},
            "pretrain": {"workers": workers, "training": {"epochs": epochs}},
            "pretrainings": {"plain": {}},
            "methods": {"pretrained": {"strategy": "pretrained", "pretraining": "plain"}},
        }
    )


def prepared(folder: Path, of: Job) -> Store:
    source = component("data.sources", of.data.source)(options_of("data.sources", of.data.source, of.data.options))
    prepare(of.data, source, folder)
    return Store.open(folder)


def report(found: dict[str, Any]) -> None:
    repeats = len(found["repeats"]["loop"])
    print(f"{found['rows']} training rows, {found['epochs']} epochs, {repeats} repeats, {found['cpus']} CPUs")
    for name, text in (("loop", "the loop without Ray"), ("ray", "Ray Train, one worker")):
        values = ", ".join(f"{v:,.0f}" for v in found["repeats"][name])
        print(f"  {text:<24}{found[name]:>12,.0f} rows/s   ({values})")
    print(f"  {'ratio':<24}{found['ratio']:>12.3f}          (target {found['target']})")
    print(json.dumps(found))


if __name__ == "__main__":
    with told():
        main()
