"""Sequence backbones: what a token may see, what a prefix does, and that they learn a chain of items that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from raytune_rec.components import component, names
from raytune_rec.schema.contract import Batch, Site
from raytune_rec.schema.prepared import UnitData
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Noise, Step
from raytune_rec.training.beside import Beside
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.model import Model
from raytune_rec.training.parts import meet
from raytune_rec.training.settings import settings
from raytune_rec.training.stack import stack
from tests.training.conftest import AS_HISTORIES, HISTORIES, histories, job, unit_of

UNTRAINED = ("popularity", "tfidf", "transitions")
SEQUENCES = [n for n in names("backbones") if {"state", "cloze"} & component("backbones", n).returns and n not in UNTRAINED]
PREFIXED = [
    n for n in SEQUENCES if Site.PREFIX in component("backbones", n).takes(component("backbones", n).Options(), HISTORIES)
]
READS = {n: component("objectives", n).reads for n in names("objectives")}
FITTING = [(b, n) for b, output in (("sasrec", "state"), ("bert4rec", "cloze")) for n, reads in READS.items() if reads == output]
NONE: Any = component("prompts", "none")


def model(name: str, **options: Any) -> Model:
    cls = component("backbones", name)
    own = cls.Options(**{"width": 64, **options})
    made = meet(cls, NONE, ALIASES["single"], {"backbone": [own], "prompt": [NONE.Options()]}, HISTORIES)
    whole = stack(made, [Lane(0)], seed=1)
    by_id = unit_of("", histories(1, 1), histories(1, 1)).by_id
    whole.beside = Beside.of([by_id]) if by_id and made.reads_by_id else Beside()
    draw = torch.Generator().manual_seed(5)
    whole.trained = {n: torch.randn(t.shape, generator=draw).double() * 0.3 for n, t in whole.trained.items()}
    return whole


def batch(rows: int = 24) -> Batch:
    return next(iter(TableFeed(histories(rows, 3), [(1,)], rows, rows).epoch(1)))


def outputs(own: Model, rows: Batch, sites: Mapping[Site, Tensor] | None = None, training: bool = True) -> Mapping[str, Tensor]:
    backbone, params = own.parts.backbone, own._part("backbone")
    encoded = own._with_beside(backbone.encode(params, rows))
    return backbone.forward(params, encoded, rows, sites or {}, own.options["backbone"], Step(training))


def states(found: Mapping[str, Tensor]) -> Tensor:
    return found["state"] if "state" in found else found["cloze"]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def test_a_causal_model_never_sees_what_follows() -> None:
    own, rows = model("sasrec"), batch()
    before = outputs(own, rows)["state"]
    for place in range(6):
        history = rows.columns["history"].clone()
        history[..., place] = torch.where(history[..., place] > 0, history[..., place] % 30 + 1, 0)
        after = outputs(own, replace(rows, columns={**rows.columns, "history": history}))["state"]
        torch.testing.assert_close(after[:, :, : place + 1], before[:, :, : place + 1], atol=0, rtol=0)
        changed = rows.columns["history"][0, :, place] > 0
        assert (after[0, changed, place + 1] - before[0, changed, place + 1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", SEQUENCES)
def test_padding_behind_a_history_changes_nothing(name: str) -> None:
    own, rows = model(name), batch()
    alone = replace(rows, columns={n: c[:, :1] for n, c in rows.columns.items()})
    short = (rows.columns["history"][0] > 0).sum(-1)
    first = torch.argsort(short)[0]
    picked = {n: c[:, [int(first)]] for n, c in rows.columns.items()}
    alone = Batch(picked, rows.label[:, :1], rows.weight[:, :1], rows.index[:, :1])
    torch.testing.assert_close(outputs(own, alone)["user"][0, 0], outputs(own, rows)["user"][0, int(first)], atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", PREFIXED)
@pytest.mark.parametrize("real", [0, 1, 3])
def test_masked_tokens_of_a_prefix_change_nothing(name: str, real: int) -> None:
    own, rows = model(name), batch()
    prefix, width = drawn(1, 24, 5, 64), 64
    mask = torch.arange(5, 0, -1).unsqueeze(0) <= real
    padded = outputs(own, rows, {Site.PREFIX: prefix, Site.PREFIX_MASK: mask})
    other = torch.where(mask[:, None, :, None], prefix, drawn(1, 24, 5, width).flip(1))
    with_other = states(outputs(own, rows, {Site.PREFIX: other, Site.PREFIX_MASK: mask}))
    torch.testing.assert_close(with_other, states(padded), atol=0, rtol=0)
    exact = outputs(own, rows, {Site.PREFIX: prefix[:, :, 5 - real :]} if real else {})
    torch.testing.assert_close(states(padded), states(exact), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", PREFIXED)
def test_a_prefix_reaches_every_place(name: str) -> None:
    own, rows = model(name), batch()
    plain, with_prefix = states(outputs(own, rows)), states(outputs(own, rows, {Site.PREFIX: drawn(1, 24, 2, 64)}))
    used = torch.arange(plain.shape[2]) <= (rows.columns["history"][0] > 0).sum(-1, keepdim=True)
    assert ((with_prefix - plain).abs().amax(-1)[0][used] > 1e-4).all()


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_user_vector_reaches_every_place(name: str) -> None:
    own, rows = model(name), batch()
    plain = states(outputs(own, rows))
    user = drawn(1, 24, 64)
    added = outputs(own, rows, {Site.USER: user})
    torch.testing.assert_close(states(added), plain + user.unsqueeze(2))
    torch.testing.assert_close(added["behaviour"], outputs(own, rows)["user"])


def test_an_empty_history_is_read_at_the_last_token_of_the_prefix() -> None:
    own, rows = model("sasrec"), batch()
    empty = replace(rows, columns={**rows.columns, "history": torch.zeros_like(rows.columns["history"])})
    assert not outputs(own, empty)["user"].any(), "without a prefix nothing is known"
    user = outputs(own, empty, {Site.PREFIX: drawn(1, 24, 3, 64)})["user"]
    assert len(torch.unique(user[0], dim=0)) == 24


@pytest.mark.parametrize("name", SEQUENCES)
def test_candidates_are_scored_as_all_items_are(name: str) -> None:
    own, rows = model(name), batch()
    every = replace(rows, columns={n: c for n, c in rows.columns.items() if n != "candidates"})
    whole, few = (outputs(own, r, training=False)["logit"] for r in (every, rows))
    assert whole.shape == (1, 24, 31)
    torch.testing.assert_close(few, whole.gather(2, rows.columns["candidates"]), atol=1e-12, rtol=0)


def test_only_masked_places_tell_what_a_cloze_hides() -> None:
    """The item behind a mask does not reach any output."""
    own, rows = model("bert4rec"), batch()
    masked = torch.zeros(1, 24, 7, dtype=torch.bool)
    masked[..., 0] = True
    length = (rows.columns["history"] > 0).sum(-1)
    found = []
    for shift in (0, 5):
        history = rows.columns["history"].clone()
        history[..., 0] = torch.where(history[..., 0] > 0, (history[..., 0] + shift - 1) % 30 + 1, 0)
        columns = {**rows.columns, "history": history, "masked": masked, "length": length}
        found.append(outputs(own, replace(rows, columns=columns))["cloze"])
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)


@pytest.mark.parametrize(("backbone", "name"), FITTING)
def test_every_objective_learns_the_chain(backbone: str, name: str) -> None:
    """The next item of these histories follows from the last two: a model that learns ranks it first."""
    training = {"batch_size": 64, "epochs": 12, "objective": name, "metric": "ndcg@10", "lr": {"default": 0.01}, "patience": 12}
    small = {"name": backbone, "options": {"width": 16, "inner": 16, "dropout": 0.0}}
    own = job(data=AS_HISTORIES, training=training, backbone=small)
    row = Method("own", Strategy("own", "scratch", ("all",)), backbone, "none")
    pack, units = Pack("p", "own", (Lane(1, 0, {}, "music"),)), {"music": UnitData("music", histories(400, 1), histories(150, 2))}
    of = [settings(own, row, pack.lanes[0])]
    trained = train_with(own, pack, row, of, HISTORIES, units, table_feed(own, pack, units, 64))
    result = trained.run()[0]
    assert result.status == "complete"
    assert result.best > result.curve[0] + 0.2 and result.losses[-1] < result.losses[0]


def test_an_objective_that_a_backbone_cannot_serve_is_refused() -> None:
    from raytune_rec.errors import AssemblyError

    own = job(data=AS_HISTORIES, training={"objective": "bpr", "metric": "ndcg@10"}, backbone={"name": "bert4rec"})
    row = Method("own", Strategy("own", "scratch", ("all",)), "bert4rec", "none")
    pack, units = Pack("p", "own", (Lane(1, 0, {}, "music"),)), {"music": UnitData("music", histories(40, 1), histories(20, 2))}
    with pytest.raises(AssemblyError, match="objective 'bpr' trains on 'state', and backbone 'bert4rec' gives cloze"):
        train_with(own, pack, row, [settings(own, row, pack.lanes[0])], HISTORIES, units, table_feed(own, pack, units, 16))


def test_noise_of_a_prefix_does_not_depend_on_its_neighbours_tokens() -> None:
    """In training too: the last tokens of a wider, masked prefix meet the same dropout."""
    own, rows = model("sasrec", dropout=0.3), batch()
    backbone, params = own.parts.backbone, own._part("backbone")
    prefix, found = drawn(1, 24, 5, 64), []
    mask = torch.arange(5, 0, -1).unsqueeze(0) <= 2
    for sites in ({Site.PREFIX: prefix, Site.PREFIX_MASK: mask}, {Site.PREFIX: prefix[:, :, 3:]}):
        step = Step(True, frozenset(), Noise((7,), rows.index))
        found.append(backbone.forward(params, {}, rows, sites, own.options["backbone"], step)["state"])
    torch.testing.assert_close(found[0], found[1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("tokens", [0, 3])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_what_stands_last_is_the_same_where_the_rest_is_left_out(name: str, tokens: int, rate: float) -> None:
    own, rows = model(name, dropout=rate), batch()
    backbone, params = own.parts.backbone, own._part("backbone")
    mask = torch.arange(3, 0, -1).unsqueeze(0) <= 2
    sites = {Site.PREFIX: drawn(1, 24, 3, 64), Site.PREFIX_MASK: mask} if tokens else {}
    found = []
    for last in (False, True):
        step = Step(True, frozenset(), Noise((7,), rows.index), last=last)
        found.append(backbone.forward(params, own._with_beside({}), rows, sites, own.options["backbone"], step)["user"])
    torch.testing.assert_close(found[0], found[1], atol=1e-12, rtol=0)
