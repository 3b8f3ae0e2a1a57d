"""Texts as vectors that no training changes, whitened (WhitenRec, 2024). One file says how, so that another job makes the same.

Shapes: N texts, S words, W0 numbers of a raw vector, W of a whitened one.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file
from scipy import sparse
from scipy.sparse.linalg import svds

from raytune_rec.data.layout import TEXTS
from raytune_rec.data.text.sentences import files_of, sentence_vectors
from raytune_rec.data.tokens import words_of
from raytune_rec.errors import DataError
from raytune_rec.job.data import WORDS
from raytune_rec.names import path_name
from raytune_rec.storage.files import STORAGE
from raytune_rec.storage.fingerprint import file_sha256
from raytune_rec.storage.places import located

SUFFIX = ".safetensors"
_MODEL, _WORDS = "model", "words"
"""The one key of the file's facts (several would be written in any order): which encoder it is, or the words of one of ours."""
_LEAST = 1e-6
"""Variance of an axis below which it is noise, as a share of the largest."""
_NOISE = 1e-10
"""Likewise, of raw vectors, which have length 1 at most and are kept in float32."""


class Encoder:
    """Args:
    tensors: `mean` (W0,) and `axes` (W0, W), which whiten; of words also `idf` (S,) and `parts` (S, W0).
    model: the sentence encoder; empty for words. words: (S,). where: of the option, for refusals.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], model: str, words: Sequence[str], where: str) -> None:
        self._tensors, self._model, self._words, self._where = dict(tensors), model, list(words), where
        self._places = {word: place for place, word in enumerate(self._words)}

    @property
    def width(self) -> int:
        """W."""
        return int(self._tensors["axes"].shape[1])

    @property
    def fingerprint(self) -> str:
        """Of the vectors that it makes: of equal ones they mean the same."""
        parts = [json.dumps(self._words).encode(), *(self._tensors[name].tobytes() for name in sorted(self._tensors))]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def write(self, path: Path) -> None:
        facts = {_MODEL: self._model} if self._model else {_WORDS: json.dumps(self._words, ensure_ascii=False)}
        save_file(self._tensors, path, facts)

    @classmethod
    def read(cls, content: bytes, where: str) -> Encoder:
        """Raises DataError where it is no file of ours."""
        try:
            size = int.from_bytes(content[:8], "little")
            facts = json.loads(content[8 : 8 + size])["__metadata__"]
            tensors, words, model = load(content), json.loads(facts.get(_WORDS, "[]")), str(facts.get(_MODEL, ""))
            fits = tensors["mean"].shape == tensors["axes"].shape[:1]
            if not model:
                fits &= tensors["idf"].shape == (len(words),) and tensors["parts"].shape == (len(words), *tensors["mean"].shape)
            if not fits or not all(np.isfinite(t).all() for t in tensors.values()):
                raise ValueError("its tensors do not go together")
            return cls(tensors, model, words, where)
        except (ValueError, LookupError, TypeError, AttributeError, SafetensorError, RecursionError) as error:
            raise DataError(
                f"{where}: is no encoder of ours ({str(error)[:200]}); name RUN/data/texts/NAME{SUFFIX} of a finished run, a "
                f"folder of a sentence encoder, or {WORDS!r}."
            ) from None

    @classmethod
    def learnt(cls, name: str, texts: Sequence[str], width: int, where: str) -> Encoder:
        """An encoder that is whitened on some texts, as far as these have so many axes.

        Args:
            name: `words`: of TF-IDF of their words, projected on the directions in which texts differ most (latent semantic
                analysis; Deerwester et al., 1990). Otherwise a sentence encoder.
            texts: that are not empty. width: W.

        Raises:
            DataError: the texts differ in fewer directions.
        """
        if name == WORDS:
            words = sorted(Counter(w for text in texts for w in set(words_of(text))))
            having = Counter(w for text in texts for w in set(words_of(text)))
            idf = np.array([1 + np.log((1 + len(texts)) / (1 + having[w])) for w in words])
            made = cls({"idf": idf, "parts": np.zeros((len(words), 0))}, "", words, where)
            most = min(len(texts), len(words)) - 1  # one more than is kept: what all texts share goes with the mean
            _check_width(width, most, f"{len(texts)} texts of {len(words)} words have {most}", where)
            found = svds(
                made._weighed(texts),
                k=min(width + 1, most),
                v0=np.ones(min(len(texts), len(words))),
                return_singular_vectors="vh",
            )[2]
            made._tensors["parts"] = np.ascontiguousarray(found[::-1].T)
        else:
            _check_width(width, len(texts) - 1, f"{len(texts)} texts differ in {len(texts) - 1} directions", where)
            made = cls({}, name, (), where)
        raw = made._raw(texts)
        mean = raw.mean(0)
        values, axes = np.linalg.eigh(np.cov(raw, rowvar=False, bias=True).reshape(raw.shape[1], -1))
        order = values.argsort()[::-1]
        most = int((values > max(_LEAST * values.max(), _NOISE)).sum())
        _check_width(width, most, f"its {len(texts)} texts differ in {most} directions", where)
        kept = order[:width]
        tensors = made._tensors | {"mean": mean, "axes": axes[:, kept] / np.sqrt(values[kept])}
        return cls({n: np.ascontiguousarray(t, np.float32) for n, t in tensors.items()}, made._model, made._words, where)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(N, W) float32; zeros, which are the mean, of a text that is empty."""
        made = np.zeros((len(texts), self.width), np.float32)
        known = [i for i, text in enumerate(texts) if text.strip()]
        if known:
            made[known] = (self._raw([texts[i] for i in known]) - self._tensors["mean"]) @ self._tensors["axes"]
        return made

    def _raw(self, texts: Sequence[str]) -> np.ndarray:
        """(N, W0) float64."""
        if self._model:
            return sentence_vectors(self._model, texts, self._where).astype(np.float64)
        return np.asarray(self._weighed(texts) @ self._tensors["parts"].astype(np.float64))

    def _weighed(self, texts: Sequence[str]) -> sparse.csr_array:
        """(N, S) TF-IDF of length 1; a text without a known word is zero."""
        rows, columns, counts = [], [], []
        for row, text in enumerate(texts):
            for word, count in sorted(Counter(w for w in words_of(text) if w in self._places).items()):
                rows.append(row)
                columns.append(self._places[word])
                counts.append(count * float(self._tensors["idf"][self._places[word]]))
        made = sparse.csr_array((counts, (rows, columns)), (len(texts), len(self._words)))
        length = np.sqrt(np.asarray(made.multiply(made).sum(1)).ravel())
        return sparse.csr_array(sparse.diags_array(1 / np.maximum(length, 1e-12)) @ made)


def encoder_file(store: Path, name: str) -> Path:
    """Where prepared data, and the part of them beside a backbone, keep what made a vector."""
    return store / TEXTS / f"{path_name(name)}{SUFFIX}"


def read_encoder(path: Path) -> Encoder:
    """One that is kept. Raises DataError where there is none."""
    try:
        return Encoder.read(STORAGE.get(path), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); copy the whole folder anew.") from None


def fingerprints(encoder: str, where: str) -> list[str]:
    """sha256 of the files that an option names; none where it is made of the texts."""
    if encoder == WORDS:
        return []
    if encoder.endswith(SUFFIX):
        return [hashlib.sha256(_content(encoder, where)).hexdigest()]
    return [file_sha256(path) for path in files_of(encoder, where)]


def encoder_of(encoder: str, texts: Sequence[str], width: int, where: str) -> Encoder:
    """The encoder that an option names: one that another run has made, or one that is whitened on these texts.

    Raises:
        DataError: it cannot be read, or is of another width.
    """
    if not encoder.endswith(SUFFIX):
        return Encoder.learnt(encoder, texts, width, where)
    made = Encoder.read(_content(encoder, where), f"{where} = {encoder!r}")
    if made.width != width:
        raise DataError(
            f"{where} = {encoder!r}: its vectors have {made.width} numbers, and width = {width}; set it to {made.width}."
        )
    return made


def _check_width(width: int, most: int, why: str, where: str) -> None:
    """Raises DataError where texts tell items apart in fewer directions than a vector has numbers."""
    if most < 1:
        raise DataError(f"{where}: no two texts of items in training differ, and vectors of them say nothing; name another text.")
    if width > most:
        raise DataError(f"{where}: width = {width}, and {why}; lower width.")


def _content(encoder: str, where: str) -> bytes:
    try:
        return STORAGE.get(located(encoder))
    except OSError as error:
        raise DataError(f"{where} = {encoder!r}: cannot be read ({error.strerror}); name a file of a finished run.") from None
