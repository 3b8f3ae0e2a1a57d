"""Who took a unit's own items, as an artifact keeps it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raytune_rec.schema.prepared import ById
from raytune_rec.scoring.tuned import events, with_events, wrong_events
from tests.training.conftest import ITEMS, USERS

BY_ID = ById(ITEMS, USERS, np.array([28, 29, 30]))


@pytest.mark.parametrize("lenders", [(), (2, 5)], ids=["alone", "lent"])
def test_an_artifact_gives_back_who_took_its_items_and_those_that_lend_and_no_others(lenders: tuple[int, ...]) -> None:
    kept = events(BY_ID, lenders)
    assert kept["feedback.item"].tolist() == [*np.repeat(lenders, 2), *[28] * 4, 29]
    bare = replace(BY_ID, items=replace(ITEMS, feedback=None))
    feedback, whole = with_events(bare, kept).items.feedback, ITEMS.feedback
    assert feedback is not None and whole is not None
    for item in range(len(ITEMS)):
        mine, theirs = (slice(int(f.start[item]), int(f.start[item + 1])) for f in (feedback, whole))
        for name in ("user", "time", "value", "stay"):
            expected = getattr(whole, name)[theirs].tolist() if item in (28, 29, 30, *lenders) else []
            assert getattr(feedback, name)[mine].tolist() == expected
    assert with_events(bare, {}) is bare and events(bare, ()) == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"feedback.user": torch.tensor([1, 2, 3, 4, 41])}, "users that the backbone's data do not know"),
        ({"feedback.user": torch.tensor([1, 2, 3, 4, -1])}, "users that the backbone's data do not know"),
        ({"feedback.item": torch.tensor([28, 28, 28, 28, 31])}, "names items or users that"),
        ({"feedback.item": torch.tensor([29, 28, 28, 28, 28])}, "names items or users that"),
        ({"feedback.time": torch.zeros(4, dtype=torch.int64)}, "five columns of one length"),
        ({"feedback.value": torch.zeros(5, dtype=torch.int64)}, "five columns of one length"),
        ({"feedback.item": torch.tensor(28)}, "five columns of one length"),
        ({"feedback.rows": torch.zeros(5)}, "item, user, time, value, stay belong together"),
    ],
)
def test_events_that_cannot_be_are_refused(change: dict[str, torch.Tensor], says: str) -> None:
    kept = events(BY_ID, ())
    assert wrong_events(kept, 31, 41) == [] == wrong_events({}, 31, 41)
    (problem,) = wrong_events(kept | change, 31, 41)
    assert says in problem
