"""From text to tokens: words with a vocabulary of ours, or a tokenizer of Hugging Face. Shapes: N texts, L tokens.

Token 0 is padding, 1 is unknown. A tokenizer lies in the store as one file, and beside a backbone as a copy of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from raytune_rec.data.models import file_of_model, package
from raytune_rec.errors import DataError
from raytune_rec.job.data import UNIGRAM, WORDS
from raytune_rec.schema.prepared import Phrases
from raytune_rec.storage.files import STORAGE, parse_json, write_text
from raytune_rec.storage.places import located

FILE = "tokenizer.json"
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
BEFORE, BETWEEN, BEHIND = "Given the following purchase history of user: ", ", ", ", predict masked item purchased by the user?"
"""The words of the prompt, around items and between them."""
SENTINELS = 100
"""T5 has `<extra_id_0>` to `<extra_id_99>`."""
_FIRST = 2
"""Tokens below are padding and unknown."""
_WORD = re.compile(r"\w+")
_OURS = "raytune_rec.words"
"""Key of a file of our own."""


def sentinel(number: int) -> str:
    """`<extra_id_0>` and on."""
    assert 0 <= number < SENTINELS, f"T5 has {SENTINELS} sentinels, and no number {number}"
    return f"<extra_id_{number}>"


class Tokenizer(Protocol):
    """Attributes: `size`, tokens with padding and unknown; `fingerprint`, of the tokenizer; `content`, of its file."""

    size: int
    fingerprint: str
    content: bytes

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        """(N, L) int64: the first L tokens of each text, 0 behind them."""


def words_of(text: str) -> list[str]:
    """Lowercased runs of letters and digits, in their order."""
    return _WORD.findall(text.lower())


class Words:
    """Lowercased runs of letters and digits.

    Args:
        words: by token, from 2.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._tokens = {word: token for token, word in enumerate(words, _FIRST)}
        self.size = len(words) + _FIRST
        self.content = json.dumps({_OURS: list(words)}, ensure_ascii=False).encode()
        self.fingerprint = _fingerprint(self.content)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Words:
        """The words of some texts, by falling count and then by name."""
        counts = Counter(word for text in texts for word in words_of(text))
        return cls(sorted(counts, key=lambda word: (-counts[word], word)))

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        return _padded([[self._tokens.get(w, 1) for w in words_of(text)] for text in texts], length)


class _OfFile:
    """A `tokenizer.json` as the package `tokenizers` writes it; its ids stand behind ours."""

    def __init__(self, content: bytes, where: str) -> None:
        fast = package("tokenizers", f"{where}: reading it", f", or set data.text.tokenizer = {WORDS!r}").Tokenizer
        try:
            self._made: Any = fast.from_str(content.decode())
        except Exception as error:  # the package raises nothing narrower
            raise DataError(f"{where}: is no tokenizer ({str(error)[:200]}); name a tokenizer.json.") from None
        self._made.no_padding()
        self._made.no_truncation()
        self.size, self.content, self.fingerprint = self._made.get_vocab_size() + _FIRST, content, _fingerprint(content)
        self._special = {i for i, token in self._made.get_added_tokens_decoder().items() if token.special}
        unknown = getattr(self._made.model, "unk_token", None)
        of_unigram = json.loads(content)["model"].get("unk_id")
        self._unknown = of_unigram if unknown is None else self._made.token_to_id(unknown)

    def phrases(self) -> Phrases | None:
        """What is read around items; None where the tokenizer has not the special tokens of T5."""
        pad, end, *sentinels = (self._made.token_to_id(token) for token in (PAD, END, *map(sentinel, range(SENTINELS))))
        known = sentinels[: sentinels.index(None)] if None in sentinels else sentinels
        if pad is None or end is None or len(known) < 2:
            return None
        told = BEFORE + sentinel(0) + BETWEEN + sentinel(1) + BEHIND
        ids = self._made.encode(told, add_special_tokens=False).ids
        if not {*known[:2]} <= {*ids}:  # they have ids, and are cut like other words
            return None
        first, second = ids.index(known[0]), ids.index(known[1])
        words = (tuple(ids[:first]), tuple(ids[first + 1 : second]), tuple(ids[second + 1 :]))
        return Phrases(*words, tuple(known), pad, end, pad if self._unknown is None else self._unknown)

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        """A special token that a text spells out, `</s>` of a page, is unknown: it would end the text, or mask an item."""
        no_words = {*self._special, self._unknown}
        ids = [encoded.ids for encoded in self._made.encode_batch(list(texts), add_special_tokens=False)]
        return _padded([[1 if i in no_words else i + _FIRST for i in row] for row in ids], length)


def phrases_of(tokenizer: Tokenizer) -> Phrases | None:
    """What a language model reads around items; None of a tokenizer that is none of T5's kind."""
    return tokenizer.phrases() if isinstance(tokenizer, _OfFile) else None


def file_of(tokenizer: str) -> bytes:
    """The content of the file that a job names; empty where a tokenizer is made of the texts.

    Raises:
        DataError: there is none.
    """
    if tokenizer in (WORDS, UNIGRAM):
        return b""
    path = located(tokenizer)
    try:
        return STORAGE.get(path if path.suffix == ".json" else file_of_model(tokenizer, FILE, "data.text.tokenizer"))
    except OSError as error:
        raise DataError(
            f"data.text.tokenizer = {tokenizer!r}: cannot be read ({error.strerror}); name a tokenizer.json, or {WORDS!r} or "
            f"{UNIGRAM!r}."
        ) from None


def tokenizer_of(content: bytes, where: str) -> Tokenizer:
    """The tokenizer of a file's content.

    Raises:
        DataError: it is none, or needs a package that is missing.
    """
    try:
        values = parse_json(content.decode())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is no tokenizer, it is not JSON ({str(error)[:200]}); name a tokenizer.json.") from None
    if not isinstance(values, dict) or _OURS not in values:
        return _OfFile(content, where)
    words = values[_OURS]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or len(set(words)) < len(words):
        raise DataError(f"{where}: is no tokenizer of ours, whose {_OURS} is a list of words, each once; copy it anew.")
    return Words(words)


def write(tokenizer: Tokenizer, folder: Path) -> None:
    write_text(folder / FILE, tokenizer.content.decode())


def read(folder: Path) -> Tokenizer:
    """Raises DataError where there is none."""
    path = folder / FILE
    if not path.exists():
        raise DataError(f"{path}: there is none; the data have no text with tokens (data.text).")
    return tokenizer_of(STORAGE.get(path), str(path))


def _fingerprint(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _padded(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    tokens = np.zeros((len(rows), length), np.int64)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = ids[:length]
    return tokens
