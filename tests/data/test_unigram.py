"""Pieces of words that are learnt from texts, and the words around items as a tokenizer cuts them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from raytune_rec.data import tokens
from raytune_rec.data.stored.store import Store
from raytune_rec.data.text.unigram import learnt
from raytune_rec.data.tokens import BEFORE, BEHIND, BETWEEN, sentinel
from raytune_rec.errors import DataError

TEXTS = ["Red pen", "red pencil", "blue pencil case", "Blue pen refill", "pen refill", "Red pencil sharpener"] * 3


def pieces(content: bytes) -> list[str]:
    return [piece for piece, _ in json.loads(content)["model"]["vocab"]]


def test_frequent_words_become_pieces_and_every_letter_stays() -> None:
    content = learnt(TEXTS, 160)
    made = tokens.tokenizer_of(content, "x")
    assert {"▁pen", "▁red", "cil"} & {*pieces(content)} and {*"abcdefilnprsu▁"} <= {*pieces(content)}
    assert made.size <= 162 and len({*pieces(content)}) == len(pieces(content))
    short, long = ((made.encode([text], 50) > 0).sum() for text in ("pen", "zygote"))
    assert short == 1 and long > 3
    assert (made.encode(["Ж"], 5)[0] == 1).any(), "what has no token is unknown"


def test_scores_are_the_logarithms_of_how_often_pieces_stand_in_the_texts() -> None:
    content = learnt(TEXTS, 160)
    scores, made = dict(json.loads(content)["model"]["vocab"]), tokens.tokenizer_of(content, "x")
    rows = made.encode([*TEXTS, BEFORE + BETWEEN + BEHIND], 99)
    counts = np.bincount(rows[rows > 1] - 2, minlength=made.size)
    listed = pieces(content)
    pen, red = listed.index("▁pen"), listed.index("▁red")
    assert scores["▁pen"] - scores["▁red"] == pytest.approx(np.log(counts[pen] / counts[red]))


def test_the_same_texts_make_the_same_tokenizer() -> None:
    assert learnt(TEXTS, 150) == learnt(list(reversed(TEXTS)), 150) != learnt(TEXTS, 140)


def test_more_letters_than_tokens_are_refused_with_the_number_that_is_needed() -> None:
    texts = ["".join(map(chr, range(0x4E00, 0x4E00 + 300)))]
    with pytest.raises(DataError, match=r"data.text.vocabulary = 300: .* set it to (\d+) or more") as refused:
        learnt(texts, 300)
    needed = int(str(refused.value).split("set it to ")[1].split()[0])
    assert len(pieces(learnt(texts, needed))) <= needed


def test_the_words_around_items_are_cut_as_the_tokenizer_does_between_sentinels(shop: Callable[..., Store]) -> None:
    store = shop("store", text={"tokenizer": "unigram", "vocabulary": 300, "length": 20})
    phrases = store.schema.phrases
    assert phrases is not None and Store.open(store.path).schema == store.schema
    package: Any = pytest.importorskip("tokenizers")
    made = package.Tokenizer.from_file(str(store.path / "texts" / "tokenizer.json"))
    whole = made.encode(BEFORE + sentinel(0) + BETWEEN + sentinel(1) + BEHIND, add_special_tokens=False).ids
    told = [*phrases.before, phrases.sentinels[0], *phrases.between, phrases.sentinels[1], *phrases.behind]
    assert whole == told and len({*phrases.sentinels}) == 100
    assert store.schema.field("title").size - 2 > max(told)


@pytest.mark.parametrize("special", ["</s>", "<pad>", "<extra_id_0>"])
def test_a_special_token_that_a_text_spells_out_is_unknown(special: str) -> None:
    """Neither a second piece of that name is learnt, nor does a title end a sequence or mask an item."""
    content = learnt([f"red {special} pen", f"a{special}b"] * 9, 200)
    assert len({*pieces(content)}) == len(pieces(content))
    made = tokens.tokenizer_of(content, "x")
    phrases = tokens.phrases_of(made)
    assert phrases is not None and (phrases.pad, phrases.end, phrases.sentinels[0]) == (0, 1, 3)
    red, *_ = made.encode(["red"], 1)[0]
    ids = made.encode([f"red {special}"], 9)[0]
    assert ids[0] == red and 1 in ids and not {*(ids[ids > 1] - 2)} & {0, 1, *phrases.sentinels}


def test_sentinels_that_are_cut_like_other_words_are_none() -> None:
    package: Any = pytest.importorskip("tokenizers")
    vocabulary = {token: i for i, token in enumerate([tokens.PAD, tokens.END, "<unk>", *map(sentinel, range(3))])}
    made = package.Tokenizer(package.models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = package.pre_tokenizers.Whitespace()
    assert tokens.phrases_of(tokens.tokenizer_of(made.to_str().encode(), "x")) is None
    made.add_special_tokens([sentinel(number) for number in range(3)])
    assert tokens.phrases_of(tokens.tokenizer_of(made.to_str().encode(), "x")) is not None


def test_jobs_of_other_tokenizers_have_no_such_words(shop: Callable[..., Store]) -> None:
    store = shop("store", text={"length": 4})
    assert store.schema.phrases is None and "phrases" not in json.loads((store.path / "schema.json").read_text())


def test_words_with_ids_that_no_text_has_are_refused(shop: Callable[..., Store]) -> None:
    store = shop("store", text={"tokenizer": "unigram", "vocabulary": 300})
    path = store.path / "schema.json"
    values = json.loads(path.read_text())
    values["phrases"]["end"] = 10**6
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"have the id 1000000, and no text has such a token.*prepare the data again"):
        Store.open(store.path)


def test_without_the_package_words_do(shop: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(
            DataError, match=r"tokenizer = 'unigram' needs the package tokenizers.*`pip install tokenizers`, or set"
        ):
            shop("without", text={"tokenizer": "unigram"})
        assert shop("words", text={"tokenizer": "words"}).schema.texts


def test_a_folder_of_a_model_is_named_in_place_of_its_file(shop: Callable[..., Store]) -> None:
    first = shop("store", text={"tokenizer": "unigram", "vocabulary": 300})
    folder = first.path / "texts"
    assert shop("named", text={"tokenizer": str(folder)}).schema.phrases == first.schema.phrases
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"data.text.tokenizer = .*: has no file tokenizer.json; name the folder of a model"):
        shop("missing", text={"tokenizer": str(folder)})
    with pytest.raises(DataError, match=r"there is no such folder; name a folder, or a model on the hub"):
        shop("nowhere", text={"tokenizer": str(folder / "no such" / "model")})
