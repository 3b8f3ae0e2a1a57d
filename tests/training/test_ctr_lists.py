"""DeepFM and Deep & Cross where items are ranked: each pair of a user and an item by the letter, in numpy, and lanes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_rec.backbones import _ctr
from raytune_rec.backbones.base import Paired
from raytune_rec.components import component
from raytune_rec.errors import AssemblyError
from raytune_rec.schema.contract import Batch, Site, SiteShape
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Task
from raytune_rec.tensors import Noise, Step
from raytune_rec.training.beside import Beside
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.loop import Trainer
from raytune_rec.training.parts import meet
from raytune_rec.training.settings import settings
from tests.training import ctr_oracle
from tests.training.conftest import AGE, AS_HISTORIES, FIELDS, ITEMS, histories, job, table, unit_of
from tests.training.test_ctr import CTR, NO_DROPOUT, drawn, plain
from tests.training.test_lanes import same

RANKED = DataSchema((*FIELDS, AGE), ("movies",), "0" * 16, task=Task("lists", 6))
"""Users with an age and a gender, items with tags and a price, both missing here and there."""
MEMBERS = (28, 29, 30)


def batch_of(count: int) -> Batch:
    """Rows of which some are about an item of the unit's own; beside all items and these."""
    rows = next(iter(TableFeed(histories(count, 3), [(1,)], count, count).epoch(1)))
    by_id = unit_of("", table(1, 1), table(1, 2)).by_id
    assert by_id is not None
    beside = Beside.of([by_id])
    return replace(rows, items=beside.items, members=beside.members)


def fields_of(batch: Batch, row: int, item: int) -> dict[str, Any]:
    """A pair as one row of fields."""
    users = {name: batch.columns[name][0, row].numpy() for name in ("user", "domain", "gender", "age")}
    return {**users, "item": item, **{name: ITEMS.columns[name][item] for name in ("tags", "price")}}


def run(backbone: Any, params: dict[str, Tensor], batch: Batch, sites: dict[Site, Tensor], step: Step) -> Paired:
    known = {**backbone.encode_items(params, batch.items), **backbone.encode(params, batch)}
    found: Paired = backbone.forward(params, known, batch, sites, NO_DROPOUT, step)
    return found


@pytest.mark.parametrize("prompts", [0, 2])
@pytest.mark.parametrize("treatment", ["field", "none", "discretize"])
@pytest.mark.parametrize("name", CTR)
def test_a_pairs_score_is_what_the_formula_makes_of_the_fields_of_both(name: str, treatment: str, prompts: int) -> None:
    """What stands at ITEM and TARGET is the embedding in the item field of that item, and of no other; at FIELDS, more fields."""
    made, draw = component("backbones", name), torch.Generator().manual_seed(2)
    sites = {Site.FIELDS: SiteShape(prompts, 4)} if prompts else {}
    backbone = made(made.Options(width=4, hidden=(6, 5), numbers=treatment), RANKED, sites)
    params, batch = drawn(backbone), batch_of(24)
    written = {Site.ITEM: torch.randn(1, 3, 4, generator=draw, dtype=torch.float64)}
    prompt = torch.randn(1, 24, prompts, 4, generator=draw, dtype=torch.float64)
    written |= {Site.FIELDS: prompt} if prompts else {}
    target = torch.randn(1, 24, 4, generator=draw, dtype=torch.float64)
    asked = batch.columns["candidates"]
    ranked = run(backbone, params, batch, written, Step(False))["logit"]
    about = batch.columns["target"].amax(-1)
    trained = run(backbone, params, batch, {**written, Site.TARGET: target}, Step(True)).score(
        torch.cat([about.unsqueeze(-1), asked], dim=-1)
    )
    weights, met = plain(params), set()
    for i in range(24):
        for step, ids, found in (
            ("ranked", asked[0, i], ranked[0, i]),
            ("trained", [*about[0, i : i + 1], *asked[0, i]], trained[0, i]),
        ):
            for item, score in zip(map(int, ids), found.tolist(), strict=True):
                own, kind = weights["embedding.item"].copy(), "plain"
                if item in MEMBERS:
                    own[item], kind = written[Site.ITEM][0, MEMBERS.index(item)].numpy(), "own"
                if step == "trained" and item == int(about[0, i]):
                    own[item], kind = target[0, i].numpy(), "about"
                met.add(kind)
                row = fields_of(batch, i, item)
                expected = getattr(ctr_oracle, name)(
                    {**weights, "embedding.item": own}, backbone.layer.fields, row, treatment, prompt[0, i].numpy()
                )
                assert score == pytest.approx(expected, rel=1e-5, abs=1e-5)  # numbers come in float32
    assert met == {"plain", "own", "about"}


@pytest.mark.parametrize("name", CTR)
def test_of_users_and_items_may_be_read_what_is_told_of_them(name: str) -> None:
    made = component("backbones", name)
    options, batch = made.Options(width=4, hidden=(6,)), batch_of(8)
    backbone = made(options, RANKED, {})
    params, given = drawn(backbone), made.gives(options, RANKED)
    by_id = unit_of("", table(1, 1), table(1, 2)).by_id
    users = Beside.of([by_id]).users if by_id else None
    found = {
        **backbone.encode_items(params, batch.items),
        **backbone.encode_users(params, users),
        **backbone.encode(params, batch),
    }
    counts = {"item": len(ITEMS), "user": 41, "row": 8}
    assert {n: found[n].shape for n in given} == {n: (1, counts[r.axis], r.width) for n, r in given.items()}
    torch.testing.assert_close(found["item_vector"], params["embedding.item"])
    parts = found["user_features"].unflatten(-1, (-1, 4)).sum(2)
    known = batch.columns["user"][0]
    same_age = torch.from_numpy(np.arange(41) % 7 == 0)[known] & (batch.columns["age"][0] == 0)
    torch.testing.assert_close(found["user_vector"][0][known][same_age], parts[0][same_age])


def models(name: str, prompt: str, lanes: list[Lane], units: dict[str, Any], train: tuple[str, ...]) -> Trainer:
    method = Method("own", Strategy("own", "scratch", train, "on"), name, prompt)
    training = {"batch_size": 32, "epochs": 2, "objective": "next_bce", "metric": "ndcg@10"}
    own = job(backbone={"name": name, "options": {"width": 4, "hidden": [5]}}, training=training, data=AS_HISTORIES)
    pack = Pack("p", "own", tuple(lanes))
    of_lanes = [settings(own, method, lane) for lane in lanes]
    return train_with(own, pack, method, of_lanes, RANKED, units, table_feed(own, pack, units, 32), dtype=torch.float64)


TUNED = [
    ("deepfm", "promo", ("all", "prompt")),
    ("deepfm", "plate", ("prompt", "linear")),
    ("deepfm", "feedback_mean", ("all",)),
    ("dcn", "promo", ("prompt",)),
    ("dcn", "plate", ("all", "prompt")),
    ("dcn", "content", ("all",)),
]


@pytest.mark.parametrize(("name", "prompt", "train"), TUNED)
def test_lanes_equal_their_solo_runs(name: str, prompt: str, train: tuple[str, ...]) -> None:
    """Of units of unlike sizes whose rows have unlike numbers of targets, with prompts of all kinds. A backbone that stays as it
    was drawn is one unit's.
    """
    units = {
        unit: unit_of(unit, histories(many, many), histories(20, many + 1), members)
        for unit, many, members in (("cold.1", 50, (28, 29)), ("cold.2", 30, (3, 5, 9, 30)))
    }
    few = units["cold.2"].train
    short = np.where(np.arange(7) < 3, few.columns["target"], 0)
    units["cold.2"] = replace(units["cold.2"], train=replace(few, columns={**few.columns, "target": short}))
    of_prompt: dict[str, list[dict[str, Any]]] = {
        "promo": [{"prompt.feedback": 2, "prompt.width": 3}, {"prompt.feedback_weight": 1.0}, {"prompt.fusion_width": 3}],
        "plate": [{"prompt.meta_prompts": 3}, {"prompt.meta_prompts": 5}, {}],
    }
    common = {"training.lr.default": 0.02, **({"prompt.temperature": 0.5} if prompt == "plate" else {})}
    whose = ("cold.1" if "all" in train else "cold.2", "cold.2", "cold.2")
    apart = enumerate(zip(whose, of_prompt.get(prompt, [{}, {}, {}]), strict=True))
    lanes = [Lane(3, 0, {**common, "backbone.dropout": 0.1 * i, **options}, unit) for i, (unit, options) in apart]
    packed = models(name, prompt, lanes, units, train)
    packed.run()
    for i, lane in enumerate(lanes):
        solo = models(name, prompt, [lane], {lane.unit: units[lane.unit]}, train)
        same(packed.results()[i], solo.run()[0], 1e-9)
        for tensor, other in zip(packed.best(i).values(), solo.best(0).values(), strict=True):
            torch.testing.assert_close(tensor, other, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", CTR)
def test_all_items_are_ranked_in_pieces_as_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = unit_of("cold.1", histories(40, 1), histories(40, 2))
    trainer = models(name, "promo", [Lane(0, 0, {}, "cold.1")], {"cold.1": unit}, ("all", "prompt"))
    batch = next(iter(trainer.feed.epoch(1)))
    model, columns = trainer.model, {n: c for n, c in batch.columns.items() if n != "candidates"}
    bare, found = replace(batch, columns=columns), []
    for most in (128, 7):
        monkeypatch.setattr(_ctr, "_ITEMS", most)
        found.append(model.scores(bare, model.encode(bare), Step(False)))
    torch.testing.assert_close(found[0], found[1], atol=1e-12, rtol=0)
    assert found[0].shape == (1, 32, len(ITEMS))


@pytest.mark.parametrize("kind", ["next_bce", "bpr"])
def test_a_rows_loss_is_the_sum_over_its_targets_against_what_was_drawn(kind: str) -> None:
    objective = component("objectives", kind)
    batch, size = batch_of(20), len(ITEMS)
    worth = torch.randn(20, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs = Paired(lambda ids: worth.gather(1, ids[0]).unsqueeze(0), size, {})
    step = Step(True, noise=Noise((4,), batch.index))
    found = objective(objective.Options(negatives=2))(lambda rows: outputs, batch, {}, step)[0]
    for i in range(20):
        held = {*batch.columns["history"][0, i].tolist(), *batch.columns["target"][0, i].tolist()}
        targets = sorted((t for t in batch.columns["target"][0, i].tolist() if t), reverse=True)
        total = 0.0
        for place, target in enumerate(targets):
            positive = worth[i, target].item()
            total += np.log1p(np.exp(-positive)) if kind == "next_bce" else 0
            for n in range(2):
                uniform = step.noise.uniform(f"negative.{n}", len(targets))[0, i, place]  # type: ignore[union-attr]
                other = 1 + int(float(uniform) * (size - 1))
                if other not in held:
                    score = worth[i, other].item()
                    total += np.log1p(np.exp(score - (positive if kind == "bpr" else 0))) / 2
        assert float(found[i]) == pytest.approx(total / 7, rel=1e-9)


@pytest.mark.parametrize("name", CTR)
def test_an_objective_of_states_is_refused_with_those_that_fit(name: str) -> None:
    unit = unit_of("cold.1", histories(4, 1), histories(4, 2))
    method = Method("own", ALIASES["single"], name, "none")
    for criterion in ("softmax", "bce"):
        training = {"objective": criterion, "metric": "ndcg@10"}
        own = job(backbone={"name": name}, training=training, data=AS_HISTORIES)
        pack = Pack("p", "own", (Lane(0, 0, {}, "cold.1"),))
        units = {"cold.1": unit}
        with pytest.raises(
            AssemblyError, match=rf"objective '{criterion}' trains on .*, and backbone '{name}' gives pairs; .*bpr or next_bce"
        ):
            train_with(own, pack, method, [settings(own, method, pack.lanes[0])], RANKED, units, table_feed(own, pack, units, 4))
    with pytest.raises(AssemblyError, match="writes 'prefix', the backbone takes fields, item, target"):
        meet(
            component("backbones", name), component("prompts", "ppr"), ALIASES["pretrain_prompt"],
            {"backbone": [component("backbones", name).Options()], "prompt": [component("prompts", "ppr").Options()]}, RANKED,
        )  # fmt: skip
