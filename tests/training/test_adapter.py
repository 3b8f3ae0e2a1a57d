"""Adapters: what is added to a backbone's tensors by hand, where it does not reach, and what stays as it was."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from raytune_rec.components import component, options_of
from raytune_rec.errors import JobError
from raytune_rec.schema.work import Lane
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Step, Sums, lookup, rows_of
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.parts import meet
from raytune_rec.training.stack import stack
from tests.training.conftest import HISTORIES, SCHEMA, histories, table
from tests.training.test_contract import model_of
from tests.training.test_ctr import CTR


def adapted(name: str, numbers: str = "field", **options: Any) -> Any:
    made, prompt = component("backbones", name), component("prompts", "adapter")
    chosen = {
        "backbone": [made.Options(width=4, hidden=(6, 5), batch_norm=True, numbers=numbers)],
        "prompt": [prompt.Options(**options)],
    }
    model = stack(meet(made, prompt, ALIASES["prompt"], chosen, SCHEMA), [Lane(0)], seed=1)
    model.place("cpu", torch.float64)
    return model


@pytest.mark.parametrize("name", CTR)
def test_an_adapted_backbone_scores_like_one_whose_tensors_are_the_sums(name: str) -> None:
    model = adapted(name, rank=2, biases=True)
    batch = next(iter(TableFeed(table(30, 3), [(1,)], 30, 30).epoch(1)))
    plain = model.parts.backbone.forward(
        model._part("backbone"), model.parts.backbone.encode(model._part("backbone"), batch), batch, {},
        model.options["backbone"], Step(False),
    )["logit"]  # fmt: skip
    torch.testing.assert_close(model.forward(batch, model.encode(batch), Step(False))["logit"], plain)  # nothing is added yet
    draw = torch.Generator().manual_seed(1)
    model.trained = {n: torch.randn(t.shape, generator=draw, dtype=t.dtype) for n, t in model.trained.items()}
    tensors = model._part("backbone")
    for key, value in model._part("prompt").items():
        if key in tensors:
            tensors[key] = tensors[key] + value
        elif key.endswith(".down"):
            own = key.removesuffix(".down")
            product = torch.einsum("vr,rd->vd", value[0], model._part("prompt")[f"{own}.up"][0])
            tensors[own] = tensors[own] + product
    changed = {key for key in tensors if not torch.equal(tensors[key], model._part("backbone")[key])}
    assert {"embedding.user", "deep.0.fields", "deep.1.weight", "output.weight", "norm.0.gain", "output.bias"} <= changed
    assert not [key for key in changed if key.startswith("linear") or key.endswith((".mean", ".var"))]
    expected = model.parts.backbone.forward(
        tensors, model.parts.backbone.encode(tensors, batch), batch, {}, model.options["backbone"], Step(False)
    )["logit"]
    assert not torch.allclose(expected, plain)
    torch.testing.assert_close(model.forward(batch, model.encode(batch), Step(False))["logit"], expected)


def test_of_a_table_only_the_rows_of_a_step_are_made_and_they_learn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users and items are more than the rows of the step; of the other tables the whole is less."""
    model = adapted("deepfm", rank=2, layers=False)
    draw = torch.Generator().manual_seed(1)
    model.trained = {n: torch.randn(t.shape, generator=draw, dtype=t.dtype).requires_grad_() for n, t in model.trained.items()}
    batch = next(iter(TableFeed(table(20, 3), [(1,)], 20, 20).epoch(1)))
    made, change = set(), type(model.parts.prompts[0]).change

    def noted(self: Any, params: Any, name: str) -> torch.Tensor:
        made.add(name)
        return change(self, params, name)

    monkeypatch.setattr(type(model.parts.prompts[0]), "change", noted)

    def learned() -> tuple[torch.Tensor, ...]:
        logit = model.forward(batch, model.encode(batch), Step(False))["logit"]
        return (logit, *torch.autograd.grad(logit.square().sum(), [*model.trained.values()]))

    rows = learned()
    assert "embedding.user" not in made and "embedding.item" not in made and {"embedding.gender", "embedding.tags"} <= made
    monkeypatch.setattr(type(model.parts.prompts[0]), "change_rows", None)
    whole = learned()
    assert "embedding.user" in made
    for a, b in zip(rows, whole, strict=True):
        torch.testing.assert_close(a, b)


def test_rows_of_lists_are_changed_like_whole_tables() -> None:
    draw = torch.Generator().manual_seed(2)
    own, down, up = (torch.randn(*shape, generator=draw) for shape in ((1, 50, 4), (3, 50, 2), (3, 2, 4)))
    prompt = component("prompts", "adapter")
    made = prompt(prompt.Options(rank=2), SCHEMA, {}, {})
    params = {"table.down": down, "table.up": up}
    sums = Sums({"table": own}, frozenset({"table"}), partial(made.change, params), partial(made.change_rows, params))
    for ids in (torch.randint(50, (1, 6, 3), generator=draw), torch.randint(50, (3, 6, 3), generator=draw)):
        torch.testing.assert_close(rows_of(sums, "table", ids), lookup(sums["table"], ids))


def test_what_is_adapted_is_encoded_anew_and_what_is_not_is_kept() -> None:
    assert not adapted("deepfm").encoding_is_frozen
    assert not adapted("deepfm", layers=False).encoding_is_frozen
    alone = adapted("deepfm", layers=False, embeddings=False, biases=True)
    assert set(alone.trained) == {
        f"prompt.{n}" for n in ("norm.0.gain", "norm.0.shift", "norm.1.gain", "norm.1.shift", "output.bias")
    }
    assert all(len(shape) == 1 for shape in alone.shapes[0].values())


def test_biases_that_stand_side_by_side_are_no_matrix() -> None:
    """Those of DCN's cross layers are one tensor, a column for each."""
    assert not [key for key in adapted("dcn").trained if "bias" in key]
    every = adapted("dcn", biases=True)
    assert set(every.trained) - set(adapted("dcn").trained) >= {"prompt.cross.fields.bias", "prompt.output.bias"}
    assert len(every.shapes[0]["prompt.cross.fields.bias"]) == 2


def test_tables_of_buckets_are_adapted_like_those_of_ids() -> None:
    model = adapted("deepfm", numbers="discretize", layers=False)
    assert {f"prompt.embedding.{name}.down" for name in ("price", "tags", "user")} <= set(model.trained)
    started = {name: bool(model.trained[f"prompt.embedding.{name}.down"].any()) for name in ("price", "tags")}
    assert started == {"price": True, "tags": False}  # of a table of ids the rows are zero, of all others the second factor


def test_an_adapted_language_model_is_one_whose_tensors_are_the_sums() -> None:
    """Two lanes; of its layers every matrix and norm."""
    made, prompt, none = component("backbones", "t5"), component("prompts", "adapter"), component("prompts", "none")
    own = made.Options(width=8, heads=2, head_width=4, inner=12, blocks=1, decoder_blocks=1)
    chosen = {"backbone": [own] * 2, "prompt": [prompt.Options(rank=2, embeddings=False, biases=True)] * 2}
    model = model_of(meet(made, prompt, ALIASES["prompt"], chosen, HISTORIES, None))
    model.place("cpu", torch.float64)
    batch = next(iter(TableFeed(histories(8, 4), [(1,)], 8, 8).epoch(1)))
    draw, plain = torch.Generator().manual_seed(1), model.scores(batch, model.encode(batch), Step(False, last=True))
    torch.testing.assert_close(plain[0], plain[1])  # nothing is added yet
    model.trained = {n: torch.randn(t.shape, generator=draw, dtype=t.dtype) * 0.2 for n, t in model.trained.items()}
    found, given = model.scores(batch, model.encode(batch), Step(False, last=True)), model._part("prompt")
    changed = {p.name for p in model.parts.backbone.parameters() if p.group in ("encoder", "decoder")}
    assert {name.removesuffix(".down").removesuffix(".up") for name in given} == changed
    for lane in range(2):
        alone = model_of(
            meet(made, none, ALIASES["tuning_free"], {"backbone": [own], "prompt": [none.Options()]}, HISTORIES, None)
        )
        alone.fixed = {name: tensor[:1].clone() for name, tensor in model.fixed.items()}
        for name in changed:
            added = given[name][lane] if name in given else given[f"{name}.down"][lane] @ given[f"{name}.up"][lane]
            alone.fixed[f"backbone.{name}"] += added
        torch.testing.assert_close(found[lane], alone.scores(batch, alone.encode(batch), Step(False, last=True))[0])
        assert not torch.allclose(found[lane], plain[0])


def test_an_adapter_of_nothing_is_refused() -> None:
    with pytest.raises(JobError, match="layers, embeddings and biases are all off; leave one on, or use the prompt 'none'"):
        options_of("prompts", "adapter", {"layers": False, "embeddings": False})
