"""What `dssm` and the mean of an item's users do beyond the contract."""

from __future__ import annotations

import numpy as np
import torch

from raytune_rec import config
from raytune_rec.job import shipped
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Noise, Step
from raytune_rec.training.feed import TableFeed
from raytune_rec.tuning.search.plan import plan
from tests.training.conftest import HISTORIES, ITEMS, histories
from tests.training.test_contract import model_of, parts

BATCH = next(iter(TableFeed(histories(80, 3), [(1,)], 80, 80).epoch(1)))


def step(key: int) -> Step:
    return Step(True, frozenset(), Noise((key,), BATCH.index))


def test_some_items_are_known_by_their_attributes_alone_in_a_training_step() -> None:
    model = model_of(parts("dssm", "none", ALIASES["single"]))
    weights = {name.removeprefix("backbone."): tensor.detach() for name, tensor in model.trained.items()}
    whole = model.forward(BATCH, {}, Step(False))["items"][0]
    assert torch.equal(model.forward(BATCH, {}, step(1))["items"][0], whole), "by default none"
    model.options["backbone"]["without_ids"] = torch.tensor([0.4])
    bare = weights["tower.item.bias"][0] + torch.zeros(len(ITEMS), whole.shape[1])
    shares = []
    for key in range(30):
        items = model.forward(BATCH, {}, step(key))["items"][0]
        gone = torch.isclose(items, bare, atol=1e-6).all(1)
        assert torch.equal(items[~gone], whole[~gone])
        shares.append(float(gone[1:].float().mean()))
    assert 0.3 < np.mean(shares) < 0.5 and len(set(shares)) > 3
    assert torch.equal(model.forward(BATCH, {}, Step(False))["items"][0], whole), "never outside training"


def test_an_item_is_mixed_with_the_mean_of_its_latest_users_and_one_without_stays() -> None:
    made = parts("dssm", "feedback_mean", ALIASES["tuning_free"], {"own": 0.5, "users": 2.0, "recent": 3})
    model = model_of(made).holding()
    plain, written = model.held["item_vector"][0], model.forward(BATCH, {}, Step(False))["items"][0]  # type: ignore[index]
    users, feedback = model.held["user_vector"][0], ITEMS.feedback  # type: ignore[index]
    assert feedback is not None
    for item in range(len(ITEMS)):
        took = np.asarray(feedback.user)[feedback.start[item] : feedback.start[item + 1]][-3:]
        mixed = 0.5 * plain[item] + 2 * users[torch.as_tensor(took)].mean(0) if item in (28, 29) else plain[item]
        torch.testing.assert_close(written[item], mixed)


def test_a_prompt_that_has_options_alone_is_searched_although_nothing_trains() -> None:
    job = config.read(shipped.folder("jobs") / "promo_ml100k.toml")
    searched = {each.method.name: each.space.keys() for each in plan(job, HISTORIES).methods}
    assert searched["feedback_mean"] == {"prompt.own", "prompt.users"} and searched["pretrained"] == set()
