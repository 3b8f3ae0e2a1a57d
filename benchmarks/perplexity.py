"""Ranking by perplexity: candidates of many users, in our passes and pair by pair. Exits with 1 where ours is not 5 x faster.

    python -m benchmarks.perplexity [--users 1000] [--candidates 100] [--pairs 2000] [--out FILE]

The model is the small T5 of `jobs/upsr_pretrain.toml` as it is drawn: its values do not change the time. Histories have up to 20
items and texts up to 40 tokens, short ones more often. `ours` is a pass as tests make it: a history is read once, rows of like
length together, and its candidates are told in pieces of like length. `pairs` asks the same model for one user and one
candidate at a time, so that the history is read anew for each; it is timed on some users, whose scores must be the same.
Figures are processor time, since other programs disturb the clock.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.mistakes import at_least
from raytune_rec.components import component
from raytune_rec.schema.contract import Batch
from raytune_rec.schema.prepared import ById, DataSchema, Field, Items, Phrases, Table
from raytune_rec.schema.work import Lane
from raytune_rec.scoring.scorer import Scorer
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Task
from raytune_rec.tensors import Step
from raytune_rec.training.beside import Beside
from raytune_rec.training.model import Model
from raytune_rec.training.parts import meet
from raytune_rec.training.stack import stack

ITEMS, TOKENS, LENGTH, PASS = 4000, 4000, 20, 256
OPTIONS = {"length": 256, "width": 64, "heads": 4, "head_width": 16, "inner": 256, "blocks": 2, "decoder_blocks": 2}
PHRASES = Phrases((*range(101, 111),), (111,), (*range(112, 120),), tuple(range(1, 101)), 0, 120, 121)
LAST = Step(False, last=True)


def made() -> Model:
    """A T5 over made-up texts."""
    draw = np.random.default_rng(0)
    texts = draw.integers(124, TOKENS + 2, (ITEMS + 1, 40))
    texts[np.arange(40) >= np.minimum(draw.geometric(1 / 12, ITEMS + 1), 40)[:, None]] = 0
    texts[0] = 0
    fields = tuple(Field(n, "categorical", n, size) for n, size in (("user", 2), ("item", ITEMS + 1), ("domain", 2)))  # type: ignore[arg-type]
    title = Field("title", "text", "item", TOKENS + 2, 40)
    schema = DataSchema(fields, ("made",), "0" * 16, task=Task("lists", LENGTH), texts=(title,), phrases=PHRASES)
    t5, none = component("backbones", "t5"), component("prompts", "none")
    chosen = {"backbone": [t5.Options(**OPTIONS)], "prompt": [none.Options()]}
    model = stack(meet(t5, none, ALIASES["tuning_free"], chosen, schema, None), [Lane(0, 0, {}, "made")])
    items = Items({"title": texts}, np.ones(ITEMS + 1, np.int64))
    model.beside = Beside.of([ById(items, {"user": np.arange(2)})])
    model.place("cpu", torch.float32)
    return model.holding()


def lists(users: int, candidates: int) -> Table:
    draw = np.random.default_rng(1)
    history = draw.integers(1, ITEMS + 1, (users, LENGTH))
    history[np.arange(LENGTH) >= draw.integers(1, LENGTH + 1, users)[:, None]] = 0
    columns = {"user": np.ones(users, np.int64), "domain": np.ones(users, np.int64), "history": history}
    listed = np.stack([draw.permutation(ITEMS)[:candidates] + 1 for _ in range(users)])
    return Table({**columns, "candidates": listed}, np.ones(users, np.float32))


def ours(model: Model, table: Table) -> Tensor:
    """(N, K)."""
    return torch.from_numpy(Scorer(model, batch_size=PASS).logits(table))


def pairs(model: Model, table: Table) -> Tensor:
    """(N, K), one pair after the other."""
    rows = []
    for user in range(len(table)):
        scores = []
        for item in table.columns["candidates"][user]:
            one = {name: torch.as_tensor(values[user : user + 1])[None] for name, values in table.columns.items()}
            one["candidates"] = torch.tensor([[[int(item)]]])
            batch = Batch(one, torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.int64))
            scores.append(model.scores(batch, {}, LAST)[0, 0, 0])
        rows.append(torch.stack(scores))
    return torch.stack(rows)


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    started = time.process_time()
    with torch.no_grad():
        found = work()
    return time.process_time() - started, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=at_least(1), default=1000)
    parser.add_argument("--candidates", type=at_least(1), default=100)
    parser.add_argument("--pairs", type=at_least(1), default=2000, help="pairs that are timed one by one")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model, table = made(), lists(asked.users, asked.candidates)
    some = max(1, min(asked.users, asked.pairs // asked.candidates))
    few = Table({name: values[:some] for name, values in table.columns.items()}, table.label[:some])
    timed(lambda: ours(model, few))  # the first pass of a process is slower
    seconds, scores = timed(lambda: ours(model, table))
    slow, one_by_one = timed(lambda: pairs(model, few))
    torch.testing.assert_close(one_by_one, scores[:some], atol=1e-4, rtol=1e-4)
    each = {"ours": seconds / (asked.users * asked.candidates), "pairs": slow / (some * asked.candidates)}
    faster = each["pairs"] / each["ours"]
    figures: dict[str, Any] = {"users": asked.users, "candidates": asked.candidates, "cpu_seconds_a_pair": each, "faster": faster}
    told = f"{seconds:.1f} s of processor time for {asked.users:,} users with {asked.candidates} candidates each"
    print(f"{told}; pair by pair it takes {faster:.1f} x as long ({slow:.1f} s for {some} of the users)")
    if asked.out:
        asked.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if faster < 5:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
