"""What the seams carry: weights and norms of a domain, items with features and cold ones anew, texts and a single lane."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.axes import clocks, domain_linear, domain_moments, item_rows, latest
from raytune_rec.components import component
from raytune_rec.schema.contract import Batch, Entities, Site
from raytune_rec.schema.prepared import ById, Feedback, Table, UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Step
from raytune_rec.training.beside import Beside
from raytune_rec.training.build import reads_by_id, table_feed, train_with
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import settings
from raytune_rec.tuning.search.plan import plan, searches
from tests.training.conftest import AS_HISTORIES, HISTORIES, ITEMS, OWN, USERS, histories, job, table, unit_of, world_of
from tests.training.test_contract import model_of, parts
from tests.training.test_lanes import same


def two_domains(rows: int, seed: int) -> Table:
    made = table(rows, seed)
    return Table({**made.columns, "domain": made.columns["user"] % 2 + 1}, made.label)


def trainer(method: Method, lanes: list[Lane], units: dict[str, UnitData], dtype: torch.dtype = torch.float64) -> Trainer:
    schema = world_of(method.backbone)[0]
    how: dict[str, Any] = {"data": AS_HISTORIES} if schema.task.histories else {}
    criterion, metric = ("bpr", "ndcg@10") if schema.task.histories else ("bce", "auc")
    training = {"batch_size": 64, "epochs": 3, "objective": criterion, "metric": metric}
    own = job(backbone={"name": method.backbone}, training=training, **how)
    pack = Pack("p", method.name, tuple(lanes))
    feed = table_feed(own, pack, units, 64)
    return train_with(own, pack, method, [settings(own, method, lane) for lane in lanes], schema, units, feed, dtype=dtype)


def towers(train: tuple[str, ...]) -> Method:
    return Method("own", Strategy("own", "scratch", train), "towers", "none")


def lanes(rates: tuple[float, ...], units: tuple[str, ...] = ("both",), trial: int | None = None) -> list[Lane]:
    of = enumerate(rates)
    return [Lane(i if trial is None else trial, 0, {"training.lr.default": rate}, units[i % len(units)]) for i, rate in of]


BOTH = {"both": unit_of("both", two_domains(260, 1), two_domains(120, 2))}


def test_weights_of_a_domain_are_those_of_each_row() -> None:
    draw = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(shape, generator=draw) for shape in ((2, 9, 3), (2, 4, 3, 5), (2, 4, 5)))
    for domain in (torch.tensor([[1, 3, 1, 0, 3, 3, 1, 1, 0]]), torch.randint(0, 4, (2, 9), generator=draw)):
        of = domain.expand(2, -1)
        lane = torch.arange(2).unsqueeze(1)
        plain = (x.unsqueeze(2) @ weight[lane, of]).squeeze(2) + bias[lane, of]
        torch.testing.assert_close(domain_linear(x, weight, domain, bias), plain)
        real = (torch.arange(9) < 7).float().expand(2, -1)
        mean, var, rows = domain_moments(x, real, domain, 4)
        for t in range(2):
            for m in range(4):
                mine = x[t][(of[t] == m) & (real[t] > 0)]
                assert rows[t, m] == len(mine)
                torch.testing.assert_close(mean[t, m], mine.mean(0) if len(mine) else torch.zeros(3))
                torch.testing.assert_close(var[t, m], mine.var(0, correction=0) if len(mine) else torch.zeros(3))


@pytest.mark.parametrize("train", [("all",), ("tower", "output")])
def test_lanes_of_towers_equal_their_solo_runs(train: tuple[str, ...]) -> None:
    own = lanes((0.003, 0.01, 0.03), trial=2)
    packed = trainer(towers(train), own, BOTH)
    packed.run()
    for i, lane in enumerate(own):
        solo = trainer(towers(train), [lane], BOTH)
        solo.run()
        same(packed.results()[i], solo.results()[0], 1e-9)
        ours, theirs = packed.best(i), solo.best(0)
        assert ours.keys() == theirs.keys() and ("backbone.shared.mean" in ours) == (train == ("all",))
        assert ours["backbone.tower.mean"].shape == (3, 6)
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-9, rtol=0)


def test_three_lanes_go_on_as_one_where_one_of_two_norms_is_trained() -> None:
    """What moves are the statistics of trained groups, and not whatever has as many lanes."""
    row, own = towers(("tower", "output")), lanes((0.003, 0.01, 0.03), trial=2)
    whole, half = trainer(row, own, BOTH), trainer(row, own, BOTH)
    whole.run()
    half.epoch()
    tensors, facts = half.state()
    assert not [n for n in tensors if "shared.mean" in n] and "1.value.backbone.tower.mean" in tensors
    alone = trainer(row, own[1:2], BOTH)
    mine = {"0." + n.removeprefix("1."): t.clone() for n, t in tensors.items() if n.startswith("1.")}
    alone.restore(mine, {"lanes": facts["lanes"][1:2]})
    alone.run()
    same(whole.results()[1], alone.results()[0], 1e-9)


def test_a_prompt_writes_the_items_of_its_unit_and_no_others() -> None:
    made = model_of(parts("two_towers", "fans", ALIASES["pretrain_prompt"])).holding()
    batch = next(iter(TableFeed(table(200, 3), [(1,)], 200, 200).epoch(1)))
    written = made.forward(batch, {}, Step(False))["logit"][0]
    plain = model_of(parts("two_towers", "none", ALIASES["single"]))
    plain.trained = {n: made.trained[n] for n in plain.trained}
    moved = written != plain.forward(batch, {}, Step(False))["logit"][0]
    members = torch.isin(batch.columns["item"][0], torch.tensor([28, 29, 30]))
    assert moved[members].any() and not moved[~members].any()


def test_items_are_encoded_once_where_they_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    two = component("backbones", "two_towers", [OWN])
    calls: list[int] = []
    plain = two.encode_items
    monkeypatch.setattr(two, "encode_items", lambda self, params, items: calls.append(1) or plain(self, params, items))
    counted = {}
    for train in (("prompt",), ("all", "prompt")):
        calls.clear()
        row = Method("own", Strategy("own", "scratch", train, "on"), "two_towers", "fans")
        trainer(row, lanes((0.01, 0.02), trial=0), BOTH).run()
        counted[train] = len(calls)
    assert counted["prompt",] == 1 < counted["all", "prompt"]


def test_lanes_of_units_with_cold_items_of_their_own_equal_their_solo_runs() -> None:
    units = {
        name: unit_of(name, table(rows, rows), table(120, rows + 1), members)
        for name, rows, members in (("cold.1", 200, (28, 29)), ("cold.2", 140, (3, 5, 9, 30)))
    }
    row = Method("own", Strategy("own", "scratch", ("all", "prompt"), "on"), "two_towers", "fans")
    own = sorted(lanes((0.01, 0.02, 0.03, 0.005), tuple(units)), key=lambda lane: lane.unit)
    packed = trainer(row, own, units)
    packed.run()
    for i, lane in enumerate(own):
        same(packed.results()[i], trainer(row, [lane], {lane.unit: units[lane.unit]}).run()[0], 1e-9)


def test_the_latest_fans_of_an_item() -> None:
    columns = ([0, 0, 3, 4], [7, 8, 9, 5], [1, 2, 3, 9], [1.0, float("nan"), 3.0, 4.0], [0.5, 1.5, 0.0, 2.0], [1, 2, 3, 4])
    users, times, values, stays, real = latest(Feedback(*(torch.tensor([v]) for v in columns)), torch.tensor([[2, 1, 0]]), 2)
    assert users.tolist() == [[[5, 0], [9, 8], [0, 0]]] and real.sum(2).tolist() == [[1, 2, 0]]
    assert times.tolist() == [[[9, 0], [3, 2], [0, 0]]] and values.tolist() == [[[4, 0], [3, 0], [0, 0]]]
    assert stays.tolist() == [[[2, 0], [0, 1.5], [0, 0]]]


def test_of_items_that_nobody_took_no_event_is_found() -> None:
    """An artifact of new items has no event at all."""
    nothing = Feedback(np.zeros(32, np.int64), *(np.zeros(0, t) for t in (np.int64, np.int64, np.float32, np.float32, np.int64)))
    items = Beside.of([ById(replace(ITEMS, feedback=nothing), USERS, np.array([28, 30]))]).items
    assert items is not None and items.feedback is not None
    assert not latest(items.feedback, torch.tensor([[28, 30]]), 5).real.any() and not clocks(items.feedback)


def test_data_have_clocks_where_any_time_is_told() -> None:
    def feedback(times: list[int]) -> Feedback:
        columns = ([0, 0, 2, 2, 3], [1, 2, 3], times, [1.0] * 3, [0.0] * 3, times)
        return Feedback(*(torch.tensor([column]) for column in columns))

    assert not clocks(feedback([0, 0, 0]))
    assert clocks(feedback([0, 7, 0])) and clocks(feedback([0, 0, 5])), "the first second of 1970 is a time like others"


def test_padding_is_never_an_item_of_a_unit() -> None:
    """A unit with fewer items than its neighbours is padded with id 0, which stays what it is."""
    items, rows = torch.randn(1, 6, 2), torch.tensor([[0, 2, 5, 1]])
    members = Entities(torch.tensor([[2, 5], [5, 0]]), {})
    batch = Batch({}, torch.zeros(1, 4), torch.ones(1, 4), rows, members=members)
    found = item_rows(items, rows, {Site.ITEM: torch.full((2, 2, 2), 9.0)}, batch)
    assert (found == 9).all(-1).tolist() == [[False, True, True, False], [False, False, True, False]]


def test_a_reader_of_texts_starts_elsewhere_and_takes_rows_and_candidates_in_pieces() -> None:
    row = Method("own", Strategy("own", "scratch", ("all",)), "reader", "none")
    units = {"music": unit_of("music", histories(100, 1), histories(60, 2))}
    in_pieces, whole = (trainer(row, [Lane(0, 0, {}, "music")], units) for _ in range(2))
    elsewhere = in_pieces.model.parts.backbone.start()["words"].double()
    assert torch.equal(in_pieces.model.trained["backbone.words"][0].detach(), elsewhere)
    whole.model.parts.backbone.most_rows = whole.model.parts.backbone.most_candidates = 0
    in_pieces.run()
    whole.run()
    assert whole.results()[0].losses[-1] < whole.results()[0].losses[0]
    same(in_pieces.results()[0], whole.results()[0], 1e-9)


def test_every_item_is_scored_in_pieces_as_at_once() -> None:
    model = model_of(parts("reader", "none", ALIASES["single"]))
    batch = next(iter(TableFeed(histories(30, 1), [(1,)], 30, 30).epoch(1)))
    batch = Batch({n: c for n, c in batch.columns.items() if n != "candidates"}, batch.label, batch.weight, batch.index)
    pieces, whole = model.scores(batch, {}, Step(False, last=True)), model.forward(batch, {}, Step(False, last=True))["logit"]
    assert pieces.shape == (1, 30, len(ITEMS))
    torch.testing.assert_close(pieces, whole)


def test_a_pack_is_as_wide_as_its_backbone_stacks() -> None:
    data = AS_HISTORIES | {"options": {"files": "none.csv", "columns": {"user": "u", "item": "i"}}}
    methods = {"read": {"strategy": "single", "backbone": "reader"}, "sequence": {"strategy": "single", "backbone": "sasrec"}}
    own = job(data=data, training={"objective": "bpr", "metric": "ndcg@10"}, pretrainings={}, methods=methods)
    made = plan(own, HISTORIES).checked()
    found = {search.method: search.most_lanes for search in searches(made, made.methods)}
    assert found == {"read": 1, "sequence": 0}
    with pytest.raises(AssertionError, match="2 lanes of a backbone that stacks 1"):
        model_of(parts("reader", "none", ALIASES["single"], {}, {}))


def test_a_backbone_that_reads_rows_alone_loads_no_items() -> None:
    assert not reads_by_id(job(), towers(("all",)))
    assert reads_by_id(job(), Method("own", ALIASES["single"], "two_towers", "none"))
    rows_alone = {"both": replace(BOTH["both"], by_id=None)}
    assert trainer(towers(("all",)), lanes((0.01,)), rows_alone).model.beside == Beside()


def test_lanes_of_one_unit_hold_its_items_once_and_those_of_several_share_what_all_items_are() -> None:
    one = unit_of("a", table(3, 1), table(3, 2)).by_id
    other = unit_of("b", table(3, 1), table(3, 2), (3, 5)).by_id
    assert one and other
    alone, both = Beside.of([one] * 4), Beside.of([one, other])
    for beside, lanes in ((alone, 1), (both, 2)):
        assert beside.members and beside.members.feedback and beside.items and beside.users
        assert (
            len(beside.members.ids) == lanes
            and len(beside.members.feedback.user) == len(beside.items.ids) == len(beside.users.ids) == 1
        )
