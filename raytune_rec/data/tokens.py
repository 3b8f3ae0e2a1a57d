"""From text to tokens: words with a vocabulary of ours, or a tokenizer of Hugging Face. Shapes: N texts, L tokens.

Token 0 is padding, 1 is unknown. A tokenizer lies in the store as one file, and beside a backbone as a copy of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from raytune_rec.errors import DataError
from raytune_rec.job.data import WORDS
from raytune_rec.storage.files import STORAGE, parse_json, write_text

FILE = "tokenizer.json"
_FIRST = 2
"""Tokens below are padding and unknown."""
_WORD = re.compile(r"\w+")
_OURS = "raytune_rec.words"
"""Key of a file of our own."""


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
        try:
            fast: Any = import_module("tokenizers").Tokenizer
        except ImportError:
            raise DataError(
                f"{where}: reading it needs the package tokenizers, which is not installed; `pip install tokenizers`, or set "
                f"data.text.tokenizer = {WORDS!r}."
            ) from None
        try:
            self._made: Any = fast.from_str(content.decode())
        except Exception as error:  # the package raises nothing narrower
            raise DataError(f"{where}: is no tokenizer ({str(error)[:200]}); name a tokenizer.json.") from None
        self._made.no_padding()
        self._made.no_truncation()
        self.size, self.content, self.fingerprint = self._made.get_vocab_size() + _FIRST, content, _fingerprint(content)
        unknown = getattr(self._made.model, "unk_token", None)
        self._unknown = None if unknown is None else self._made.token_to_id(unknown)

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        ids = [encoded.ids for encoded in self._made.encode_batch(list(texts), add_special_tokens=False)]
        return _padded([[1 if i == self._unknown else i + _FIRST for i in row] for row in ids], length)


def file_of(tokenizer: str) -> bytes:
    """The content of the file that a job names; empty for our own words.

    Raises:
        DataError: there is none.
    """
    if tokenizer == WORDS:
        return b""
    try:
        return STORAGE.get(Path(tokenizer))
    except OSError as error:
        raise DataError(
            f"data.text.tokenizer = {tokenizer!r}: cannot be read ({error.strerror}); name a tokenizer.json, or {WORDS!r}."
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
