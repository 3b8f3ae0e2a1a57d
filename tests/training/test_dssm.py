"""What `dssm` and the mean of an item's users do beyond the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_rec import config
from raytune_rec.components import component
from raytune_rec.errors import AssemblyError
from raytune_rec.job import shipped
from raytune_rec.schema.contract import Reading, Site
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Unit
from raytune_rec.tensors import Noise, Step
from raytune_rec.training.beside import Beside
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.parts import meet
from raytune_rec.tuning.search.plan import plan
from tests.training.conftest import HISTORIES, ITEMS, histories, table, unit_of
from tests.training.test_contract import model_of, parts

COLD = Unit("cold.1", "items", "movies", members=(28, 29, 30))
BATCH = next(iter(TableFeed(histories(80, 3), [(1,)], 80, 80).epoch(1)))


def step(key: int) -> Step:
    return Step(True, frozenset(), Noise((key,), BATCH.index))


def by_attributes(weights: Mapping[str, Tensor], share: float = 1.0) -> Tensor:
    """(V, D): what the item tower makes of tags alone."""
    tags, weight = weights["of.tags"][0], weights["tower.item"][0][16:]
    made = []
    for row in ITEMS.columns["tags"].tolist():
        real = [tags[tag] for tag in row if tag]
        mean = sum(real) / len(real) if real else torch.zeros(16)
        made.append(share * mean @ weight + weights["tower.item.bias"][0])
    return torch.stack(made)


def test_some_items_are_known_by_their_attributes_alone_in_a_training_step() -> None:
    model = model_of(parts("dssm", "none", ALIASES["single"]))
    weights = {name.removeprefix("backbone."): tensor.detach() for name, tensor in model.trained.items()}
    whole = model.forward(BATCH, {}, Step(False))["items"][0]
    assert torch.equal(model.forward(BATCH, {}, step(1))["items"][0], whole), "by default none"
    model.options["backbone"]["without_ids"] = torch.tensor([0.4])
    bare = by_attributes(weights)
    shares = []
    for key in range(30):
        items = model.forward(BATCH, {}, step(key))["items"][0]
        gone = torch.isclose(items, bare, atol=1e-6).all(1)
        assert torch.equal(items[~gone], whole[~gone])
        shares.append(float(gone[1:].float().mean()))
    assert 0.3 < np.mean(shares) < 0.5 and len(set(shares)) > 3
    assert torch.equal(model.forward(BATCH, {}, Step(False))["items"][0], whole), "never outside training"


def test_an_item_is_mixed_with_the_mean_of_its_latest_users_and_one_without_stays() -> None:
    made = parts("dssm", "feedback_mean", ALIASES["tuning_free"], {"own": 0.5, "users": 2.0, "recent": 3, "least": 0})
    model = model_of(made).holding()
    plain, written = model.held["item_vector"][0], model.forward(BATCH, {}, Step(False))["items"][0]  # type: ignore[index]
    users, feedback = model.held["user_vector"][0], ITEMS.feedback  # type: ignore[index]
    assert feedback is not None
    for item in range(len(ITEMS)):
        took = np.asarray(feedback.user)[feedback.start[item] : feedback.start[item + 1]][-3:]
        mixed = 0.5 * plain[item] + 2 * users[torch.as_tensor(took)].mean(0) if item in (28, 29) else plain[item]
        torch.testing.assert_close(written[item], mixed)


def test_a_prompt_that_has_options_alone_is_searched_although_nothing_trains() -> None:
    job, schema = config.read(shipped.folder("jobs") / "promo_ml100k.toml"), replace(HISTORIES, groups=(COLD,))
    searched = {each.method.name: each.space.keys() for each in plan(job, schema).methods}
    assert searched["feedback_mean"] == {"prompt.own", "prompt.users"} and searched["pretrained"] == set()
    wider = job.methods["feedback_mean"].model_copy(update={"space": ["sequence", "feedback_mean"]})
    again = plan(job.model_copy(update={"methods": {"feedback_mean": wider}}), schema).method("feedback_mean")
    assert again.space.keys() == searched["feedback_mean"], "a rate or a dropout would change nothing"


@pytest.mark.parametrize("delta", [False, True])
def test_a_cold_item_is_mapped_from_its_attributes_and_steps_no_further_than_the_bound(delta: bool) -> None:
    """Against numpy's least squares, of a backbone with attributes of items."""
    draw = torch.Generator().manual_seed(2)
    vectors, features = (torch.randn(1, len(ITEMS), w, generator=draw, dtype=torch.float64) for w in (4, 3))
    prompt = component("prompts", "content")(
        component("prompts", "content").Options(delta=delta, known=2),
        HISTORIES,
        {"item_vector": Reading(4, "item"), "item_features": Reading(3, "item")},
        {Site.ITEM: 4},
    )
    unit = unit_of("", table(1, 1), table(1, 2)).by_id
    beside = Beside.of([unit]) if unit else Beside()
    batch = replace(BATCH, items=beside.items, members=beside.members)
    options = {
        name: torch.tensor(v, dtype=torch.float64)
        for name, v in (("ridge", [0.5, 3.0]), ("content", [1.0, 0.4]), ("bound", [0.2, 9.0]))
    }
    steps = torch.randn(2, 4, 4, generator=draw, dtype=torch.float64)
    readings = {"item_vector": vectors, "item_features": features}
    written = prompt.write({"delta": steps}, readings, batch, options, Step(False))[Site.ITEM]
    known = [i for i in range(len(ITEMS)) if ITEMS.count[i] >= 2 and i not in (28, 29, 30)]
    x, y = np.hstack([features[0].numpy(), np.ones((len(ITEMS), 1))]), vectors[0].numpy()
    for at, (ridge, share, bound) in enumerate(((0.5, 1.0, 0.2), (3.0, 0.4, 9.0))):
        stacked = np.vstack([x[known], np.sqrt(ridge) * np.eye(4)])
        mapped = np.linalg.lstsq(stacked, np.vstack([y[known], np.zeros((4, 4))]), rcond=None)[0]
        expected = share * x[[28, 29, 30]] @ mapped + (1 - share) * y[[28, 29, 30]]
        if delta:
            step, most = steps[at, 1:4].numpy(), bound * np.linalg.norm(y[known], axis=1).mean()
            expected += step * np.minimum(1, most / np.linalg.norm(step, axis=1, keepdims=True))
        np.testing.assert_allclose(written[at].numpy(), expected, rtol=1e-9)


def test_a_gate_weighs_embedding_against_attributes_by_how_often_an_item_was_taken() -> None:
    """CDN: against plain loops, and of each unit's lane its own counts."""
    made = component("backbones", "dssm")
    options = {"backbone": [made.Options(gate=True)], "prompt": [component("prompts", "none").Options()]}
    model = model_of(meet(made, component("prompts", "none"), ALIASES["single"], options, HISTORIES))
    assert not model.trained["backbone.tower.item.gate"].any(), "both experts weigh a half at the start"
    model.trained["backbone.tower.item.gate"] = torch.tensor([[0.7, -1.2]])
    weights = {name.removeprefix("backbone."): tensor.detach() for name, tensor in model.trained.items()}
    found = model.forward(BATCH, {}, Step(False))["items"][0]
    for item, times in enumerate(ITEMS.count.tolist()):
        share = 1 / (1 + np.exp(-(0.7 * np.log(1 + times) - 1.2)))
        of_id = weights["item"][0, item] @ weights["tower.item"][0][:16]
        torch.testing.assert_close(found[item], share * of_id + by_attributes(weights, 1 - share)[item])
    model.options["backbone"]["without_ids"] = torch.tensor([0.9])
    dropped = model.forward(BATCH, {}, step(1))["items"][0]
    assert not torch.equal(dropped, found) and torch.equal(dropped[(dropped == found).all(1)], found[(dropped == found).all(1)])


def test_a_gate_without_attributes_is_refused_and_leaving_it_out_helps() -> None:
    made = component("backbones", "dssm")
    bare = replace(HISTORIES, fields=tuple(f for f in HISTORIES.fields if f.name != "tags"))
    with pytest.raises(AssemblyError, match=r"backbone.gate = true: .* the items of these data have none; leave it out, or"):
        made(made.Options(gate=True), bare, {})
    made(made.Options(), bare, {})
