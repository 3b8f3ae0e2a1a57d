"""PPR: what a profile becomes, what the contrastive losses compare, and the losses of items, against plain sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_rec.backbones._profile import Profile
from raytune_rec.components import component
from raytune_rec.errors import JobError
from raytune_rec.objectives._items import Kind, item_loss
from raytune_rec.prompts.ppr import attributes
from raytune_rec.schema.contract import Batch, Site
from raytune_rec.schema.prepared import DataSchema, Field
from raytune_rec.schema.work import Lane
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Task
from raytune_rec.tensors import Noise, Step, contrast
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.model import Model
from raytune_rec.training.parts import meet
from raytune_rec.training.stack import stack
from tests.training.conftest import HISTORIES, histories

PPR: Any = component("prompts", "ppr")
SASREC: Any = component("backbones", "sasrec")
STEP = Step(True, frozenset(), Noise((7,), torch.arange(24).unsqueeze(0)))


def model(**options: Any) -> Model:
    own, backbone = PPR.Options(**options), SASREC.Options(width=8, inner=8, dropout=0.0)
    made = meet(SASREC, PPR, ALIASES["prompt_backbone"], {"backbone": [backbone], "prompt": [own]}, HISTORIES)
    return stack(made, [Lane(0)], seed=1)


def batch(rows: int = 24) -> Batch:
    return next(iter(TableFeed(histories(rows, 3), [(1,)], rows, rows).epoch(1)))


def losses(own: Model, rows: Batch) -> Mapping[str, Tensor]:
    return own.losses(rows, {}, STEP, lambda: own.forward(rows, {}, STEP))


def with_column(rows: Batch, name: str, values: Tensor) -> Batch:
    return replace(rows, columns={**rows.columns, name: values})


def test_a_profile_is_its_attributes_side_by_side() -> None:
    fields = (
        *HISTORIES.fields[:4],
        Field("age", "numerical", "user", 4, mean=30.0, std=10.0),
        Field("tastes", "multi", "user", 6, length=3),
    )
    profile = Profile(attributes(DataSchema(fields, ("a",), "0" * 16, task=Task("lists", 3)), ()), 2)
    assert profile.width == 6
    weights = {
        "of.gender": torch.tensor([[[9.0, 9], [1, 2], [3, 4], [5, 6]]]),
        "of.age": torch.tensor([[[1.0, -1], [7, 8]]]),
        "of.tastes": torch.arange(12.0).view(1, 6, 2),
    }
    columns = {
        "gender": torch.tensor([[2, 0]]),
        "age": torch.tensor([[50.0, math.nan]]),
        "tastes": torch.tensor([[[1, 3, 0], [0, 0, 0]]]),
    }
    found = profile.vector(weights, columns)
    assert found[0, 0].tolist() == [3, 4, 2, -2, 4, 5], "an id's vector, the standardised number times a vector, a mean"
    assert found[0, 1].tolist() == [0, 0, 7, 8, 0, 0], "unknown and empty are zero, a missing number has a vector of its own"


def test_a_vector_enters_by_a_matrix_and_a_missing_one_by_a_vector_of_its_own() -> None:
    field = Field("taste", "vector", "user", 0, length=3, means=(1.0, 1.0, 2.0), stds=(2.0, 2.0, 1.0))
    profile = Profile((field,), 2)
    assert [(p.name, p.shape) for p in profile.parameters("profile")] == [("of.taste", (3, 2)), ("of.taste.missing", (2,))]
    weights = {"of.taste": torch.tensor([[[1.0, 0], [0, 1], [1, 1]]]), "of.taste.missing": torch.tensor([[7.0, 8]])}
    columns = {"taste": torch.tensor([[[3.0, 5, 5], [1, 1, 2], [math.nan] * 3]])}
    found = profile.vector(weights, columns)
    assert found[0].tolist() == [[1 + 3, 2 + 3], [0, 0], [7, 8]]


def test_a_vector_reaches_the_outputs_and_so_does_its_absence() -> None:
    rows, own = batch(), model()
    for name in ("prompt.learner.out.weight", "prompt.generator.out.weight"):
        own.trained[name] = torch.ones_like(own.trained[name])
    taste = rows.columns["taste"]
    known = ~taste.isnan().any(-1)
    assert bool(known.any()) and not bool(known.all())
    first = own.forward(rows, {}, STEP)["user"]
    assert bool(first.isfinite().all())
    for other in (taste + 1, torch.full_like(taste, math.nan)):
        moved = (own.forward(with_column(rows, "taste", other), {}, STEP)["user"] - first).abs().sum(-1) > 1e-6
        assert torch.equal(moved, known)


def test_an_attribute_that_is_left_out_is_seen_nowhere() -> None:
    """The planted leak: with the attribute in the profile, the outputs follow it; without, nothing does."""
    rows = batch()
    other = with_column(rows, "gender", rows.columns["gender"] % 3 + 1)
    for without, same in (((), False), (("gender",), True)):
        own = model(without=without)
        for name in ("prompt.learner.out.weight", "prompt.generator.out.weight"):
            own.trained[name] = torch.ones_like(own.trained[name])
        a, b = (own.forward(r, own.encode(r), STEP)["user"] for r in (rows, other))
        assert torch.equal(a, b) == same
        a, b = (losses(own, r)["profile"] for r in (rows, other))
        assert torch.equal(a, b) == same


def test_attributes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(JobError, match="users have no attribute shoe; they have gender, age, taste"):
        model(without=("shoe",))
    with pytest.raises(JobError, match="made of the users' attributes, and none is left"):
        model(without=("gender", "age", "taste"))


def test_tuning_begins_at_the_pre_trained_representation_plus_a_prefix() -> None:
    """The learner adds nothing yet."""
    rows, own = batch(), model()
    outputs = own.forward(rows, {}, STEP)
    torch.testing.assert_close(outputs["user"], outputs["behaviour"], atol=0, rtol=0)


def test_without_a_prefix_only_the_learner_speaks() -> None:
    rows, own = batch(), model(prefix=False)
    assert not any(name.startswith("prompt.generator") for name in own.trained)
    assert Site.PREFIX not in own._sites(rows, {}, STEP) and own.losses(rows, {}, STEP, dict) == {}


@pytest.mark.parametrize(("views", "names"), [("both", {"profile", "behaviour"}), ("profile", {"profile"}), ("none", set())])
def test_contrastive_losses_are_those_that_are_asked_for(views: str, names: set[str]) -> None:
    rows, own = batch(), model(views=views)
    found = losses(own, rows)
    assert set(found) == names
    assert all(value.shape == (1, 24) and bool((value > 0).all()) for value in found.values())


def test_views_without_a_mask_are_the_rows_themselves() -> None:
    """Masks of 0: each row is its own nearest, and the loss is that of the batch's own similarities."""
    rows, own = batch(), model(profile_mask=0.0, item_mask=0.0, weight=2.0, temperature=0.5)
    user = own.forward(rows, {}, STEP)["behaviour"]
    for value in losses(own, rows).values():
        torch.testing.assert_close(value, 2.0 / 2 * contrast(user, user, torch.tensor([0.5]), rows.weight), atol=1e-5, rtol=0)


def test_infonce_is_what_its_formula_says() -> None:
    draw = torch.Generator().manual_seed(1)
    a, b = (torch.randn(2, 5, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    weight = torch.tensor([[1.0, 1, 1, 0, 1]])
    found = contrast(a, b, torch.tensor([0.5, 2.0]), weight)
    for lane, temperature in ((0, 0.5), (1, 2.0)):
        x, y = (v[lane].numpy() / np.linalg.norm(v[lane].numpy(), axis=1, keepdims=True) for v in (a, b))
        for i in range(5):
            others = [math.exp(x[i] @ y[j] / temperature) for j in range(5) if weight[0, j]]
            wanted = -math.log(math.exp(x[i] @ y[i] / temperature) / sum(others)) if weight[0, i] else 0.0
            assert found[lane, i].item() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("kind", ["pairwise", "pointwise", "sampled", "softmax"])
def test_losses_of_items_are_what_their_formulas_say(kind: Kind) -> None:
    """Eq. 2 and 5 of PPR, and their siblings, as plain sums over targets."""
    draw, rows = torch.Generator().manual_seed(2), batch(6)
    states = torch.randn(1, 6, 7, 4, generator=draw, dtype=torch.float64)
    outputs = {"items": torch.randn(1, 31, 4, generator=draw, dtype=torch.float64)}
    noise, target = Noise((5,), rows.index), rows.columns["target"]
    found = item_loss(kind, states, target, outputs, rows, noise, 3)
    score = (states[0] @ outputs["items"][0].T).numpy()  # (B, S, V)
    shared = noise.integers("negatives", 3, 1, 31)[0].tolist()
    drawn = [(1 + (noise.uniform(f"negative.{i}", 7).double() * 30).long())[0].numpy() for i in range(3)]
    for b in range(6):
        total, own = 0.0, {*rows.columns["history"][0, b].tolist(), *target[0, b].tolist()}
        for s, t in enumerate(target[0, b].tolist()):
            if not t:
                continue
            mine = [int(d[b, s]) for d in drawn if int(d[b, s]) not in own]
            if kind == "pairwise":
                total += sum(math.log1p(math.exp(score[b, s, n] - score[b, s, t])) for n in mine) / 3
            elif kind == "pointwise":
                total += sum(math.log1p(math.exp(score[b, s, n])) for n in mine) / 3 + math.log1p(math.exp(-score[b, s, t]))
            else:
                others = [n for n in (shared if kind == "sampled" else range(1, 31)) if n != t]
                total += math.log(sum(math.exp(score[b, s, n]) for n in [t, *others])) - score[b, s, t]
        assert found[0, b].item() == pytest.approx(total / 7, abs=1e-9)


def test_ppr_light_is_small_beside_a_real_catalogue() -> None:
    """Under 5 % of the backbone, and the same however many items there are."""
    fields = (Field("user", "categorical", "user", 4000), Field("item", "categorical", "item", 3417), *HISTORIES.fields[2:5])
    schema = DataSchema(fields, ("movies",), "0" * 16, task=Task("lists", 50))
    backbone = SASREC.Options()
    options = {"backbone": [backbone], "prompt": [PPR.Options(tokens=4, hidden_width=32)]}
    made = meet(SASREC, PPR, ALIASES["prompt"], options, schema)
    prompt, whole = (sum(math.prod(p.shape) for p in part.parameters()) for part in (made.prompts[0], made.backbone))
    assert prompt < 0.05 * whole


def test_rows_that_are_no_histories_are_refused() -> None:
    from raytune_rec.errors import AssemblyError

    none = component("prompts", "none")
    schema = replace(HISTORIES, task=Task())
    with pytest.raises(AssemblyError, match=r"SasRec .* it serves classes or lists, and they are rows.*set data\.sequences"):
        meet(SASREC, none, ALIASES["single"], {"backbone": [SASREC.Options()], "prompt": [none.Options()]}, schema)
