"""Word overlap against plain loops in float64."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from raytune_rec.components import component
from raytune_rec.errors import AssemblyError
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Step
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.parts import meet
from tests.training.conftest import HISTORIES, ITEMS, histories
from tests.training.test_contract import model_of

TITLES = [[t for t in row if t > 1] for row in ITEMS.columns["title"].tolist()]


def vectors() -> list[dict[int, float]]:
    """Of each item: token -> its weight; of length 1."""
    having = Counter(token for title in TITLES for token in set(title))
    items = sum(map(bool, TITLES))
    made = []
    for title in TITLES:
        raw = {t: n * (1 + math.log((1 + items) / (1 + having[t]))) for t, n in Counter(title).items()}
        length = math.sqrt(sum(w * w for w in raw.values())) or 1.0
        made.append({t: w / length for t, w in raw.items()})
    return made


def expected(history: list[int], item: int, last: int) -> float:
    """The sum of the cosines of an item with the last ones that were taken."""
    known = vectors()
    taken = [i for i in history if i][-last:]
    return sum(w * known[i].get(t, 0.0) for i in taken for t, w in known[item].items())


def scored(*last: int, columns: tuple[str, ...] = ("candidates",)) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(columns of 20 rows, (U, B, K) scores), for lanes that read so many last items."""
    made = component("backbones", "tfidf"), component("prompts", "none")
    options = {"backbone": [made[0].Options(last=n) for n in last], "prompt": [made[1].Options() for _ in last]}
    model = model_of(meet(*made, ALIASES["tuning_free"], options, HISTORIES, None))
    model.options["backbone"]["last"] = torch.tensor([float(n) for n in last])
    batch = next(iter(TableFeed(histories(20, 4), [(1,)] * 1, 20, 20).epoch(1)))
    if "candidates" not in columns:
        batch = replace(batch, columns={n: c for n, c in batch.columns.items() if n != "candidates"})
    scores = model.forward(batch, model.encode(batch), Step(False))["logit"]
    return {name: column[0].numpy() for name, column in batch.columns.items()}, scores.numpy()


def test_candidates_score_by_the_words_that_they_share_with_the_last_items() -> None:
    rows, scores = scored(2)
    for row, (history, candidates) in enumerate(zip(rows["history"].tolist(), rows["candidates"].tolist(), strict=True)):
        np.testing.assert_allclose(scores[0, row], [expected(history, c, 2) for c in candidates], atol=1e-6)
    assert (scores[0, (rows["history"] == 0).all(1)] == 0).all(), "who took nothing has all level"


def test_lanes_read_as_many_last_items_as_each_says_and_all_items_as_candidates() -> None:
    rows, scores = scored(1, 3, 50, columns=())
    assert scores.shape == (3, 20, len(ITEMS))
    for lane, last in enumerate((1, 3, 50)):
        for row, history in enumerate(rows["history"].tolist()):
            want = [expected(history, item, last) for item in range(len(ITEMS))]
            np.testing.assert_allclose(scores[lane, row], want, atol=1e-6)


def test_data_without_that_text_are_refused() -> None:
    made = component("backbones", "tfidf")
    with pytest.raises(AssemblyError, match=r"backbone.text = 'plot': is no text of the items with tokens; there are title\."):
        made(made.Options(text="plot"), HISTORIES, {})
    with pytest.raises(AssemblyError, match=r"there are none; set data.text, and a source whose items have text"):
        made(made.Options(), replace(HISTORIES, texts=()), {})
