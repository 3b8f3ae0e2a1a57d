"""Rows of one time and items of no pattern: what comes next cannot be told, and nothing may tell it all the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from raytune_rec import config, pipeline
from raytune_rec.data.stored.store import Store
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.training.build import build
from raytune_rec.training.settings import method_of, resolve

USERS, TAKEN, ITEMS = 1500, 8, 60


def job(log: Path, *times: str) -> config.Job:
    columns = {name: name for name in ("domain", "user", "item", "label", "timestamp", *times)}
    return config.parse({
        "name": "tied", "data": {
            "source": "tabular", "options": {"files": str(log), "columns": columns},
            "split": {"kind": "leave_one_out"}, "sequences": {"length": 8, "negatives": 20},
        },
        "backbone": {"name": "sasrec", "options": {"width": 16, "inner": 16, "blocks": 1, "dropout": 0.0}},
        "training": {
            "objective": "softmax", "metric": "list_auc", "batch_size": 100, "epochs": 4, "patience": 4, "lr": {"default": 0.01},
        },
        "methods": {"single": {"strategy": "single"}},
    })  # fmt: skip


@pytest.mark.parametrize(("times", "learned"), [((), False), (("position",), True)], ids=["tied", "ordered"])
def test_sasrec_learns_an_order_where_one_is_told_and_none_of_ties(times: tuple[str, ...], learned: bool, tmp_path: Path) -> None:
    """One log, whose rows and ids ascend for each user: AUC is that of chance unless a column tells their order."""
    draw, lines = random.Random(3), ["domain,user,item,label,timestamp,position"]
    for user in range(USERS):
        items = sorted(draw.sample(range(ITEMS), TAKEN))
        lines += [f"x,u{user},{item:02d},1,1600000000,{place}" for place, item in enumerate(items)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    own = job(tmp_path / "log.csv", *times)
    pipeline.run(own, tmp_path / "run", only="prepare", say=lambda line: None)
    store = Store.open(tmp_path / "run" / "data")
    trainer = build(resolve(own, method_of(own, "single")), Pack("p", "single", (Lane(0, unit="x"),)), store, {})
    while not trainer.finished:
        trainer.epoch()
    curve = trainer.results()[0].curve
    assert curve[-1] > 0.75 if learned else max(abs(value - 0.5) for value in curve) < 0.03
