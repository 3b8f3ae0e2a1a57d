"""Rows per second of one batch over many domains, beside the bare backbone and beside a loop over the domains.

    python -m benchmarks.scoring [--domains 1 10 100 1000] [--rows 16384] [--repeats 7] [--out FILE]

The model is DeepFM (width 16, hidden 64 and 32) with PLATE's prompt and linear part, on rows of 1,000 made-up domains that
share 20,000 users and 20,000 items; nothing is trained, since values do not change the time. A prompt tuned the rows of about 600
users and 400 items. A batch has as many rows whatever the number of its domains, whose sizes differ as those of hashed rows do.

bank      one pass for all rows, ids in hand      loop    a pass for each domain
backbone  the same rows without prompts           raw     from raw rows: `Prompts.score` of an Arrow table

Figures are the best of the repeats, which take turns over all numbers of domains, of processor time; memory is that of tensors.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.mistakes import at_least
from raytune_rec.components import options_of
from raytune_rec.data.layout import vocabulary_file
from raytune_rec.data.stored.store import Store
from raytune_rec.schema.prepared import DataSchema, Field, Table
from raytune_rec.schema.work import Lane
from raytune_rec.scoring.bank import LANE, Bank, Group, TunedRows
from raytune_rec.scoring.scorer import EVERYBODY, Scorer
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Unit
from raytune_rec.training.parts import Parts, parts_of
from raytune_rec.training.stack import stack

USERS, ITEMS, COLOURS, DOMAINS = 20_000, 20_000, 50, 1_000
OWN = {"user": 600, "item": 400, "colour": 40, "domain": 1}
"""Rows of each table that a prompt tuned."""


def store(folder: Path) -> Store:
    """What stands beside a backbone: vocabularies, and users with a colour and an age."""
    draw, sizes = np.random.default_rng(0), {"user": USERS, "item": ITEMS, "domain": DOMAINS + 1, "colour": COLOURS}
    (folder / "vocabulary").mkdir(parents=True, exist_ok=True)
    raws = {name: [f"{name[0]}{i}" for i in range(1, size)] for name, size in sizes.items()}
    for name, raw in raws.items():
        ids = pa.array(np.arange(1, len(raw) + 1), pa.int32())
        pq.write_table(pa.table({"raw": raw, "id": ids}), vocabulary_file(folder, name))
    users = {"raw": ["", *raws["user"]], "colour": draw.integers(0, COLOURS, USERS), "age": draw.normal(40, 9, USERS)}
    pq.write_table(pa.table(users), folder / "users.parquet")
    pq.write_table(pa.table({"raw": ["", *raws["item"]]}), folder / "items.parquet")
    fields: list[Any] = [Field(n, "categorical", n, sizes[n]) for n in ("user", "item", "domain")]  # type: ignore[arg-type]
    fields += [Field("colour", "categorical", "user", COLOURS), Field("age", "numerical", "user", 10, mean=40, std=9)]
    return Store.of(folder, DataSchema(tuple(fields), tuple(raws["domain"]), "0" * 16), True, None, 0)


def parts(schema: DataSchema, strategy: str = "prompt_linear") -> Parts:
    backbone = options_of("backbones", "deepfm", {"width": 16, "hidden": [64, 32]})
    options: Any = {"backbone": [backbone], "prompt": [options_of("prompts", "plate", {"temperature": 0.1})]}
    return parts_of("deepfm", "plate", ALIASES[strategy], options, schema)


def lanes(of: Parts, count: int) -> list[Group]:
    """The backbone, and prompts on it."""
    first = stack(of, [Lane(0)])
    start = {name: tensor[0] for name, tensor in {**first.fixed, **first.buffers, **first.trained}.items()}
    frozen = parts(of.backbone.schema, "prompt_untuned")
    draw, declared, made = torch.Generator().manual_seed(0), of.declared(), [Group(stack(frozen, [Lane(0)], [start]))]
    for _ in range(count):
        own, tables = dict(start), dict[str, TunedRows]()
        index = {name: torch.randperm(size, generator=draw) for name, size in (("user", USERS), ("item", ITEMS))}
        index |= {"colour": torch.arange(COLOURS), "domain": torch.arange(1, DOMAINS)}
        index = {name: ids[: OWN[name]].sort().values for name, ids in index.items()}
        for name, p in declared.items():
            if p.group not in ("prompt", "linear"):
                continue
            if p.rows is None:
                own[name] = torch.randn(p.shape, generator=draw)
            else:
                shape = (len(index[p.rows]), *p.shape[1:])
                tables[name] = TunedRows(index[p.rows], torch.randn(shape, generator=draw), p.shape[0])
        made.append(Group(stack(frozen, [Lane(0)], [own]), tables))
    return made


def batch(rows: int, domains: int) -> tuple[pa.Table, np.ndarray]:
    draw = np.random.default_rng(domains)
    lane = draw.integers(0, domains, rows)
    ids = {"user": draw.integers(1, USERS, rows), "item": draw.integers(1, ITEMS, rows), "domain": lane + 1}
    return pa.table({name: [f"{name[0]}{i}" for i in values.tolist()] for name, values in ids.items()}), lane


def fastest(ways: dict[tuple[int, str], Callable[[], object]], repeats: int) -> dict[tuple[int, str], float]:
    """Seconds of each."""
    best = dict.fromkeys(ways, np.inf)
    for _ in range(repeats):
        for name, way in ways.items():
            begun = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - begun)
    return best


def ways(held: Store, made: list[Group], rows: int, domains: int) -> tuple[dict[str, Callable[[], object]], float]:
    """What is timed, by name, and the KiB that a prompt takes."""
    raw, lane = batch(rows, domains)
    names = [f"d{i + 1}" for i in range(domains)]
    bank = Bank.of(made[1 : domains + 1], [Unit(name, domain=name) for name in names], names)
    plain = Bank((*bank.groups, made[0]), (*bank.units, EVERYBODY), (*bank.names, ""), plain=True)
    columns = held.encode(raw.to_pydict())
    table, nothing = Table({**columns, LANE: lane}, np.zeros(rows, np.float32)), np.zeros(rows, np.float32)
    single = [Scorer(group) for group in (Bank((each,), (EVERYBODY,), ("",)) for each in made[: domains + 1])]
    own = [Table({n: c[lane == i] for n, c in columns.items()}, nothing[lane == i]) for i in range(domains)]
    mixed, served = Scorer(bank), Scorer(plain, held)

    def loop() -> np.ndarray:
        logits = nothing.copy()
        for i, part in enumerate(own):
            logits[lane == i] = single[i + 1].logits(part)
        return logits

    np.testing.assert_allclose(mixed.logits(table), loop(), rtol=1e-4, atol=1e-4)
    whole = Table(columns, nothing)
    timed: dict[str, Callable[[], object]] = {
        "bank": lambda: mixed.logits(table),
        "loop": loop,
        "backbone": lambda: single[0].logits(whole),
        "raw": lambda: served.score(raw),
    }
    kept = [t for group in bank.groups for r in group.tuned.values() for t in (r.index, r.values)]
    dense = [t for group in bank.groups for n, t in group.model.fixed.items() if len(t) == domains > 1]
    size = {t.data_ptr(): t.numel() * t.element_size() for t in [*kept, *dense]}
    return timed, sum(size.values()) / domains / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", type=at_least(1), nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--rows", type=at_least(1), default=16_384)
    parser.add_argument("--repeats", type=at_least(1), default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    timed, figures = dict[tuple[int, str], Callable[[], object]](), dict[int, dict[str, float]]()
    with tempfile.TemporaryDirectory() as folder:
        held = store(Path(folder))
        made = lanes(parts(held.schema), max(given.domains))
        for count in given.domains:
            each, memory = ways(held, made, given.rows, count)
            timed |= {(count, name): way for name, way in each.items()}
            figures[count] = {"KiB a prompt": memory}
        for (count, name), seconds in fastest(timed, given.repeats).items():
            figures[count][name] = given.rows / seconds
    for count, rates in figures.items():
        print(f"{count:5} domains: " + ", ".join(f"{name} {value:,.0f}" for name, value in rates.items()))
    if given.out:
        given.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
