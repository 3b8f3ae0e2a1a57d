"""Real weights: a tiny T5 that transformers saves as the hub keeps it, and folders that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.backbones import _hub
from raytune_rec.backbones._text import Texts, read
from raytune_rec.components import component, options_of
from raytune_rec.data.text.unigram import learnt
from raytune_rec.data.tokens import phrases_of, tokenizer_of
from raytune_rec.errors import AssemblyError, DataError, JobError, UserError
from raytune_rec.schema.prepared import DataSchema, Phrases
from raytune_rec.schema.work import Lane
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Step
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.model import Beside, Model
from raytune_rec.training.parts import meet
from raytune_rec.training.stack import stack
from tests.training.conftest import HISTORIES, ITEMS, TITLE, histories, unit_of

SMALL = {
    "width": 12, "head_width": 5, "heads": 3, "inner": 20, "blocks": 2, "decoder_blocks": 1, "buckets": 8, "distance": 20,
    "gated": False, "tied": True,
}  # fmt: skip
"""All sizes."""
COLOURS, THINGS = ("red", "blue", "green", "grey", "white"), ("pen", "ink", "paper", "card", "tape", "glue")
TITLES = ["", *(f"{colour} {thing}" for colour in COLOURS for thing in THINGS)]
"""Of each item."""
Build = Callable[..., tuple[Path, Any]]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    pytest.importorskip("tokenizers")
    return tokenizer_of(learnt(TITLES, 260), "the test")


@pytest.fixture
def build(tmp_path: Path, tokenizer: Any) -> Build:
    def made(gated: bool = False, rows: int = 7, **saved: Any) -> tuple[Path, Any]:
        """The folder of a model with `rows` tokens that no text has, as published ones have them, and the model."""
        theirs = pytest.importorskip("transformers.models.t5")
        torch.manual_seed(1)
        config = theirs.T5Config(
            vocab_size=tokenizer.size - 2 + rows, d_model=12, d_kv=5, d_ff=20, num_layers=2, num_decoder_layers=1, num_heads=3,
            relative_attention_num_buckets=8, relative_attention_max_distance=20, dropout_rate=0.0,
            feed_forward_proj="gated-gelu" if gated else "relu", tie_word_embeddings=not gated,
        )  # fmt: skip
        model = theirs.T5ForConditionalGeneration(config).eval()
        if gated:  # as FLAN-T5 was published, which tells words by a table of their own
            model.lm_head.weight, model.config.tie_word_embeddings = torch.nn.Parameter(torch.randn(config.vocab_size, 12)), False
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.3)
        model.save_pretrained(tmp_path, **saved)
        if gated:
            values = json.loads((tmp_path / "config.json").read_text())
            values.pop("scale_decoder_outputs", None)
            (tmp_path / "config.json").write_text(json.dumps(values | {"tie_word_embeddings": False}))
        (tmp_path / "tokenizer.json").write_bytes(tokenizer.content)
        return tmp_path, model

    return made


def schema_of(tokenizer: Any) -> DataSchema:
    title = replace(TITLE, size=tokenizer.size, length=12)
    return replace(HISTORIES, texts=(title,), phrases=phrases_of(tokenizer), tokenizer=tokenizer.fingerprint)


def loaded(folder: Path, tokenizer: Any, **options: Any) -> Model:
    made = component("backbones", "t5"), component("prompts", "none")
    lanes = {"backbone": [made[0].Options(weights=str(folder), **{**SMALL, **options})], "prompt": [made[1].Options()]}
    parts = meet(*made, ALIASES["tuning_free"], lanes, schema_of(tokenizer), None)
    model = stack(parts, [Lane(0, 0, {}, "music")])
    own = unit_of("music", histories(2, 1), histories(2, 2))
    assert own.by_id is not None
    items = replace(own.by_id.items, columns={**ITEMS.columns, "title": tokenizer.encode(TITLES, 12)})
    model.beside = Beside.of([replace(own.by_id, items=items)])
    model.place("cpu", torch.float32)
    return model


@pytest.mark.parametrize(("gated", "saved"), [(False, {}), (True, {"max_shard_size": "8KB"})])
def test_weights_of_the_hub_rank_as_transformers_does(build: Build, tokenizer: Any, gated: bool, saved: dict[str, Any]) -> None:
    """T5 in one file, and FLAN-T5's configuration in several; the logarithms of each candidate's tokens, from their logits."""
    folder, theirs = build(gated, **saved)
    assert (folder / "model.safetensors.index.json").exists() == bool(saved)
    model = loaded(folder, tokenizer, gated=gated, tied=not gated)
    batch = next(iter(TableFeed(histories(4, 4), [(1,)], 4, 4).epoch(1)))
    phrases, known = phrases_of(tokenizer), tokenizer.size - 2
    assert isinstance(phrases, Phrases)
    with torch.no_grad():
        scores = model.scores(batch, model.encode(batch), Step(False, last=True))[0]
        for row in range(4):
            history = [TITLES[item] for item in batch.columns["history"][0, row].tolist() if item]
            joined = [*phrases.before]
            for n, ids in enumerate([*map(ids_of(tokenizer), history), [phrases.sentinels[0]]]):
                joined += [*(phrases.between if n else ()), *ids]
            read = torch.tensor([[*joined, *phrases.behind, phrases.end]])
            for place, item in enumerate(batch.columns["candidates"][0, row].tolist()):
                told = [phrases.sentinels[0], *ids_of(tokenizer)(TITLES[item])]
                logits = theirs(input_ids=read, decoder_input_ids=torch.tensor([[phrases.pad, *told[:-1]]])).logits[0, :, :known]
                logs = logits.log_softmax(-1)[torch.arange(len(told)), told]
                assert float(scores[row, place]) == pytest.approx(float(np.mean(logs[1:].tolist())), abs=1e-5)


def test_a_history_reads_as_the_sentence_of_the_paper(tokenizer: Any) -> None:
    """The words, in their order, as the package decodes them; and what is left when there is room for two items."""
    package: Any = pytest.importorskip("tokenizers")
    decode, phrases = package.Tokenizer.from_str(tokenizer.content.decode()).decode, phrases_of(tokenizer)
    assert phrases is not None
    texts = Texts.of(torch.as_tensor(tokenizer.encode(TITLES, 12))[None], phrases.unknown)
    items, masked = torch.tensor([[[1, 2, 3], [1, 2, 3]]]), torch.tensor([[[False, False, True], [True, False, True]]])

    def said(most: int, row: int) -> list[str]:
        parts = read(texts, items, masked, phrases, most)
        lines = [decode(ids[0, row][real[0, row]].tolist(), skip_special_tokens=False) for ids, real in parts]
        return [line.replace(" ", "") for line in lines]

    whole = "Given the following purchase history of user: {}, predict masked item purchased by the user?</s>".lower()
    line = lambda shown: whole.format(shown).replace(" ", "")  # noqa: E731
    assert said(512, 0) == [line("red pen, red ink, <extra_id_0>"), "<extra_id_0>redpaper</s>"]
    assert said(512, 1) == [line("<extra_id_0>, red ink, <extra_id_1>"), "<extra_id_0>redpen<extra_id_1>redpaper</s>"]
    most = int(read(texts, items, masked, phrases, 512)[0][1].sum(-1).max())
    assert said(most - 1, 0) == [line("red ink, <extra_id_0>"), "<extra_id_0>redpaper</s>"], "the oldest items are left out"
    assert said(most - 1, 1)[0] == line("<extra_id_0>, red ink, <extra_id_1>"), "which fits"
    assert said(1, 1) == [line("<extra_id_0>"), "<extra_id_0>redpaper</s>"], "the last one stays, with the first sentinel"


def ids_of(tokenizer: Any) -> Callable[[str], list[int]]:
    return lambda text: [int(i) - 2 for i in tokenizer.encode([text], 12)[0] if i]


def refused(folder: Path, tokenizer: Any, says: str, **options: Any) -> None:
    with pytest.raises(UserError, match=says) as told:
        loaded(folder, tokenizer, **options)
    assert isinstance(told.value, AssemblyError | DataError)


def test_what_is_no_model_is_refused(build: Build, tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    refused(tmp_path / "other", tokenizer, r"has no file config.json; name the folder of a model that is saved for the hub")
    refused(tmp_path / "nowhere", tokenizer, "there is no such folder; name a folder, or a model on the hub")
    folder, theirs = build()
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    (folder / "tokenizer.json").rename(folder / "kept")
    refused(folder, tokenizer, "has no file tokenizer.json; name the folder of a model")
    (folder / "tokenizer.json").write_bytes(learnt(["another tongue"], 220))
    refused(folder, tokenizer, r"its tokenizer is another one than that of the data.*set data.text.tokenizer = '")
    (folder / "kept").rename(folder / "tokenizer.json")
    weights.write_bytes(content[:200])
    with pytest.raises(UserError, match="damaged, it is not a safetensors file"):
        loaded(folder, tokenizer)
    weights.rename(folder / "pytorch_model.bin")
    refused(folder, tokenizer, r"a pickle, which can run any code and is not read.*save the model anew with save_pretrained")
    (folder / "pytorch_model.bin").unlink()
    refused(folder, tokenizer, "has no weights; it needs model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"shared.weight": "../model.safetensors"}}))
    refused(folder, tokenizer, "names no files of safetensors in its weight_map")
    theirs.save_pretrained(folder)
    loaded(folder, tokenizer)


def test_a_hub_that_cannot_be_reached_says_nothing_of_weights(
    build: Build, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Weights in several files, all of them at hand, load without it; with none at hand the model was said to have none."""
    folder, theirs = build()
    (folder / "model.safetensors").unlink()
    theirs.save_pretrained(folder, max_shard_size="8kB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1

    def at_hand(model: str, name: str, where: str) -> Path:
        if (folder / name).exists():
            return folder / name
        raise DataError(f"{where} = {model!r}: the hub cannot be reached; name a folder.")

    monkeypatch.setattr(_hub, "file_of_model", at_hand)
    loaded(folder, tokenizer)
    (folder / "model.safetensors.index.json").unlink()
    refused(folder, tokenizer, "the hub cannot be reached; name a folder")


def test_options_that_are_not_the_models_are_told_at_once(build: Build, tokenizer: Any) -> None:
    folder, _ = build()
    says = r"set backbone.options to width = 12, decoder_blocks = 1, or leave them out\."
    refused(folder, tokenizer, says, width=16, decoder_blocks=2)
    loaded(folder, tokenizer, width=12, decoder_blocks=1)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"feed_forward_proj": ["relu"]}))
    refused(folder, tokenizer, r"feed_forward_proj = \['relu'\].*'relu' or 'gated-gelu'")
    (folder / "config.json").write_text(json.dumps(values | {"model_type": "bart"}))
    refused(folder, tokenizer, r"has model_type = 'bart'.*name the folder of a T5 or a FLAN-T5")


@pytest.mark.parametrize("gated", [False, True])
def test_sizes_are_those_of_the_weights_unless_all_are_given(build: Build, tokenizer: Any, gated: bool) -> None:
    folder, _ = build(gated)
    found = options_of("backbones", "t5", {"weights": str(folder), "dropout": 0.2, "length": 64})
    assert {**found.model_dump(), **SMALL, "gated": gated, "tied": not gated} == found.model_dump()
    assert (found.dropout, found.length) == (0.2, 64)
    with pytest.raises(JobError, match=r"there is no such folder; name a folder, or a model on the hub.*[^.][.]$"):
        options_of("backbones", "t5", {"weights": str(folder / "none")})
    (folder / "config.json").unlink()  # what was trained goes on where the folder is not
    assert options_of("backbones", "t5", found.model_dump()) == found


def test_weights_of_fewer_tokens_are_refused(build: Build, tokenizer: Any) -> None:
    folder, _ = build(rows=-3)
    refused(folder, tokenizer, r"shared has shape \(\d+, 12\) for \(\d+, 12\)")


def test_a_model_that_has_all_its_tensors_reads_no_weights(build: Build, tokenizer: Any) -> None:
    """An artifact serves where the folder of the weights is not."""
    folder, _ = build()
    model = loaded(folder, tokenizer)
    start = {name: tensor[0] for name, tensor in model.fixed.items()}
    (folder / "config.json").unlink()
    again = stack(model.parts, [Lane(0, 0, {}, "music")], [start])
    assert all(torch.equal(tensor, again.fixed[name]) for name, tensor in model.fixed.items())
