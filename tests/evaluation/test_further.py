"""Lists that are ranked once more: with shuffled histories, and among what another method found. Each against a plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_rec.evaluation.measures.inputs import ListOutcomes, Outcome, first
from raytune_rec.evaluation.measures.measure_lists import values
from raytune_rec.evaluation.measures.tested import ListsTested
from raytune_rec.schema.prepared import Table
from raytune_rec.task import Task
from raytune_rec.tasks.base import Further
from raytune_rec.tasks.lists import Lists, retrieved, shuffled

LISTS, ITEMS, LENGTH = 40, 130, 6
G = np.random.default_rng(3)
SCORES = np.round(G.normal(size=(LISTS, ITEMS)), 1)
"""Of each item for each list; some are level."""
DOMAIN = np.where(np.arange(ITEMS) < 115, 1, 2)


def lists() -> Table:
    lengths = G.integers(1, LENGTH + 1, LISTS)
    history = np.stack([np.pad(G.permutation(60)[:n] + 1, (0, LENGTH - n)) for n in lengths])
    positive = G.integers(61, 115, LISTS)
    others = np.stack([G.permutation(20)[:9] + 90 for _ in range(LISTS)])
    others[others == positive[:, None]] = 89
    columns = {
        "history": history, "domain": np.ones(LISTS, np.int64), "positive": positive, "seen": history,
        "candidates": np.concatenate([positive[:, None], others], 1),
    }  # fmt: skip
    return Table(columns, np.ones(LISTS, np.float32), DOMAIN, task=Task("lists", LENGTH))


TABLE = lists()


def score(row: int, history: np.ndarray, item: int) -> float:
    """What the model says: it likes the last item of a history, and the item itself."""
    return float(SCORES[row, item] + 0.1 * [h for h in history if h][-1])


def passes(table: Table, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.arange(len(table)).split(16):
        history, listed = table.columns["history"], table.columns.get("candidates")
        each = [[score(r, history[r], i) for i in (range(ITEMS) if listed is None else listed[r])] for r in rows.tolist()]
        yield rows, torch.tensor(each, dtype=torch.float64)


def first_of(row: int, most: int) -> list[int]:
    """The best items that may be recommended, of equal ones the first id."""
    left = set(range(1, ITEMS)) - set(TABLE.columns["seen"][row].tolist()) - set(np.flatnonzero(DOMAIN == 2).tolist())
    return sorted(left, key=lambda item: (-score(row, TABLE.columns["history"][row], item), item))[:most]


def test_what_a_method_finds_is_the_best_of_what_may_be_recommended() -> None:
    found = retrieved(passes, TABLE, 120)
    assert [[i for i in row if i] for row in found.tolist()] == [first_of(row, 120) for row in range(LISTS)]
    assert (found[:, -1] == 0).all(), "there are fewer"


def test_found_items_are_ranked_again_and_a_missed_positive_stands_behind_them() -> None:
    found = retrieved(lambda *a: ((rows, -scores) for rows, scores in passes(*a)), TABLE, 100)
    reached = Lists(TABLE.task).test(passes, TABLE, Further(retrieved=found, sizes=(50, 100)))
    assert reached[3].keys() == {"best 50.", "best 100."}
    missed = 0
    for size in (50, 100):
        outcome = reached[3][f"best {size}."]
        for row in range(LISTS):
            positive = int(TABLE.columns["positive"][row])
            kept = [i for i in found[row, :size].tolist() if i]
            own = lambda i, row=row: score(row, TABLE.columns["history"][row], i)  # noqa: E731
            others = [own(i) for i in kept if i != positive]
            better, ties = sum(s > own(positive) for s in others), sum(s == own(positive) for s in others)
            if positive not in kept:
                missed += 1
                better, ties = len(kept), 0
            assert (outcome.better[0, row], outcome.ties[0, row], outcome.candidates[row]) == (better, ties, len(others) + 1)
    assert 0 < missed < 2 * LISTS
    whole = ListOutcomes("m", "u", reached[0], None, first(1), None, reached[3])
    hits = [positive in found[row, :50] for row, positive in enumerate(TABLE.columns["positive"])]
    assert not values(whole)["best 50.hit@50"][0][~np.array(hits)].any() and not np.isnan(values(whole)["best 50.mrr"]).any()


def test_what_a_constant_score_reaches_is_told_without_the_positives_that_were_missed() -> None:
    """Of each ranking what such a model reaches there."""
    found = retrieved(lambda *a: ((rows, -scores) for rows, scores in passes(*a)), TABLE, 100)
    kind, level = Lists(TABLE.task), lambda *a: ((rows, torch.zeros_like(scores)) for rows, scores in passes(*a))
    reached = kind.test(level, TABLE, Further(full=True, retrieved=found, sizes=(50, 100)))
    outcome = kind.outcome("m", "u", [reached], TABLE, first(1))
    facts = ListsTested([outcome], {"u": np.arange(LISTS)}).facts("u")
    for name, key in (("", ""), ("full.", "full_"), ("best 50.", "best 50_"), ("best 100.", "best 100_")):
        for metric in ("hit@10", "ndcg@10"):
            assert facts[f"{key}constant"][metric] == pytest.approx(values(outcome)[name + metric].mean())
    for size in (50, 100):
        held = [positive in found[row, :size] for row, positive in enumerate(TABLE.columns["positive"])]
        assert facts[f"best {size}_found"] == pytest.approx(np.mean(held)) and 0 < np.mean(held) < 1


def test_shuffled_histories_hold_the_same_items_and_are_ranked_like_others() -> None:
    mixed = shuffled(TABLE.columns["history"], 5)
    assert (
        np.array_equal(np.sort(mixed), np.sort(TABLE.columns["history"]))
        and ((mixed > 0) == (TABLE.columns["history"] > 0)).all()
    )
    moved = (mixed != TABLE.columns["history"]).any(1)
    assert moved[(mixed > 0).sum(1) > 3].mean() > 0.8 and np.array_equal(mixed, shuffled(TABLE.columns["history"], 5))
    outcome, *_, others = Lists(TABLE.task).test(passes, TABLE, Further(shuffled=5))
    for row in range(LISTS):
        scores = [score(row, mixed[row], i) for i in TABLE.columns["candidates"][row]]
        assert others["shuffled."].better[0, row] == sum(s > scores[0] for s in scores[1:])
    assert np.array_equal(outcome.better, others["shuffled."].better), "this model adds the same to all candidates"


def test_replicates_and_folds_are_put_together_ranking_by_ranking() -> None:
    kind, trained = Lists(TABLE.task), first(2)
    found = retrieved(passes, TABLE, 60)
    reached = kind.test(passes, TABLE, Further(shuffled=1, retrieved=found, sizes=(50,)))
    one = kind.outcome("m", "u", [reached, reached], TABLE, trained)
    assert one.others["best 50."].better.shape == (2, LISTS)
    both = kind.pooled("m", "t", [(one, [1]), (one, [0])], first(1))
    assert both.others["shuffled."].better.shape == (1, 2 * LISTS) == both.others["best 50."].ties.shape
    without = replace(one, others={})
    assert kind.pooled("m", "t", [(one, [0]), (without, [0])], first(1)).others == {}
    assert isinstance(both.rankings["best 50."], Outcome) and list(both.rankings) == ["", "best 50.", "shuffled."]
