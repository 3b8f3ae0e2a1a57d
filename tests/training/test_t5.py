"""T5 against the package transformers and against plain loops: its layers, perplexity ranking, and masked item text."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raytune_rec.backbones._t5 import Drop, Layers, _bucket
from raytune_rec.components import component
from raytune_rec.errors import AssemblyError
from raytune_rec.objectives.masked_text import MaskedText
from raytune_rec.schema.contract import Batch, Site
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Noise, Step
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.model import Model
from raytune_rec.training.parts import meet
from tests.training.conftest import HISTORIES, ITEMS, PHRASES, histories
from tests.training.test_contract import model_of

STEP = Step(False)
WORDS = [[t - 2 if t > 1 else 2 for t in row if t > 0] for row in ITEMS.columns["title"].tolist()]


def t5_of(prompt: str = "none", count: int = 1, **options: Any) -> Model:
    made = component("backbones", "t5"), component("prompts", prompt)
    own = [made[1].Options(**({"tokens": 2 + n} if prompt == "soft_prompt" else {})) for n in range(count)]
    lanes = {"backbone": [made[0].Options(**options) for _ in own], "prompt": own}
    model = model_of(meet(*made, ALIASES["tuning_free"], lanes, HISTORIES, None))
    model.place("cpu", torch.float64)
    return model


def rows(count: int = 20) -> Batch:
    return next(iter(TableFeed(histories(count, 4), [(1,)], count, count).epoch(1)))


@pytest.mark.parametrize("gated", [False, True])
def test_layers_are_those_of_transformers(gated: bool) -> None:
    """Random weights, ragged rows, more places than buckets tell apart; T5's configuration and FLAN-T5's."""
    transformers = pytest.importorskip("transformers")
    config = transformers.T5Config(
        vocab_size=50, d_model=12, d_kv=5, d_ff=20, num_layers=3, num_decoder_layers=2, num_heads=3, dropout_rate=0.0,
        relative_attention_num_buckets=8, relative_attention_max_distance=20,
        feed_forward_proj="gated-gelu" if gated else "relu", tie_word_embeddings=not gated,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    if gated:
        theirs.lm_head.weight, theirs.config.tie_word_embeddings = torch.nn.Parameter(torch.zeros(50, 12)), False
    params = {n.removesuffix(".weight"): torch.randn_like(p) * 0.3 for n, p in theirs.named_parameters()}
    theirs.load_state_dict({f"{n}.weight": p for n, p in params.items()}, strict=False)
    layers = Layers(12, 5, 3, 20, 3, 2, 8, 20, gated)
    declared = {p.name: p.shape for p in layers.parameters()}
    assert {n: tuple(p.shape) for n, p in params.items() if n not in ("shared", "lm_head")} == declared
    source, length = torch.randint(0, 50, (4, 40)), torch.tensor([40, 7, 1, 33])
    told = torch.randint(0, 50, (4, 9))
    real = torch.arange(40) < length[:, None]
    with torch.no_grad():
        wanted = theirs(input_ids=source, attention_mask=real.long(), decoder_input_ids=told).logits
        stacked = {n: p.unsqueeze(0) for n, p in params.items()}
        drop = Drop(torch.zeros(1), STEP)
        states = layers.encode(stacked, params["shared"][source].unsqueeze(0), real.unsqueeze(0), drop)
        x = params["shared"][told].view(1, 4, 1, 9, 12)
        found = layers.decode(stacked, x, layers.memory(stacked, states), real.unsqueeze(0), drop)[0, :, 0]
        found = found @ params["lm_head"].T if gated else found * 12**-0.5 @ params["shared"].T
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def sequence(history: list[int], masked: list[bool], most: int) -> tuple[list[int], list[int]]:
    """What is read and what is told, in a plain loop; the place behind a history is item 0."""
    for start in range(len(history)):
        read, told, number = [], [], 0
        for item, hidden in list(zip(history, masked, strict=True))[start:]:
            if hidden and number < len(PHRASES.sentinels):
                read.append([PHRASES.sentinels[number]])
                told += [PHRASES.sentinels[number], *WORDS[item]]
                number += 1
            elif item and WORDS[item]:
                read.append(WORDS[item])
        joined = [*PHRASES.before]
        for n, words in enumerate(read):
            joined += [*(PHRASES.between if n else ()), *words]
        joined += [*PHRASES.behind, PHRASES.end]
        if len(joined) <= most or start + 1 == len(history):
            return joined, [*told, PHRASES.end]
    raise AssertionError


def logs(model: Model, lane: int, read: list[int], told: list[int], soft: Tensor | None = None) -> list[float]:
    """Logarithm of the probability of each token, given those before it: one pair, one token after the other."""
    backbone: Any = model.parts.backbone
    params = {n.removeprefix("backbone."): t[:1] for n, t in model.fixed.items() if n.startswith("backbone.")}
    drop, layers, table = Drop(torch.zeros(1), STEP), backbone.layers, params["shared"][0]
    x = table[read]
    x = x if soft is None else torch.cat([soft, x])
    real = torch.ones(1, 1, len(x), dtype=torch.bool)
    memory = layers.memory(params, layers.encode(params, x[None, None], real, drop))
    found = []
    for n, token in enumerate(told):
        before = table[[PHRASES.pad, *told[:n]]][None, None, None]
        state = layers.decode(params, before, memory, real, drop)[0, 0, 0, -1]
        head = table * backbone.options.width**-0.5 if backbone.options.tied else params["lm_head"][0]
        found.append(float(torch.log_softmax(state @ head.T, 0)[token]))
    return found


@pytest.mark.parametrize("options", [{}, {"gated": True, "tied": False}, {"length": 32}])
def test_an_item_ranks_by_the_perplexity_of_its_text(options: dict[str, Any]) -> None:
    """Every pair by itself, with no padding: histories and texts of all lengths, an unknown history, texts that are cut off."""
    model, batch = t5_of(blocks=1, decoder_blocks=1, **options), rows(6)
    with torch.no_grad():
        scores = model.scores(batch, model.encode(batch), Step(False, last=True))[0]
        for row in range(6):
            history = [i for i in batch.columns["history"][0, row].tolist() if i]
            read, _ = sequence([*history, 0], [*[False] * len(history), True], model.parts.backbone.options.length)
            for place, item in enumerate(batch.columns["candidates"][0, row].tolist()[row % 2 :: 4]):
                told = [PHRASES.sentinels[0], *WORDS[item]]
                perplexity = math.exp(-np.mean(logs(model, 0, read, told)[1:]))
                assert math.exp(-scores[row, row % 2 + 4 * place]) == pytest.approx(perplexity, rel=1e-9)


def test_candidates_score_alike_among_others_and_all_items_are_ranked() -> None:
    model, batch = t5_of(), rows(6)
    every = replace(batch, columns={n: c for n, c in batch.columns.items() if n != "candidates"})
    with torch.no_grad():
        some, whole = (model.scores(b, model.encode(b), Step(False)) for b in (batch, every))
    assert whole.shape == (1, 6, len(ITEMS)) and whole[..., 0].isneginf().all(), "what has no text comes last"
    torch.testing.assert_close(whole.gather(2, batch.columns["candidates"]), some, atol=1e-12, rtol=0)


def test_more_candidates_without_text_than_are_told_at_a_time_come_last() -> None:
    """As where a retriever finds fewer items than were asked for, and padding stands behind them."""
    model, batch = t5_of(), rows(6)
    listed = batch.columns["candidates"]
    padded = torch.cat([listed, torch.zeros(1, 6, 1024, dtype=torch.int64)], 2)
    with torch.no_grad():
        some, more = (
            model.scores(replace(batch, columns={**batch.columns, "candidates": ids}), {}, Step(False))
            for ids in (listed, padded)
        )
    torch.testing.assert_close(more[..., : listed.shape[2]], some, atol=1e-12, rtol=0)
    assert more[..., listed.shape[2] :].isneginf().all()


def test_items_of_one_text_are_exactly_level() -> None:
    model, batch = t5_of(), rows(8)
    assert model.beside.items is not None
    tokens = model.beside.items.columns["title"]
    tokens[:, 20:29] = tokens[:, 3:4]
    try:
        candidates = torch.tensor([[5, 22, 3, 7, 21, 28, 9]]).expand(1, 8, -1)
        with torch.no_grad():
            scores = model.scores(replace(batch, columns={**batch.columns, "candidates": candidates}), {}, Step(False))[0]
    finally:
        tokens[:, 20:29] = torch.as_tensor(ITEMS.columns["title"])[None, 20:29]
    assert (scores[:, [1, 4, 5]] == scores[:, 2:3]).all() and (scores[:, 0] != scores[:, 2]).all()


def test_soft_tokens_stand_before_the_words_in_lanes_of_unequal_numbers() -> None:
    model, batch = t5_of("soft_prompt", 3), rows(3)
    with torch.no_grad():
        scores = model.scores(batch, model.encode(batch), STEP)
        assert scores.shape == (3, 3, 10)
        soft = model._sites(model._here(batch), {}, STEP)[Site.PREFIX]
        for lane in range(3):
            for row in range(3):
                history = [i for i in batch.columns["history"][0, row].tolist() if i]
                read, _ = sequence([*history, 0], [*[False] * len(history), True], 512)
                item = int(batch.columns["candidates"][0, row, 2])
                told = logs(model, lane, read, [PHRASES.sentinels[0], *WORDS[item]], soft[lane, row, 2 - lane :])
                assert float(scores[lane, row, 2]) == pytest.approx(np.mean(told[1:]), rel=1e-9)


def test_the_loss_is_the_mean_over_the_tokens_of_masked_items() -> None:
    """Lanes that mask differently, against plain loops over rows and tokens."""
    model, batch = t5_of(blocks=1, decoder_blocks=1), rows(5)
    ratio, last = torch.tensor([0.0, 0.4, 0.9]), torch.tensor([1.0, 0.3, 0.0])
    step = Step(True, noise=Noise((7,), batch.index))
    seen: list[tuple[Tensor, Tensor]] = []

    def run(altered: Batch, view: str = "", last: bool = False) -> Any:
        seen.append((altered.columns["history"], altered.columns["masked"]))
        return model.forward(altered, {}, STEP)

    with torch.no_grad():
        loss = MaskedText(MaskedText.Options())(run, batch, {"mask": ratio, "last": last}, step)
        items, masked = seen[0]
        for lane in range(3):
            for row in range(5):
                every = items[0, row].tolist()
                count = sum(item > 0 for item in every)
                hidden = masked[lane, row].tolist()
                read, told = sequence(every[:count], hidden[:count], 512)
                assert float(loss[lane, row]) == pytest.approx(-np.mean(logs(model, 0, read, told)), rel=1e-9)


def test_items_are_masked_as_the_paper_says() -> None:
    batch = rows(400)
    step = Step(True, noise=Noise((3,), batch.index))
    seen: list[tuple[Tensor, Tensor]] = []

    def run(altered: Batch, view: str = "", last: bool = False) -> Any:
        seen.append((altered.columns["history"], altered.columns["masked"]))
        return {"text": torch.zeros(1, 400)}

    MaskedText(MaskedText.Options())(run, batch, {"mask": torch.tensor([0.3]), "last": torch.tensor([0.1])}, step)
    items, masked = (part[0].numpy() for part in seen[0])
    assert step.noise is not None
    drawn = torch.cat([step.noise.uniform("masked_text", 7), step.noise.uniform("masked_text.last", 1)], -1)[0].double().numpy()
    length = (items > 0).sum(1)
    for row, draw, n in zip(masked, drawn, length, strict=True):
        several = draw[:n] < 0.3
        expected = several if several.any() else draw[:n] == draw[:n].min()
        expected = np.arange(n) == n - 1 if draw[-1] < 0.1 else expected
        assert row.tolist() == [*expected.tolist(), *[False] * (7 - n)]
    target = batch.columns["target"][0].numpy()
    ends = np.array([row[row > 0][-1] for row in target])
    assert (items[np.arange(400), length - 1] == ends).all(), "the last target is the last item"


def test_data_without_the_special_tokens_of_t5_are_refused() -> None:
    made = component("backbones", "t5")
    with pytest.raises(AssemblyError, match=r"the tokenizer of these data has none; set data.text.tokenizer = 'unigram'"):
        made(made.Options(), replace(HISTORIES, phrases=None), {})
    with pytest.raises(AssemblyError, match=r"backbone.text = 'plot': is no text of the items with tokens; there are title\."):
        made(made.Options(text="plot"), HISTORIES, {})


@pytest.mark.parametrize("buckets", [4, 31, 32, 64])
def test_a_distance_that_leaves_far_places_no_bucket_is_refused(buckets: int) -> None:
    """With less, the logarithm of far places is divided by 0 or grows backwards: they look beyond the table, or at others'."""
    options, near = component("backbones", "t5").Options, max(buckets // 2, 8 - 1)
    if near >= 8:
        with pytest.raises(ValueError, match=rf"distance = {near} is no further.*set distance to {near + 1} or more"):
            options(buckets=buckets, distance=near)
    least = options(buckets=buckets, distance=near + 1).distance
    for both in (False, True):
        found = _bucket(-torch.arange(200), both, buckets, least)
        assert found.min() >= 0 and found.max() < buckets and (found.diff() >= 0).all(), "further places have later buckets"
