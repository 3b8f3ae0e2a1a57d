"""What a step asks of a unit's own items: those that it meets learn, the others stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from raytune_rec.schema.prepared import Table, UnitData
from raytune_rec.schema.work import Lane, Method, Strategy
from raytune_rec.training.loop import Trainer
from tests.training.conftest import histories, unit_of
from tests.training.test_seams import trainer

MEMBERS = (28, 29, 30)
ABSENT = 2
"""The place of item 29."""
PROMO = Method("promo", Strategy("prompt", "scratch", ("prompt",), "on"), "dssm", "promo")


def without(table: Table, item: int) -> Table:
    """The rows that do not train on an item, whose users all took it before: nobody draws it against them."""
    chosen = (table.columns["target"] != item).all(1)
    columns = {name: column[chosen].copy() for name, column in table.columns.items()}
    columns["history"][:, 0] = item
    return Table(columns, table.label[chosen])


def unit() -> UnitData:
    return unit_of("cold.1", without(histories(150, 1), MEMBERS[ABSENT - 1]), histories(40, 2), MEMBERS)


def made(options: Sequence[dict[str, float]], dtype: torch.dtype = torch.float32) -> Trainer:
    common = {"training.lr.prompt": 0.02, "training.weight_decay.prompt": 0.1, "training.epochs": 3, "training.patience": 9}
    small = {"backbone.blocks": 1, "backbone.heads": 1, "backbone.width": 4}
    lanes = [Lane(i, 0, {**common, **small, **own}, "cold.1") for i, own in enumerate(options)]
    return trainer(PROMO, lanes, {"cold.1": unit()}, dtype)


def test_an_item_that_no_step_meets_keeps_its_bytes_and_moments() -> None:
    run = made([{"prompt.width": 3}, {"prompt.feedback_weight": 0.5}])
    start = {name: tensor.detach().clone() for name, tensor in run.model.trained.items()}
    for _ in range(2):
        run.epoch()
    own = [name for name, vocabulary in run.model.rows.items() if vocabulary == "member"]
    assert len(own) == 5
    for name in own:
        now = run.model.trained[name]
        assert torch.equal(now[:, ABSENT], start[name][:, ABSENT])
        assert not torch.equal(now[:, 1], start[name][:, 1]) and not torch.equal(now[:, 3], start[name][:, 3])
        assert not run.adam.first[name][:, ABSENT].any()


def test_training_goes_on_from_a_state_as_if_it_had_never_stopped() -> None:
    options = [{"prompt.width": 3}, {"prompt.feedback_weight": 0.5}]
    whole, first, second = made(options), made(options), made(options)
    whole.run()
    first.epoch()
    second.restore(*first.state())
    second.run()
    assert [replace(r, seconds=0.0) for r in second.results()] == [replace(r, seconds=0.0) for r in whole.results()]
    for lane in range(2):
        ours, theirs = second.best(lane), whole.best(lane)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
