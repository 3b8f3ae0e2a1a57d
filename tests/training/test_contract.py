"""What every backbone and every prompt must keep to.

Components are found by themselves: a new file is tested without an edit here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from raytune_rec.components import component, kinds, names
from raytune_rec.errors import AssemblyError
from raytune_rec.prompts.base import Prompt
from raytune_rec.schema.contract import Site, SiteShape
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Noise, Step
from raytune_rec.training.beside import Beside
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.model import Model
from raytune_rec.training.parts import Parts, meet
from raytune_rec.training.settings import settings
from raytune_rec.training.stack import stack
from tests.training.conftest import AS_HISTORIES, OWN, job, objective, table, unit_of, world_of

BACKBONES, PROMPTS = names("backbones", [OWN]), names("prompts", [OWN])
PAIRS = [(b, p) for b in BACKBONES for p in PROMPTS]


def fits(backbone: str, prompt: str) -> bool:
    b, p = component("backbones", backbone, [OWN]), component("prompts", prompt, [OWN])
    schema = world_of(backbone)[0]
    takes, gives = b.takes(b.Options(), schema), b.gives(b.Options(), schema)
    return all(s in takes for s in p.writes(p.Options())) and all(r in gives for r in p.reads(p.Options()))


def parts(backbone: str, prompt: str, strategy: Strategy, *lanes: Mapping[str, Any], sites: Any = None) -> Parts:
    """Met, for lanes of some options of the prompt; for one without any."""
    b, p = component("backbones", backbone, [OWN]), component("prompts", prompt, [OWN])
    options = {"backbone": [b.Options() for _ in lanes or [0]], "prompt": [p.Options(**own) for own in lanes or [{}]]}
    return meet(b, p, strategy, options, world_of(backbone)[0], sites)


def model_of(made: Parts) -> Model:
    """Of lanes of one unit."""
    rows = table(1, 1)
    unit = unit_of("", rows, rows)
    model = stack(made, [Lane(i) for i in range(made.lanes)], rows=[unit.rows], seed=1)
    model.beside = Beside.of([unit.by_id] if unit.by_id else [])
    return model


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_declares_every_parameter_once_with_a_group_and_a_start(name: str) -> None:
    backbone = parts(name, "none", ALIASES["single"]).backbone
    own = [*backbone.parameters(), *backbone.buffers()]
    assert len({p.name for p in own}) == len(own)
    for p in own:
        value = p.init(p.shape, torch.Generator().manual_seed(0))
        assert value.shape == p.shape and value.dtype == torch.float32 and torch.isfinite(value).all()
        if p.rows is not None:
            assert p.shape[0] == world_of(name)[0].field(p.rows).size
            assert not value[0].any(), f"{p.name}: row 0 is padding and unknown; it starts as zero"
    assert backbone.encoded_groups | backbone.item_groups | backbone.user_groups <= {p.group for p in own}
    assert {*backbone.start()} <= {p.name for p in own}


@pytest.mark.parametrize(("backbone", "prompt"), PAIRS)
def test_a_pair_fits_or_is_refused_with_both_names_and_what_would_fit(backbone: str, prompt: str) -> None:
    strategy = ALIASES["pretrain_prompt"]
    if fits(backbone, prompt):
        made = parts(backbone, prompt, strategy)
        assert "prompt" in made.trained_groups or not made.prompts[0].parameters()
        return
    with pytest.raises(AssemblyError) as refused:
        parts(backbone, prompt, strategy)
    classes = component("backbones", backbone, [OWN]).__name__, component("prompts", prompt, [OWN]).__name__
    said = str(refused.value)
    assert all(c in said for c in classes) and ("the backbone takes" in said or "the backbone gives" in said)


@pytest.mark.parametrize(("backbone", "prompt"), [pair for pair in PAIRS if fits(*pair)])
def test_scores_are_per_row_and_the_same_in_any_company(backbone: str, prompt: str) -> None:
    """A row's score depends neither on the other rows of its batch nor on their order."""
    model = model_of(parts(backbone, prompt, ALIASES["pretrain_prompt"]))
    batch = next(iter(TableFeed(world_of(backbone)[1](64, 3), [(1,)], 64, 64).epoch(1)))
    with torch.no_grad():
        whole = model.forward(batch, model.encode(batch), Step(False))
        few = replace(
            batch,
            columns={n: c[:, [5, 2]] for n, c in batch.columns.items()},
            label=batch.label[:, [5, 2]],
            weight=batch.weight[:, [5, 2]],
            index=batch.index[:, [5, 2]],
        )
        alone = model.forward(few, model.encode(few), Step(False))
    assert whole["logit"].shape[:2] == (1, 64)
    torch.testing.assert_close(alone["logit"][0], whole["logit"][0, [5, 2]], atol=1e-5, rtol=1e-5)


TRAININGS = [(b, p, objective(b)) for b, p in PAIRS if fits(b, p)]
TRAININGS += [
    (b, "none", o)
    for b in BACKBONES
    for o in names("objectives")
    if component("objectives", o).reads in component("backbones", b, [OWN]).returns
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("backbone", "prompt", "criterion"), sorted(set(TRAININGS)))
def test_options_come_in_the_type_of_the_parameters_and_nothing_leaves_it(
    backbone: str, prompt: str, criterion: str, dtype: torch.dtype
) -> None:
    """Lanes that differ in every option that may differ, as a job trains them (float32) and as tests do (float64)."""
    schema, rows = world_of(backbone)
    count = component("backbones", backbone, [OWN]).most_lanes or 2
    families = {"backbone": ("backbones", backbone), "prompt": ("prompts", prompt), "objective": ("objectives", criterion)}
    lanes = [Lane(i, 0, {f"{part}.{n}": v for part, of in families.items() for n, v in _apart(*of, i)}) for i in range(count)]
    row = Method("own", ALIASES["pretrain_prompt" if prompt != "none" else "single"], backbone, prompt)
    metric, data = ("ndcg@10", {"data": AS_HISTORIES}) if schema.task.histories else ("auc", {})
    own = job(
        backbone={"name": backbone}, training={"batch_size": 16, "epochs": 1, "objective": criterion, "metric": metric}, **data
    )
    pack, units = Pack("p", "own", tuple(lanes)), {"": unit_of("", rows(16, 1), rows(16, 2))}
    feed = table_feed(own, pack, units, 16)
    trainer = train_with(own, pack, row, [settings(own, row, lane) for lane in lanes], schema, units, feed, dtype=dtype)
    model = trainer.model
    options = [*(t for values in model.options.values() for t in values.values()), *trainer.weights.values()]
    assert all(t.dtype == dtype for t in options) and any(len(t) == count for t in options) == bool(options)
    batch = next(iter(feed.epoch(1)))
    step = Step(True, model.trained_groups, Noise((1,), batch.index))
    batch, known = model._here(batch), model._with_beside(model.encode(batch))
    written = model._sites(batch, known, step)
    assert all(t.dtype in (dtype, torch.bool) for t in written.values())
    assert all(t.dtype == dtype for t in model.forward(batch, model.encode(batch), step).values() if model.trained)
    trainer.rehearse()
    if model.trained:
        trainer.epoch()
        assert all(t.dtype == dtype for t in trainer.best(count - 1).values())


def _apart(family: Any, name: str, lane: int) -> list[tuple[str, float]]:
    """Values of one lane for the options that lanes may differ in."""
    options = component(family, name, [OWN]).Options
    found = [(n, kind, options.model_fields[n].default) for n, kind in kinds(options).items()]
    return [(n, d + lane if kind == "padded" else (d or 0.1) * (1 - 0.3 * lane)) for n, kind, d in found if kind != "structural"]


@pytest.mark.parametrize(("backbone", "prompt"), [pair for pair in PAIRS if fits(*pair) and pair[1] != "none"])
def test_padding_is_inert(backbone: str, prompt: str) -> None:
    """A lane padded to a wider neighbour writes what it writes alone, and what is padded gets no gradient."""
    cls: type[Prompt] = component("prompts", prompt, [OWN])
    padded = [n for n, kind in kinds(cls.Options).items() if kind == "padded"]
    small, large = dict.fromkeys(padded, 3), dict.fromkeys(padded, 7)
    _, rows = world_of(backbone)
    batch = next(iter(TableFeed(rows(32, 3), [(1,)], 32, 32).epoch(1)))
    written = []
    for options in ([small], [small, large]):
        model = model_of(parts(backbone, prompt, ALIASES["pretrain_prompt"], *options))
        for name in model.trained:
            draw = torch.randn(model.shapes[0][name], generator=torch.Generator().manual_seed(3))
            model.trained[name][0].zero_()
            model.trained[name][0][tuple(slice(0, s) for s in draw.shape)] = draw
            model.trained[name].requires_grad_()
        step = Step(True, model.trained_groups, Noise((1,), batch.index))
        outputs = model.forward(batch, model.encode(batch), step)
        read = outputs["logit" if "logit" in outputs else "user"][0]
        written.append(read.detach())
        grads = torch.autograd.grad(read.sum(), list(model.trained.values()), allow_unused=True)
        for (name, _), g in zip(model.trained.items(), grads, strict=True):
            if g is not None:
                inside = g[0][tuple(slice(0, s) for s in model.shapes[0][name])]
                assert g[0].abs().sum() == pytest.approx(inside.abs().sum().item(), rel=1e-6), f"{name}: padding has a gradient"
    torch.testing.assert_close(written[0], written[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prompt", [p for p in PROMPTS if p != "none"])
def test_a_prompt_claims_only_prompt_groups_and_counts_what_it_writes(prompt: str) -> None:
    for backbone in (b for b in BACKBONES if fits(b, prompt)):
        made = parts(backbone, prompt, ALIASES["pretrain_prompt"])
        groups = {p.group for p in made.prompts[0].parameters()}
        assert groups <= made.prompts[0].groups
        assert not groups & {p.group for p in made.backbone.parameters()}
        assert set(made.sites) <= made.backbone.shaped_by and all(s.count > 0 and s.width > 0 for s in made.sites.values())


def test_a_backbone_built_for_other_sites_is_refused() -> None:
    with pytest.raises(AssemblyError, match=r"built for prompt sites none.*writes fields x2"):
        parts("deepfm", "plate", ALIASES["prompt"], sites={})
    with pytest.raises(AssemblyError, match=r"built for prompt sites fields x2.*writes none"):
        parts("deepfm", "plate", ALIASES["finetune_all"], sites={Site.FIELDS: SiteShape(2, 16)})


def test_a_strategy_that_names_no_group_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        AssemblyError, match=r"trains 'encoder'; this backbone and prompt have embedding, interaction, linear, output"
    ):
        parts("deepfm", "none", Strategy("own", "backbone", ("encoder",)))


def test_a_lane_that_needs_more_than_was_pre_trained_is_refused_and_both_remedies_hold() -> None:
    def pretrained(meta_prompts: int) -> tuple[dict[str, torch.Tensor], Any]:
        made = parts("deepfm", "plate", ALIASES["pretrain_prompt"], {"meta_prompts": meta_prompts})
        return {n: t[0] for n, t in stack(made, [Lane(0)]).trained.items()}, made.sites

    def tuned(meta_prompts: int, weights: dict[str, torch.Tensor], sites: Any) -> int:
        made = parts("deepfm", "plate", ALIASES["prompt"], {"meta_prompts": meta_prompts}, sites=sites)
        return stack(made, [Lane(0)], [weights]).lanes

    with pytest.raises(
        AssemblyError,
        match=r"prompt\.user\.out\.weight: this method needs shape \(32, 5\), .* pre-trained with \(32, 4\)\. "
        r"Keep the pre-training's structure, or raise it there \(prompt\.meta_prompts of an elastic pre-training\)",
    ):
        tuned(5, *pretrained(4))
    assert tuned(4, *pretrained(4)) == tuned(5, *pretrained(6)) == 1


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_what_a_strategy_does_not_train_is_shared_by_all_lanes(name: str) -> None:
    strategy = ALIASES[name]
    prompt = "none" if strategy.prompt == "off" else "plate"
    made = parts("deepfm", prompt, strategy, {}, {}, {})
    model = stack(made, [Lane(i) for i in range(3)], seed=1)
    wanted = set(strategy.train)
    groups = {p.group for p in made.backbone.parameters()}
    trained = (groups if "all" in wanted else wanted & groups) | ({"prompt"} if "prompt" in wanted else set())
    assert set(model.groups.values()) == trained
    assert all(t.shape[0] == 3 for t in model.trained.values())
    assert all(t.shape[0] == 1 for n, t in model.fixed.items() if n.startswith("backbone."))
    declared = sum(math.prod(p.shape) for p in made.backbone.parameters() if p.group in trained)
    backbone_trained = sum(t[0].numel() for n, t in model.trained.items() if n.startswith("backbone."))
    assert backbone_trained == declared
