"""Objectives of histories: what they add to the loss, and that their options may differ inside a pack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from raytune_rec.components import component, kinds
from raytune_rec.objectives.base import RunModel
from raytune_rec.schema.contract import Batch
from raytune_rec.schema.prepared import Table, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.tensors import Noise, Step
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import settings
from tests.training.conftest import AS_HISTORIES, HISTORIES, histories, job
from tests.training.test_lanes import same
from tests.training.test_sequence import FITTING, model


def detection(run: RunModel, rows: Batch, step: int) -> Tensor:
    """Mean over rows of what `rearranged` adds to the loss of the next item."""
    cls: Any = component("objectives", "rearranged")
    noise = Step(True, frozenset(), Noise((step,), rows.index))
    options = [{"shuffled": torch.ones(1), "weight": torch.tensor([weight])} for weight in (1.0, 0.0)]
    with_it, without = (cls(cls.Options(negatives=1))(run, rows, of, noise) for of in options)
    return (with_it - without).mean()


def test_training_on_it_alone_tells_a_rearranged_history_from_its_own_order() -> None:
    own = model("sasrec", width=16, inner=16, dropout=0.0)
    weights = [t.detach().float().requires_grad_() for t in own.trained.values()]
    own.trained = dict(zip(own.trained, weights, strict=True))

    def run(rows: Batch, view: str = "", last: bool = False) -> Mapping[str, Tensor]:
        return own.forward(rows, own.encode(rows), Step(True, frozenset(), None, last=last))

    def rows(count: int, seed: int) -> Batch:
        """Of histories that a shuffle changes."""
        table = histories(count, seed)
        long = (table.columns["history"] > 0).sum(1) > 3
        chosen = Table({n: c[long] for n, c in table.columns.items()}, table.label[long])
        return next(iter(TableFeed(chosen, [(1,)], len(chosen), len(chosen)).epoch(1)))

    shown, fresh, adam = rows(500, 3), rows(200, 4), torch.optim.Adam(weights, lr=0.01)
    before = detection(run, fresh, 0).item()
    for step in range(1, 41):
        adam.zero_grad()
        detection(run, shown, step).backward()
        adam.step()
    assert before == pytest.approx(math.log(2), abs=0.05), "chance"
    assert detection(run, fresh, 0).item() < 0.7 * math.log(2)


@pytest.mark.parametrize("name", ["masked_item", "permuted_order"])
def test_a_cloze_is_asked_for_the_last_item_of_a_history_after_what_stands_before_it(name: str) -> None:
    """As the data are written: the history of a window that is not full holds its last item too, which nothing follows."""
    cls: Any = component("objectives", name)
    events = torch.tensor([[[7, 3, 9, 0, 0], [5, 4, 0, 0, 0], [8, 2, 6, 1, 3], [4, 0, 0, 0, 0]]])
    target = events.clone()
    target[..., 0] = 0
    columns = {"history": events[..., :-1], "target": target}
    rows = Batch(columns, torch.ones(1, 4), torch.ones(1, 4), torch.arange(4).unsqueeze(0))
    shown: list[Batch] = []

    def run(rows: Batch, view: str = "", last: bool = False) -> Mapping[str, Tensor]:
        shown.append(rows)
        return {"cloze": torch.zeros(1, 4, 5, 2), "items": torch.zeros(1, 10, 2), "bias": torch.zeros(1, 10)}

    options = {"mask": torch.zeros(1), "tail": torch.full((1,), 1e-9)}
    loss = cls(cls.Options())(run, rows, options, Step(True, frozenset(), Noise((1,), rows.index)))
    asked = shown[0].columns
    assert asked["length"].tolist() == [[2, 1, 4, 0]]
    assert asked["history"].tolist() == [[[7, 3, 0, 0], [5, 0, 0, 0], [8, 2, 6, 1], [0, 0, 0, 0]]]
    assert asked["masked"].gather(-1, asked["length"].unsqueeze(-1)).all()
    counts = (loss * 5 / math.log(9)).round().long()  # nine items, none of them likelier
    assert counts[0, [1, 3]].tolist() == [1, 0] and (counts[0, [0, 2]] >= 1).all(), "one for each place that is asked"


@pytest.mark.parametrize("tail", [0.4, 1.0])
def test_one_cut_of_a_permuted_order_stands_for_all_of_its_terms(tail: float) -> None:
    """The mean over draws is the sum that XLNet's Eq. 5 has, of a model whose loss with h masked items is known."""
    cls: Any = component("objectives", "permuted_order")
    history, follows, draws = [7, 3, 9, 1, 4], 6, 20000
    columns = {"history": [*history, 0], "target": [0, *history[1:], follows, 0]}
    rows = Batch(
        {n: torch.tensor(c).expand(1, draws, -1) for n, c in columns.items()},
        torch.ones(1, draws, dtype=torch.float64), torch.ones(1, draws), torch.arange(draws).unsqueeze(0),
    )  # fmt: skip
    items = torch.linspace(-1, 1, 11, dtype=torch.float64).view(1, 11, 1)

    def run(rows: Batch, view: str = "", last: bool = False) -> Mapping[str, Tensor]:
        hidden = (rows.columns["masked"] & (torch.arange(7) < 5)).sum(-1)
        return {"cloze": hidden.double().view(1, -1, 1, 1).expand(-1, -1, 7, -1), "items": items, "bias": torch.zeros(1, 11)}

    def loss(hidden: int, item: int) -> float:
        return math.log(sum(math.exp(hidden * e) for e in items[0, 1:, 0].tolist())) - hidden * items[0, item, 0].item()

    found = cls(cls.Options())(run, rows, {"tail": torch.tensor([tail])}, Step(True, frozenset(), Noise((1,), rows.index)))
    most = math.ceil(5 * tail)
    of_order = sum(sum(loss(h, v) for v in history) / 5 for h in range(1, most + 1))
    of_next = sum(loss(h, follows) for h in range(most + 1)) / (most + 1)
    assert found.mean().item() == pytest.approx((of_order + of_next) / 7, rel=0.01)


def trainer(backbone: str, name: str, lanes: list[Lane]) -> Trainer:
    small = {"name": backbone, "options": {"width": 8, "inner": 8, "dropout": 0.1}}
    own = job(data=AS_HISTORIES, training={"batch_size": 64, "epochs": 2, "objective": name, "metric": "ndcg@10"}, backbone=small)
    row = Method("own", Strategy("own", "scratch", ("all",)), backbone, "none")
    pack, units = Pack("p", "own", tuple(lanes)), {"music": UnitData("music", histories(150, 1), histories(60, 2))}
    of = [settings(own, row, lane) for lane in lanes]
    return train_with(own, pack, row, of, HISTORIES, units, table_feed(own, pack, units, 64), dtype=torch.float64)


@pytest.mark.parametrize(("backbone", "name"), FITTING)
def test_lanes_with_other_options_of_an_objective_equal_their_solo_runs(backbone: str, name: str) -> None:
    options = component("objectives", name).Options
    lower = {f"objective.{n}": getattr(options(), n) * 0.6 for n, kind in kinds(options).items() if kind == "numeric"}
    lanes = [Lane(1, 0, {}, "music"), Lane(2, 0, lower, "music")]
    packed = trainer(backbone, name, lanes).run()
    for found, lane in zip(packed, lanes, strict=True):
        same(found, trainer(backbone, name, [lane]).run()[0], 1e-9)
