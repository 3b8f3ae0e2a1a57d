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


def test_an_artifact_gives_back_who_took_its_items_and_nobody_elses() -> None:
    kept = events(BY_ID)
    assert kept["feedback.item"].tolist() == [28] * 4 + [29]
    bare = replace(BY_ID, items=replace(ITEMS, feedback=None))
    feedback, whole = with_events(bare, kept).items.feedback, ITEMS.feedback
    assert feedback is not None and whole is not None
    for item in range(len(ITEMS)):
        mine, theirs = (slice(int(f.start[item]), int(f.start[item + 1])) for f in (feedback, whole))
        for name in ("user", "time", "value"):
            expected = getattr(whole, name)[theirs].tolist() if item in (28, 29, 30) else []
            assert getattr(feedback, name)[mine].tolist() == expected
    assert with_events(bare, {}) is bare and events(bare) == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"feedback.user": torch.tensor([1, 2, 3, 4, 41])}, "users that the backbone's data do not know"),
        ({"feedback.user": torch.tensor([1, 2, 3, 4, -1])}, "users that the backbone's data do not know"),
        ({"feedback.item": torch.tensor([28, 28, 28, 28, 7])}, "names other items"),
        ({"feedback.item": torch.tensor([29, 28, 28, 28, 28])}, "names other items"),
        ({"feedback.time": torch.zeros(4, dtype=torch.int64)}, "four columns of one length"),
        ({"feedback.value": torch.zeros(5, dtype=torch.int64)}, "four columns of one length"),
        ({"feedback.item": torch.tensor(28)}, "four columns of one length"),
        ({"feedback.rows": torch.zeros(5)}, "item, user, time and value belong together"),
    ],
)
def test_events_that_cannot_be_are_refused(change: dict[str, torch.Tensor], says: str) -> None:
    kept = events(BY_ID)
    assert wrong_events(kept, (28, 29, 30), 41) == [] == wrong_events({}, (), 41)
    (problem,) = wrong_events(kept | change, (28, 29, 30), 41)
    assert says in problem
